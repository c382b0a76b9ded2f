import numpy as np
import pytest

from rtp import codecs
from rtp.codecs import CodecError, Decoder, Encoder
from rtp.control import Codec

EACH = pytest.mark.parametrize("name", codecs.SPOKEN)


def tone(hz, rate, seconds=0.4, level=8000):
    return (level * np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate)).astype(np.int16)


def dominant(samples, rate):
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return spectrum.argmax() * rate / len(samples)


def frames(samples, size):
    return [samples[at : at + size] for at in range(0, len(samples) - size + 1, size)]


@EACH
def test_tone_survives(name):
    encoder, decoder = Encoder(name), Decoder(name)
    payloads = [
        encoder.encode(f) for f in frames(tone(440, encoder.sampling_rate), codecs.frame_samples(name))
    ]
    heard = np.concatenate([decoder.decode(p) for p in payloads])
    assert len(payloads) == 20
    assert len(heard) == 20 * codecs.frame_samples(name)
    later = heard[len(heard) // 4 :]
    assert dominant(later, decoder.sampling_rate) == pytest.approx(440, abs=5)
    assert np.sqrt((later.astype(float) ** 2).mean()) == pytest.approx(8000 / np.sqrt(2), rel=0.15)


@EACH
def test_silence_is_one_frame_of_nothing(name):
    decoder = Decoder(name)
    for _ in range(10):
        heard = decoder.decode(codecs.silence(name))
        assert heard.shape == (codecs.frame_samples(name),)
        # A-law has no zero: its smallest value is 8.
        assert np.abs(heard).max() == (8 if name == "PCMA" else 0)


@EACH
def test_silence_after_loud_sound_cannot_be_heard(name):
    encoder, decoder = Encoder(name), Decoder(name)
    for frame in frames(tone(300, encoder.sampling_rate, level=30000), codecs.frame_samples(name)):
        decoder.decode(encoder.encode(frame))
    heard = [decoder.decode(codecs.silence(name)) for _ in range(10)][-1].astype(float)
    assert np.abs(heard).max() < 100
    # What G722's predictors leave is a constant and its mirror at 8 kHz: nothing between, where one could hear it.
    audible = np.abs(np.fft.rfft(heard))[1:-1] / len(heard)
    assert audible.max() < 1


@pytest.mark.parametrize(("name", "units"), [("PCMA", 160), ("PCMU", 160), ("G722", 160), ("OPUS", 960)])
def test_timestamp_units(name, units):
    assert codecs.samples_per_frame(name) == units


def test_codec_may_be_a_line_of_sdp():
    assert codecs.silence(Codec("pcmu", 0, 8000)) == b"\xff" * 160
    assert codecs.silence("pcma") == b"\xd5" * 160


def test_unknown_codec():
    for wanted in (Encoder, Decoder, codecs.silence):
        with pytest.raises(CodecError, match="GSM"):
            wanted("GSM")


@EACH
def test_encoder_wants_exactly_20_ms(name):
    for count in (codecs.frame_samples(name) - 1, codecs.frame_samples(name) + 1, 0):
        with pytest.raises(ValueError, match="20 ms"):
            Encoder(name).encode(np.zeros(count, np.int16))


@pytest.mark.parametrize("name", ["PCMA", "PCMU", "G722"])
@pytest.mark.parametrize("milliseconds", [10, 30, 60])
def test_other_packet_times_are_decoded(name, milliseconds):
    heard = Decoder(name).decode(bytes(8 * milliseconds))
    assert len(heard) == codecs.sampling_rate(name) * milliseconds // 1000


@EACH
def test_empty_payload_is_no_sound(name):
    assert Decoder(name).decode(b"").shape == (0,)


def test_broken_opus_is_an_error_and_the_decoder_lives_on():
    decoder = Decoder("OPUS")
    with pytest.raises(CodecError, match="OPUS"):
        decoder.decode(b"\xff\x00")  # code 3 with a count of 0 frames: RFC 6716 §3.2.5 "MUST NOT be zero"
    assert len(decoder.decode(codecs.silence("OPUS"))) == 960


def test_stereo_opus_is_mixed_down():
    assert Decoder("OPUS").decode(b"\xfc\xff\xfe").shape == (960,)
