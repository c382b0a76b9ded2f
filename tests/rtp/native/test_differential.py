"""Both engines are given the same packets and commands, and must do the same to the last bit."""

import itertools
from unittest.mock import patch

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from rtp import control as c
from tests.kit.media_engine import GUEST, HOST, Running
from tests.kit.media_wire import EVENTS, H264, PCMA, PCMU, PHONE, packet, running, stream
from tests.kit.native_engine import demand

STAFF = "staff"
LEGS = (GUEST, HOST, STAFF)
MEDIA = ("audio", "video")
CODECS = {"audio": ((PCMA, EVENTS), (PCMU, PCMA, EVENTS), (PCMU,)), "video": ((H264,),)}
STEPS = st.integers(-3, 6) | st.just(1) | st.just(1) | st.just(1) | st.just(5000)


@st.composite
def talk(draw):
    """Some packets of one phone in a row, mostly as phones send them."""
    leg, medium = draw(st.sampled_from(LEGS)), draw(st.sampled_from(MEDIA))
    usual = 8 if medium == "audio" else 96
    rows = draw(
        st.lists(
            st.tuples(
                STEPS,
                st.sampled_from([160, 160, 160, 0, 1 << 31]),
                st.sampled_from([7, 7, 7, 7, 9]),
                st.sampled_from([usual, usual, usual, usual, 0, 101, 33]),
                st.booleans(),
                st.sampled_from([b"x" * 160, b"", b"\x05\x0a\0\xa0", b"y" * 3000, b"z" * 480]),
                st.sampled_from([0.02, 0.02, 0.0, 0.001, 0.4]),
            ),
            min_size=1,
            max_size=12,
        )
    )
    return ("talk", leg, medium, rows)


RAW = st.tuples(
    st.just("raw"),
    st.sampled_from([GUEST, HOST]),
    st.sampled_from(MEDIA),
    st.binary(max_size=40) | st.binary(max_size=40).map(lambda tail: b"\x80\x08" + tail),
)
FLOOD = st.tuples(
    st.just("flood"), st.sampled_from([GUEST, HOST]), st.sampled_from(MEDIA), st.integers(1, 150)
)
COMMANDS = st.one_of(
    st.just(c.Join("room", GUEST, "guest")),
    st.just(c.Join("room", HOST, "host")),
    st.just(c.Join("room", STAFF, "staff")),
    st.just(c.Join("room", STAFF, "staff")),
    st.sampled_from(LEGS).map(c.Leave),
    st.sampled_from([c.SetStaff(STAFF, "listen"), c.SetStaff(STAFF, "whisper"), c.SetStaff(STAFF, "barge")]),
    st.builds(c.SetGates, st.just(GUEST), st.booleans(), st.booleans(), st.booleans()),
    st.builds(c.Play, st.sampled_from([GUEST, HOST]), st.just("p"), st.sampled_from([("tone:zip",), ("pause:60",), ("pause:40", "tone:waiting"), ("pause:80", "none", "pause:20")]), st.booleans()),
    st.sampled_from([GUEST, HOST]).map(c.StopPlay),
    st.builds(c.PassDtmf, st.sampled_from(LEGS), st.just("5")),
    st.builds(
        lambda leg, sound, sending, receiving, times: c.ConfigureLeg(
            leg,
            (
                stream("audio", sound, sending=sending, receiving=receiving, **times),
                stream("video", (H264,)),
            ),
            (PHONE[0],),
        ),
        st.sampled_from([GUEST, HOST]),
        st.sampled_from(CODECS["audio"]),
        st.booleans() | st.just(True),
        st.booleans() | st.just(True),
        st.sampled_from([{}, {}, {"ptime": 10, "max_ptime": 10}, {"ptime": 60}, {"max_ptime": 30}]),
    ),
    st.just(c.OpenEvidence("call", "/f")),
)  # fmt: skip
PAUSE = st.tuples(st.just("pause"), st.sampled_from([0.005, 0.05, 0.31, 1.2]))
CONVERSATION = st.tuples(st.just("conversation"), st.integers(2, 12))
SCRIPT = st.lists(CONVERSATION | CONVERSATION | talk() | talk() | RAW | FLOOD | COMMANDS | PAUSE, max_size=20)


class Phones:
    """What each phone's counters stand at."""

    def __init__(self):
        self.counters = {key: [65_530, 4_294_967_000] for key in itertools.product(LEGS, MEDIA)}

    def data(self, leg, medium, step, ticks, ssrc, payload_type, marker, payload):
        counter = self.counters[leg, medium]
        counter[0] = counter[0] + step & 0xFFFF
        counter[1] = counter[1] + ticks & 0xFFFFFFFF
        return packet(
            counter[0], payload, timestamp=counter[1], ssrc=ssrc, payload_type=payload_type, marker=marker
        )


