"""Which packets are kept of somebody who waits; real pictures of three encoders, and bytes by hand."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp.gop import MAX_BYTES, MAX_PACKETS, Group, kind
from rtp.packet import Packet
from rtp.packet import parse as parse_packet
from tests.kit.rtp_media import pictures

IDR, SLICE, SPS, PPS = b"\x65x", b"\x41x", b"\x67x", b"\x68x"
H263_KEY = b"\x04\0\x80\x02\x08\0\0\0"
"""RFC 4629: P; then 1 00000, TR 0, PTYPE 10 000 and CIF-less format 2 (QCIF), INTRA."""


def data(number, payload, *, ssrc=7, timestamp=0):
    return Packet(
        payload_type=96, sequence=number & 0xFFFF, timestamp=timestamp, ssrc=ssrc, payload=payload
    ).encode()


def push(group, number, payload, timestamp, codec="H264", **more):
    return group.push(codec, data(number, payload, **more), number & 0xFFFF, timestamp)


def kept(group):
    return [(parse_packet(packet).sequence, timestamp) for packet, timestamp in group.packets]


@pytest.mark.parametrize(
    ("codec", "payload", "what"),
    [
        ("H264", IDR, "key"),
        ("H264", SLICE, "other"),
        ("H264", SPS, "parameters"),
        ("H264", PPS, "parameters"),
        ("H264", b"\x78\0\2\x67x\0\2\x65x", "key"),  # STAP-A of SPS and IDR
        ("H264", b"\x78\0\2\x67x\0\2\x68x", "parameters"),
        ("H264", b"\x78\0\x09\x67", "other"),  # a size that leads outside
        ("H264", b"\x78\0\0\x65", "other"),
        ("H264", b"\x7c\x85", "key"),  # FU-A, begins an IDR
        ("H264", b"\x7c\x05", "other"),  # goes on with it
        ("H264", b"\x7c\x81", "other"),
        ("H264", b"\x7c", "other"),
        ("H264", b"", "other"),
        ("H265", bytes([19 << 1, 1, 0]), "key"),
        ("H265", bytes([21 << 1, 1, 0]), "key"),
        ("H265", bytes([1 << 1, 1, 0]), "other"),
        ("H265", bytes([32 << 1, 1, 0]), "parameters"),
        ("H265", bytes([49 << 1, 1, 0x80 | 19]), "key"),
        ("H265", bytes([49 << 1, 1, 19]), "other"),
        ("H265", bytes([49 << 1, 1]), "other"),
        ("H265", bytes([48 << 1, 1, 0, 3, 33 << 1, 1, 0, 0, 3, 20 << 1, 1, 0]), "key"),
        ("H265", b"\x26", "other"),
        ("VP8", b"\x10\x00", "key"),
        ("VP8", b"\x10\x01", "other"),
        ("VP8", b"\x00\x00", "other"),  # not the beginning of a partition
        ("VP8", b"\x11\x00", "other"),  # of another partition than the first
        ("VP8", b"\x90\x80\x05\x00", "key"),
        ("VP8", b"\x90\x80\x85\x05\x01", "other"),
        ("VP8", b"\x90\xe0\x85\x05\x01\x20\x00", "key"),
        ("VP8", b"\x90", "other"),
        ("VP8", b"", "other"),
        ("H263-1998", H263_KEY, "key"),
        ("H263-1998", b"\x06\x08\0\0" + H263_KEY[2:], "key"),  # behind VRC and a byte of another header
        ("H263-1998", b"\x04\0\x80\x02\x0a\0\0\0", "other"),  # INTER
        ("H263-1998", b"\x04\0\x84\x02\x08\0\0\0", "other"),  # a group of blocks
        ("H263-1998", b"\0\0" + H263_KEY[2:], "other"),  # goes on with a picture
        ("H263-1998", b"\x04\0\x80\x02\x1c\x80\0\0", "key"),  # PLUSPTYPE with OPPTYPE
        ("H263-1998", b"\x04\0\x80\x02\x1c\x80\0\x04", "other"),
        ("H263-1998", b"\x04\0\x80\x02\x1c\0\0\0", "key"),  # and without
        ("H263-1998", b"\x04\0\x80\x02\x1c\x10\0\0", "other"),
        ("H263-1998", H263_KEY[:-1], "other"),
        ("H263-1998", b"\x04", "other"),
        ("VP9", b"\x8c\x80", "other"),
    ],
)
def test_what_a_packet_begins(codec, payload, what):
    assert kind(codec, payload) == what


@pytest.mark.parametrize("codec", ["H264", "H265", "VP8", "H263-1998"])
def test_of_a_real_picture_the_last_group_is_kept_whole(codec):
    """Encoders here begin a group each 15 pictures: two seconds of 15 hold two, and the second is what is left."""
    group = Group()
    moving = pictures(codec, 2.0, ssrc=9, colour=(200, 30, 30), size=(352, 288))
    stream = [parse_packet(item.data) for item in moving]
    for packet in stream:
        assert not group.push(codec, packet.encode(), packet.sequence, packet.timestamp)
    found = [parse_packet(packet) for packet, _ in group.packets]
    assert found == stream[-len(found) :]
    assert len({packet.timestamp for packet in found}) == 15
    begun = {packet.timestamp for packet in stream if kind(codec, packet.payload) == "key"}
    assert len(begun) == 2
    assert found[0].timestamp == max(begun, key=lambda t: (t - stream[0].timestamp) & 0xFFFFFFFF)


def test_parameters_go_with_their_picture_even_with_a_timestamp_of_their_own():
    group = Group()
    for number, (payload, timestamp) in enumerate(
        [(SPS, 1), (PPS, 1), (IDR, 2), (IDR, 2), (SLICE, 3)], 65_534
    ):
        assert not push(group, number, payload, timestamp)
    assert kept(group) == [(65_534, 1), (65_535, 1), (0, 2), (1, 2), (2, 3)]
    push(group, 65_539, SPS, 4)
    assert kept(group) == []  # a new group, of which no picture is there yet
    push(group, 65_540, IDR, 4)
    assert kept(group) == [(3, 4), (4, 4)]


def test_before_a_key_frame_one_is_wanted_once():
    group = Group()
    assert push(group, 1, SLICE, 1)
    assert not push(group, 2, SLICE, 2)
    assert group.packets == ()
    push(group, 3, IDR, 3)
    assert kept(group) == [(3, 3)]
    assert not push(group, 4, b"x", 4, codec="VP9")


def test_of_a_codec_that_is_not_kept_nothing_is_wanted():
    assert not push(Group(), 1, b"x", 1, codec="VP9")


@pytest.mark.parametrize("more", [{"number": 4}, {"number": 3, "ssrc": 8}, {"number": 1}])
def test_after_a_loss_nothing_is_shown_until_the_next_key_frame(more):
    group = Group()
    push(group, 1, IDR, 1)
    push(group, 2, SLICE, 2)
    number = more.pop("number")
    assert push(group, number, SLICE, 3, **more)
    assert group.packets == ()
    assert not push(group, number + 1, SLICE, 4, **more)
    push(group, number + 2, IDR, 5, **more)
    assert kept(group) == [(number + 2, 5)]


def test_a_further_loss_may_have_taken_what_was_asked_so_it_is_wanted_again():
    group = Group()
    assert push(group, 1, SLICE, 1)
    assert not push(group, 2, SLICE, 2)
    assert push(group, 4, SLICE, 3)
    assert not push(group, 5, SLICE, 4)


def test_the_beginning_of_a_key_frame_is_told():
    group = Group()
    told = []
    for number, payload in enumerate([SLICE, SPS, IDR, SLICE]):
        push(group, number, payload, number)
        told.append(group.begun)
    assert told == [False, False, True, False]


@pytest.mark.parametrize(("size", "count"), [(1000, MAX_BYTES // 1012), (10, MAX_PACKETS)])
def test_a_group_that_grows_too_large_is_given_up(size, count):
    group = Group()
    push(group, 1, IDR.ljust(size, b"x"), 1)
    for number in range(2, count + 1):
        assert not push(group, number, SLICE.ljust(size, b"x"), number)
    assert len(group.packets) == count
    assert push(group, count + 1, SLICE.ljust(size, b"x"), count + 1)
    assert group.packets == ()
    assert not push(group, count + 2, SLICE, count + 2)


def test_a_packet_whose_header_is_cut_off_is_no_picture():
    group = Group()
    broken = bytearray(data(1, b"\x65"))
    broken[0] |= 0x1F
    assert group.push("H264", bytes(broken), 1, 1)
    assert group.packets == ()


@given(
    st.lists(
        st.tuples(
            st.sampled_from([IDR, SLICE, SPS, b""]), st.sampled_from([0, 1, 1, 1, 2]), st.integers(0, 2)
        )
    ),
    st.integers(0, 30),
)
def test_what_is_kept_is_whole_bounded_and_goes_on_after_a_restart(steps, restart):
    group, number, timestamp = Group(), 65_530, 0
    for index, (payload, step, later) in enumerate(steps):
        number, timestamp = number + step, timestamp + later
        if index == restart:
            group = Group.restore(group.snapshot())
        push(group, number, payload, timestamp)
        numbers = [sequence for sequence, _ in kept(group)]
        assert all((b - a) & 0xFFFF == 1 for a, b in itertools.pairwise(numbers))
        if numbers:
            assert any(kind("H264", parse_packet(packet).payload) == "key" for packet, _ in group.packets)
            assert kind("H264", parse_packet(group.packets[0][0]).payload) != "other"
