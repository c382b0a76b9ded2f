"""Placement among fake processes: every command reaches the process that holds the leg, rooms stay whole, nothing is lost."""

import random

import pytest

from rtp import control as c
from rtp.moving import MoveLegs
from rtp.placement import RETRY_SECONDS, START_SECONDS
from tests.kit.media_processes import Net


def two_rooms():
    net = Net()
    net.settle()
    net.open("desk-1")
    net.open("desk-2")
    net.join("desk-1", "room-1", "host")
    net.join("desk-2", "room-2", "host")
    net.open("caller", "call")
    net.settle()
    assert {net.placement.where("desk-1"), net.placement.where("desk-2")} == {0, 1}
    return net


def other(net, leg):
    """The desk that is not where the leg is."""
    return next(n for n in (1, 2) if net.placement.where(f"desk-{n}") != net.placement.where(leg))


def test_legs_are_spread_by_load():
    net = Net(3)
    net.settle()
    for number in range(12):
        net.open(f"leg-{number}", f"call-{number}" if number % 2 else None)
    net.settle()
    net.check()
    assert all(2 <= len(process.legs) <= 6 for process in net.processes)


def test_a_caller_is_moved_to_the_process_of_the_desk_with_its_capture():
    net = two_rooms()
    desk = other(net, "caller")
    net.join("caller", f"room-{desk}", "guest")
    net.send(c.StopPlay("caller"), c.NoteSip("call", 0, ("", 0), ("", 0), "udp", b""))
    net.settle()
    net.check()
    assert net.placement.where("caller") == net.placement.where(f"desk-{desk}")
    order = [type(command) for _, command in net.done if getattr(command, "leg", "") == "caller"]
    assert order[-2:] == [c.Join, c.StopPlay], "what was said while it was under way comes after, in order"


def test_the_capture_of_a_talk_is_where_its_desks_are_and_goes_with_them():
    net = two_rooms()
    for desk in (1, 2):
        net.send(c.OpenEvidence(f"talk-{desk}", "/", f"desk-{desk}"))
        net.settle()
        home = net.processes[net.placement.where(f"desk-{desk}")]
        assert f"talk-{desk}" in home.captures
    visitor, host = 1, 2
    net.send(c.RecordTalk(f"desk-{visitor}", f"talk-{visitor}"), c.Leave(f"desk-{visitor}"))
    net.send(c.Join(f"room-{host}", f"desk-{visitor}", "staff"))
    net.send(c.OpenEvidence("while-it-moves", "/", f"desk-{visitor}"))
    net.settle()
    there = net.processes[net.placement.where(f"desk-{host}")]
    assert {f"desk-{visitor}", f"desk-{host}"} <= there.legs.keys()
    assert {"talk-1", "talk-2", "while-it-moves"} <= there.captures


def test_a_caller_at_a_desk_of_its_own_process_is_not_moved():
    net = two_rooms()
    desk = 3 - other(net, "caller")
    net.join("caller", f"room-{desk}", "guest")
    net.settle()
    net.check()
    assert not any(isinstance(e, c.Refused) for e in net.up)
    assert not any(isinstance(command, MoveLegs) for _, command in net.done)


def test_who_shares_the_capture_comes_along_and_so_does_their_room():
    net = two_rooms()
    net.open("party", "call")
    net.join("party", "room-of-party", "host")
    net.open("nurse")
    net.settle()
    net.join("nurse", "room-of-party", "staff")
    net.settle()
    net.join("caller", f"room-{other(net, 'caller')}", "guest")
    net.settle()
    net.check()


def test_a_guest_leaves_its_old_desk_though_the_new_one_is_away():
    net = two_rooms()
    desk = other(net, "caller")
    net.join("caller", f"room-{3 - desk}", "guest")
    net.settle()
    net.kill(net.placement.where(f"desk-{desk}"))
    net.join("caller", f"room-{desk}", "guest")
    for _ in range(20):
        net.step(net.placement.where("caller"))
    held = net.processes[net.placement.where("caller")].rooms
    assert held.place("caller") is None
    net.expire()
    assert held.place("caller") is None
    net.settle()
    net.check()


def test_a_leg_that_shakes_hands_is_moved_a_little_later():
    net = two_rooms()
    source = net.processes[net.placement.where("caller")]
    source.busy.add("caller")
    net.join("caller", f"room-{other(net, 'caller')}", "guest")
    for _ in range(20):
        net.step(0), net.step(1)
    assert net.placement.next_due == net.now + RETRY_SECONDS
    source.busy.clear()
    net.settle()
    net.check()


