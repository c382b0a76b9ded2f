import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rtp.control import Codec, Dtmf, MediaLost, MediaStarted
from tests.kit.media_wire import (
    EVENTS,
    H264,
    PCMA,
    PCMU,
    PHONE,
    Wire,
    engine,
    packet,
    rtp_socket,
    sent,
    stream,
)

__all__ = ["engine"]
pytestmark = pytest.mark.usefixtures("engine")

STRANGER = ("6.6.6.6", 666)


def pair(codecs=(PCMA, EVENTS), theirs=(PCMA, EVENTS)):
    wire = Wire()
    guest, host = wire.configured("guest", codecs=codecs), wire.configured("host", codecs=theirs)
    guest.wire(host, wire.loop.now)
    return wire, guest, host


def say(wire, track, *packets, source=PHONE):
    for data in packets:
        wire.loop.read(rtp_socket(track), data, source)


def test_the_first_packet_connects_the_socket_and_is_relayed():
    wire, guest, host = pair()
    say(wire, guest, packet(5))
    assert rtp_socket(guest).peer == PHONE
    assert guest.latch.latched == PHONE
    assert isinstance(wire.events[0], MediaStarted)
    (left,) = sent(host)
    assert (left.sequence, left.ssrc, left.payload, left.marker) == (0xFFF1, 0xABCD, b"x" * 160, True)


def test_a_stranger_is_counted_and_nothing_else():
    wire, guest, host = pair()
    taken = []
    guest.evidence = lambda *row: taken.append(row)
    say(wire, guest, packet(5), packet(6), source=STRANGER)
    assert (guest.rejected, sent(host), taken, wire.events) == (2, [], [], [])
    assert guest.sender.remote == PHONE  # not one byte goes to the stranger


def test_what_waited_in_the_socket_before_it_was_connected_is_judged():
    wire, guest, host = pair()
    sock = rtp_socket(guest)
    sock.arriving.extend([(packet(1, ssrc=9), STRANGER), (packet(6), PHONE), (packet(2, ssrc=9), STRANGER)])
    sock.arriving.appendleft((packet(5), PHONE))
    wire.loop.handlers[sock.fileno()]()
    assert [p.sequence for p in sent(host)] == [0xFFF1, 0xFFF2]
    assert guest.rejected == 2


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x80\x08\0\1", id="short"),
        pytest.param(b"\x40\x08" + bytes(20), id="version 1"),
        pytest.param(packet(9, payload_type=33), id="payload type nobody agreed to"),
    ],
)
def test_misshapen_packets_of_the_peer_are_evidence_but_not_relayed(data):
    wire, guest, host = pair()
    taken = []
    guest.evidence = lambda *row: taken.append(row[1:])
    say(wire, guest, packet(5), data, packet(6))
    assert guest.rejected == 1
    assert [p.sequence for p in sent(host)] == [0xFFF1, 0xFFF2]
    assert taken == [(PHONE, ("127.0.0.1", 20000), d) for d in (packet(5), data, packet(6))]


def test_silence_opens_the_socket_and_another_port_is_found():
    wire, guest, host = pair()
    say(wire, guest, packet(5))
    wire.loop.now += 0.35
    guest.sweep(wire.loop.now, 5.0)
    assert rtp_socket(guest).peer is None
    assert rtp_socket(guest).sent == []
    moved = (PHONE[0], 4999)
    say(wire, guest, packet(6), source=STRANGER)
    say(wire, guest, packet(6), source=moved)
    assert rtp_socket(guest).peer == moved
    assert guest.sender.remote == moved
    assert len(sent(host)) == 2
    assert len(wire.events) == 1  # MediaStarted once: nothing was lost


def test_what_was_not_read_in_a_stall_is_no_silence():
    wire, guest, host = pair()
    say(wire, guest, packet(5))
    wire.events.clear()
    wire.loop.now += 6.0
    guest.sweep(wire.loop.now, 5.0, late=5.9)
    assert rtp_socket(guest).peer == PHONE
    say(wire, guest, packet(6))
    wire.loop.now += 0.35
    guest.sweep(wire.loop.now, 5.0, late=0.0)
    assert rtp_socket(guest).peer is None
    assert wire.events == []
    assert len(sent(host)) == 2


