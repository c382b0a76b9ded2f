"""Behind edge proxies: a flow that failed is not the end of a phone (RFC 5626 §7, §11.5), in new calls and in those that stand."""

from dataclasses import replace

import pytest

from pbx.call import seats
from pbx.call.effects import SendRequest
from pbx.places import Place, Places
from pbx.sip.effects import TransactionFailed
from pbx.sip.flow import Flow
from rtp.control import MediaLost, MediaStarted
from tests.kit.world import HOST, World

EDGES = {1: "192.0.2.77", 2: "192.0.2.78"}


class EdgeWorld(World):
    """Phones have a flow through each of two edge proxies; `edge` is the one they speak through now, `token` their flow there."""

    def __init__(self, **how):
        self.edge, self.token, self.host = 1, 1, "x"
        super().__init__(**how)
        places = Places([Place("tls", HOST, 5061, "pbx.example", 5061, HOST, HOST)])
        self.exchange.site = replace(self.exchange.site, places=places)
        self.answering._phones = replace(self.answering._phones, is_proxy=lambda host: host in EDGES.values())

    def flow(self, name):
        return Flow("tls", (HOST, 5061), (EDGES[self.edge], 5061), self.edge)

    @property
    def route(self):
        return f"<sip:token{self.token}@{EDGES[self.edge]}:5061;transport=tls;lr;ob>"

    def request(self, method, uri, name, **how):
        made = super().request(method, uri, name, **how)
        instance = f'+sip.instance="<urn:uuid:{name}>"'
        made.headers.set("Contact", f"<sip:{name}@{self.host}.invalid>;reg-id={self.edge};{instance}")
        made.headers.add(
            "Via", "SIP/2.0/TLS phone.invalid;branch=z9hG4bKinner;received=203.0.113.9;rport=4000"
        )
        if method == "REGISTER":
            made.headers.set("Supported", "outbound, path")
            made.headers.add("Path", self.route)
        elif method == "INVITE":
            made.headers.add("Record-Route", self.route)
        return made

    def through(self, edge, token=None):
        self.edge, self.token = edge, token or edge

    def register_both(self, name):
        """Over both edges, the second last: it is the one called first."""
        for edge in EDGES:
            self.through(edge)
            answer = self.register(name)
            assert (answer.status, answer.headers.get("Require")) == (200, "outbound")

    @property
    def last(self):
        return next(effect for effect in reversed(self.sent) if isinstance(effect, SendRequest))


def way(sent):
    """The edge a request went to, and the token it carried."""
    return sent.flow.remote[0], [route.uri.user for route in sent.request.routes]


FIRST, SECOND = (EDGES[1], ["token1"]), (EDGES[2], ["token2"])


@pytest.mark.parametrize("status", [430, 410, 480, 408])
def test_a_desk_is_called_over_its_other_flow(status):
    world = EdgeWorld()
    world.register_both("d1")
    world.sign_in("d1", answer=False)
    assert way(world.last) == SECOND
    first = world.last.request
    world.reply("INVITE", status)
    assert way(world.last) == FIRST
    again = world.last.request
    assert (again.method, again.call_id, again.cseq) == ("INVITE", first.call_id, first.cseq)
    assert not world.noted("desk_lost")
    world.through(1)
    world.pick_up("d1")
    assert world.exchange.room("d1").present
    assert world.desk_leg("d1").flow == world.flow("d1")


def test_a_desk_that_is_nowhere_is_told_so():
    world = EdgeWorld()
    world.register_both("d1")
    world.sign_in("d1", answer=False)
    world.reply("INVITE", 430)
    world.reply("INVITE", 430)
    assert not world.exchange.room("d1").present
    assert world.exchange.room("d1").fault == "refused"


def test_a_dispatcher_who_refuses_is_not_rung_again():
    world = EdgeWorld()
    world.register_both("d1")
    world.sign_in("d1", answer=False)
    world.reply("INVITE", 180, to_tag="t")
    world.reply("INVITE", 480, to_tag="t")
    assert way(world.last) == SECOND
    assert not world.exchange.room("d1").present


