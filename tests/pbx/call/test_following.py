"""A phone whose connection breaks and that returns as the same instance keeps its dialogs (RFC 5626)."""

import random
from dataclasses import replace

import pytest

from pbx.call import seats
from pbx.call.call import State
from pbx.call.effects import MoveFlow, SendRequest
from pbx.call.moved import move
from pbx.places import Place, Places
from pbx.sip.flow import Flow
from rtp.control import MediaLost, MediaStarted
from tests.kit.world import HOST, World


class TlsWorld(World):
    """Phones come over TLS; `connection` numbers the one they use now."""

    heard = ""
    """What the proxy stamps into the phone's Via."""

    def __init__(self, *, proxied=False, **how):
        self.connection, self.proxied, self.moves = 1, proxied, []
        super().__init__(**how)
        site = self.exchange.site
        places = Places([Place("tls", HOST, 5061, "pbx.example", 5061, HOST, HOST)])
        self.exchange.site = type(site)(
            legs=site.legs, policy=site.policy, host=HOST, port=5060, wrap_up=0.0, places=places
        )

    def run(self, effects):
        effects = list(effects)
        self.moves += [effect for effect in effects if isinstance(effect, MoveFlow)]
        super().run(effects)

    def flow(self, name):
        return Flow("tls", (HOST, 5061), ("192.0.2.77", 40000 + self.connection), self.connection)

    def request(self, method, uri, name, **how):
        made = super().request(method, uri, name, **how)
        contact = f'<sip:{name}@x.invalid;transport=tls>;reg-id=1;+sip.instance="<urn:uuid:{name}>"'
        made.headers.set("Contact", contact)
        if method == "REGISTER":
            made.headers.set("Supported", "outbound")
        if self.proxied:
            made.headers.add("Via", f"SIP/2.0/TLS phone.invalid;branch=z9hG4bKinner{self.heard}")
        return made

    def breaks(self):
        """The connection breaks, and the phone opens another."""
        self.run(self.answering.flow_failed(self.flow(""), self.now))
        self.connection += 1


def last(world):
    return next(e for e in reversed(world.sent) if isinstance(e, SendRequest))


def test_the_registrar_says_that_it_keeps_flows():
    world = TlsWorld()
    answer = world.register("d1")
    assert answer.headers.get("Require") == "outbound"
    assert TlsWorld(proxied=True).register("d1").headers.get("Require") is None


def test_a_desk_keeps_its_place():
    world = TlsWorld(desks=("d1",))
    world.sign_in("d1")
    invite = world.desk_invite("d1")
    assert str(invite.request.contact) == "<sip:room-d1@pbx.example:5061;transport=tls>;isfocus"
    first = world.flow("d1")
    assert world.exchange.legs[world.exchange.room("d1").leg].flow == first
    world.breaks()
    assert world.registrar.lookup(world.accounts["d1"].aor, world.now) == ()
    assert world.moves == []
    world.register("d1")
    assert world.moves == [MoveFlow(first, world.flow("d1"))]
    world.invite("bob")
    assert world.call("bob").desk == "d1"
    assert last(world).request.method == "MESSAGE"
    assert last(world).flow == world.flow("d1")


def test_a_caller_is_hung_up_over_the_new_connection():
    world = TlsWorld()
    world.register("alice")
    world.sign_in("d1")
    world.invite("alice")
    world.ack("alice")
    world.breaks()
    world.register("alice")
    leg = world.exchange.legs[world.call("alice").leg]
    assert leg.flow == world.flow("alice")
    world.run(seats.end_call(world.exchange, "d1", world.now))
    assert last(world).request.method == "BYE"
    assert last(world).flow == world.flow("alice")


def test_five_hundred_rebindings_lose_no_call():
    """Bar F13: the connection breaks, or is replaced before that, or the phone is heard from elsewhere in its dialog first."""
    world, dice = TlsWorld(), random.Random(13)
    world.register("alice")
    world.sign_in("d1")
    world.invite("alice")
    world.ack("alice")
    call, cseq = world.call("alice"), 2
    for _ in range(500):
        world.now += dice.uniform(0.1, 20.0)
        match dice.randrange(3):
            case 0:
                world.breaks()
                world.register("alice")
            case 1:
                world.connection += 1
                world.register("alice")
            case 2:
                world.connection += 1
                cseq += 1
                world.in_dialog("alice", "OPTIONS", cseq=cseq)
                world.register("alice")
        world.says(MediaLost(call.leg, "audio", 5.0))
        asked = last(world)
        assert asked.request.method == "OPTIONS"
        assert asked.flow == world.flow("alice"), "what is asked in the dialog goes where the phone is now"
        world.reply("OPTIONS")
        world.says(MediaStarted(call.leg, "audio", 1))
    assert world.call("alice") is call
    assert call.state is State.TALKING
    assert world.asked("BYE") is None


def test_our_contact_follows_too():
    """From TLS on one address to another: what stands in a later re-INVITE is where the phone is now."""
    world = TlsWorld()
    world.register("alice")
    world.invite("alice")
    world.ack("alice")
    leg = world.exchange.legs[world.call("alice").leg]
    move(world.exchange, leg.flow, Flow("udp", (HOST, 5060), ("192.0.2.77", 5000)))
    assert str(leg.dialog.contact) == f"<sip:110@{HOST}:5060>"


