"""Many packets in one go: the same as one after the other, whatever is among them."""

import errno

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rtp.control import Codec, Dtmf
from rtp.road import AT_ONCE, travel
from rtp.route import heads
from tests.kit.media_wire import EVENTS, H264, PCMA, PHONE, Wire, packet, rtp_socket, sent

ROOMS = 3


class Rooms:
    """Pairs of latched tracks that hear each other, each with a capture, and what came out of them."""

    def __init__(self, count=ROOMS):
        self.wire = Wire()
        self.tracks = []
        self.rows = []
        self.left = []
        for room in range(count):
            pair = [self.wire.configured(f"{side}-{room}", codecs=(PCMA, EVENTS)) for side in "ab"]
            for track, other in zip(pair, reversed(pair), strict=True):
                track.wire(other, self.wire.loop.now)
                track.evidence = other.sender.evidence = self._write(room)
                self.wire.loop.read(rtp_socket(track), packet(1))
            self.tracks += pair
        for track in self.tracks:
            self._log(track)

    def _write(self, room):
        return lambda _at, source, destination, data: self.rows.append((room, source, destination, data))

    def _log(self, track):
        sock = rtp_socket(track)
        plain = sock.sendto

        def sendto(data, address):
            size = plain(data, address)
            self.left.append((track.leg, data))
            return size

        sock.sendto = sendto

    def arrive(self, packets):
        """Let (track, datagram) wait in the sockets; the tracks that have something, in the order of their first."""
        ready = []
        for number, data in packets:
            track = self.tracks[number]
            rtp_socket(track).arriving.append((data, PHONE))
            if track not in ready:
                ready.append(track)
        return ready

    def state(self):
        return [
            (track.source.snapshot(), track.sender.out.snapshot(), track.rejected, track.flooded, track.taken,
             track.heard, track.sender.packets, track.sender.octets, track.sender.failed, track.sender.shut)
            for track in self.tracks
        ]  # fmt: skip


def by_owner(rows):
    """What does not depend on how many were read before the first was sent: the order within one leg, or one room."""
    return sorted(rows, key=lambda row: row[0])


@st.composite
def rounds(draw):
    """What waits at each round: mostly the next packet of each phone."""
    counters = [1] * (2 * ROOMS)
    made = []
    for _ in range(draw(st.integers(1, 6))):
        ready = []
        for number in draw(st.permutations(range(2 * ROOMS))):
            kind = draw(
                st.sampled_from(["next"] * 6 + ["none", "gap", "old", "digit", "foreign", "short", "ssrc"])
            )
            if kind == "none":
                continue
            counters[number] += {"next": 1, "digit": 1, "ssrc": 1, "gap": 3, "old": -1}.get(kind, 0)
            sequence = counters[number]
            ready.append(
                (
                    number,
                    {
                        "short": b"\x80\x08\0",
                        "foreign": packet(sequence, payload_type=33),
                        "digit": packet(sequence, b"\x05\x0a\0\xa0", payload_type=101),
                        "ssrc": packet(sequence, ssrc=9),
                    }.get(kind, packet(sequence, marker=bool(sequence % 5 == 0))),
                )
            )
        made.append((ready, draw(st.sampled_from([0.0, 0.001, 0.02]))))
    return made


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rounds())
def test_many_at_once_are_as_one_after_the_other(script):
    results = []
    for together in (True, False):
        rooms = Rooms()
        for packets, pause in script:
            rooms.wire.loop.now += pause
            ready = rooms.arrive(packets)
            for group in [ready] if together else [[track] for track in ready]:
                travel(group, rooms.wire.loop)
        assert rooms.wire.loop.failures == []
        left = by_owner(rooms.left)
        received = by_owner([row for row in rooms.rows if row[1] == PHONE])
        given_out = by_owner([row for row in rooms.rows if row[1] != PHONE])
        digits = [event for event in rooms.wire.events if isinstance(event, Dtmf)]
        results.append((rooms.state(), left, received, given_out, digits))
    assert results[0] == results[1]


def test_a_head_keeps_all_but_its_payload_type():
    found = heads(8, 101)
    assert len(found) == 128
    for head, leaving in found.items():
        assert head >> 14 == leaving >> 14 == 2, "RTP's version, and no other is known here"
        assert head & 0xFF80 == leaving & 0xFF80
        assert (head & 0x7F, leaving & 0x7F) == (8, 101)


def test_what_an_odd_packet_leads_to_leaves_after_the_packets_before_it():
    rooms = Rooms()
    before = [(2, packet(2)), (0, packet(2)), (4, packet(5)), (1, packet(2))]  # the third: a gap
    travel(rooms.arrive(before), rooms.wire.loop)
    assert [leg for leg, _ in rooms.left] == ["b-1", "b-0", "b-2", "a-0"]