def test_a_desk_that_is_signed_out_meanwhile_is_not_called_elsewhere():
    world = EdgeWorld()
    world.register_both("d1")
    world.sign_in("d1", answer=False)
    sent = world.last
    world.run(seats.sign_out(world.exchange, "d1", world.now))
    world.reply("INVITE", 487)
    assert world.last is sent


def talking(world):
    """A caller and a desk, each with flows through both edges, talk over the first."""
    for name in ("alice", "d1"):
        world.register_both(name)
    world.through(1)
    world.sign_in("d1", answer=False)
    world.reply("INVITE", 430)
    world.pick_up("d1")
    world.invite("alice")
    world.ack("alice")
    assert world.call("alice").desk == "d1"
    assert world.call("alice").caller.user == "alice"


def test_a_call_is_ended_over_the_callers_other_flow():
    world = EdgeWorld()
    talking(world)
    world.run(seats.end_call(world.exchange, "d1", world.now))
    assert (world.last.request.method, way(world.last)) == ("BYE", FIRST)
    world.reply("BYE", 430)
    assert (world.last.request.method, way(world.last)) == ("BYE", SECOND)
    world.reply("BYE")
    assert world.call("alice") is None


def test_a_phone_that_broke_off_and_came_back_keeps_its_call():
    """It has a new connection to its edge, and so another token there; the call stands over the old one."""
    world = EdgeWorld()
    world.register("alice")
    world.sign_in("d1")
    world.invite("alice")
    world.ack("alice")
    leg = world.exchange.legs[world.call("alice").leg]
    world.through(1, token=7)
    world.host = "elsewhere"
    world.register("alice")
    world.says(MediaLost(leg.id, "audio", 5.0))
    assert (world.last.request.method, way(world.last)) == ("OPTIONS", FIRST)
    world.reply("OPTIONS", 430)
    assert (world.last.request.method, way(world.last)) == ("OPTIONS", (EDGES[1], ["token7"]))
    assert world.last.request.uri.host == "elsewhere.invalid"
    world.reply("OPTIONS")
    world.says(MediaStarted(leg.id, "audio", 1))
    assert world.call("alice") is not None
    # Its dialog is there now: what comes next goes the new way at once.
    world.run(seats.end_call(world.exchange, "d1", world.now))
    assert (world.last.request.method, way(world.last)) == ("BYE", (EDGES[1], ["token7"]))


def test_an_edge_that_is_dead_itself():
    """Its connection breaks while it is asked: the other edge is."""
    world = EdgeWorld()
    world.register_both("d1")
    world.sign_in("d1", answer=False)
    world.concluded(TransactionFailed(world.last.ref, "transport"))
    assert way(world.last) == FIRST


def test_a_phone_nobody_registered_has_one_way():
    world = EdgeWorld()
    world.sign_in("d1")
    world.invite("bob")
    world.ack("bob")
    world.run(seats.end_call(world.exchange, "d1", world.now))
    bye = world.last
    world.reply("BYE", 430)
    assert world.last is bye
    assert world.call("bob") is None


def test_our_contact_fits_the_way_it_takes():
    """Other listeners for other edges: the phone answers to where it was called from."""
    world = EdgeWorld()
    places = Places(
        [
            Place("tls", HOST, 5061, "two.example", 5061, HOST, HOST),
            Place("udp", HOST, 5060, HOST, 5060, HOST, HOST),
        ]
    )
    world.exchange.site = replace(world.exchange.site, places=places)
    world.register("d1")
    world.through(2)
    world.flow = lambda _name: Flow("udp", (HOST, 5060), (EDGES[2], 5060))
    world.register("d1")
    world.sign_in("d1", answer=False)
    assert str(world.last.request.contact) == f"<sip:room-d1@{HOST}:5060>;isfocus"
    world.reply("INVITE", 430)
    assert world.last.flow.transport == "tls"
    assert str(world.last.request.contact) == "<sip:room-d1@two.example:5061;transport=tls>;isfocus"
