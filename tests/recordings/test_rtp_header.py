import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.rtp_header import RtpPacket, parse_rtp


def raw(first: int = 0x80, second: int = 8, rest: bytes = b"payload") -> bytes:
    return struct.pack(">BBHII", first, second, 1000, 2000, 3000) + rest


def test_the_fixed_header() -> None:
    assert parse_rtp(raw(second=0x88)) == RtpPacket(8, True, 1000, 2000, 3000, b"payload")


def test_contributing_sources_extension_and_padding_are_skipped() -> None:
    extension = b"\xbe\xde\x00\x01abcd"
    data = raw(0x80 | 0x20 | 0x10 | 2, rest=bytes(8) + extension + b"payload" + b"\0\0\3")
    found = parse_rtp(data)
    assert found is not None
    assert found.payload == b"payload"


@pytest.mark.parametrize(
    "data",
    [
        b"", raw()[:11], raw(0x40), raw(0xC0), b"\0\1" + bytes(18),
        raw(second=200), raw(second=223), raw(second=192),
        raw(0x82, rest=bytes(7)), raw(0x90, rest=b"\0\0"), raw(0x90, rest=b"\0\0\0\2abcd"),
        raw(0xA0, rest=b"x\0"), raw(0xA0, rest=b"x\3"),
    ],
)  # fmt: skip
def test_what_is_no_rtp(data) -> None:
    assert parse_rtp(data) is None


@pytest.mark.parametrize("second", [191, 224, 0x80 | 111])
def test_payload_types_beside_rtcp_pass(second) -> None:
    assert parse_rtp(raw(second=second)) is not None


@given(st.binary(max_size=80))
def test_anything_is_read_or_refused(data) -> None:
    found = parse_rtp(data)
    assert found is None or data.find(found.payload) >= 0
