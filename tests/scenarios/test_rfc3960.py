"""Early media (RFC 3960), message by message on the virtual network, over UDP, TCP, TLS and WebSocket (bars B13).

The gateway model is played on both sides: the exchange before a trunk's caller is answered, and the network behind a trunk before
somebody we call answers. Of the application server model (RFC 3959) there is nothing here, and what asks for it is told so.
"""

import pytest

from pbx.call import trunk_calls
from pbx.call.call import State as CallState
from pbx.call.effects import SendElsewhere
from pbx.call.leg import State
from pbx.call.owner import Owner
from pbx.call.trunk_calls import Outside
from pbx.sip.flow import Flow
from pbx.trunks.trunks import Trunks
from tests.kit.place import Place
from tests.kit.trunks import trunk
from tests.kit.world import sdp

GATEWAY = "192.0.2.77"


@pytest.fixture(params=["udp", "tcp", "tls", "ws"])
def transport(request):
    return request.param


class Gateways(Place):
    """A place whose caller's phone is a trunk's gateway."""

    def __init__(self, transport, *, others=(), **trunk_settings):
        """`others`: ports of further gateways, tried in order."""
        super().__init__(transport)
        self.caller.auto = {"ok", "ack"}
        self.caller.sdp = sdp(video=None)
        ports = (self.caller.address[1], *others)
        peers = [{"host": GATEWAY, "port": port, "priority": n} for n, port in enumerate(ports, 1)]
        settings = trunk(
            peers=peers, sources=[f"{GATEWAY}/32"], user=None, realm=None, password_env=None, **trunk_settings
        )
        self.stand.exchange.trunks = Trunks(
            (settings,), {}, mint=self.stand.exchange.mint, draw=lambda: 0.5, names=lambda flow: ()
        )
        carry = self.stand._carry

        def also_elsewhere(effect):
            match effect:
                case SendElsewhere(ref, request, target):
                    flow = Flow(
                        transport, self.stand.address, (target.host, target.port), int(transport != "udp")
                    )
                    return self.stand.layer.request(
                        request, flow, self.stand.now, ref=ref, **self.stand.via()
                    )
            return carry(effect)

        self.stand._carry = also_elsewhere

    def call_out(self):
        """Call somebody over the trunk; the gateway has the INVITE and says nothing yet."""

        def place():
            number = Outside("13800138000")
            leg, items = trunk_calls.place(self.stand.exchange, number, Owner("trial", "t1"), self.stand.now)
            self.number = leg
            return self.stand.exchange.run(items, self.stand.now, leg)

        self.do(place, 0.2)
        if self.caller.address in self.network._nodes:
            assert self.caller.ladder == ["< INVITE"]
            self.caller.ladder.clear()

    @property
    def out(self):
        return self.stand.exchange.legs.get(self.number)

    def from_fork(self, tag, status, body=b""):
        """Another phone behind the gateway, with a To tag of its own."""
        transaction, request = next(
            one for one in reversed(self.caller.requests) if one[1].method == "INVITE"
        )
        answer = request.response(
            status,
            to_tag=tag,
            headers=(("Contact", str(self.caller.contact)),),
            body=body,
            content_type="application/sdp" if body else None,
        )
        self.caller._go(self.caller.layer.respond(transaction, answer, self.network.clock.now))
        self.run(0.2)


# --- 3 The gateway model: we are the gateway --------------------------------------------------------------------------------


def test_3_a_caller_hears_us_before_it_is_answered(transport):
    place = Gateways(transport, early_media=True)
    place.caller.invite()
    place.run()
    assert place.caller.ladder == ["> INVITE", "< 183 INVITE"]
    early = place.caller.last_response("INVITE")
    assert b"m=audio" in early.body
    assert place.leg.negotiation.streams[0].remote == (GATEWAY, 4000), "media flows both ways already"
    # RFC 3261 §13.3.1.1: repeated every minute
    place.run(61.0)
    assert place.caller.ladder == ["> INVITE", "< 183 INVITE", "< 183 INVITE"]
    assert place.desk.register().status == 200
    place.sign_in()
    place.desk_up()
    assert place.caller.ladder[3:] == ["< 200 INVITE", "> ACK"]
    final = place.caller.last_response("INVITE")
    assert (final.body, final.to.tag) == (early.body, early.to.tag), "one dialog, one description"
    (call,) = place.stand.exchange.calls.values()
    assert call.state is CallState.TALKING


def test_3_a_caller_gives_up_while_it_hears_us(transport):
    place = Gateways(transport, early_media=True)
    place.caller.invite()
    place.run()
    place.caller.cancel()
    place.run()
    assert place.caller.ladder == [
        "> INVITE",
        "< 183 INVITE",
        "> CANCEL",
        "< 200 CANCEL",
        "< 487 INVITE",
        "> ACK",
    ]
    place.all_gone()


