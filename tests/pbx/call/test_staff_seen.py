"""Who is in a room is told: to those who watch it (RFC 4575), and on the board."""

import pytest

from pbx.call import lamps, views
from pbx.packages.conference import Conference
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
