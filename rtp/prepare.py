"""Prompts encoded ahead of use, by a process of their own.

Encoding all prompts takes seconds, and a thread that does it takes the interpreter away from the loop for a
millisecond at each packet. So a child at low priority encodes (`python -m rtp.prepare FOLDER…`) and the loop takes over
one prompt after the other; a prompt that is asked for before its turn is encoded on the spot.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
import structlog

from rtp import still
from rtp.codecs import name_of, refit, variant
from rtp.control import Codec
from rtp.frames import Frames, pack
from rtp.loop import Loop
from rtp.prompts import Prompts

CODECS: Final = ("PCMA", "PCMU", "G722", "OPUS", "AMR")
"""In this order: nearly every phone has the first."""
STILL: Final = "still"
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

    def still(self, codec: str) -> tuple[bytes, ...]:
        """The payloads of one picture of the site's still image; none until they were handed over."""
        return self._ready.get((STILL, codec), ())

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

    def __init__(
        self, prompts: PreparedPrompts, folders: tuple[str, ...], loop: Loop, *, still: str = ""
    ) -> None:
        """Start it; prompts arrive in `prompts` while the loop runs. `still`: the site's own still image, a file."""
        self._prompts = prompts
        self._loop = loop
        self._frames = Frames()
        self._decoder = msgspec.msgpack.Decoder(Ready)
        self.process: subprocess.Popen[bytes] | None = subprocess.Popen(  # noqa: S603  # our own interpreter and module; the folders come from the settings file
            [sys.executable, "-m", "rtp.prepare", still, *folders],
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


def prepare(folders: tuple[str, ...], out: BinaryIO, *, own_still: str = "") -> None:
    """Encode every prompt in every codec, and the still image, and write each to `out`, framed."""

    def give(ready: Ready) -> None:
        out.write(pack(msgspec.msgpack.encode(ready)))
        out.flush()

    prompts = Prompts(folders)
    for number, codec in enumerate(CODECS):
        for item in (*TONES, *prompts.names):
            give(Ready(item, codec, prompts.frames(item, codec)))
        if number == 0:
            for ready in _stills(own_still):
                give(ready)


def _stills(own: str) -> Iterator[Ready]:
    """Give the site's image, or the one drawn here where it has none that can be read."""
    try:
        image = still.load(own) if own else still.draw()
    except still.StillError as error:
        log.error("still_image_unreadable", reason=str(error))
        image = still.draw()
    for codec in still.CODECS:
        yield Ready(STILL, codec, still.encode(codec, image))


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    os.nice(NICENESS)
    try:
        prepare(tuple(sys.argv[2:]), sys.stdout.buffer, own_still=sys.argv[1])
    except BrokenPipeError:
        os._exit(1)  # the media process has ended and wants nothing any more
