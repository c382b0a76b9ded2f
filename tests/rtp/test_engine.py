import errno
from unittest.mock import patch

import pytest

from rtp import control as c
from rtp.engine import BEAT_SECONDS, PHASES
from rtp.packet import parse
from rtp.rtcp import Description
from rtp.rtcp import parse as parse_rtcp
from tests.kit import media_wire
from tests.kit.media_engine import GUEST, HOST, Running
from tests.kit.media_wire import H264, PHONE, engine, packet, stream

__all__ = ["engine"]
pytestmark = pytest.mark.usefixtures("engine")


@pytest.fixture
def running():
    made = Running()
    yield made
    assert made.loop.failures == []


def test_open_is_idempotent_and_may_add_a_medium(running):
    (opened,) = running.do(c.OpenLeg("a", ("audio",), "127.0.0.1"))
    assert opened == c.LegOpened("a", (c.PortPair("audio", 20000, 20001),), opened.fingerprint)
    assert len(opened.fingerprint) == 32  # SHA-256 of the certificate for DTLS
    assert running.do(c.OpenLeg("a", ("audio",), "127.0.0.1")) == [opened]
    (more,) = running.do(c.OpenLeg("a", ("audio", "video"), "127.0.0.1"))
    assert more.ports == (*opened.ports, c.PortPair("video", 20002, 20003))


@pytest.mark.parametrize(
    ("host", "left", "reason"), [("127.0.0.1", 1, "no_ports"), ("9.9.9.9", 9, "bad_address")]
)
def test_a_leg_without_ports_is_refused_and_holds_none(running, host, left, reason):
    running.engine._ports.left = left
    assert running.do(c.OpenLeg("a", ("audio", "video"), host)) == [c.Refused("OpenLeg", "a", reason)]
    assert running.engine.holdings("").legs == ()


@pytest.mark.parametrize(
    "command",
    [
        c.ConfigureLeg("x", (), ()),
        c.CloseLeg("x"),
        c.Join("r", "x", "host"),
        c.Leave("x"),
        c.SetGates("x", silent=True, host_picture=False),
        c.SetStaff("x", "barge"),
        c.Play("x", "p", ()),
        c.StopPlay("x"),
        c.PassDtmf("x", "1"),
        c.WantPicture("x"),
    ],
    ids=lambda command: type(command).__name__,
)
def test_commands_about_unknown_legs_are_refused(running, command):
    assert running.do(command) == [c.Refused(type(command).__name__, "x", "unknown_leg")]


def test_an_unknown_medium_is_told(running):
    running.do(c.OpenLeg("a", ("audio",), "127.0.0.1"))
    streams = (stream(), stream("video", (H264,)))
    assert running.do(c.ConfigureLeg("a", streams, (PHONE[0],))) == [
        c.Refused("ConfigureLeg", "a", "no_ports_for_video")
    ]


def test_joining_is_told_at_once_and_so_is_the_first_relayed_packet(running):
    running.leg(HOST)
    running.leg(GUEST)
    assert running.join(HOST, GUEST) == [c.Joined("room", HOST), c.Joined("room", GUEST)]
    assert running.join(GUEST) == [c.Joined("room", GUEST)]
    running.say(GUEST, 1)
    running.say(GUEST, 2)
    (first,) = [event for event in running.events if isinstance(event, c.FirstRelayed)]
    assert (first.room, first.leg, first.medium) == ("room", GUEST, "audio")
    assert len(running.sockets(HOST)[0].sent) == 2


def test_who_is_put_through_is_heard_from_the_packet_before(running):
    for name in (HOST, GUEST):
        running.leg(name)
    running.say(GUEST, 1)
    running.say(GUEST, 2)
    running.join(HOST, GUEST)
    assert [parse(data).payload for data, _ in running.sockets(HOST)[0].sent] == [b"x" * 160]
    assert [type(event) for event in running.events].count(c.FirstRelayed) == 1
    running.say(GUEST, 3)
    first, second = (parse(data) for data, _ in running.sockets(HOST)[0].sent)
    assert (
        (second.sequence - first.sequence) & 0xFFFF,
        (second.timestamp - first.timestamp) & 0xFFFFFFFF,
    ) == (
        1,
        160,
    )


