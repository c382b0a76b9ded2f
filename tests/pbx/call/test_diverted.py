"""Diversion and History-Info are read, stand in the call's first event, and are shown with it."""

import pytest

from pbx.call import views
from pbx.call.call import Call
from pbx.call.diverted import MAX_STATIONS, MAX_TEXT, stations
from pbx.call.views import Times
from tests.kit.world import World

DIVERSION = (
    "Diversion",
    '<sip:second@b.example>;reason=no-answer;counter=1, "First, Inc." <tel:+861100>;reason=unconditional',
)
HISTORY = (
    "History-Info",
    "<sip:bob@a.example?Reason=SIP%3Bcause%3D302>;index=1, <sip:carol@a.example;cause=408>;index=1.1, <sip:110@x>;index=1.1.1",
)
READ = [
    {"from": "tel:+861100", "reason": "unconditional", "header": "Diversion"},
    {"from": "sip:second@b.example", "reason": "no-answer", "header": "Diversion"},
    {"from": "sip:bob@a.example", "reason": "SIP;cause=302", "header": "History-Info"},
    {"from": "sip:carol@a.example", "reason": "SIP;cause=408", "header": "History-Info"},
]


def test_first_event_and_api_tell_the_stations():
    world = World()
    world.invite("bob", headers=(DIVERSION, HISTORY))
    assert world.noted("call_arrived")[0].fields["diverted"] == READ
    call = world.call("bob")
    assert views.call_view(world.exchange, call, Times(1.0))["diverted"] == READ
    again = Call.restore(call.snapshot(), world.exchange.site.policy)
    assert views.call_view(world.exchange, again, Times(1.0))["diverted"] == READ


def test_a_call_that_came_straight_says_nothing():
    world = World()
    world.invite("bob")
    assert "diverted" not in world.noted("call_arrived")[0].fields
    assert views.call_view(world.exchange, world.call("bob"), Times(1.0))["diverted"] == []


@pytest.mark.parametrize(
    ("headers", "count"),
    [
        ((("Diversion", "<<<"),), 0),
        ((("Diversion", "nothing at all, <sip:a@b>"),), 1),
        ((("History-Info", "<sip:110@x>;index=1"),), 0),
        ((("Diversion", ", ".join(["<sip:a@b>"] * 50)),), MAX_STATIONS),
        ((("Diversion", f"<sip:{'a' * 3000}@b>;reason={'r' * 3000}"),), 1),
    ],
)
def test_what_can_not_be_read_is_passed_over_and_what_is_long_is_cut(headers, count):
    found = stations(World().request("INVITE", "sip:110@x", "bob", headers=headers))
    assert len(found) == count
    assert all(len(s["from"]) <= MAX_TEXT and len(s["reason"] or "") <= MAX_TEXT for s in found)