def perform(engine, script):
    """Play a script on one engine: everything that came out of it."""
    numbers = itertools.count(1000)
    with (
        running(engine),
        patch("rtp.track.disconnect", lambda sock: sock.connect(None)),
        patch("rtp.engine.secrets.randbits", lambda bits: next(numbers) * 2_654_435_761 % (1 << bits)),
    ):
        made = Running()
        made.do(c.OpenEvidence("call", "/f"))
        made.leg(GUEST, *MEDIA, evidence="call")
        made.leg(HOST, *MEDIA)
        made.leg(STAFF, *MEDIA)
        made.join(HOST, GUEST)
        phones = Phones()
        for leg, medium in itertools.product(LEGS, MEDIA):
            # Latched, so that C may send straight to each of them.
            data = phones.data(leg, medium, 1, 160, 7, 8 if medium == "audio" else 96, False, b"x" * 160)
            made.loop.read(made.sockets(leg, medium)[0], data)
        for step in script:
            match step:
                case ("talk", leg, medium, rows):
                    for number, ticks, ssrc, payload_type, marker, payload, pause in rows:
                        data = phones.data(leg, medium, number, ticks, ssrc, payload_type, marker, payload)
                        made.loop.read(made.sockets(leg, medium)[0], data)
                        made.pass_time(pause)
                case ("conversation", beats):
                    for leg, medium in itertools.chain.from_iterable(
                        itertools.repeat(tuple(phones.counters), beats)
                    ):
                        usual = 8 if medium == "audio" else 96
                        data = phones.data(leg, medium, 1, 160, 7, usual, False, b"c" * 160)
                        made.loop.read(made.sockets(leg, medium)[0], data)
                        made.pass_time(0.005)
                case ("raw", leg, medium, data):
                    made.loop.read(made.sockets(leg, medium)[0], data)
                case ("flood", leg, medium, count):
                    for _ in range(count):
                        data = phones.data(
                            leg, medium, 1, 160, 7, 8 if medium == "audio" else 96, False, b"x" * 160
                        )
                        made.loop.read(made.sockets(leg, medium)[0], data)
                case ("pause", seconds):
                    made.pass_time(seconds)
                case command:
                    made.do(command)
        made.pass_time(0.1)
        result = {
            "events": [plain(event) for event in made.events if not isinstance(event, c.SoundLoad)],  # processor time
            "evidence": [row for row in made.evidence.rows["call"] if not is_report(row)],
            "losses": [(loss[0], loss[1], loss[4]) for loss in made.evidence.losses],
            "failures": made.loop.failures,
        }  # fmt: skip
        for (name, leg), medium in itertools.product(made.engine._legs.items(), MEDIA):
            track = leg.tracks[medium]
            sender = track.sender
            result[name, medium] = (
                track.pair.rtp.sent, track.source.snapshot(), sender.out.snapshot(), track.latch.snapshot(),
                track.rejected, track.flooded, track.heard, track._number, sender.packets, sender.octets, sender.failed,
                sender.late, sender.shut,
            )  # fmt: skip
        relay = getattr(made.loop, "relay", None)
        return result, relay.counts if relay is not None else None


def is_report(data):
    """RTCP, which states the wall clock."""
    return len(data) > 1 and data[0] >> 6 == 2 and 200 <= data[1] <= 206


def plain(event):
    """An event without its wall clock, which two runs do not share."""
    return type(event), tuple(
        getattr(event, name) for name in event.__struct_fields__ if name not in {"at", "bytes", "fingerprint"}
    )


@pytest.fixture(autouse=True, scope="module")
def _native():
    demand("native")


@given(SCRIPT)
def test_both_engines_do_the_same(script):
    python, _ = perform("python", script)
    native, counts = perform("native", script)
    assert native == python
    assert native["failures"] == []
    event(f"relayed by C: {'some' if counts[0] else 'none'}")


def test_plain_sound_and_picture_are_relayed_by_c():
    script = [("conversation", 50)]
    native, (relayed, _, _, handed) = perform("native", script)
    # Not those: the first after the relay was wired, and the one whose number wraps to 0, of each of the four streams.
    assert relayed >= 200 - 8
    # And those of staff who are in no room yet: its picture is Python's to keep.
    assert handed <= 8 + 52
    assert native == perform("python", script)[0]


def test_voices_that_are_only_mixed_are_carried_by_c():
    script = [
        c.SetStaff(STAFF, "barge"),
        c.Join("room", STAFF, "staff"),
        ("conversation", 60),
        c.Leave(STAFF),
        ("conversation", 5),
    ]
    native, (_, _, voiced, _) = perform("native", script)
    assert voiced >= 3 * 60 - 6
    python, _ = perform("python", script)
    assert native == python
    assert len(native[STAFF, "audio"][0]) >= 50, "what staff hears is mixed and sent"


def test_who_waits_is_counted_and_recorded_by_c():
    rows = [(1, 160, 7, 8, False, b"y" * 160, 0.02)] * 50
    script = [c.Leave(GUEST), ("talk", GUEST, "audio", rows), c.Join("room", GUEST, "guest")]
    native, (relayed, sunk, _, handed) = perform("native", script)
    assert (relayed, sunk, handed) == (0, 49, 1), "all but the one whose number wraps"
    python, _ = perform("python", script)
    assert native == python
    for pause, heard in ((0.0, 1), (0.05, 0)):
        native, _ = perform("native", [*script[:2], ("pause", pause), *script[2:]])
        left = [data for data, _ in native[HOST, "audio"][0] if data[12:] == b"y" * 160]
        assert len(left) == heard, "the newest packet is sent on at once, if it is fresh"
