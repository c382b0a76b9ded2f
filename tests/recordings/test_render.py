import io
import json
import random
import subprocess
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from recordings.render import CancelledError, render
from rtp import g711
from tests.kit.evidence import (
    CALLER,
    CALLER_VIDEO,
    US_CALLER_AUDIO,
    US_CALLER_VIDEO,
    US_DESK_AUDIO,
    SyntheticCall,
)
from tests.kit.rtp_media import Packetizer, dominant_hz, packetize_h264, pictures, sound, tone

RED = (200, 30, 30)


def make(folder: Path) -> dict[str, Any]:
    return render(
        folder, folder / "call.mkv", folder / "snapshot.jpg", call="call-1", original_sha256="ab" * 32
    )


def probe(path: Path) -> dict[str, Any]:
    done = subprocess.run(
        ["ffprobe", "-v", "error", "-show_streams", "-show_format", "-of", "json", str(path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert not done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def tracks(path: Path) -> dict[str, tuple[int, np.ndarray]]:
    """The sound tracks by title: (rate, samples)."""
    out = {}
    with av.open(str(path)) as container:
        count = len(container.streams.audio)
    for index in range(count):
        with av.open(str(path)) as container:
            stream = container.streams.audio[index]
            samples = np.zeros(0)
            for frame in container.decode(stream):
                start = round(float(frame.time or 0) * frame.sample_rate)
                assert abs(start - len(samples)) <= frame.sample_rate / 1000, "no hole, no overlap"
                samples = np.concatenate([samples, frame.to_ndarray()[0]])
            out[stream.metadata["title"]] = (stream.codec_context.sample_rate, samples)
    return out


def decoded(path: Path) -> list[tuple[float, list[int]]]:
    """Time and colour of every picture."""
    with av.open(str(path)) as container:
        return [
            (
                float(frame.time or 0),
                np.median(frame.to_ndarray(format="rgb24")[60:], axis=(0, 1)).astype(int).tolist(),
            )
            for frame in container.decode(video=0)
        ]


def usual(folder: Path, sound_name: str, picture_name: str | None, host: str = "PCMA") -> SyntheticCall:
    call = SyntheticCall(folder)
    call.caller_sound(sound(sound_name, 440, 4.0, ssrc=1))
    if picture_name:
        call.caller_picture(pictures(picture_name, 3.0, ssrc=2, colour=RED, begin=0.5))
    call.host_sound(sound(host, 1000, 1.5, ssrc=3, begin=1.0), sent_on=True)
    return call


def flashes(seconds: int, rate: int) -> list[bytes]:
    """A dark picture that is white for one frame at each full second."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 320, 240, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, rate), Fraction(rate)
    encoder.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "x264-params": "keyint=25:repeat-headers=1",
    }
    made = []
    for number in range(seconds * rate):
        image = np.full((240, 320, 3), 235 if number % rate == 0 else 20, np.uint8)
        frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
        frame.pts = number
        made += [bytes(packet) for packet in encoder.encode(frame)]
    return made + [bytes(packet) for packet in encoder.encode(None)]


@pytest.mark.parametrize(
    ("sound_name", "picture_name", "codec", "rate"),
    [("PCMA", "H264", "h264", 8000), ("OPUS", "VP8", "vp8", 48_000), ("G722", "H265", "hevc", 16_000)],
)
@pytest.mark.parametrize("source", ["events", "sip"])
def test_a_whole_call(tmp_path: Path, sound_name, picture_name, codec, rate, source) -> None:
    call = usual(tmp_path, sound_name, picture_name)
    if source == "events":
        call.negotiate_usual(sound_name, picture_name)
    else:
        call.signalling(sound_name, picture_name)
    report = make(call.write())
    found = probe(tmp_path / "call.mkv")
    video, *audio = found["streams"]
    assert (video["codec_name"], video["width"], video["height"]) == (codec, 320, 240)
    assert [(s["codec_name"], s["sample_rate"], s["tags"]["title"]) for s in audio] == [
        ("pcm_s16le", str(rate), "caller"),
        ("pcm_s16le", "8000", "host"),
    ]
    assert float(found["format"]["duration"]) == pytest.approx(4.0, abs=0.1)
    assert found["format"]["tags"]["ORIGINAL_SHA256"] == "ab" * 32
    assert found["format"]["tags"]["START"] == "2026-09-21T14:13:20.000+00:00"

    heard = tracks(tmp_path / "call.mkv")
    clock, caller = heard["caller"]
    assert dominant_hz(caller[clock : clock * 3], clock) == pytest.approx(440, abs=2)
    clock, host = heard["host"]
    assert dominant_hz(host[clock + 800 : clock * 2], clock) == pytest.approx(1000, abs=2)
    assert not host[: clock - 200].any(), "silence until the host came"
    assert not host[int(clock * 2.55) :].any()

    shown = decoded(tmp_path / "call.mkv")
    assert len(shown) == 45
    assert [at for at, _colour in shown] == pytest.approx([0.5 + n / 15 for n in range(45)], abs=0.002)
    assert all(colour == pytest.approx(RED, abs=12) for _at, colour in shown)
    assert report["film"]["pictures"] == 45
    assert [s["missing"] for s in report["senders"]] == [0, 0, 0]

    jpeg = (tmp_path / "snapshot.jpg").read_bytes()
    assert b"original SHA-256 " + b"ab" * 32 in jpeg
    with av.open(io.BytesIO(jpeg), format="mjpeg") as container:
        [frame] = container.decode(video=0)
        assert np.median(frame.to_ndarray(format="rgb24")[60:], axis=(0, 1)) == pytest.approx(RED, abs=12)


def test_the_same_capture_gives_the_same_bytes(tmp_path: Path) -> None:
    call = usual(tmp_path, "OPUS", "H264")
    call.negotiate_usual("OPUS", "H264")
    make(call.write())
    first = (tmp_path / "call.mkv").read_bytes(), (tmp_path / "snapshot.jpg").read_bytes()
    make(tmp_path)
    assert ((tmp_path / "call.mkv").read_bytes(), (tmp_path / "snapshot.jpg").read_bytes()) == first


def test_pictures_are_copied_bit_for_bit(tmp_path: Path) -> None:
    call = SyntheticCall(tmp_path)
    packets = pictures("VP8", 1.0, ssrc=2, colour=RED)
    call.caller_picture(packets)
    call.negotiate_usual("PCMA", "VP8")
    make(call.write())
    sent, unit = [], b""
    for packet in packets:
        unit += packet.data[12 + 4 :]
        if packet.data[1] & 0x80:
            sent.append(unit)
            unit = b""
    with av.open(str(tmp_path / "call.mkv")) as container:
        assert [bytes(p) for p in container.demux(video=0) if p.size] == sent


def test_loss_reordering_and_repeats(tmp_path: Path) -> None:
    call = SyntheticCall(tmp_path)
    packets = sound("PCMA", 440, 4.0, ssrc=1)
    lost = {50, 51, 52, 120}
    kept = [p for n, p in enumerate(packets) if n not in lost]
    kept[10], kept[12] = kept[12], kept[10]
    kept.insert(30, kept[29])
    # In the order of the list, whatever the times say.
    call.packets += [(n * 0.02, CALLER, US_CALLER_AUDIO, p.data) for n, p in enumerate(kept)]
    pieces = pictures("H264", 3.0, ssrc=2, colour=RED, begin=0.5, size=(640, 480))
    call.caller_picture(p for n, p in enumerate(pieces) if n % 17 != 9)
    call.negotiate_usual("PCMA", "H264")
    report = make(call.write())
    caller, video = report["senders"]
    assert (caller["missing"], caller["duplicates"] + caller["late"]) == (4, 1)
    assert video["missing"] == len([n for n in range(len(pieces)) if n % 17 == 9 and n < len(pieces) - 1])
    assert video["incomplete"] > 0
    probe(tmp_path / "call.mkv")
    rate, heard = tracks(tmp_path / "call.mkv")["caller"]
    assert not heard[50 * 160 : 53 * 160].any(), "what was lost is silent, at its place"
    assert np.abs(heard[49 * 160 : 50 * 160]).max() > 1000
    assert dominant_hz(heard[60 * 160 : 110 * 160], rate) == pytest.approx(440, abs=2)


def test_a_key_picture_is_waited_for(tmp_path: Path) -> None:
    call = SyntheticCall(tmp_path)
    packets = pictures("VP8", 2.0, ssrc=2, colour=RED)
    call.caller_picture(packets[1:])
    call.caller_sound(sound("PCMA", 440, 2.0, ssrc=1))
    call.negotiate_usual("PCMA", "VP8")
    report = make(call.write())
    assert report["film"]["pictures"] == 15
    assert report["film"]["pictures_left_out"] >= 14
    assert decoded(tmp_path / "call.mkv")[0][0] == pytest.approx(1.0, abs=0.002)


def test_sound_alone(tmp_path: Path) -> None:
    call = usual(tmp_path, "PCMU", None)
    call.negotiate_usual("PCMU", None)
    make(call.write())
    assert [s["codec_type"] for s in probe(tmp_path / "call.mkv")["streams"]] == ["audio", "audio"]
    assert not (tmp_path / "snapshot.jpg").exists()


def test_a_caller_who_sends_nothing(tmp_path: Path) -> None:
    call = SyntheticCall(tmp_path)
    call.negotiate_usual("PCMA", "H264")
    call.signalling("PCMA", "H264")
    report = make(call.write())
    assert not (tmp_path / "call.mkv").exists()
    assert not (tmp_path / "snapshot.jpg").exists()
    assert report["senders"] == []


def test_two_desks_in_turn_and_a_change_of_codec(tmp_path: Path) -> None:
    call = SyntheticCall(tmp_path)
    call.caller_sound(sound("PCMA", 440, 2.0, ssrc=1))
    call.caller_sound(sound("OPUS", 600, 2.0, ssrc=9, begin=2.0))
    call.host_sound(sound("PCMA", 1000, 1.0, ssrc=3, begin=0.5))
    other = ("203.0.113.1", 20_104)
    call.packets += [
        (p.at, ("198.51.100.11", 52_000), other, p.data) for p in sound("PCMU", 1500, 1.0, ssrc=4, begin=2.5)
    ]
    call.negotiate_usual("PCMA", None)
    call.negotiate("caller", "audio", US_CALLER_AUDIO[1], CALLER, "OPUS")
    call.negotiate("desk:2", "audio", other[1], ("198.51.100.11", 52_000), "PCMU")
    make(call.write())
    heard = tracks(tmp_path / "call.mkv")
    rate, caller = heard["caller"]
    assert rate == 48_000
    assert dominant_hz(caller[rate // 2 : rate * 3 // 2], rate) == pytest.approx(440, abs=2)
    assert dominant_hz(caller[rate * 5 // 2 : rate * 7 // 2], rate) == pytest.approx(600, abs=2)
    rate, host = heard["host"]
    assert dominant_hz(host[rate * 6 // 10 : rate * 14 // 10], rate) == pytest.approx(1000, abs=3)
    assert dominant_hz(host[rate * 26 // 10 : rate * 34 // 10], rate) == pytest.approx(1500, abs=3)


def test_a_long_silence_keeps_the_tracks_together(tmp_path: Path) -> None:
    call = SyntheticCall(tmp_path)
    call.caller_sound(sound("PCMA", 440, 40.0, ssrc=1))
    call.host_sound(sound("PCMA", 1000, 1.0, ssrc=3, begin=38.0))
    call.negotiate_usual("PCMA", None)
    make(call.write())
    order = []
    with av.open(str(tmp_path / "call.mkv")) as container:
        order = [float(p.pts * p.time_base) for p in container.demux() if p.pts is not None]
    assert max(a - b for a, b in pairwise(order)) < 9, "interleaved within the hold-back"
    rate, host = tracks(tmp_path / "call.mkv")["host"]
    assert dominant_hz(host[int(38.2 * rate) : int(38.9 * rate)], rate) == pytest.approx(1000, abs=3)


@pytest.mark.parametrize("offset", [0, 3_000])
def test_lips_and_voice_stay_together_through_jitter_loss_and_a_change_of_clock(
    tmp_path: Path, offset: int
) -> None:
    """A flash and a tone at one moment each second, over a road that delays and loses: within +45/−125 ms in the film.

    Sound and picture come through the exchange on ports of their own, each with jitter of its own; `offset`: the sound's
    packets as a mix renumbers them, later by so many timestamp units, which must not move it.
    """
    dice = random.Random(110)
    seconds, rate = 6, 25
    call = SyntheticCall(tmp_path)
    beeps = np.concatenate(
        [np.concatenate([tone(1000, 0.2, 8000), np.zeros(6400, np.int16)]) for _ in range(seconds)]
    )
    sender = Packetizer(8, 1)
    for number in range(seconds * 50):
        payload = g711.encode_alaw(beeps[number * 160 : number * 160 + 160])
        packet = sender.packet(number * 0.02, payload, number * 160 + offset, marker=number == 0)
        if number and dice.random() < 0.02:
            continue
        at = packet.at + dice.random() * 0.030
        call.packets.append((at, CALLER, US_CALLER_AUDIO, packet.data))
    video = Packetizer(96, 2)
    for number, data in enumerate(flashes(seconds, rate)):
        payloads = packetize_h264(data)
        late = dice.random() * 0.030
        for index, payload in enumerate(payloads):
            packet = video.packet(
                number / rate + late, payload, number * 90_000 // rate, marker=index == len(payloads) - 1
            )
            call.packets.append((packet.at + index * 0.0002, CALLER_VIDEO, US_CALLER_VIDEO, packet.data))
    call.negotiate_usual("PCMA", "H264")
    make(call.write())
    sample_rate, heard = tracks(tmp_path / "call.mkv")["caller"]
    loud = np.abs(heard) > 4000
    spoken = [
        int(second * sample_rate + np.argmax(loud[int(second * sample_rate) :])) / sample_rate
        for second in (0.9, 1.9, 2.9, 3.9, 4.9)
    ]
    bright = [at for at, colour in decoded(tmp_path / "call.mkv") if min(colour) > 160]
    assert len(bright) >= seconds - 1
    for at in spoken:
        shown = min(bright, key=lambda moment: abs(moment - at))
        # Sound before the picture is noticed from 45 ms on, behind it from 125 ms (ITU-R BT.1359).
        assert -0.125 <= shown - at <= 0.045, (at, shown)


def test_hold_with_a_clock_that_stands_still(tmp_path: Path) -> None:
    call = SyntheticCall(tmp_path)
    packets = sound("PCMA", 440, 4.0, ssrc=1)
    call.packets += [
        (p.at + (10.0 if n >= 100 else 0), CALLER, US_CALLER_AUDIO, p.data) for n, p in enumerate(packets)
    ]
    call.negotiate_usual("PCMA", None)
    make(call.write())
    rate, heard = tracks(tmp_path / "call.mkv")["caller"]
    assert len(heard) / rate == pytest.approx(14.0, abs=0.1)
    assert not heard[int(2.1 * rate) : int(11.9 * rate)].any()
    assert dominant_hz(heard[int(12.2 * rate) : int(13.8 * rate)], rate) == pytest.approx(440, abs=2)


def test_media_full_of_nonsense_still_makes_a_film(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    call = usual(tmp_path, "OPUS", "H264")
    video, audio = Packetizer(96, 77), Packetizer(111, 78)
    for n in range(400):
        junk = rng.bytes(int(rng.integers(1, 300)))
        call.packets.append(
            (
                n * 0.01,
                ("198.51.100.7", 40_002),
                ("203.0.113.1", 20_002),
                video.packet(0, junk, n * 900, marker=n % 3 == 0).data,
            )
        )
        call.packets.append(
            (n * 0.01, CALLER, US_CALLER_AUDIO, audio.packet(0, junk, n * 480, marker=False).data)
        )
        call.packets.append((n * 0.01, CALLER, US_DESK_AUDIO, junk))
    call.negotiate_usual("OPUS", "H264")
    report = make(call.write())
    assert sum(s["bad"] for s in report["senders"]) > 50
    probe_errors = subprocess.run(
        ["ffprobe", "-v", "quiet", "-show_streams", str(tmp_path / "call.mkv")],
        check=True,
        capture_output=True,
    )
    assert b"codec_name=h264" in probe_errors.stdout


def test_it_stops_when_asked(tmp_path: Path) -> None:
    call = usual(tmp_path, "PCMA", None)
    call.negotiate_usual("PCMA", None)
    call.write()
    asked = []

    def cancelled() -> bool:
        asked.append(1)
        return len(asked) > 1

    with pytest.raises(CancelledError):
        render(
            tmp_path,
            tmp_path / "call.mkv",
            tmp_path / "s.jpg",
            call="c",
            original_sha256="",
            cancelled=cancelled,
        )


def test_staff_who_speak_with_the_host_have_tracks_of_their_own(tmp_path: Path) -> None:
    call = usual(tmp_path, "PCMA", None)
    call.negotiate_usual("PCMA", None)
    for number, hz in ((1, 1500), (2, 700)):
        at = ("203.0.113.1", US_DESK_AUDIO[1] + 2 * number)
        call.negotiate(f"staff:fire-{number}", "audio", at[1], ("198.51.100.9", 50_000 + 2 * number), "PCMU")
        for p in sound("PCMU", hz, 1.5, ssrc=10 + number, begin=1.0):
            call.packets.append((p.at, ("198.51.100.9", 50_000 + 2 * number), at, p.data))
    report = make(call.write())
    found = tracks(tmp_path / "call.mkv")
    assert list(found) == ["caller", "host", "staff:fire-1", "staff:fire-2"]
    for name, hz in (("host", 1000), ("staff:fire-1", 1500), ("staff:fire-2", 700)):
        rate, samples = found[name]
        assert abs(dominant_hz(samples[int(1.2 * rate) : int(2.2 * rate)], rate) - hz) < 10
    assert report["film"]["overlapping_seconds"] == dict.fromkeys(found, 0.0)
    assert report["film"]["sound_left_out"] == 0
