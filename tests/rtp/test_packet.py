import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp.packet import Packet, PacketError, is_rtp, parse, payload_of

PACKETS = st.builds(
    Packet,
    payload_type=st.integers(0, 127),
    sequence=st.integers(0, 0xFFFF),
    timestamp=st.integers(0, 0xFFFFFFFF),
    ssrc=st.integers(0, 0xFFFFFFFF),
    payload=st.binary(max_size=200),
    marker=st.booleans(),
    csrcs=st.lists(st.integers(0, 0xFFFFFFFF), max_size=15).map(tuple),
    extension=st.none()
    | st.tuples(
        st.integers(0, 0xFFFF), st.integers(0, 5).flatmap(lambda n: st.binary(min_size=4 * n, max_size=4 * n))
    ),
)


@given(PACKETS)
def test_parse_inverts_encode(packet):
    assert parse(packet.encode()) == packet
    assert payload_of(packet.encode()) == packet.payload


@given(PACKETS, st.integers(1, 255))
def test_padding_is_left_out(packet, count):
    data = bytearray(packet.encode() + bytes(count - 1) + bytes((count,)))
    data[0] |= 0x20
    assert parse(bytes(data)) == packet


@given(st.binary(max_size=64))
def test_any_bytes_are_parsed_or_refused(data):
    try:
        packet = parse(data)
    except PacketError:
        return
    assert len(packet.payload) <= len(data) - 12


def test_the_bits_stand_where_the_diagram_says():
    data = Packet(96, 0x0102, 0x03040506, 0x0708090A, b"pay", marker=True).encode()
    assert data == bytes.fromhex("80e0 0102 03040506 0708090a") + b"pay"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x80" + bytes(10), id="11 bytes"),
        pytest.param(b"\x40" + bytes(11), id="version 1"),
        pytest.param(b"\x81" + bytes(11), id="CSRC cut off"),
        pytest.param(b"\x90" + bytes(11), id="extension cut off"),
        pytest.param(b"\x90" + bytes(13) + b"\0\1", id="extension body cut off"),
        pytest.param(b"\xa0" + bytes(11), id="padding of 0"),
        pytest.param(b"\xa0" + bytes(11) + b"\2", id="padding over the header"),
    ],
)
def test_broken_packets(data):
    with pytest.raises(PacketError):
        parse(data)


def test_an_extension_is_whole_words():
    with pytest.raises(ValueError, match="3 bytes"):
        Packet(0, 0, 0, 0, b"", extension=(1, b"abc")).encode()


def test_rtcp_on_the_rtp_port_is_no_rtp():
    # RFC 5761 §4: payload types 64…95 with the marker are RTCP packet types 192…223.
    assert is_rtp(b"\x80\x08" + bytes(10))
    assert not is_rtp(b"\x80\xc8" + bytes(24))
    assert not is_rtp(b"\x80\x08" + bytes(9))
    assert not is_rtp(b"\x00\x08" + bytes(10))