def test_loss_is_told_again_and_again_and_the_return_too():
    wire, guest, _ = pair()
    say(wire, guest, packet(5))
    wire.events.clear()
    for _ in range(1100):
        wire.loop.now += 0.01
        guest.sweep(wire.loop.now, 5.0)
    assert [round(event.seconds) for event in wire.events if isinstance(event, MediaLost)] == [5, 10]
    say(wire, guest, packet(6))
    assert isinstance(wire.events[-1], MediaStarted)


def test_a_peer_that_may_not_send_is_not_missed():
    wire = Wire()
    track = wire.configured(receiving=False)
    for _ in range(100):
        wire.loop.now += 0.1
        track.sweep(wire.loop.now, 5.0)
    assert wire.events == []
    track.configure(stream(), frozenset({PHONE[0]}), wire.loop.now)
    wire.loop.now += 4.9
    track.sweep(wire.loop.now, 5.0)
    assert wire.events == []
    wire.loop.now += 0.2
    track.sweep(wire.loop.now, 5.0)
    assert [type(event) for event in wire.events] == [MediaLost]


def test_a_new_offer_with_another_address_is_followed_at_once():
    wire, guest, _ = pair()
    say(wire, guest, packet(5))
    new = ("10.0.0.9", 7000)
    guest.configure(stream(remote=new), frozenset({new[0]}), wire.loop.now)
    assert rtp_socket(guest).peer is None
    assert guest.sender.remote == new
    say(wire, guest, packet(6), source=PHONE)
    assert guest.rejected == 1
    say(wire, guest, packet(6), source=new)
    assert rtp_socket(guest).peer == new


def test_hold_with_no_address_keeps_the_latch():
    wire, guest, _ = pair()
    say(wire, guest, packet(5))
    guest.configure(stream(remote=None, sending=False, receiving=False), frozenset({PHONE[0]}), wire.loop.now)
    assert guest.latch.latched == PHONE
    guest.configure(stream(), frozenset({PHONE[0]}), wire.loop.now)
    assert guest.latch.latched == PHONE
    assert guest.sender.remote == PHONE


def test_a_refused_medium_takes_nothing():
    wire, guest, host = pair()
    guest.configure(None, frozenset({PHONE[0]}), wire.loop.now)
    say(wire, guest, packet(5))
    assert sent(host) == []
    assert guest.rejected == 1


def test_digits_are_passed_on_and_told_once():
    wire, guest, host = pair(theirs=(PCMA, Codec("TELEPHONE-EVENT", 97, 8000)))
    say(
        wire,
        guest,
        packet(1),
        *[packet(2 + i, b"\x05\x0a\0\xa0", payload_type=101, timestamp=320) for i in range(3)],
    )
    assert [event for event in wire.events if isinstance(event, Dtmf)] == [Dtmf("guest", "5")]
    assert [p.payload_type for p in sent(host)] == [8, 97, 97, 97]
    assert len({p.timestamp for p in sent(host)[1:]}) == 1


def test_digits_of_a_caller_in_no_room_are_told():
    wire = Wire()
    guest = wire.configured()
    say(wire, guest, packet(1, b"\x0b\x0a\0\xa0", payload_type=101))
    assert wire.events[-1] == Dtmf("leg", "#")


def test_sound_without_a_shared_codec_is_transcoded_and_its_loss_stays():
    wire, guest, host = pair((PCMA,), (PCMU,))
    for sequence in (1, 2, 5):
        say(wire, guest, packet(sequence, b"\x2a" * 160))
        wire.loop.now += 0.02
    first, *rest = sent(host)
    assert {p.payload_type for p in sent(host)} == {0}
    assert [(p.sequence - first.sequence) & 0xFFFF for p in rest] == [1, 4]
    assert [(p.timestamp - first.timestamp) & 0xFFFFFFFF for p in rest] == [160, 640]