def test_what_is_older_than_a_packet_time_is_not_sent_on(running):
    for name in (HOST, GUEST):
        running.leg(name)
    running.say(GUEST, 1)
    running.loop.now += 0.03
    running.join(HOST, GUEST)
    assert running.sockets(HOST)[0].sent == []


def test_a_second_guest_is_refused_and_hears_nothing(running):
    for name in (HOST, GUEST, "guest-2"):
        running.leg(name)
    running.join(HOST, GUEST)
    assert running.join("guest-2") == [c.Refused("Join", "guest-2", "second_guest")]
    running.say("guest-2", 1)
    running.say(HOST, 1)
    running.say(GUEST, 1)
    assert running.sockets("guest-2")[0].sent == []
    assert len(running.sockets(HOST)[0].sent) == len(running.sockets(GUEST)[0].sent) == 1


def test_a_guest_that_left_is_heard_no_more_and_expected_no_more(running):
    for name in (HOST, GUEST):
        running.leg(name)
    running.join(HOST, GUEST)
    running.do(c.Leave(GUEST))
    running.say(GUEST, 1)
    running.say(HOST, 1)
    assert running.sockets(HOST)[0].sent == running.sockets(GUEST)[0].sent == []
    assert not any(isinstance(event, c.FirstRelayed) for event in running.events)


def test_gates_close_and_open_ways(running):
    for name in (HOST, GUEST):
        running.leg(name, "audio", "video")
    running.join(HOST, GUEST)
    running.do(c.SetGates(GUEST, silent=True, host_picture=False))
    for name in (HOST, GUEST):
        running.say(name, 1)
        running.say(name, 1, "video", payload_type=96)
    heard = {(n, m): len(running.sockets(n, m)[0].sent) for n in (HOST, GUEST) for m in ("audio", "video")}
    assert heard == {(HOST, "audio"): 1, (HOST, "video"): 1, (GUEST, "audio"): 0, (GUEST, "video"): 0}
    running.do(c.SetGates(GUEST, silent=False, host_picture=True))
    running.say(HOST, 2)
    running.say(HOST, 2, "video", payload_type=96)
    assert len(running.sockets(GUEST)[0].sent) == len(running.sockets(GUEST, "video")[0].sent) == 1


def test_a_re_offer_of_the_host_reaches_the_guests_routes(running):
    for name in (HOST, GUEST):
        running.leg(name)
    running.join(HOST, GUEST)
    running.do(c.ConfigureLeg(HOST, (stream(codecs=(c.Codec("PCMA", 100, 8000),)),), (PHONE[0],)))
    running.say(GUEST, 1)
    assert running.sockets(HOST)[0].sent[0][0][1] & 0x7F == 100
    running.do(c.ConfigureLeg(HOST, (stream(sending=False),), (PHONE[0],)))
    running.say(GUEST, 2)
    assert len(running.sockets(HOST)[0].sent) == 1


def test_closing_says_bye_reports_and_drains(running):
    for name in (HOST, GUEST):
        running.leg(name)
    running.join(HOST, GUEST)
    rtp, rtcp = running.sockets(GUEST)
    running.say(GUEST, 1)
    events = running.do(c.CloseLeg(GUEST))
    assert [type(event) for event in events] == [c.LegReport]
    assert rtcp.sent[-1][0][-8:-4] == bytes.fromhex("81cb0001")  # BYE
    assert running.do(c.CloseLeg(GUEST)) == [c.Refused("CloseLeg", GUEST, "unknown_leg")]
    sent = len(running.sockets(HOST)[0].sent)
    running.loop.read(rtp, packet(2))  # late packets are read and thrown away
    assert len(running.sockets(HOST)[0].sent) == sent
    running.pass_time(29.9)
    assert rtp.fileno() in running.loop.handlers
    assert not rtp.closed
    running.pass_time(0.2)
    assert rtp.fileno() not in running.loop.handlers
    assert rtp.closed
    assert rtcp.closed


