import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp import g711
from rtp.control import Codec
from rtp.overlay import RATE, Overlay, can_mix
from rtp.packet import Packet
from tests.kit.media_wire import PCMA, PCMU, packet

DECODE = {"PCMA": g711.decode_alaw, "PCMU": g711.decode_ulaw}
QUIET = {"PCMA": b"\xd5" * 160, "PCMU": b"\xff" * 160}
TONE = np.full(RATE // 5, 4000, np.int16)


@pytest.mark.parametrize("codec", [PCMA, PCMU], ids=lambda codec: codec.name)
def test_both_are_heard(codec):
    voice = (np.sin(np.arange(160) / 3) * 8000).astype(np.int16)
    encode = g711.encode_alaw if codec is PCMA else g711.encode_ulaw
    mixed = Overlay(TONE).mixed(codec, encode(voice))
    assert DECODE[codec.name](mixed) == pytest.approx(voice + 4000, abs=600)  # two steps of G.711 at 12,000


@pytest.mark.parametrize("codec", [PCMA, PCMU], ids=lambda codec: codec.name)
def test_a_tone_is_heard_once_whatever_the_packet_time(codec):
    for size in (80, 160, 240):
        overlay = Overlay(TONE)
        quiet = QUIET[codec.name][:1] * size
        heard = []
        while not overlay.ended:
            heard.append(overlay.mixed(codec, quiet))
        assert {len(payload) for payload in heard} == {size}
        samples = DECODE[codec.name](b"".join(heard))
        assert np.count_nonzero(samples > 3000) == len(TONE)
        assert overlay.mixed(codec, quiet) == quiet, "and then nothing more"


def test_what_was_heard_otherwise_is_left_out():
    overlay = Overlay(np.arange(320, dtype=np.int16) * 50)
    overlay.skip(160)
    mixed = g711.decode_ulaw(overlay.mixed(PCMU, QUIET["PCMU"]))
    assert mixed == pytest.approx(np.arange(160, 320) * 50, abs=520)
    assert overlay.ended


def test_loud_on_loud_is_clipped_not_wrapped():
    loud = g711.encode_ulaw(np.full(160, 32000, np.int16))
    mixed = Overlay(np.full(160, 32000, np.int16)).mixed(PCMU, loud)
    assert g711.decode_ulaw(mixed).min() > 30000


@pytest.mark.parametrize("name", ["G722", "OPUS", "G729"])
def test_codecs_with_a_memory_are_not_mixed(name):
    codec = Codec(name, 9, 8000)
    overlay = Overlay(TONE)
    assert not can_mix(codec)
    assert not can_mix(None)
    assert overlay.under(codec, packet(1)) is None
    assert overlay.used == 0


def test_extension_and_sources_are_no_sound():
    data = Packet(8, 1, 160, 7, QUIET["PCMA"], csrcs=(1, 2), extension=(0xBEDE, b"abcd")).encode()
    assert Overlay(TONE).under(PCMA, data) == Overlay(TONE).mixed(PCMA, QUIET["PCMA"])
    assert Overlay(TONE).under(PCMA, data[:16]) is None


@given(st.binary(max_size=400), st.sampled_from([PCMA, PCMU]))
def test_any_payload_keeps_its_length(payload, codec):
    assert len(Overlay(TONE).mixed(codec, payload)) == len(payload)
