import itertools

import numpy as np
import pytest

from rtp import codecs
from rtp.codecs import CodecError, Decoder, Encoder
from rtp.transcode import Transcoder

PAIRS = list(itertools.permutations(codecs.SPOKEN, 2))


def spoken(name, hz, count):
    size, rate = codecs.frame_samples(name), codecs.sampling_rate(name)
    wave = (9000 * np.sin(2 * np.pi * hz * np.arange(size * count) / rate)).astype(np.int16)
    encoder = Encoder(name)
    return [encoder.encode(frame) for frame in wave.reshape(-1, size)]


@pytest.mark.parametrize(("source", "destination"), PAIRS)
def test_tone_comes_through(source, destination):
    transcoder = Transcoder(source, destination)
    payloads = [made for payload in spoken(source, 440, 40) for made in transcoder.push(payload)]
    assert 39 <= len(payloads) <= 40
    decoder = Decoder(destination)
    heard = np.concatenate([decoder.decode(p) for p in payloads])[decoder.sampling_rate // 5 :]
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
    assert spectrum.argmax() * decoder.sampling_rate / len(heard) == pytest.approx(440, abs=4)
    assert np.sqrt((heard.astype(float) ** 2).mean()) == pytest.approx(9000 / np.sqrt(2), rel=0.2)


def test_packet_times_become_20_ms():
    transcoder = Transcoder("PCMA", "PCMU")
    assert [len(transcoder.push(b"\xd5" * count)) for count in (80, 80, 240, 240, 480)] == [0, 1, 1, 2, 3]


def test_close_fills_up_the_last_frame():
    transcoder = Transcoder("PCMU", "PCMA")
    assert transcoder.push(b"\x80" * 100) == []
    (last,) = transcoder.close()
    assert last == b"\xaa" * 100 + b"\xd5" * 60
    assert transcoder.close() == []


def test_undecodable_payload_is_skipped_and_counted():
    transcoder = Transcoder("OPUS", "PCMA")
    assert transcoder.push(b"\xff\x00") == []
    assert transcoder.undecodable == 1
    assert len(transcoder.push(codecs.silence("OPUS"))) == 1


def test_unknown_codec():
    with pytest.raises(CodecError):
        Transcoder("PCMA", "GSM")
