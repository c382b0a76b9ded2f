"""The outbox's files: numbered lines in segments, written by one thread, read by one reader.

`outbox-<first position, 16 digits>.jsonl`; a line is one JSON object `{"n": position, "kind": …, "record": {…}}`.
Positions grow by one. A new start and a failed write begin a new segment: nothing is ever appended behind a torn line.
After a failed fsync the kernel may have forgotten what it took, so those lines are written again into the new segment;
a reader skips positions it has seen.
"""

import itertools
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

__all__ = [
    "MAX_SEGMENT",
    "Line",
    "Reader",
    "SegmentFile",
    "last_position",
    "remove_applied",
    "segments",
    "stream_name",
]

MAX_SEGMENT: Final = 4 * 1024 * 1024  # bytes; the unit of removal
NAME: Final = re.compile(r"outbox-([0-9]{16})\.jsonl", re.ASCII)
MAX_LINE: Final = 1024 * 1024  # bytes; a record of 64 KiB texts stays far below


class Line(msgspec.Struct, frozen=True):
    """One line."""

    n: int
    kind: str
    record: dict[str, Any]


def stream_name(folder: Path, *, renew: bool = False) -> str:
    """Give the outbox's own name, made once with the folder: positions of another folder mean other rows."""
    path = folder / "outbox-name"
    try:
        name = path.read_text("ascii").strip()
    except FileNotFoundError:
        name = ""
    if renew or not re.fullmatch(r"[0-9a-f]{16}", name, re.ASCII):
        name = secrets.token_hex(8)
        fresh = path.with_suffix(".new")
        fresh.write_text(name + "\n", "ascii")
        _sync(fresh)
        fresh.replace(path)
        _sync(folder)
    return name


def segments(folder: Path) -> list[tuple[int, Path]]:
    """Give (first position, path) of every segment, in order."""
    named = ((NAME.fullmatch(path.name), path) for path in folder.glob("outbox-*.jsonl"))
    return sorted((int(match[1]), path) for match, path in named if match)


def last_position(folder: Path) -> int:
    """Give the highest position that was ever written whole, 0 when there is none."""
    last = 0
    for first, path in segments(folder):
        last = max([last, first - 1, *(line.n for line, _ in read_lines(path, 0))])
    return last


def remove_applied(folder: Path, position: int) -> int:
    """Remove segments that hold nothing above `position`; the newest stays, its name remembers the positions."""
    found = segments(folder)
    removed = 0
    for (_, path), (following, _) in itertools.pairwise(found):
        if following - 1 > position:
            break
        path.unlink(missing_ok=True)
        removed += 1
    return removed


def read_lines(path: Path, offset: int) -> Iterator[tuple[Line, int]]:
    """Give (line, offset behind it) from `offset` on; a torn or foreign line is passed over, an unfinished one ends it."""
    try:
        file = path.open("rb")
    except FileNotFoundError:  # applied and removed
        return
    with file:
        file.seek(offset)
        while text := file.readline(MAX_LINE):
            offset += len(text)
            if not text.endswith(b"\n"):
                return
            try:
                line = msgspec.json.decode(text, type=Line)
            except msgspec.MsgspecError:
                continue
            yield line, offset


class Reader:
    """Reads on from a position, across segments."""

    def __init__(self, folder: Path, position: int) -> None:
        self._folder = folder
        self._position = position
        self._path: Path | None = None
        self._offset = 0

    @property
    def segment(self) -> Path | None:
        """The file it stands in."""
        return self._path

    def read(self, durable: int, limit: int) -> list[Line]:
        """Give the next lines, at most `limit`, none above `durable` (not yet on disk). Raises OSError."""
        lines: list[Line] = []
        while self._position < durable and len(lines) < limit:
            if self._path is None and not self._open_next(after=None):
                break
            path = self._path
            assert path is not None  # set just above
            for line, offset in read_lines(path, self._offset):
                if line.n > durable:
                    return lines
                self._offset = offset
                if line.n <= self._position:  # written again after a failed fsync
                    continue
                self._position = line.n
                lines.append(line)
                if len(lines) == limit:
                    return lines
            if not self._open_next(after=path):
                break
        return lines

    def _open_next(self, after: Path | None) -> bool:
        """Turn to the segment behind `after`, or to the one that holds the position."""
        found = segments(self._folder)
        if after is None:
            behind = [path for first, path in found if first <= self._position + 1][-1:]
            paths = behind or [path for _, path in found]
        else:
            paths = [path for _, path in found if path.name > after.name]
        if not paths:
            return False
        self._path, self._offset = paths[0], 0
        return True


class SegmentFile:
    """One segment being written. Used by the writer's thread only."""

    def __init__(self, folder: Path, first: int) -> None:
        """Make the file; one of that name holds nothing that was promised and is emptied. Raises OSError."""
        self.path = folder / f"outbox-{first:016d}.jsonl"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(self.path, flags, 0o600)
        self.size = 0
        _sync(folder)

    def write(self, data: bytes) -> None:
        """Append all of `data` and see it to the disk. Raises OSError; then this segment must not be used again."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]
        os.fdatasync(self._descriptor)
        self.size += len(data)

    def close(self) -> None:
        os.close(self._descriptor)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def append_synced(path: Path, data: bytes) -> None:
    """Append `data` to a private file and see it to the disk. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