@pytest.mark.parametrize("when", range(6))
@pytest.mark.parametrize("who", ["source", "target", "both"])
def test_whoever_dies_while_legs_are_on_their_way_they_are_there_afterwards(when, who):
    net = two_rooms()
    desk = other(net, "caller")
    source, target = net.placement.where("caller"), net.placement.where(f"desk-{desk}")
    net.join("caller", f"room-{desk}", "guest")
    net.send(c.NoteSip("call", 0, ("", 0), ("", 0), "udp", b""))
    for _ in range(when):
        net.step(source)
        net.step(target) if when % 2 else None
    for number in {"source": [source], "target": [target], "both": [source, target]}[who]:
        net.kill(number)
    net.settle()
    net.check()
    notes = [command for _, command in net.done if isinstance(command, c.NoteSip)]
    assert not notes  # they are not about a leg; that they went to the right place is asserted by the process


def test_signalling_that_begins_anew_is_told_of_all_processes_at_once():
    net = two_rooms()
    fresh = Net(start=False)
    fresh.processes, fresh.legs, fresh.calls, fresh.rooms = net.processes, net.legs, net.calls, net.rooms
    for process in fresh.processes:
        process.net = fresh
    fresh.connect(0)
    fresh.step(0)
    assert not fresh.up, "what the other holds is not known yet"
    fresh.connect(1)
    fresh.step(1)
    (held,) = fresh.up
    assert {holding.leg for holding in held.legs} == net.legs.keys()
    fresh.settle()
    fresh.check()


def test_a_process_that_does_not_come_is_not_waited_for_for_ever():
    net = Net(start=False)
    net.connect(0)
    net.step(0)
    assert not net.up
    net.now = START_SECONDS
    net.run(net.placement.expire(net.now))
    assert len(net.up) == 1
    net.open("leg")
    assert net.placement.where("leg") == 0


def test_what_was_opened_elsewhere_meanwhile_is_closed_where_it_was():
    net = Net(start=False)
    net.processes[1].legs["desk"] = None
    net.connect(0)
    net.step(0)
    net.legs["desk"] = None
    net.now = START_SECONDS
    net.run(net.placement.expire(net.now))
    net.settle()
    net.check()
    assert net.placement.where("desk") == 0


def test_commands_about_nobody_are_refused_here():
    net = Net()
    net.settle()
    net.send(c.Leave("nobody"), c.CloseEvidence("none"))
    assert net.up[-2:] == [
        c.Refused("Leave", "nobody", "unknown_leg"),
        c.Refused("CloseEvidence", "none", "unknown_call"),
    ]


@pytest.mark.parametrize("seed", range(40))
def test_random_life_of_several_processes(seed):
    """Joins, moves, crashes in any order and with any delays: the processes assert each command, `check` what is left."""
    draw = random.Random(seed)
    net = Net(draw.choice([2, 3, 4]))
    net.settle()
    for number in range(4):
        net.open(f"desk-{number}")
        net.join(f"desk-{number}", f"room-{number}", "host")
    counter = 0
    for _ in range(draw.choice([60, 250])):
        callers = [leg for leg in net.legs if leg.startswith("caller")]
        match draw.random():
            case x if x < 0.15 or not callers:
                counter += 1
                net.open(f"caller-{counter}", f"call-{counter}")
            case x if x < 0.20:
                leg = draw.choice(callers)
                counter += 1
                net.open(f"party-{counter}", net.legs[leg])
            case x if x < 0.45:
                leg, room = draw.choice(callers), f"room-{draw.randrange(4)}"
                taken = {inside for inside, role in net.rooms.values() if role == "guest"}
                if room not in taken:
                    net.join(leg, room, "guest")
            case x if x < 0.55:
                desk, host = draw.sample(range(4), 2)
                net.join(f"desk-{desk}", f"room-{host}", "staff")
            case x if x < 0.65:
                desk = draw.randrange(4)
                net.join(f"desk-{desk}", f"room-{desk}", "host")
            case x if x < 0.75:
                net.leave(draw.choice(callers))
            case x if x < 0.85:
                net.close(draw.choice([leg for leg in net.legs if not leg.startswith("desk")]))
            case x if x < 0.88:
                net.kill(draw.randrange(len(net.processes)))
            case x if x < 0.93:
                number = draw.randrange(len(net.processes))
                if not net.processes[number].alive:
                    net.connect(number)
            case _:
                net.expire()
        for _ in range(draw.choice([0, 0, 1, 3, 20])):
            net.step(draw.randrange(len(net.processes)))
    net.settle()
    net.check()


def test_who_arrives_goes_to_a_process_that_is_not_late_if_there_is_one():
    net = Net(3)
    net.settle()
    net.placement.late = frozenset({0, 2})
    for number in range(4):
        net.open(f"leg-{number}", f"call-{number}")
    net.settle()
    assert {net.placement.where(f"leg-{number}") for number in range(4)} == {1}
    net.placement.late = frozenset({0, 1, 2})
    net.open("leg-4", "call-4")
    net.settle()
    assert net.placement.where("leg-4") in {0, 2}, "late is not gone: all of them may be kept waiting"
    net.check()
