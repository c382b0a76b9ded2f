"""Which evidence holds what a leg sends and is sent: its own call's, its guest's, a talk's."""

import pytest

from rtp import control as c
from tests.kit.media_engine import GUEST, HOST, Running
from tests.kit.media_wire import PHONE, engine, packet

__all__ = ["engine"]
pytestmark = pytest.mark.usefixtures("engine")


@pytest.fixture
def running():
    made = Running()
    yield made
    assert made.loop.failures == []


def test_evidence_holds_the_callers_packets_and_the_hosts_while_it_is_there(running):
    running.do(c.OpenEvidence("call", "/f"))
    running.leg(HOST)
    running.leg(GUEST, evidence="call")
    rows = running.evidence.rows["call"]
    running.say(HOST, 1, payload=b"before")
    running.say(GUEST, 1, payload=b"waiting")
    running.join(HOST, GUEST)
    running.say(HOST, 2, payload=b"host")
    assert [data[12:] for data in rows] == [
        b"waiting",
        b"host",
        b"host",
    ]  # received from it, sent to the caller
    assert rows[1] == packet(2, b"host")
    running.do(c.Leave(GUEST))
    running.say(HOST, 3, payload=b"after")
    assert len(rows) == 3
    running.do(c.NoteSip("call", 5, PHONE, PHONE, "udp", b"INVITE"), c.CloseEvidence("call"))
    running.say(GUEST, 2)
    assert rows[3:] == [b"INVITE"]
    assert running.do(c.NoteSip("call", 5, PHONE, PHONE, "udp", b"x")) == [
        c.Refused("NoteSip", "call", "unknown_call")
    ]


@pytest.mark.parametrize(("own", "stated"), [(None, ["call"]), ("desk", ["call", "desk"])])
def test_a_flood_is_stated_once_in_each_evidence_it_is_missing_in(running, own, stated):
    running.do(c.OpenEvidence("call", "/f"), c.OpenEvidence("desk", "/f"))
    running.leg(GUEST, evidence="call")
    running.leg(HOST, evidence=own)
    running.join(HOST, GUEST)
    for name, calls in ((GUEST, ["call"]), (HOST, stated)):
        running.evidence.losses.clear()
        for sequence in range(300):
            running.say(name, sequence)
        running.pass_time(0.2)
        assert sorted(loss[0] for loss in running.evidence.losses) == calls
        flooded = running.engine._legs[name].tracks["audio"].flooded
        assert {loss[1] for loss in running.evidence.losses} == {flooded}


def test_evidence_opened_after_the_leg_is_used_from_then_on(running):
    running.leg(GUEST, evidence="call")
    running.do(c.OpenEvidence("call", "/f"))
    running.say(GUEST, 1)
    assert len(running.evidence.rows["call"]) == 1


def test_two_calls_of_one_room_both_get_the_hosts_packets(running):
    running.do(c.OpenEvidence("a", "/a"), c.OpenEvidence("b", "/b"))
    running.leg(HOST, evidence="a")
    running.leg(GUEST, evidence="b")
    running.join(HOST, GUEST)
    running.say(HOST, 1)
    assert packet(1) in running.evidence.rows["a"]
    assert packet(1) in running.evidence.rows["b"]


def test_results_of_the_evidence_thread_are_told(running):
    running.evidence.results = [c.EvidenceOpened("x")]
    running.engine.collect()
    assert running.events == [c.EvidenceOpened("x")]


def test_what_two_desks_say_without_a_guest_is_evidence_of_their_talk(running):
    for name in (HOST, GUEST):
        running.leg(name)
    running.do(c.Join("room", HOST, "host"), c.Join("room", GUEST, "staff"))
    running.do(c.RecordTalk(HOST, "talk"), c.RecordTalk(GUEST, "talk"))
    running.do(c.OpenEvidence("talk", "/f"))
    for name in (HOST, GUEST):
        running.say(name, 1)
    running.evidence.pour()
    assert len(running.evidence.rows["talk"]) == 2
    running.do(c.RecordTalk(GUEST, None))
    for name in (HOST, GUEST):
        running.say(name, 2)
    running.evidence.pour()
    assert len(running.evidence.rows["talk"]) == 3
    running.leg("caller", evidence="call")
    running.do(c.OpenEvidence("call", "/f"), c.Join("room", "caller", "guest"))
    running.say(HOST, 3)
    running.evidence.pour()
    assert len(running.evidence.rows["talk"]) == 3, "with a guest it is the guest's"
    assert len(running.evidence.rows["call"]) >= 1
    assert running.do(c.RecordTalk("nobody", "talk")) == [c.Refused("RecordTalk", "nobody", "unknown_leg")]
