"""Callers who must never hear or see each other, each with a mark in its packets and a tone of its own, and who did.

A frame of sound is the mark (25 octets, 3 ms) and then the caller's tone, without a seam between frames: relayed it is known by the
mark, mixed by the tone. Pictures are never mixed, there the mark is enough.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from tests.live.kit import sound, wire
from tests.live.kit.scripted import Address, Phone

HEAD: Final = len(wire.MAGIC) + 4 + 8 + 8
"""Octets of a mark."""
FIRST_TONE: Final = 1500
STEP: Final = 30
"""Hz between two callers' tones. Above 1500 Hz speech (prompts) has no part of a window's power as narrow as a tone."""
TONES: Final = 60
WINDOW: Final = 0.4
"""Seconds in which a tone is looked for: a resolution of 2.5 Hz."""
SHARE: Final = 0.08
"""Of the power of a window: a sixth of what two voices of equal level have, marks and all."""
PICTURE_EVERY: Final = 3
"""Frames of sound between two packets of picture."""


class Loopback:
    """Stands in for a namespace: sockets of this machine."""

    def udp(self, host: str) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        made.bind((host, 0))
        made.setblocking(False)
        return made

    @contextmanager
    def inside(self) -> Iterator[None]:
        yield


def tone_of(mark: int) -> int:
    """Hz of somebody's tone."""
    assert mark < TONES, "there are no more tones"
    return FIRST_TONE + STEP * mark


def alaw(samples: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> bytes:
    """Encode samples of -32768…32767 (ITU-T G.711): the nearest of the 256 values, so that nothing is taken from the exchange."""
    codes = np.arange(256, dtype=np.uint8)
    values = sound.alaw(codes.tobytes()).samples
    order = np.argsort(values)
    nearest = np.searchsorted(values[order], samples).clip(0, 255)
    return codes[order][nearest].tobytes()


@dataclass
class Speaker(Phone):
    """A phone with sound and picture, a mark and a tone."""

    seen: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.picture = self.net.udp(self.host)
        self.pump.add(self.picture, self._take_picture)
        self.picture_port = 0
        # One second of the tone is a whole number of periods: frames follow each other without a seam.
        wave = 8000 * np.sin(2 * np.pi * tone_of(self.mark) * np.arange(8000) / 8000)
        self.wave = alaw(wave)
        super().__post_init__()

    def sdp(self) -> str:
        text = wire.offer(
            audio=self.rtp.getsockname()[1], video=self.picture.getsockname()[1], direction=self.direction,
            version=self.version,
        )  # fmt: skip
        return text.replace("IN IP4 127.0.0.1", f"IN IP4 {self.host}")

    def answer_to(self, offer: str) -> str:
        self.picture_port = wire.media_port(offer, "video") or self.picture_port
        return self.sdp()

    def _take_answer(self, message: wire.Message) -> None:
        if message.method == "INVITE" and message.status == 200:
            self.picture_port = wire.media_port(message.body, "video")
        super()._take_answer(message)

    def _take_picture(self, data: bytes, _source: Address) -> None:
        if len(data) > 12 and not 192 <= data[1] <= 223:
            self.seen.append(data)

    def say(self) -> None:
        number = self.sent
        head = bytes([0x80, 8]) + (self.first + number & 0xFFFF).to_bytes(2)
        head += (number * wire.FRAME & 0xFFFFFFFF).to_bytes(4) + self.ssrc.to_bytes(4)
        at = number % 50 * wire.FRAME
        payload = wire.marked(self.mark, number)[:HEAD] + self.wave[at + HEAD : at + wire.FRAME]
        self._put(self.rtp, head + payload, self.port)
        if number % PICTURE_EVERY == 0 and self.picture_port:
            head = bytes([0x80, 0x80 | 96]) + (number // PICTURE_EVERY & 0xFFFF).to_bytes(2)
            head += (number * 1800 & 0xFFFFFFFF).to_bytes(4) + (self.ssrc ^ 1).to_bytes(4)
            self._put(self.picture, head + b"\x65" + wire.marked(self.mark, number), self.picture_port)
        self.sent += 1

    def _put(self, sock: socket.socket, data: bytes, port: int) -> None:
        try:
            sock.sendto(data, (self.exchange[0], port))
        except OSError:  # a full queue of the system, or nobody listens there any more
            return

    @property
    def asking(self) -> bool:
        """An INVITE of its own has no final answer yet, or is to be sent again."""
        return self._again < float("inf") or any(key.endswith(" INVITE") for key in self._pending)

    def _answer(self, request: wire.Message) -> None:
        if (
            request.method == "INVITE"
            and request.tag_to
            and (not self.up or request.get("call-id") != self.call_id)
        ):
            self.refuse(request, "481 Call/Transaction Does Not Exist")
        else:
            super()._answer(request)

    # --- what came ---

    @property
    def marks(self) -> set[int]:
        """Whose packets came."""
        owners = (wire.owner(data[12:]) for data in (*self.heard, *self.seen))
        return {owner[0] for owner in owners if owner is not None}

    def tones(self, marks: "set[int]") -> set[int]:
        """Those of `marks` whose tone was heard."""
        payloads = b"".join(data[12:] for data in self.heard if data[1] & 0x7F == 8)
        heard = sound.alaw(payloads)
        found: set[int] = set()
        for start in np.arange(0.0, heard.seconds - WINDOW, WINDOW / 2):
            window = heard.part(float(start), float(start) + WINDOW)
            if window.rms > 100:
                missing = sorted(marks - found)
                shares = window.shares([tone_of(mark) for mark in missing], 5.0)
                found |= {mark for mark, share in zip(missing, shares, strict=True) if share > SHARE}
        return found