def test_beats_stand_on_a_grid_and_a_stall_is_left_out(running):
    for number in range(PHASES):
        running.leg(f"leg-{number}")
    running.pass_time(1.0)
    for number in range(PHASES):
        assert len(running.sockets(f"leg-{number}")[0].sent) in {50, 51}
    running.loop.now += 0.5  # nothing ran for half a second
    running.pass_time(1.0)
    assert len(running.sockets("leg-0")[0].sent) <= 103
    (beat,) = [due for due, callback in running.loop.timers if callback == running.engine._beat]
    steps = (beat - 100.0) / (BEAT_SECONDS / PHASES)
    assert abs(steps - round(steps)) < 1e-6


def test_a_beat_that_comes_too_late_sends_nobody_silence_but_goes_on_with_what_is_played(running):
    for name in ("quiet", "played"):
        running.leg(name)
    running.do(c.Play("played", "p", ("tone:waiting",), loop=True))
    running.pass_time(1.0)
    before = {name: len(running.sockets(name)[0].sent) for name in ("quiet", "played")}
    for _ in range(PHASES):
        running.loop.now += 0.2
        (beat,) = [timer for timer in running.loop.timers if timer[1] == running.engine._beat]
        running.loop.timers.remove(beat)
        beat[1](running.loop.now)
    media_wire.settle()
    assert len(running.sockets("quiet")[0].sent) == before["quiet"]
    assert len(running.sockets("played")[0].sent) > before["played"]
    running.pass_time(0.1)
    assert len(running.sockets("quiet")[0].sent) >= before["quiet"] + 4


def test_one_failing_leg_stops_no_other():
    running = Running()
    for name in ("a", "b"):
        running.leg(name)
    with patch.object(running.engine._legs["a"], "beat", side_effect=KeyError("bug")):
        running.pass_time(0.1)
    assert {name for name, _ in running.loop.failures} == {"a.beat"}
    assert len(running.sockets("b")[0].sent) == 5


def test_reports_are_due_every_five_seconds(running):
    running.leg("a")
    running.pass_time(16.0)
    assert len([event for event in running.events if isinstance(event, c.LegReport)]) == 3
    rtcp = running.sockets("a")[1]
    assert 3 <= len(rtcp.sent) <= 4
    assert len(running.evidence.ticks) >= 150


@pytest.mark.parametrize("number", [errno.ENOBUFS, errno.EPERM, errno.ENETUNREACH])
def test_what_the_system_does_not_take_is_told_and_no_evidence_says_it_was_sent(running, number):
    running.do(c.OpenEvidence("call", "/f"))
    running.leg(GUEST, evidence="call")
    running.leg(HOST)
    running.join(HOST, GUEST)
    for name in (GUEST, HOST):
        running.say(name, 1)
    rows = len(running.evidence.rows["call"])
    said = len(running.sockets(GUEST)[0].sent)
    for sock in running.sockets(GUEST):
        sock.error = OSError(number, "")
        if isinstance(sock, media_wire.PairSocket):
            sock.refuse()
    for sequence in range(2, 12):
        running.say(HOST, sequence)
    running.evidence.pour()
    (report,) = running.do(c.CloseLeg(GUEST))
    assert (report.streams[0].sent, report.streams[0].unsent) == (said, 10 + 1)  # and the BYE
    assert len(running.evidence.rows["call"]) == rows + 10, "what was received"


def test_holdings(running):
    running.do(c.OpenEvidence("call", "/f"))
    running.leg(GUEST, evidence="call")
    running.leg(HOST)
    running.join(HOST, GUEST)
    (holdings,) = running.do(c.Query("q"))
    assert holdings == c.Holdings(
        "q",
        (
            c.LegHolding(GUEST, "call", "room", "guest", (c.PortPair("audio", 20000, 20001),)),
            c.LegHolding(HOST, None, "room", "host", (c.PortPair("audio", 20002, 20003),)),
        ),
        ("call",),
    )