def test_3_who_is_no_trunk_is_answered_at_once(transport):
    """Early media is for trunks, whose callers may be charged; everybody else is answered."""
    place = Place(transport)
    place.caller.invite()
    place.run()
    assert place.caller.ladder == ["> INVITE", "< 200 INVITE", "> ACK"]


# --- 3 The gateway model: the network we call is the gateway ----------------------------------------------------------------


def test_3_an_announcement_of_the_network_is_heard(transport):
    place = Gateways(transport)
    place.call_out()
    place.caller.reply(183, body=sdp(video=None, address=GATEWAY))
    place.run(0.2)
    assert place.caller.ladder == ["> 183 INVITE"]
    assert place.out.negotiation.streams[0].remote == (GATEWAY, 4000)
    place.caller.reply(200, body=sdp(video=None, address=GATEWAY))
    place.run()
    assert place.caller.ladder == ["> 183 INVITE", "> 200 INVITE", "< ACK"]
    assert place.out.state is State.CONFIRMED


def test_3_an_announcement_and_no_call(transport):
    """ "The number you have dialled …": heard, then refused."""
    place = Gateways(transport)
    place.call_out()
    place.caller.reply(183, body=sdp(video=None, address=GATEWAY))
    place.run(0.2)
    place.caller.reply(404)
    place.run()
    assert place.caller.ladder == ["> 183 INVITE", "> 404 INVITE", "< ACK"]
    assert place.out is None
    place.all_gone()


def test_3_2_ringing_without_a_description(transport):
    """RFC 3960 §3.2: 180 alone: nothing is heard from there; what rings is made here, and ends with the first media."""
    place = Gateways(transport)
    place.call_out()
    place.caller.reply(180)
    place.run(0.2)
    assert place.out.negotiation.streams == ()
    place.caller.reply(183, body=sdp(video=None, address=GATEWAY))
    place.run(0.2)
    assert place.out.negotiation.streams
    place.caller.reply(180)
    place.run(0.2)
    assert place.out.negotiation.streams, "another 180 takes nothing back"
    place.caller.reply(200, body=sdp(video=None, address=GATEWAY))
    place.run()
    assert place.caller.ladder[-2:] == ["> 200 INVITE", "< ACK"]


def test_3_1_forking(transport):
    """RFC 3960 §3.1: of two that speak early the first is heard; the call is with whoever answers, at its address."""
    place = Gateways(transport)
    place.call_out()
    place.from_fork("one", 183, sdp(video=None, address=GATEWAY, port=4000))
    place.from_fork("two", 183, sdp(video=None, address=GATEWAY, port=5000))
    assert place.out.negotiation.streams[0].remote == (GATEWAY, 4000)
    place.from_fork("two", 200, sdp(video=None, address=GATEWAY, port=5000))
    assert place.caller.ladder[-2:] == ["> 200 INVITE", "< ACK"]
    assert place.out.negotiation.streams[0].remote == (GATEWAY, 5000)
    assert place.out.dialog.remote_tag == "two"


# --- 4 The application server model, 5 Alert-Info ---------------------------------------------------------------------------


def test_4_early_sessions_are_not_offered(transport):
    """RFC 3959: whoever can do without goes on without; who insists is told, unless it calls for help."""
    place = Gateways(transport)
    place.caller.invite(headers=(("Supported", "early-session"),))
    place.run()
    assert place.caller.ladder == ["> INVITE", "< 200 INVITE", "> ACK"]
    assert "early-session" not in (place.caller.last_response("INVITE").headers.get("Supported") or "")
    place.caller.send("INVITE", headers=(("Require", "early-session"),), body=sdp(video=None))
    place.run()
    refused = place.caller.last_response("INVITE")
    assert (refused.status, refused.headers.get("Unsupported")) == (420, "early-session")
    other = Gateways(transport)
    other.caller.invite(headers=(("Require", "early-session"),))
    other.run()
    assert other.caller.last_response("INVITE").status == 200, "a call for help"


def test_5_alert_info_is_kept_to_itself(transport):
    """Whoever calls can't have the desk's phone play or fetch something: the header goes no further."""
    place = Place(transport, desk=True)
    place.caller.invite(headers=(("Alert-Info", "<http://198.51.100.1/ring.wav>"),))
    place.run()
    place.desk_up()
    assert place.caller.last_response("INVITE").status == 200
    assert not any(
        b"198.51.100.1" in p.data for p in place.network.trace if p.destination == place.desk.address
    )
