import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp import rtcp as r

U32 = st.integers(0, 0xFFFFFFFF)
BLOCKS = st.lists(
    st.builds(r.ReportBlock, U32, st.integers(0, 255), st.integers(-0x800000, 0x7FFFFF), U32, U32, U32, U32),
    max_size=31,
).map(tuple)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60)
PACKETS = st.one_of(
    st.builds(r.SenderReport, U32, st.integers(0, (1 << 64) - 1), U32, U32, U32, BLOCKS),
    st.builds(r.ReceiverReport, U32, BLOCKS),
    st.builds(r.Description, st.lists(st.tuples(U32, NAMES), max_size=5).map(tuple)),
    st.builds(r.Bye, st.lists(U32, max_size=5).map(tuple), NAMES),
    st.builds(r.PictureLoss, U32, U32),
    st.builds(r.FullIntra, U32, st.lists(st.tuples(U32, st.integers(0, 255)), max_size=5).map(tuple)),
    st.builds(r.Nack, U32, U32, st.lists(st.integers(0, 0xFFFF), max_size=5).map(tuple)),
)


@given(st.lists(PACKETS, min_size=1, max_size=4))
def test_parse_inverts_encode(packets):
    data = r.encode(packets)
    assert len(data) % 4 == 0
    assert r.parse(data) == tuple(packets)


@given(st.binary(max_size=80))
def test_any_bytes_are_parsed_or_refused(data):
    try:
        assert r.parse(data)
    except r.RtcpError:
        pass


@given(PACKETS, st.data())
def test_a_truncated_packet_is_refused_or_shorter(packet, data):
    whole = r.encode([packet])
    cut = whole[: data.draw(st.integers(1, len(whole) - 1))]
    with pytest.raises(r.RtcpError):
        r.parse(cut)


def test_a_sender_report_on_the_wire():
    block = r.ReportBlock(0xAABBCCDD, 64, -1, 0x10002, 7, 0x12345678, 65536)
    data = r.encode([r.SenderReport(1, 2 << 32 | 3, 4, 5, 6, (block,))])
    assert data == bytes.fromhex(
        "81c8000c 00000001 00000002 00000003 00000004 00000005 00000006"
        "aabbccdd 40ffffff 00010002 00000007 12345678 00010000"
    )


def test_picture_loss_on_the_wire():
    # RFC 4585 §6.3.1: PT 206, FMT 1, no feedback control information.
    assert r.encode([r.PictureLoss(1, 2)]) == bytes.fromhex("81ce0002 00000001 00000002")


def test_full_intra_on_the_wire():
    # RFC 5104 §4.3.1.1: PT 206, FMT 4; SSRC of media source 0; SSRC, command number, 24 bits reserved.
    assert r.encode([r.FullIntra(1, ((2, 9),))]) == bytes.fromhex(
        "84ce0004 00000001 00000000 00000002 09000000"
    )


def test_nack_bitmask():
    data = bytes.fromhex("81cd0003 00000001 00000002 fffe0005")
    assert r.parse(data) == (r.Nack(1, 2, (0xFFFE, 0xFFFF, 1)),)


def test_unknown_packets_are_named_and_not_made():
    assert r.parse(bytes.fromhex("80cc0001 00000001")) == (r.Other(204, 0),)
    with pytest.raises(ValueError, match="not read"):
        r.encode([r.Other(204, 0)])


def test_ntp_time_of_1970_and_half_a_second():
    assert r.ntp_time(0) == 2208988800 << 32
    assert r.ntp_time(500_000_000) == 2208988800 << 32 | 1 << 31
    assert r.ntp_middle(r.ntp_time(500_000_000)) == (2208988800 & 0xFFFF) << 16 | 1 << 15


def test_padding_of_the_last_packet():
    assert r.parse(bytes.fromhex("a1ce0003 00000001 00000002 00000004")) == (r.PictureLoss(1, 2),)
    with pytest.raises(r.RtcpError):
        r.parse(bytes.fromhex("a1ce0002 00000001 000000ff"))
