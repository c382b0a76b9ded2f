"""Phones that send nothing while nobody speaks: bursts of a tone, and in the pauses what their codec has for them.

G.711 says once that it pauses, by comfort noise (RFC 3389), and then nothing. Opus is libopus with DTX, whose packets of two octets
and less a phone leaves out (RFC 6716 §2.1.9): it says something every 400 ms.
"""

import ctypes
import itertools
import time
from dataclasses import dataclass
from typing import Final

import numpy as np

from tests.kit.rtp_media import tone
from tests.live.kit import ports
from tests.live.kit.exchange import Exchange
from tests.live.kit.oracle import Heard, Oracle
from tests.live.kit.strangers import alaw

BURSTS: Final = ((0.0, 0.8), (4.8, 5.4), (7.0, 7.6))
"""From when to when there is somebody who speaks, seconds. The first pause is longer than it takes to miss a phone (2.5 s)."""
TONE: Final = 440
FRAME: Final = 0.02
CN: Final = 13
NOISE: Final = b"\x4e"
"""As soft as can be: 78 dB below the loudest (RFC 3389 §3.1)."""
LEFT_OUT: Final = 2
"""Octets of an Opus packet that need not be sent."""
LOUD: Final = 2000.0
"""Root mean square of the samples from which on somebody speaks; the tone has 11,600."""
PAUSE: Final = 1.2
"""Seconds of quiet that are a pause; a machine that is late makes shorter ones."""
TOO_LATE: Final = 1.0
"""Seconds by which a packet may leave late: more on top of what is between two packets of Opus and the phone is rightly missed."""
STALL: Final = 0.5
"""Seconds by which a burst may be longer or shorter at the desk: what a busy machine keeps the exchange from relaying in time."""
SEAM: Final = 0.15
"""Seconds by which a burst may begin or end elsewhere in a film: the coder's own delay, and that it stops a little later."""
# Of opus_defines.h.
VOIP: Final = 2048
SET_BITRATE: Final = 4002
SET_DTX: Final = 4016
LINES: Final = {
    "PCMA": ("8 13 101", "a=rtpmap:8 PCMA/8000", "a=rtpmap:13 CN/8000"),
    "opus": ("111 101", "a=rtpmap:111 opus/48000/2", "a=fmtp:111 usedtx=1"),
}


@dataclass(frozen=True, slots=True)
class Said:
    """One packet a phone sends: when, seconds after it began."""

    at: float
    payload_type: int
    timestamp: int
    payload: bytes
    begins: bool


class Pausing(Oracle):
    """An oracle phone with sound in one codec; nothing is sent but by `speak`."""

    def __init__(self, mark: int, codec: str, exchange: Exchange) -> None:
        self.codec = codec
        super().__init__(mark, exchange=exchange.sip)
        self.speaking = False

    def _sdp(self) -> str:
        types, *lines = LINES[self.codec]
        head = ["v=0", "o=- 110 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0"]
        lines = [
            *head,
            f"m=audio {self.audio_port} RTP/AVP {types}",
            *lines,
            "a=rtpmap:101 telephone-event/8000",
        ]
        return "".join(f"{line}\r\n" for line in lines)


def _talks(at: float) -> bool:
    return any(begin <= at < end for begin, end in BURSTS)


def said_in(codec: str) -> list[Said]:
    """All a phone sends: every frame of speech, and of the pauses what its codec wants sent."""
    count = round(BURSTS[-1][1] / FRAME)
    talks = [_talks(number * FRAME + FRAME / 2) for number in range(count)]
    made: list[Said] = []
    quiet = True
    for number, (payload_type, payload) in enumerate(_frames(codec, talks)):
        step = 160 if codec == "PCMA" else 960
        if payload:
            made.append(Said(number * FRAME, payload_type, number * step, payload, begins=quiet))
        quiet = not payload
    return made


def _frames(codec: str, talks: list[bool]) -> list[tuple[int, bytes]]:
    rate = 8000 if codec == "PCMA" else 48_000
    wave = tone(TONE, len(talks) * FRAME, rate).astype(np.int16).reshape(len(talks), -1)
    wave = wave * np.array(talks, np.int16)[:, None]
    if codec == "PCMA":
        pauses = [not now and before for before, now in zip([False, *talks], talks, strict=False)]
        return [
            (8, alaw(block.astype(float))) if now else (CN, NOISE if pause else b"")
            for block, now, pause in zip(wave, talks, pauses, strict=True)
        ]
    return [(111, payload if len(payload) > LEFT_OUT else b"") for payload in _opus(wave)]


def _opus(blocks: "np.ndarray[tuple[int, int], np.dtype[np.int16]]") -> list[bytes]:
    """Encode with DTX, which only libopus itself can be asked for; it comes with baresip."""
    library, error, out = ctypes.CDLL("libopus.so.0"), ctypes.c_int(), ctypes.create_string_buffer(4000)
    library.opus_encoder_create.restype = ctypes.c_void_p
    encoder = ctypes.c_void_p(library.opus_encoder_create(48_000, 1, VOIP, ctypes.byref(error)))
    assert not error.value
    for request, value in ((SET_BITRATE, 24_000), (SET_DTX, 1)):
        assert not library.opus_encoder_ctl(encoder, request, ctypes.c_int(value))
    made = []
    for block in blocks:
        size = library.opus_encode(encoder, block.tobytes(), len(block), out, len(out))
        assert size > 0
        made.append(out.raw[:size])
    library.opus_encoder_destroy(encoder)
    return made


def speak(phones: list[Pausing]) -> float:
    """Let all of them say what they have to say, in time; by how much this machine was late with one at most, seconds."""
    due = sorted(
        ((said.at, number, said) for number, phone in enumerate(phones) for said in said_in(phone.codec)),
        key=lambda one: one[:2],
    )
    sequences = [0] * len(phones)
    began, late = time.monotonic(), 0.0
    for at, number, said in due:
        time.sleep(max(0.0, began + at - time.monotonic()))
        late = max(late, time.monotonic() - began - at)
        phone = phones[number]
        head = bytes((0x80, said.payload_type | said.begins << 7)) + sequences[number].to_bytes(2, "big")
        head += said.timestamp.to_bytes(4, "big") + phone.mark.to_bytes(4, "big")
        phone._audio.sendto(head + said.payload, (ports.ADDRESS, phone._remote_audio))
        sequences[number] += 1
    return late


def bursts(loud: list[float]) -> list[tuple[float, float]]:
    """Loud moments, in order, as stretches with less than a pause between them."""
    found: list[tuple[float, float]] = []
    for at in loud:
        if found and at - found[-1][1] < PAUSE:
            found[-1] = (found[-1][0], at)
        else:
            found.append((at, at))
    return found


def unbroken(heard: list[Heard]) -> None:
    """AssertionError when what came is not one stream without a hole."""
    assert len({packet.ssrc for packet in heard}) == 1
    steps = {(b.sequence - a.sequence) & 0xFFFF for a, b in itertools.pairwise(heard)}
    assert steps <= {1}, f"packets are missing: steps {steps}"
