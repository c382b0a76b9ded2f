"""Prompts encoded ahead of use, by a process of their own.

Encoding all prompts takes seconds, and a thread that does it takes the interpreter away from the loop for a
millisecond at each packet. So a child at low priority encodes (`python -m rtp.prepare FOLDER…`) and the loop takes over
one prompt after the other; a prompt that is asked for before its turn is encoded on the spot.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
import structlog

from rtp.codecs import name_of, refit, variant
from rtp.control import Codec
from rtp.frames import Frames, pack
from rtp.loop import Loop
from rtp.prompts import Prompts

CODECS: Final = ("PCMA", "PCMU", "G722", "OPUS", "AMR")
"""In this order: nearly every phone has the first."""
TONES: Final = ("tone:zip", "tone:waiting")
NICENESS: Final = 10
READ_SIZE: Final = 1 << 16
"""Bytes taken over in one round of the loop: well below a millisecond."""

log = structlog.get_logger("media")


class Ready(msgspec.Struct, frozen=True, array_like=True):
    """One prompt in one codec, as the child hands it over."""

    item: str
    codec: str
    frames: tuple[bytes, ...]


class PreparedPrompts(Prompts):
    """Prompts that look first at what was handed over."""

    def __init__(self, folders: tuple[str, ...]) -> None:
        """`folders`: as of `Prompts`."""
        super().__init__(folders)
        self._ready: dict[tuple[str, str], tuple[bytes, ...]] = {}

    def adopt(self, ready: Ready) -> None:
        """Take over one prompt."""
        self._ready[ready.item, ready.codec] = ready.frames

    def frames(self, item: str, codec: Codec | str) -> tuple[bytes, ...]:
        """One item as 20 ms payloads (see `Prompts.frames`)."""
        wanted = variant(codec)
        ready = self._ready.get((item, wanted))
        if ready is None and (plain := self._ready.get((item, name_of(codec)))) is not None:
            ready = refit(plain, codec)
            if ready is not None:
                self._ready[item, wanted] = ready
        return ready if ready is not None else super().frames(item, codec)


class Preparation:
    """The child, seen from the loop."""

    def __init__(self, prompts: PreparedPrompts, folders: tuple[str, ...], loop: Loop) -> None:
        """Start it; prompts arrive in `prompts` while the loop runs."""
        self._prompts = prompts
        self._loop = loop
        self._frames = Frames()
        self._decoder = msgspec.msgpack.Decoder(Ready)
        self.process: subprocess.Popen[bytes] | None = subprocess.Popen(  # noqa: S603  # our own interpreter and module; the folders come from the settings file
            [sys.executable, "-m", "rtp.prepare", *folders],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[1],
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        assert self.process.stdout is not None, "asked for just now"
        self._pipe = self.process.stdout.fileno()
        loop.add(self._pipe, self._read, "prompts")

    def _read(self) -> None:
        data = os.read(self._pipe, READ_SIZE)
        for frame in self._frames.feed(data):
            self._prompts.adopt(self._decoder.decode(frame))
        if not data:
            self._end()

    def close(self) -> None:
        """End the child if it is still at work."""
        if self.process is not None:
            self.process.terminate()
            self._end(stopped=True)

    def _end(self, *, stopped: bool = False) -> None:
        process, self.process = self.process, None
        assert process is not None, "ended once"
        assert process.stdout is not None, "see __init__"
        self._loop.remove(self._pipe)
        process.stdout.close()
        code = process.wait()
        if code != 0 and not stopped:
            log.error("prompts_not_prepared", code=code)


def prepare(folders: tuple[str, ...], out: BinaryIO) -> None:
    """Encode every prompt in every codec and write each to `out`, framed."""
    prompts = Prompts(folders)
    for codec in CODECS:
        for item in (*TONES, *prompts.names):
            ready = Ready(item, codec, prompts.frames(item, codec))
            out.write(pack(msgspec.msgpack.encode(ready)))
            out.flush()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    os.nice(NICENESS)
    try:
        prepare(tuple(sys.argv[1:]), sys.stdout.buffer)
    except BrokenPipeError:
        os._exit(1)  # the media process has ended and wants nothing any more
