"""AMR's payloads, bit by bit, and what comes out of them."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp import amr
from rtp.amr import AmrError, Form, form, pack, unpack
from rtp.codecs import CodecError, Decoder, Encoder, refit, silence, variant
from rtp.control import Codec
from rtp.prepare import PreparedPrompts, Ready
from tests.kit.rtp_media import dominant_hz, tone

DATA = Path(__file__).parents[1] / "data"
FORMS = ["", "octet-align=1", "mode-set=0,2,4", "octet-align=1; mode-set=0,2,4,7"]


def line(fmtp: str = "", name: str = "AMR", number: int = 97) -> Codec:
    return Codec(name, number, 16_000 if name == "AMR-WB" else 8000, 1, fmtp)


def wave(hz: float, rate: int = 8000) -> np.ndarray:
    return tone(hz, 1.0, rate, level=0.4).astype(np.int16)


@st.composite
def stored(draw: st.DrawFn) -> tuple[Form, list[bytes]]:
    """A form, and frames as a file holds them."""
    shape = Form(draw(st.booleans()), draw(st.booleans()))
    table = amr.WIDE_BITS if shape.wide else amr.BITS
    frames = []
    for kind in draw(
        st.lists(st.sampled_from([*range(len(table)), 15]), min_size=1, max_size=amr.MAX_FRAMES)
    ):
        bits = shape.bits(kind)
        size = (bits + 7) // 8
        speech = draw(st.integers(0, (1 << bits) - 1)) << (8 * size - bits)
        good = 4 if kind == 15 else draw(st.sampled_from([0, 4]))
        frames.append(bytes((kind << 3 | good,)) + speech.to_bytes(size, "big"))
    return shape, frames


@given(stored())
def test_what_is_packed_comes_out_again(made: tuple[Form, list[bytes]]) -> None:
    shape, frames = made
    assert unpack(shape, pack(shape, frames)) == frames


@given(st.builds(Form, st.booleans(), st.booleans()), st.binary(max_size=100))
def test_any_payload_is_frames_or_refused(shape: Form, payload: bytes) -> None:
    try:
        frames = unpack(shape, payload)
    except AmrError:
        return
    assert 1 <= len(frames) <= amr.MAX_FRAMES
    assert all(len(frame) == 1 + (shape.bits(frame[0] >> 3) + 7) // 8 for frame in frames)


def test_the_single_frame_that_rfc_4867_draws() -> None:
    # RFC 4867 §4.3.5.1: CMR 6, FT 4 (7.4 kbit/s), 148 bits d(0)…d(147), P 0 0: 20 octets.
    speech = (1 << 147 | 1) << 4  # d(0) and d(147) are 1; a file fills 148 bits up to 19 octets
    frame = bytes((4 << 3 | 4,)) + speech.to_bytes(19, "big")
    payload = pack(Form(), [frame])
    assert len(payload) == 20
    bits = f"{int.from_bytes(payload, 'big'):0160b}"
    assert bits[:4] == "1111"  # we ask for no mode
    assert bits[4:10] == "001001"  # F=0, FT=0100, Q=1
    assert (bits[10], bits[157], bits[158:]) == ("1", "1", "00")
    # RFC 4867 §4.4.5.1 draws the octet-aligned one: CMR and four zeros, then F FT Q and two zeros, then the speech.
    assert pack(Form(octet_aligned=True), [frame]) == bytes((0xF0, 0x24)) + speech.to_bytes(19, "big")


@pytest.mark.parametrize(
    "fmtp",
    [
        "crc=1",
        "robust-sorting=1",
        "interleaving=30",
        "channels=2",
        "mode-set=8",
        "mode-set=",
        "mode-set=0,x",
        "mode-set=²",
    ],
)
def test_forms_nobody_speaks_here(fmtp: str) -> None:
    with pytest.raises(AmrError):
        form("AMR", fmtp)
    with pytest.raises(CodecError):
        Decoder(line(fmtp))


def test_the_best_mode_of_a_mode_set_is_sent() -> None:
    assert [form("AMR", fmtp).mode for fmtp in FORMS] == [7, 7, 4, 7]
    assert form("AMR-WB", "MODE-SET=0,1,2").mode == 2
    assert form("AMR-WB", "").mode == 8


@pytest.mark.parametrize("fmtp", FORMS)
def test_a_tone_there_and_back(fmtp: str) -> None:
    encoder, decoder = Encoder(line(fmtp)), Decoder(line(fmtp))
    payloads = [encoder.encode(block) for block in wave(700).reshape(-1, 160)]
    kinds = {frame[0] >> 3 for payload in payloads for frame in unpack(form("AMR", fmtp), payload)}
    assert kinds == {form("AMR", fmtp).mode}
    heard = np.concatenate([decoder.decode(payload) for payload in payloads])
    assert len(heard) == 8000
    assert dominant_hz(heard[2000:].astype(float), 8000) == pytest.approx(700, abs=5)


def _ffmpeg(path: Path, rate: int) -> np.ndarray:
    done = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(path), "-f", "s16le", "-ar", str(rate), "-"],
        capture_output=True,
        check=True,
    )
    return np.frombuffer(done.stdout, "<i2").astype(float)


@pytest.mark.parametrize("fmtp", FORMS)
def test_another_program_decodes_what_is_made_here(fmtp: str, tmp_path: Path) -> None:
    encoder = Encoder(line(fmtp))
    payloads = [encoder.encode(block) for block in wave(700).reshape(-1, 160)]
    frames = [frame for payload in payloads for frame in unpack(form("AMR", fmtp), payload)]
    file = tmp_path / "tone.amr"
    file.write_bytes(b"#!AMR\n" + b"".join(frames))  # RFC 4867 §5.1
    heard = _ffmpeg(file, 8000)
    assert len(heard) == 8000
    assert dominant_hz(heard[2000:], 8000) == pytest.approx(700, abs=5)


@pytest.mark.parametrize("fmtp", ["", "octet-align=1"])
def test_wide_band_sound_of_another_encoder_is_heard(fmtp: str) -> None:
    data = (DATA / "tone440.awb").read_bytes().removeprefix(b"#!AMR-WB\n")
    frames = [data[at : at + 33] for at in range(0, len(data), 33)]
    codec = line(fmtp, "AMR-WB")
    decoder = Decoder(codec)
    heard = np.concatenate([decoder.decode(pack(form("AMR-WB", fmtp), [frame])) for frame in frames])
    assert len(heard) == 16_000
    assert dominant_hz(heard[4000:].astype(float), 16_000) == pytest.approx(440, abs=3)
    with pytest.raises(CodecError, match="can't be encoded"):
        Encoder(codec)


@pytest.mark.parametrize("fmtp", FORMS)
def test_silence_has_the_form_of_the_line(fmtp: str) -> None:
    assert unpack(form("AMR", fmtp), silence(line(fmtp))) == [amr.QUIET]


def test_variants_are_what_shares_its_payloads() -> None:
    assert [variant(line(fmtp)) for fmtp in FORMS] == [
        "AMR", "AMR;octet-align=1", "AMR;mode-set=0,2,4", "AMR;octet-align=1;mode-set=0,2,4,7",
    ]  # fmt: skip
    assert variant(line("octet-align=0; mode-change-period=2")) == "AMR"
    assert variant(Codec("PCMA", 8, 8000, fmtp="x=1")) == "PCMA"
    for fmtp in FORMS:
        assert Encoder(variant(line(fmtp))).encode(wave(700)[:160]) == Encoder(line(fmtp)).encode(
            wave(700)[:160]
        )


def test_prepared_prompts_fit_each_form_that_has_their_mode() -> None:
    prompts = PreparedPrompts(())
    encoder = Encoder("AMR")
    payloads = tuple(encoder.encode(block) for block in wave(700)[:800].reshape(-1, 160))
    prompts.adopt(Ready("en/welcome", "AMR", payloads))
    assert prompts.frames("en/welcome", line()) == payloads
    aligned = prompts.frames("en/welcome", line("octet-align=1"))
    assert aligned == refit(payloads, line("octet-align=1"))
    assert [unpack(Form(octet_aligned=True), one) for one in aligned] == [
        unpack(Form(), one) for one in payloads
    ]
    assert refit(payloads, line("mode-set=0,2,4")) is None
    slow = prompts.frames("tone:zip", line("mode-set=0,2,4"))
    assert {frame[0] >> 3 for payload in slow for frame in unpack(form("AMR", ""), payload)} == {4}


@pytest.mark.parametrize("fmtp", ["", "octet-align=1"])
def test_a_mode_is_asked_for_in_the_first_four_bits_of_either_form(fmtp: str) -> None:
    payload = Encoder(line(fmtp)).encode(wave(440)[:160])
    assert amr.requested(payload) is None
    # RFC 4867 §4.3.1: 0 to 7 are the modes; 15: "no mode request is present", others are for future use.
    asked = {cmr: amr.requested(bytes([cmr << 4 | payload[0] & 15]) + payload[1:]) for cmr in range(16)}
    assert asked == {cmr: cmr if cmr < 8 else None for cmr in range(16)}
    assert amr.requested(b"") is None


@pytest.mark.parametrize(
    ("fmtp", "asked", "sent"),
    [("", 0, 0), ("", 5, 5), ("mode-set=2,4,7", 5, 4), ("mode-set=2,4,7", 1, 2), ("mode-set=0,2", 7, 2)],
)
def test_what_is_sent_keeps_to_the_mode_that_is_asked_for_and_to_the_set(
    fmtp: str, asked: int, sent: int
) -> None:
    encoder = Encoder(line(fmtp))
    encoder.encode(wave(440)[:160])
    encoder.ask(asked)
    frames = [
        unpack(form("AMR", fmtp), encoder.encode(block))[0] for block in wave(440).reshape(-1, 160)[1:5]
    ]
    assert {frame[0] >> 3 & 15 for frame in frames} == {sent}
    Encoder("PCMA").ask(3)  # nothing to ask of it