@pytest.mark.parametrize("proxied", [False, True])
def test_a_proxys_flow_is_many_phones(proxied):
    """One phone that goes elsewhere must not take the others of its proxy with it."""
    world = TlsWorld(proxied=proxied)
    world.register("alice")
    world.invite("bob")  # over the same connection
    world.ack("bob")
    first = world.flow("bob")
    world.connection += 1
    world.register("alice")
    moved = world.exchange.legs[world.call("bob").leg].flow != first
    assert moved is not proxied


def test_long_requests_take_the_phones_stream():
    """RFC 3261 §18.1.1."""
    world = TlsWorld()
    udp = Flow("udp", (HOST, 5060), ("192.0.2.77", 5000))
    world.register("alice")
    tls = world.flow("alice")
    short = world.request("MESSAGE", "sip:x@y", "alice", body=b"x" * 100)
    long = world.request("MESSAGE", "sip:x@y", "alice", body=b"x" * 1000)
    assert world.answering.road(long, udp) == udp, "nobody knows another road"
    world.flow = lambda _name: udp
    world.request = lambda *a, **k: _second_flow(TlsWorld.request(world, *a, **k))
    world.register("alice")
    assert world.answering.road(short, udp) == udp
    assert world.answering.road(long, udp) == tls
    assert world.answering.road(long, tls) == tls


def _second_flow(request):
    contact = request.headers.get("Contact")
    request.headers.set("Contact", contact.replace("reg-id=1", "reg-id=2"))
    return request


PATH = "<sip:192.0.2.77:5061;transport=tls;lr;received=sip:203.0.113.9>"


class EdgeWorld(TlsWorld):
    """Phones stand behind a proxy that lays a path and records its route; all come on its one connection."""

    def __init__(self):
        super().__init__(proxied=True)
        self.answering._phones = replace(self.answering._phones, is_proxy=lambda host: host == "192.0.2.77")

    def request(self, method, uri, name, **how):
        made = super().request(method, uri, name, **how)
        if method == "REGISTER":
            made.headers.add("Path", PATH)
        elif method == "INVITE":
            made.headers.add("Record-Route", PATH)
        return made


def test_a_desk_behind_a_proxy_is_called_through_it():
    world = EdgeWorld()
    assert world.register("d1").headers.get("Path") == PATH
    world.sign_in("d1")
    sent = world.desk_invite("d1")
    assert [str(route) for route in sent.request.routes] == [PATH]
    assert str(sent.request.uri) == "sip:d1@x.invalid;transport=tls"
    assert sent.flow == world.flow("d1")


def test_a_proxys_connection_ends_and_everything_goes_on():
    world = EdgeWorld()
    world.register("d1")
    world.register("d2")
    world.sign_in("d1")
    world.invite("bob")
    assert world.call("bob").desk == "d1"
    old = world.flow("d1")
    world.breaks()
    new = Flow("tls", old.local, ("192.0.2.77", 5061))
    assert world.moves == [MoveFlow(old, new)]
    assert {leg.flow for leg in world.exchange.legs.values()} == {new}
    # It is not back yet: what could not be sent there makes nobody forget its phones.
    world.run(world.answering.flow_failed(new, world.now))
    assert world.moves == [MoveFlow(old, new)]
    assert [binding.flow for binding in world.registrar.lookup(world.accounts["d2"].aor, world.now)] == [new]
    world.sign_in("d2")
    assert world.desk_invite("d2").flow == new


def caller_of(world):
    return next(iter(world.exchange.calls.values())).caller


def test_a_caller_behind_a_proxy_is_not_taken_for_who_registered_through_it():
    world = EdgeWorld()
    world.register("alice")
    world.invite("alice")
    assert (caller_of(world).user, caller_of(world).verified) == (None, False)
    direct = TlsWorld()
    direct.register("alice")
    direct.invite("alice")
    assert caller_of(direct).user == "alice"


def test_a_caller_is_known_by_where_our_proxy_heard_it():
    world = EdgeWorld()
    world.heard = ";received=203.0.113.9;rport=40000"
    world.register("alice")
    world.invite("alice")
    assert (caller_of(world).user, caller_of(world).proof) == ("alice", "registration")
    other = EdgeWorld()
    other.heard = ";received=203.0.113.9;rport=40000"
    other.register("alice")
    other.heard = ";received=203.0.113.9;rport=40001"
    other.invite("alice")
    assert caller_of(other).user is None


def test_a_web_server_in_front_is_no_proxy_of_phones():
    """What it passes on is the phone's own words, a path and a stamp of an address among them."""
    world = EdgeWorld()
    flow = replace(world.flow("d1"), transport="wss")
    assert not world.answering._is_proxy(flow)
    assert world.answering._is_proxy(world.flow("d1"))


def test_a_datagram_that_could_not_be_sent_makes_nobody_forget_a_phone():
    """The network may be back a second later, and the phone does not know that it was away."""
    world = World()
    world.register("d1")
    flow = world.flow("d1")
    assert (flow.transport, flow.id) == ("udp", 0)
    world.run(world.answering.flow_failed(flow, world.now))
    assert len(world.registrar.lookup(world.accounts["d1"].aor, world.now)) == 1
