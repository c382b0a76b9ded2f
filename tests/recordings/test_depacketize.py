import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings import depacketize as module
from recordings.depacketize import (
    DEPACKETIZERS,
    START,
    AccessUnit,
    AudioDepacketizer,
    Depacketizer,
    H264Depacketizer,
    H265Depacketizer,
    VP8Depacketizer,
)
from tests.kit.rtp_media import PACKETIZE, encode_pictures, nal_units

IDR, SLICE, SPS, PPS = b"\x65idr", b"\x41slice", b"\x67sps", b"\x68pps"


def push_all(depacketizer: Depacketizer, payloads: list[bytes], timestamp: int = 1) -> list[AccessUnit]:
    """One picture: the marker on its last packet."""
    out: list[AccessUnit] = []
    for number, payload in enumerate(payloads):
        out += depacketizer.push(payload, number == len(payloads) - 1, timestamp)
    return out


@pytest.mark.parametrize("name", ["H264", "H265", "VP8"])
def test_what_an_encoder_made_comes_back_byte_for_byte(name: str) -> None:
    depacketizer = DEPACKETIZERS[name]()
    made = encode_pictures(name, 1.2, colour=(0, 200, 0), size=(640, 480))
    keys = 0
    for index, data in enumerate(made):
        payloads = PACKETIZE[name](data)
        [unit] = push_all(depacketizer, payloads, index * 6000)
        assert unit.complete
        assert unit.timestamp == index * 6000
        keys += unit.key
        if name == "VP8":
            assert unit.data == data
            assert unit.key == (data[0] & 1 == 0)
        else:
            assert nal_units(unit.data) == nal_units(data)
    assert depacketizer.bad == 0
    assert keys == 2, "18 pictures, a key each 15"


def test_h264_single_stap_and_fragments() -> None:
    d = H264Depacketizer()
    stap = b"\x78" + b"".join(struct.pack(">H", len(n)) + n for n in (SPS, PPS))
    # RFC 6184 §5.8: FU indicator with type 28, FU header with S, E and the NAL unit's own type
    fragments = [b"\x7c\x85id", b"\x7c\x05r-", b"\x7c\x45end"]
    assert push_all(d, [stap, *fragments, SLICE], 7) == [
        AccessUnit(
            START + SPS + START + PPS + START + b"\x65idr-end" + START + SLICE, 7, key=True, complete=True
        )
    ]
    assert d.bad == 0


@pytest.mark.parametrize(
    "fragments",
    [
        [b"\x7c\x85id", b"\x7c\x05r-"],  # no end
        [b"\x7c\x05r-", b"\x7c\x45end"],  # no start
        [b"\x7c\x85id", b"\x7c\x41end"],  # another type
        [b"\x7c\x85id", b"\x3c\x45end"],  # another importance
        [b"\x7c\xc5both"],
        [b"\x7c\x85id", SLICE],  # broken off by another unit
    ],
)
def test_h264_broken_fragments_make_the_picture_incomplete(fragments) -> None:
    [unit] = push_all(H264Depacketizer(), [PPS, *fragments])
    assert not unit.complete
    assert b"idend" not in unit.data
    assert unit.data.startswith(START + PPS)


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xe5idr", b"\x78", b"\x78\x00", b"\x78\x00\x00", b"\x78\x00\x09abc", b"\x79\x00\x00", b"\x7a", b"\x7d\x85x",
     b"\x60x", b"\x7e", b"\x7f", b"\x7c\x85", b"\x7c\x9cx", b"\x7c"],
)  # fmt: skip
def test_h264_nonsense_is_counted(payload) -> None:
    d = H264Depacketizer()
    units = push_all(d, [IDR, payload])
    assert d.bad == 1
    assert [unit.complete for unit in units] == [False]


def test_h264_a_recovery_point_is_a_place_to_begin() -> None:
    [unit] = push_all(H264Depacketizer(), [b"\x06\x06\x01\xc4\x80", SLICE])
    assert unit.key
    [unit] = push_all(H264Depacketizer(), [b"\x06\x05\x01\xc4\x80", SLICE])
    assert not unit.key


def test_the_next_timestamp_ends_a_picture_without_marker() -> None:
    d = H264Depacketizer()
    assert d.push(IDR, False, 1) == []
    assert d.push(SLICE, False, 2) == [AccessUnit(START + IDR, 1, key=True, complete=True)]
    assert d.flush() == [AccessUnit(START + SLICE, 2, key=False, complete=True)]
    assert d.flush() == []


def test_a_gap_may_have_hurt_both_neighbours() -> None:
    d = H264Depacketizer()
    d.push(IDR, False, 1)
    d.lost()
    [first] = d.push(SLICE, False, 2)
    assert not first.complete
    [second] = d.flush()
    assert not second.complete


def test_a_gap_between_ended_pictures_spares_one_whose_beginning_is_seen() -> None:
    d = H264Depacketizer()
    [one] = d.push(IDR, True, 1)
    d.lost()
    [two] = push_all(d, [SPS, PPS, IDR], 2)
    assert one.complete
    assert two.complete, "a parameter set can only stand in front"
    d.lost()
    [three] = push_all(d, [SLICE], 3)
    assert not three.complete
    [four] = push_all(d, [SLICE], 4)
    assert four.complete


