import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.phone.picture import draw
from pbx.phone.video import MAX_PAYLOAD, PictureDecoder, PictureEncoder, nal_units, packetize
from recordings.depacketize import H264Depacketizer

# NAL units as an encoder makes them: no start code inside, no zero at the end (both are escaped, H.264 §7.4.1).
NAL = st.builds(
    lambda first, body: bytes((first,)) + body.replace(b"\0", b"\1") + b"\x80",
    st.sampled_from([0x67, 0x68, 0x65, 0x41, 0x06]),
    st.binary(max_size=4000),
)


def annex_b(nals):
    return b"".join(b"\0\0\0\1" + nal for nal in nals)


@given(nals=st.lists(NAL, min_size=1, max_size=5), limit=st.integers(3, 1500))
def test_payloads_become_the_same_access_unit(nals, limit):
    payloads = packetize(annex_b(nals), limit)
    assert all(len(payload) <= limit for payload, _ in payloads)
    assert [marker for _, marker in payloads] == [False] * (len(payloads) - 1) + [True]
    depacketizer = H264Depacketizer()
    units = [unit for payload, marker in payloads for unit in depacketizer.push(payload, marker, 9000)]
    assert len(units) == 1
    assert units[0].complete
    assert list(nal_units(units[0].data)) == nals


def test_fragments_as_rfc_6184_draws_them():
    nal = bytes([0x65]) + b"a" * 9
    assert [payload for payload, _ in packetize(annex_b([nal]), 5)] == [
        # §5.8: indicator = NRI of 0x65 and type 28; header: S and E, type 5
        b"\x7c\x85aaa",
        b"\x7c\x05aaa",
        b"\x7c\x45aaa",
    ]


def test_start_codes_of_both_lengths_and_zeros_between():
    assert list(nal_units(b"\0\0\0\1\x67a\0\0\0\0\1\x68b\0\0\1\x65c")) == [b"\x67a", b"\x68b", b"\x65c"]
    assert list(nal_units(b"")) == []


def pictures(count, *, single_nal=False, wanted=()):
    encoder = PictureEncoder(single_nal=single_nal)
    for number in range(count):
        if number in wanted:
            encoder.want_key_frame()
        yield encoder.encode(draw("caller", number * 100, number), number * 9000)


def kinds(unit):
    return [nal[0] & 31 for nal in nal_units(unit)]


def test_key_frame_each_second_and_when_wanted():
    keys = [number for number, unit in enumerate(pictures(25, wanted=(13,))) if 5 in kinds(unit)]
    assert keys == [0, 10, 13, 23]


def test_every_key_frame_stands_alone():
    for unit in pictures(11):
        if 5 in kinds(unit):
            assert kinds(unit)[:2] == [7, 8], "parameter sets come in band: nothing in the SDP tells them"
            assert PictureDecoder().push(unit) == 1


def test_packetization_mode_0_needs_no_fragments():
    for unit in pictures(12, single_nal=True):
        assert all(len(nal) <= MAX_PAYLOAD for nal in nal_units(unit))
        assert all(payload[0] & 31 != 28 for payload, _ in packetize(unit))


def test_decoder_shows_each_picture_at_once():
    decoder = PictureDecoder()
    assert [decoder.push(unit) for unit in pictures(5)] == [1] * 5
    assert decoder.decoded == 5
    assert decoder.last is not None
    assert np.abs(decoder.last.astype(int) - draw("caller", 400, 4)[:240]).mean() < 6


@pytest.mark.parametrize("unit", [b"", b"\0\0\1\x65broken", b"no picture"])
def test_what_is_no_picture_is_refused(unit):
    decoder = PictureDecoder()
    assert decoder.push(unit) == 0
    assert decoder.last is None
