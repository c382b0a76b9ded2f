"""AMR on the wire: ffmpeg sends it to a leg, and the sound comes out at a leg of another codec; and the other way round."""

import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from rtp import amr, g711
from rtp import control as c
from rtp.codecs import Decoder, Encoder
from tests.kit.rtp_media import dominant_hz, tone
from tests.live.kit.worker import (
    FRAME,
    PCMA,
    MediaProcess,
    Phone,
    media,  # noqa: F401 - a fixture
)

AMR = c.Codec("AMR", 97, 8000, 1, "octet-align=1")
AMR_WB = c.Codec("AMR-WB", 96, 16000, 1, "octet-align=1")
EFFICIENT = c.Codec("AMR", 98, 8000)
PATIENCE = 30.0


def stored(tmp_path: Path, codec: c.Codec) -> Path:
    """A second of 440 Hz as a file, which ffmpeg can pack into RTP (it does so octet-aligned)."""
    if codec is AMR_WB:
        return Path(__file__).parents[1] / "data" / "tone440.awb"
    encoder = Encoder(codec)
    wave = tone(440, 1.0, 8000, level=0.4).astype(np.int16)
    frames = [
        amr.unpack(amr.form("AMR", codec.fmtp), encoder.encode(block))[0] for block in wave.reshape(-1, 160)
    ]
    path = tmp_path / "tone.amr"
    path.write_bytes(b"#!AMR\n" + b"".join(frames))
    return path


@pytest.mark.parametrize("codec", [AMR, AMR_WB], ids=["AMR", "AMR-WB"])
def test_ffmpeg_speaks_amr_and_is_heard_in_alaw(
    media: MediaProcess,  # noqa: F811
    tmp_path: Path,
    codec: c.Codec,
) -> None:
    caller, desk = Phone(), Phone()
    media.leg("caller", caller, codecs=(codec, PCMA))
    media.leg("desk", desk, codecs=(PCMA,))
    media.signalling.send(c.Join("room", "desk", "host"), c.Join("room", "caller", "guest"))
    media.settle()
    port = caller.exchange[1]
    ffmpeg = subprocess.Popen(
        ["ffmpeg", "-v", "error", "-re", "-stream_loop", "30", "-i", str(stored(tmp_path, codec)), "-c", "copy", "-max_delay", "40000", "-f", "rtp", "-payload_type", str(codec.payload_type), f"rtp://127.0.0.1:{port}"],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    heard: list[bytes] = []

    def hears_it() -> bool:
        heard.extend(packet.payload for packet in desk.hear_until(lambda packets: len(packets) >= 25, 2.0))
        sound = np.concatenate(
            [g711.decode_alaw(payload) for payload in heard[-25:]] or [np.zeros(1, np.int16)]
        )
        return len(sound) >= 4000 and abs(dominant_hz(sound.astype(float), 8000) - 440) < 8

    end = time.monotonic() + PATIENCE
    try:
        while not hears_it():
            assert time.monotonic() < end, f"no tone in {len(heard)} packets"
    finally:
        ffmpeg.terminate()
        ffmpeg.wait(10)


def test_a_phone_that_speaks_alaw_is_heard_in_either_form_of_amr(media: MediaProcess) -> None:  # noqa: F811
    desk, callers = Phone(), {"aligned": (Phone(), AMR), "efficient": (Phone(), EFFICIENT)}
    media.leg("desk", desk, codecs=(PCMA,))
    media.signalling.send(c.Join("room", "desk", "host"))
    wave = g711.encode_alaw(tone(440, 1.0, 8000, level=0.4).astype(np.int16))
    for name, (caller, codec) in callers.items():
        media.leg(name, caller, codecs=(codec, AMR_WB))
        media.signalling.send(c.Join("room", name, "guest"))
        media.settle()
        decoder = Decoder(codec)
        heard = np.zeros(0, np.int16)
        end, number = time.monotonic() + PATIENCE, 0
        while len(heard) < 8000 or abs(dominant_hz(heard[-4000:].astype(float), 8000) - 440) > 8:
            assert time.monotonic() < end, f"{name}: no tone in {len(heard)} samples"
            begin = time.monotonic()
            desk.say(wave[number % 50 * 160 :][:160])
            number += 1
            for _, packet in caller.hear(0.001):
                assert packet.payload_type == codec.payload_type
                heard = np.concatenate([heard, decoder.decode(packet.payload)])
            time.sleep(max(0.0, begin + FRAME - time.monotonic()))
        media.signalling.send(c.Leave(name))
        media.settle()