def test_h265_aggregation_and_fragments() -> None:
    vps, sps, idr = b"\x40\x01vps", b"\x42\x01sps", b"\x26\x01idr-picture"
    d = H265Depacketizer()
    aggregated = b"\x60\x01" + b"".join(struct.pack(">H", len(n)) + n for n in (vps, sps))
    # RFC 7798 §4.4.3: PayloadHdr with type 49, FU header with S, E and the type
    fragments = [b"\x62\x01\x93idr", b"\x62\x01\x13-pic", b"\x62\x01\x53ture"]
    assert push_all(d, [aggregated, *fragments], 3) == [
        AccessUnit(START + vps + START + sps + START + idr, 3, key=True, complete=True)
    ]
    d.lost()
    [unit] = push_all(d, [aggregated, idr], 4)
    assert unit.complete
    [unit] = push_all(d, [b"\x02\x01slice"], 5)
    assert not unit.key
    for bad in (
        b"",
        b"\x26",
        b"\xa6\x01x",
        b"\x64\x01paci",
        b"\x62\x01\x93",
        b"\x62\x01\xd3x",
        b"\x60\x01",
        b"\x62\x01\xb0x",
    ):
        before = d.bad
        push_all(d, [bad])
        assert d.bad == before + 1, bad


@pytest.mark.parametrize(
    ("descriptor", "length"),
    [
        (b"\x10", 1),
        (b"\x90\x00", 2),
        (b"\x90\x80\x11", 3),  # picture id of 7 bits
        (b"\x90\x80\x91\x11", 4),  # of 15 bits
        (b"\x90\x40\x01", 3),  # TL0PICIDX
        (b"\x90\x20\x01", 3),  # TID
        (b"\x90\x30\x01", 3),  # TID and KEYIDX share a byte
        (b"\x90\xf0\x91\x11\x01\x01", 6),
    ],
)
def test_vp8_descriptors(descriptor, length) -> None:
    assert len(descriptor) == length
    frame = b"\x10\x02\x00\x9d\x01\x2a"
    [unit] = VP8Depacketizer().push(descriptor + frame, True, 1)
    assert unit == AccessUnit(frame, 1, key=True, complete=True)
    [unit] = VP8Depacketizer().push(descriptor + b"\x11\x02", True, 1)
    assert not unit.key


def test_vp8_without_its_first_packet_is_nothing() -> None:
    d = VP8Depacketizer()
    assert push_all(d, [b"\x00middle", b"\x00end"]) == []
    assert d.bad == 2
    [unit] = push_all(d, [b"\x10\x00start", b"\x10second start", b"\x01other partition"], 2)
    assert not unit.complete
    assert unit.data == b"\x00startother partition"
    for bad in (b"", b"\x10", b"\x90", b"\x90\x00", b"\x90\x80", b"\x90\x80\x80"):
        before = d.bad
        push_all(d, [bad], 9)
        assert d.bad == before + 1, bad


def test_vp8_a_gap_before_a_whole_frame_takes_nothing_from_it() -> None:
    d = VP8Depacketizer()
    push_all(d, [b"\x10\x00a"], 1)
    d.lost()
    [unit] = push_all(d, [b"\x10\x00b"], 2)
    assert unit.complete


def test_sound_is_itself() -> None:
    d = AudioDepacketizer()
    assert d.push(b"\xd5" * 160, True, 5) == [AccessUnit(b"\xd5" * 160, 5, key=True, complete=True)]
    assert d.push(b"", False, 6) == []
    assert d.bad == 1
    assert d.flush() == []


@pytest.mark.parametrize("kind", [H264Depacketizer, H265Depacketizer, VP8Depacketizer])
def test_a_picture_without_end_is_bounded(kind, monkeypatch) -> None:
    monkeypatch.setattr(module, "MAX_UNIT", 10_000)
    d = kind()
    start, more = {
        H264Depacketizer: (b"\x7c\x85", b"\x7c\x05"),
        H265Depacketizer: (b"\x62\x01\x93", b"\x62\x01\x13"),
        VP8Depacketizer: (b"\x10", b"\x00"),
    }[kind]
    d.push(start + b"x" * 1000, False, 1)
    for _ in range(100):
        d.push(more + b"x" * 1000, False, 1)
    assert d.bad > 80
    assert all(len(unit.data) <= 10_000 and not unit.complete for unit in d.flush())


@given(st.lists(st.tuples(st.binary(max_size=40), st.booleans(), st.integers(0, 3), st.booleans())))
def test_nothing_raises_and_nothing_is_invented(packets) -> None:
    for name, kind in DEPACKETIZERS.items():
        depacketizer = kind()
        out: list[AccessUnit] = []
        for payload, marker, timestamp, gap in packets:
            if gap:
                depacketizer.lost()
            out += depacketizer.push(payload, marker, timestamp)
        out += depacketizer.flush()
        given_bytes = sum(len(payload) for payload, *_rest in packets)
        made = sum(len(unit.data.replace(START, b"")) for unit in out)
        # A fragmentation unit's two header bytes stand for the NAL unit's one or two.
        assert made <= given_bytes, name


def test_a_hundred_thousand_random_payloads_never_raise() -> None:
    rng = random.Random(110)
    machines = [kind() for kind in DEPACKETIZERS.values()]
    # First bytes that lead deep into the parsers, beside entirely random ones.
    heads = [
        b"",
        b"\x78",
        b"\x7c\x85",
        b"\x7c\x05",
        b"\x7c\x45",
        b"\x60\x01",
        b"\x62\x01\x93",
        b"\x62\x01\x53",
        b"\x90\xf0",
        b"\x10",
    ]
    for number in range(100_000):
        payload = rng.choice(heads) + rng.randbytes(rng.randrange(24))
        machine = machines[number % len(machines)]
        if rng.random() < 0.05:
            machine.lost()
        for unit in machine.push(payload, rng.random() < 0.3, number // 50):
            assert unit.data