def test_plays_and_digits_reach_the_leg(running):
    running.leg("a")
    assert running.do(c.Play("a", "p", ("tone:zip",)), c.StopPlay("a"), c.PassDtmf("a", "1")) == []
    for name in (HOST, GUEST):
        running.leg(name)
    running.join(HOST, GUEST)
    assert running.do(c.PassDtmf(GUEST, "?")) == [c.Refused("PassDtmf", HOST, "bad_digit")]


def test_a_key_frame_is_asked_of_the_other_side(running):
    running.leg(GUEST, "audio", "video")
    running.leg(HOST, "audio", "video")
    running.join(HOST, GUEST)
    running.say(GUEST, 1, "video", payload_type=96)
    running.pass_time(5.0)
    # RFC 5168 §4: the one who says it wants the picture it is sent; these phones know no RTCP feedback.
    assert running.do(c.WantPicture(HOST)) == [c.PictureWanted(GUEST)]
    assert running.do(c.WantPicture(GUEST)) == [], "the host sends no picture"


def test_for_a_phone_whose_road_lost_packets_a_key_frame_is_asked_once_it_loses_nothing_more(running):
    for name in (HOST, GUEST):
        running.leg(name, "video")
        streams = (stream("video", (H264,), feedback=("nack pli",)),)
        running.do(c.ConfigureLeg(name, streams, (PHONE[0],)))
    running.join(HOST, GUEST)
    for number in (1, 2, 3):
        for name in (HOST, GUEST):
            running.say(name, number, "video", payload_type=96, payload=b"\x65x")
        running.pass_time(0.06)
    running.pass_time(1.0)
    asked = len(running.wishes(HOST))
    for number in (5, 7, 9):  # the guest's; what it asks by RTCP is lost too
        running.say(GUEST, number, "video", payload_type=96, payload=b"\x41x")
        running.pass_time(0.2)
    assert len(running.wishes(HOST)) == asked
    running.pass_time(0.3)
    assert len(running.wishes(HOST)) == asked + 1
    running.say(HOST, 4, "video", payload_type=96, payload=b"\x65x")
    running.pass_time(5.0)
    assert len(running.wishes(HOST)) == asked + 1


def test_close_ends_legs_and_evidence(running):
    running.do(c.OpenEvidence("call", "/f"))
    running.leg("a", evidence="call")
    sockets = running.sockets("a")
    running.engine.close()
    assert all(sock.closed for sock in sockets)
    assert [type(event) for event in running.events[-2:]] == [c.LegReport, c.EvidenceClosed]
    assert running.loop.handlers == {}


def test_sound_and_picture_of_one_leg_have_one_name_and_each_leg_its_own(running):
    running.leg("a", "audio", "video")
    running.leg("b")
    running.pass_time(5.0)
    names = {
        (leg, medium): next(
            chunk[1]
            for data, _ in running.sockets(leg, medium)[1].sent
            for one in parse_rtcp(data)
            if isinstance(one, Description)
            for chunk in one.chunks
        )
        for leg, medium in (("a", "audio"), ("a", "video"), ("b", "audio"))
    }
    assert names["a", "audio"] == names["a", "video"] != names["b", "audio"]


def test_a_stall_of_this_process_is_no_silence_of_its_peers(running):
    running.leg("a")
    running.say("a", 5)
    running.pass_time(0.15)
    running.events.clear()
    running.loop.now += 6.0
    running.pass_time(0.0)
    running.say("a", 6)
    running.pass_time(0.2)
    assert not [event for event in running.events if isinstance(event, c.MediaLost)]
    running.pass_time(6.0)
    assert [event for event in running.events if isinstance(event, c.MediaLost)]
