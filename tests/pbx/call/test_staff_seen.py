"""Who is in a room is told: to those who watch it (RFC 4575), and on the board."""

import pytest

from pbx.call import lamps, views
from pbx.packages.conference import Conference
from rtp.control import LegReport, StreamReport
from tests.kit.hands import order, party, talking
from tests.kit.world import sdp


def users(world, desk="d1"):
    """Return (entity, role, status) of everybody in a desk's conference document."""
    document = Conference.of(lamps.seat(world.exchange, world.accounts[desk]))
    assert len({user.entity for user in document.users}) == len(document.users), "the entity is a key"
    return [(user.entity, user.role, user.status) for user in document.users]


def test_staff_is_listed_with_its_role():
    world = talking(supervisors=("d3",), signed_in=("d1", "d2", "d3"))
    order(world, "d1", "consult", "d2")
    order(world, "d3", "listen", "d1")
    assert users(world) == [
        ("sip:d1@at110", "host", "connected"),
        ("sip:bob@at110", "guest", "on-hold"),
        ("sip:d2@at110", "dispatcher", "connected"),
        ("sip:d3@at110", "supervisor", "muted-via-focus"),
    ]
    order(world, "d3", "barge")
    assert users(world)[3][2] == "connected"
    assert users(world, "d2") == [("sip:d2@at110", "host", "connected")]


def test_somebody_who_is_called_is_dialing_out():
    world = talking(signed_in=("d1", "d2"))
    world.register("d3")
    order(world, "d1", "add", "d3", role="interpreter")
    assert users(world)[2] == ("sip:d3@at110", "interpreter", "dialing-out")
    world.reply("INVITE", 200, to_tag="far", body=sdp(address="192.0.2.90"))
    assert users(world)[2] == ("sip:d3@at110", "interpreter", "connected")
    assert party(world).present


def test_watchers_of_a_room_are_told_who_comes_and_goes():
    world = talking(supervisors=("d3",))
    concerned = [lamps.concerned(world.exchange, note) for note in world.notes]
    order(world, "d3", "whisper", "d1")
    order(world, "d3", "leave")
    told = [
        lamps.concerned(world.exchange, n)
        for n in world.notes[len(concerned) :]
        if n.event.startswith("staff")
    ]
    assert told == ["d1", "d1"]


@pytest.mark.parametrize("desk", ["d1", "d2"])
def test_the_board_shows_visitors(desk):
    world = talking(signed_in=("d1", "d2"))
    order(world, "d1", "consult", "d2")
    view = views.desk_view(world.exchange, desk, since=0.0, registered=True)
    assert view["visits"] == (None if desk == "d1" else "d1")
    assert [one["who"] for one in view["staff"]] == (["d2"] if desk == "d1" else [])
    assert view["state"] == ("busy" if desk == "d1" else "visiting")
    call = world.call("bob")
    assert world.exchange.calls[call.id].held


def test_evidence_knows_whose_sound_a_visitors_is():
    world = talking(supervisors=("d3",))
    before = len(world.noted("media_negotiated"))
    order(world, "d1", "consult", "d2")
    order(world, "d3", "listen", "d1")
    order(world, "d1", "complete")
    stated = [(note.call, note.fields["leg"]) for note in world.noted("media_negotiated")[before:]]
    call = world.call("bob").id
    assert stated == [(call, "staff:d2"), (call, "staff:d3"), (call, "desk:d2")]
    port = world.exchange.legs[world.exchange.room("d2").leg].negotiation.port("audio")
    assert {n.fields["streams"][0]["local_port"] for n in world.noted("media_negotiated")[before::2]} == {
        port
    }


def test_a_supervisor_who_was_there_first_is_stated_when_a_guest_comes():
    world = talking(supervisors=("d3",), signed_in=("d1", "d3"))
    order(world, "d3", "listen", "d1")
    world.bye("bob")
    world.wait(10)
    world.invite("eve")
    assert world.call("eve").desk == "d1"
    stated = [note.call for note in world.noted("media_negotiated") if note.fields["leg"] == "staff:d3"]
    assert stated[-1] == world.call("eve").id
    assert len(set(stated)) == 2


def test_streams_of_desks_and_calls_are_shown_and_published():
    world = talking(signed_in=("d1",))
    room, call = world.exchange.room("d1"), world.call("bob")
    report = StreamReport("audio", 250, 1, 2.0, 250, 0, bits_received=80_000, mos=4.3, codec="PCMA")
    for leg in (room.leg, call.leg):
        world.says(LegReport(leg, (report,)))
    seen = views.desk_view(world.exchange, "d1", since=0.0, registered=True)["media"]
    assert [(row["bits_received"], row["mos"], row["codec"]) for row in seen] == [(80_000, 4.3, "PCMA")]
    rows = views.legs_view(world.exchange, [room.leg, call.leg, "leg-gone"])
    assert [row.get("desk") or row["call"] for row in rows] == ["d1", call.id]
    assert rows[1]["media"] == views.call_view(world.exchange, call, views.Times(0.0))["media"] == seen