def test_more_than_go_at_once_are_all_carried():
    rooms = Rooms(AT_ONCE // 2 + 2)
    travel(rooms.arrive([(number, packet(2)) for number in range(len(rooms.tracks))]), rooms.wire.loop)
    assert [len(sent(track)) for track in rooms.tracks] == [2] * len(rooms.tracks)


@pytest.mark.parametrize("empty", [0, 2, 5])
def test_a_socket_with_nothing_to_read_holds_nobody_up(empty):
    rooms = Rooms()
    ready = rooms.arrive([(number, packet(2)) for number in range(2 * ROOMS)])
    rtp_socket(rooms.tracks[empty]).arriving.clear()
    travel(ready, rooms.wire.loop)
    assert [track.source.count for track in rooms.tracks] == [2 - (number == empty) for number in range(6)]
    assert [len(sent(track)) for track in rooms.tracks] == [2 - (number == empty ^ 1) for number in range(6)]


def test_sockets_that_are_all_empty_are_no_error():
    rooms = Rooms()
    travel(list(rooms.tracks), rooms.wire.loop)
    assert rooms.left == []


@pytest.mark.parametrize("full", [0, 3, 5])
def test_a_packet_that_the_system_refuses_is_counted_and_not_recorded(full):
    rooms = Rooms()
    rtp_socket(rooms.tracks[full]).error = OSError(errno.ENOBUFS, "full")
    rooms.rows.clear()
    travel(rooms.arrive([(number, packet(2)) for number in range(2 * ROOMS)]), rooms.wire.loop)
    assert [track.sender.failed for track in rooms.tracks] == [int(number == full) for number in range(6)]
    assert [track.sender.packets for track in rooms.tracks] == [2 - (number == full) for number in range(6)]
    assert len([row for row in rooms.rows if row[1] != PHONE]) == 5


def test_a_failure_of_ours_ends_nothing_but_its_own_packet():
    rooms = Rooms()

    def broken(*_row):
        raise KeyError("bug")

    rooms.tracks[1].evidence = broken  # as it is received
    rooms.tracks[2].sender.evidence = broken  # as it was sent
    rooms.tracks[5].sender.transmit, rooms.tracks[5].sender.direct = broken, None
    travel(rooms.arrive([(number, packet(2)) for number in range(2 * ROOMS)]), rooms.wire.loop)
    assert [type(error) for _, error in rooms.wire.loop.failures] == [KeyError] * 3
    assert [name for name, _ in rooms.wire.loop.failures] == [
        "b-0.audio", "sender 127.0.0.1:20000", "sender 127.0.0.1:20000",
    ]  # fmt: skip
    assert [len(sent(track)) for track in rooms.tracks] == [1, 2, 2, 2, 2, 1]


def test_a_gate_that_stops_a_packet_is_not_counted_as_sent():
    rooms = Rooms()
    rooms.tracks[1].sender.transmit, rooms.tracks[1].sender.direct = lambda _packet: 0, None
    rooms.rows.clear()
    travel(rooms.arrive([(0, packet(2)), (1, packet(2))]), rooms.wire.loop)
    assert (rooms.tracks[1].sender.packets, rooms.tracks[1].sender.failed) == (1, 0)
    assert (rooms.tracks[0].sender.packets, rooms.tracks[0].sender.octets) == (2, 320)
    assert len(rooms.rows) == 3


def pair_of(medium, codecs):
    """Two tracks that hear each other, after two packets each: the road knows the usual one."""
    wire = Wire()
    one, other = (wire.configured(side, medium, codecs) for side in "ab")
    one.wire(other, wire.loop.now)
    for sequence in (1, 2, 3):
        for track in (one, other):
            wire.loop.read(
                rtp_socket(track), packet(sequence, b"\x41slice", payload_type=codecs[0].payload_type)
            )
    return wire, one


def test_a_key_frame_that_is_asked_for_while_pictures_flow_is_seen():
    wire, one = pair_of("video", (H264,))
    one.pictures.answered()
    for sequence in (4, 5):
        wire.loop.read(rtp_socket(one), packet(sequence, b"\x41slice", payload_type=96))
    wire.loop.now += 1.0
    one.want_picture(wire.loop.now)
    assert one.pictures.awaiting
    wire.loop.read(rtp_socket(one), packet(6, b"\x65key", payload_type=96))
    assert not one.pictures.awaiting


def test_a_packet_of_another_clock_between_the_usual_ones_is_no_jitter():
    wide = Codec("TELEPHONE-EVENT", 101, 16000)
    wire, one = pair_of("audio", (PCMA, wide))
    for sequence, payload_type in ((4, 8), (5, 101), (6, 8), (7, 8)):
        wire.loop.now += 0.02
        wire.loop.read(rtp_socket(one), packet(sequence, b"\x05\x0a\0\xa0", payload_type=payload_type))
        assert one.source.rate == (16000 if payload_type == 101 else 8000)
    assert one.source.received == 7
