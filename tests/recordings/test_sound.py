from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings import amr as amr_here
from recordings.sound import BLOCK, SoundDecoder, SoundTrack
from recordings.streams import Format
from rtp import amr
from rtp.codecs import Encoder
from tests.kit.rtp_media import AUDIO, dominant_hz, sound, tone


@pytest.mark.parametrize("name", sorted(AUDIO))
@pytest.mark.parametrize("rate", [8000, 48_000])
def test_every_codec_gives_its_tone(name: str, rate: int) -> None:
    decoder = SoundDecoder(Format(name, AUDIO[name][2]), rate)
    samples = np.concatenate([decoder.decode(p.data[12:]) for p in sound(name, 700, 1.0, ssrc=1)])
    assert decoder.bad == 0
    assert len(samples) == pytest.approx(rate, rel=0.02)
    assert dominant_hz(samples[rate // 4 : rate * 3 // 4].astype(float), rate) == pytest.approx(700, abs=4)


def test_nonsense_is_counted_and_the_next_packet_heard() -> None:
    decoder = SoundDecoder(Format("OPUS", 48_000), 48_000)
    packets = [p.data[12:] for p in sound("OPUS", 700, 0.5, ssrc=1)]
    assert len(decoder.decode(b"\xff" * 40)) == 0
    assert decoder.bad == 1
    assert len(decoder.decode(packets[3])) == 960


def test_an_endless_payload_is_cut() -> None:
    decoder = SoundDecoder(Format("PCMA", 8000), 8000)
    assert len(decoder.decode(b"\xd5" * 60_000)) == 4000


def collect(*parts) -> np.ndarray:
    """Join blocks and check that they follow each other."""
    out: list[np.ndarray] = []
    for position, pcm in (block for part in parts for block in part):
        assert position == sum(map(len, out))
        out.append(np.frombuffer(pcm, "<i2"))
    return np.concatenate(out)


def test_a_hole_is_silence_of_its_length() -> None:
    track = SoundTrack(8000)
    one, two = tone(440, 0.5, 8000), tone(440, 0.25, 8000)
    parts = [
        list(track.place(0.1, one)),
        list(track.place(2.0, two)),
        list(track.silence(3.0)),
        list(track.flush()),
    ]
    samples = collect(*parts)
    assert len(samples) == 24_000
    assert not samples[:800].any()
    assert np.array_equal(samples[800:4800], one)
    assert not samples[4800:16_000].any()
    assert np.array_equal(samples[16_000:18_000], two)
    assert not samples[18_000:].any()
    assert track.seconds == 3.0


def test_neighbours_a_few_milliseconds_off_are_joined() -> None:
    track = SoundTrack(8000)
    pieces = [tone(440, 0.02, 8000) for _ in range(50)]
    moments = [n * 0.02 + (0.008 if n % 3 else -0.006) for n in range(50)]
    samples = collect(*[list(track.place(m, p)) for m, p in zip(moments, pieces, strict=True)], track.flush())
    assert np.array_equal(samples, np.concatenate(pieces))


def test_what_overlaps_is_cut_in_front() -> None:
    track = SoundTrack(8000)
    one, two = np.full(8000, 1, np.int16), np.full(8000, 2, np.int16)
    samples = collect(
        list(track.place(0, one)), list(track.place(0.5, two)), list(track.place(0.2, one)), track.flush()
    )
    assert samples.tolist() == [1] * 8000 + [2] * 4000
    assert track.cut == 4000 + 8000


def test_blocks_are_of_even_size() -> None:
    track = SoundTrack(8000)
    sizes = [len(pcm) // 2 for n in range(100) for _at, pcm in track.place(n * 0.02, tone(440, 0.02, 8000))]
    assert set(sizes) == {int(8000 * BLOCK)}
    assert list(track.silence(1.0)) == [], "it is longer than that already"


def stored_amr(hz: float) -> list[bytes]:
    return [amr.unpack(amr.Form(), encoder.encode(block))[0] for encoder in (Encoder("AMR"),)
            for block in (tone(hz, 1.0, 8000) * 1.0).astype(np.int16).reshape(-1, 160)]  # fmt: skip


@pytest.mark.parametrize("fmtp", ["", "octet-align=1", "mode-set=7; octet-align=1"])
@pytest.mark.parametrize("each", [1, 3])
def test_amr_in_both_forms_and_with_several_frames(fmtp: str, each: int) -> None:
    frames = stored_amr(700)[: 16 * 3]
    shape = amr.form("AMR", fmtp)
    decoder = SoundDecoder(Format("AMR", 8000, fmtp), 8000)
    payloads = [amr.pack(shape, frames[at : at + each]) for at in range(0, len(frames), each)]
    samples = np.concatenate([decoder.decode(payload) for payload in payloads])
    assert (decoder.bad, len(samples)) == (0, 16 * 3 * 160)
    assert dominant_hz(samples[2000:6000].astype(float), 8000) == pytest.approx(700, abs=5)


@pytest.mark.parametrize("fmtp", ["", "octet-align=1"])
def test_amr_wide_band_of_another_encoder(fmtp: str) -> None:
    data = (Path(__file__).parents[1] / "data" / "tone440.awb").read_bytes().removeprefix(b"#!AMR-WB\n")
    frames = [data[at : at + 33] for at in range(0, len(data), 33)]
    shape = amr.form("AMR-WB", fmtp)
    decoder = SoundDecoder(Format("AMR-WB", 16_000, fmtp), 16_000)
    samples = np.concatenate([decoder.decode(amr.pack(shape, [frame])) for frame in frames])
    assert (decoder.bad, len(samples)) == (0, 16_000)
    assert dominant_hz(samples[4000:12_000].astype(float), 16_000) == pytest.approx(440, abs=3)


@given(st.sampled_from(amr_here.NAMES), st.sampled_from(["", "octet-align=1"]), st.binary(max_size=80))
def test_both_readers_of_amr_agree_on_any_payload(name: str, fmtp: str, payload: bytes) -> None:
    try:
        theirs = amr.unpack(amr.form(name, fmtp), payload)
    except amr.AmrError:
        with pytest.raises(ValueError, match=r"cut off|too many"):
            amr_here.frames(name, fmtp, payload)
    else:
        assert amr_here.frames(name, fmtp, payload) == theirs
