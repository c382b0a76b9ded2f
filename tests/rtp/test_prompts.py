import wave

import numpy as np
import pytest

from rtp import codecs
from rtp.codecs import Decoder
from rtp.numbers import number_items
from rtp.prompts import SHIPPED, PromptMissing, Prompts, placeholder_prompts, required

EN = {
    1: "1", 10: "10", 11: "11", 19: "19", 20: "20", 21: "20 1", 99: "90 9", 100: "100", 101: "100 1", 110: "100 10",
    115: "100 15", 230: "200 30", 999: "900 90 9",
}  # fmt: skip
ZH = {
    1: "1", 10: "10", 11: "10 1", 19: "10 9", 20: "20", 21: "20 1", 100: "100", 101: "100 0 1", 110: "100 1 10",
    115: "100 1 10 5", 120: "100 20", 230: "200 30", 909: "900 0 9", 999: "900 90 9",
}  # fmt: skip


def write_wav(path, samples, rate=8000):
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())


def tone(hz, rate=8000, seconds=0.5):
    return 8000 * np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate)


def dominant(payloads, codec):
    decoder = Decoder(codec)
    heard = np.concatenate([decoder.decode(p) for p in payloads])
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
    return spectrum.argmax() * decoder.sampling_rate / len(heard)


@pytest.mark.parametrize(("language", "table"), [("en", EN), ("zh", ZH)])
def test_numbers(language, table):
    for number, words in table.items():
        assert number_items(language, number) == tuple(f"{language}/{word}" for word in words.split()), number


@pytest.mark.parametrize(("language", "number"), [("en", 0), ("zh", 1000), ("en", -1), ("fr", 1)])
def test_numbers_that_cannot_be_said(language, number):
    with pytest.raises(ValueError, match=str(number)):
        number_items(language, number)


def test_all_numbers_are_different():
    for language in ("zh", "en"):
        assert len({number_items(language, number) for number in range(1, 1000)}) == 999


@pytest.mark.parametrize("language", ["zh", "en"])
def test_everything_that_may_be_said_is_shipped(language):
    prompts = Prompts()
    for name in required(language):
        assert prompts.file(name).is_relative_to(SHIPPED)


def test_shipped_prompts_hold_speech():
    prompts = Prompts()
    for name in ("zh/please-wait", "en/please-wait", "zh/7", "en/7"):
        samples = prompts.samples(name, 8000).astype(float)
        assert np.sqrt((samples**2).mean()) > 500, name
        assert 0.2 < len(samples) / 8000 < 10, name


@pytest.mark.parametrize("codec", codecs.SPOKEN)
def test_site_prompts_override_and_later_folders_win(tmp_path, codec):
    write_wav(tmp_path / "a/en/welcome.wav", tone(500))
    write_wav(tmp_path / "a/en/goodbye.wav", tone(600))
    write_wav(tmp_path / "b/en/welcome.wav", tone(900))
    prompts = Prompts([tmp_path / "a", str(tmp_path / "b")])
    assert dominant(prompts.frames("en/welcome", codec), codec) == pytest.approx(900, abs=4)
    assert dominant(prompts.frames("en/goodbye", codec), codec) == pytest.approx(600, abs=4)
    assert len(prompts.frames("en/welcome", codec)) in (25, 26)


def test_a_missing_prompt_is_named():
    with pytest.raises(PromptMissing, match="en/nothing"):
        Prompts().samples("en/nothing", 8000)


@pytest.mark.parametrize(
    "item", ["en/nothing", "tone:loud", "pause:x", "pause:٣", "pause:99999", "song:1", ""]
)
def test_what_cannot_be_played_is_skipped(item):
    assert Prompts().frames(item, "PCMA") == ()


def test_an_unreadable_file_is_skipped(tmp_path):
    (tmp_path / "en").mkdir()
    (tmp_path / "en/welcome.wav").write_bytes(b"this is no sound")
    prompts = Prompts([tmp_path])
    with pytest.raises(PromptMissing, match=r"en/welcome.*welcome\.wav"):
        prompts.samples("en/welcome", 8000)
    assert prompts.frames("en/welcome", "PCMA") == ()


def test_an_absent_folder_leaves_the_shipped_prompts(tmp_path):
    assert Prompts([tmp_path / "nowhere"]).frames("en/1", "PCMU")


def test_payloads_are_made_once():
    prompts = Prompts()
    assert prompts.frames("en/1", "PCMA") is prompts.frames("en/1", "PCMA")


def test_zip_tone():
    payloads = Prompts().frames("tone:zip", "PCMA")
    assert len(payloads) == 10
    assert dominant(payloads, "PCMA") == pytest.approx(1000, abs=5)
    edges = Decoder("PCMA").decode(payloads[0])[:8], Decoder("PCMA").decode(payloads[-1])[-8:]
    assert max(np.abs(edge).max() for edge in edges) < 200, "soft edges, no click"


def test_waiting_tone_is_no_ringing():
    payloads = Prompts().frames("tone:waiting", "PCMA")
    assert len(payloads) == 220
    heard = [np.abs(Decoder("PCMA").decode(p)).max() for p in payloads]
    assert max(heard[:25]) > 1500
    assert max(heard[110:]) == 8, "the second half is A-law silence"
    assert abs(dominant(payloads, "PCMA") - 450) > 50


def test_pause_is_silence():
    assert Prompts().frames("pause:100", "OPUS") == (codecs.silence("OPUS"),) * 5
    assert len(Prompts().frames("pause:1", "PCMA")) == 1
    assert Prompts().frames("pause:0", "PCMA") == ()


def test_prepare_makes_all(tmp_path):
    prompts = Prompts()
    assert prompts.prepare(["PCMA"]) == len(prompts.names) + 2


def test_placeholders_are_in_use_until_all_are_replaced(tmp_path):
    assert placeholder_prompts([])
    names = [*required("zh"), *required("en")]
    for name in names:
        write_wav(tmp_path / f"{name}.wav", tone(500, seconds=0.02))
    assert not placeholder_prompts([tmp_path])
    (tmp_path / f"{names[3]}.wav").unlink()
    assert placeholder_prompts([tmp_path])