def test_a_picture_without_a_shared_codec_is_dropped():
    wire = Wire()
    guest = wire.configured("guest", "video", (Codec("VP8", 98, 90000),))
    host = wire.configured("host", "video", (H264,))
    guest.wire(host, 0.0)
    say(wire, guest, packet(1, payload_type=98))
    assert sent(host) == []
    assert guest.source.received == 1


def test_key_frames_are_asked_for_on_joining_and_when_packets_are_lost():
    wire = Wire()
    guest, host = wire.configured("guest", "video", (H264,)), wire.configured("host", "video", (H264,))
    say(wire, guest, packet(1, payload_type=96))
    guest.wire(host, wire.loop.now)
    assert wire.asked == ["guest"]
    say(wire, guest, packet(2, payload_type=96), packet(4, payload_type=96))
    wire.loop.now += 0.1
    guest.sweep(wire.loop.now, 5.0)
    assert wire.asked == ["guest"]  # not so soon again
    wire.loop.now += 1.0
    guest.sweep(wire.loop.now, 5.0)
    assert wire.asked == ["guest"] * 2


def test_the_marker_of_a_picture_is_the_phones_own():
    wire = Wire()
    guest, host = wire.configured("guest", "video", (H264,)), wire.configured("host", "video", (H264,))
    guest.wire(host, wire.loop.now)
    say(wire, guest, packet(1, payload_type=96), packet(2, payload_type=96, marker=True))
    assert [p.marker for p in sent(host)] == [False, True]


def test_the_numbers_that_leave_wrap():
    wire, guest, host = pair()
    for sequence in range(0xFFF8, 0x10018):
        say(wire, guest, packet(sequence))
    left = sent(host)
    assert [p.sequence for p in left] == [
        number & 0xFFFF for number in range(left[0].sequence, left[0].sequence + 32)
    ]
    assert left[0].sequence > left[-1].sequence
    assert [(p.timestamp - left[0].timestamp) & 0xFFFFFFFF for p in left] == [
        160 * number for number in range(32)
    ]


def test_parting_ends_the_relay():
    wire, guest, host = pair()
    say(wire, guest, packet(1))
    guest.end()
    say(wire, guest, packet(2))
    assert len(sent(host)) == 1
    assert host.fed_by is None


PACKETS = st.lists(
    st.tuples(
        st.integers(-3, 6) | st.just(5000),  # step of the sequence number
        st.integers(0, 2000) | st.just(1 << 31),
        st.sampled_from([1, 1, 1, 1, 2]),  # SSRC
        st.sampled_from([8, 8, 8, 0]),
        st.booleans(),
        st.sampled_from([0x80, 0x80, 0x80, 0x90, 0xA1, 0x40]),  # version, padding, extension, CSRC count
        st.floats(0, 0.05),
    ),
    max_size=80,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF), PACKETS)
def test_the_packet_road_says_the_same_as_its_parts(sequence, timestamp, steps):
    """`road.travel` handles the usual packet in line; `_take` goes through Source, Sender and OutStream."""
    results = []
    for in_parts in (False, True):
        wire, guest, host = pair((PCMA, PCMU), (PCMA, PCMU))
        rows = []
        guest.evidence = host.sender.evidence = lambda *row, rows=rows: rows.append(row[1:])
        say(wire, guest, packet(sequence, timestamp=timestamp, ssrc=1))
        number, stamp = sequence, timestamp
        for step, ticks, ssrc, payload_type, marker, first, pause in steps:
            wire.loop.now += pause
            number, stamp = number + step & 0xFFFF, stamp + ticks & 0xFFFFFFFF
            data = packet(number, timestamp=stamp, ssrc=ssrc, payload_type=payload_type, marker=marker)
            data = bytes((first,)) + data[1:]
            if in_parts:
                guest._take(data)
            else:
                say(wire, guest, data)
        sender = host.sender
        results.append(
            (rtp_socket(host).sent, rows, guest.source.snapshot(), sender.out.snapshot(), guest.rejected,
             guest.heard, sender.packets, sender.octets, sender.late, sender.shut)
        )  # fmt: skip
    assert results[0] == results[1]
