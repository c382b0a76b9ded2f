r"""Append what happened in a call to its `events.jsonl`.

in → out: (event, fields, two clocks) → one JSON object on one line, in order of `seq`.

A line is `{"seq","at","mono","call","event",…}`: `seq` counts from 1 without a hole, `at` is UTC with milliseconds
and offset, `mono` is the monotonic clock in seconds, which shows where the wall clock was set. Lines end with LF
alone, text is UTF-8; a string with bytes that were no UTF-8 on the wire keeps them as `\udcXX`.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from recordings.folder import EVENTS_NAME, make_private_folder, sync_folder, utc

Entry = tuple[str, Mapping[str, Any], int, float]
"""Event, fields, ns since 1970, monotonic seconds."""

_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW

RESERVED: Final = frozenset({"seq", "at", "mono", "call", "event"})


class EventLog:
    """The open `events.jsonl` of one call; one writer, one thread (`sync` may be called from any)."""

    def __init__(self, call: str, folder: str, *, wall_ns: int, mono: float) -> None:
        """Open or continue the log; a line torn by a crash is removed and stated. Raises OSError.

        `wall_ns` (ns since 1970) and `mono` (s) are the present time, used only for that statement.
        """
        self.call = call
        self._folder = folder
        try:
            os.mkdir(folder, 0o700)  # noqa: PTH102 - each call has one: a Path costs more than the folder
        except FileExistsError:
            pass  # media, which opens the capture first, has made it
        except FileNotFoundError:
            make_private_folder(Path(folder))
        self._file = os.open(f"{folder}/{EVENTS_NAME}", _FLAGS, 0o600)
        self._open = True
        try:
            size = os.fstat(self._file).st_size
            kept = os.pread(self._file, size, 0) if size else b""
            self._size = kept.rfind(b"\n") + 1
            self.seq = kept.count(b"\n")
            if torn := len(kept) - self._size:
                os.ftruncate(self._file, self._size)
                self.append("log_repaired", {"bytes_removed": torn}, wall_ns=wall_ns, mono=mono)
        except BaseException:
            os.close(self._file)
            raise

    def append(self, event: str, fields: Mapping[str, Any], *, wall_ns: int, mono: float) -> int:
        """Write one event, give its `seq`. OSError leaves the log as it was; ValueError if a field has a reserved name."""
        return self.extend([(event, fields, wall_ns, mono)])

    def extend(self, events: Sequence[Entry]) -> int:
        """Write several events as one, give the last `seq`; errors as of `append`: all are there or none is."""
        lines = []
        for seq, (event, fields, wall_ns, mono) in enumerate(events, self.seq + 1):
            if clash := RESERVED & fields.keys():
                raise ValueError(f"fields {sorted(clash)} belong to the log itself")
            lines.append(encode(seq, self.call, event, fields, wall_ns=wall_ns, mono=mono))
        line = b"".join(lines)
        if os.fstat(self._file).st_size != self._size:
            os.ftruncate(self._file, self._size)  # what a cut that failed had left
        try:
            written = os.write(self._file, line)
            while written < len(line):
                written += os.write(self._file, line[written:])
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self.seq += len(lines)
        self._size += len(line)
        return self.seq

    def sync(self) -> None:
        """Wait until everything written is on the disk. Raises OSError."""
        os.fsync(self._file)
        sync_folder(self._folder)

    @property
    def file(self) -> int | None:
        """Its descriptor while it is open."""
        return self._file if self._open else None

    def close(self, *, synced: bool = False) -> None:
        """Sync, unless somebody has, and close; the file is closed even if OSError is raised. Closing twice is harmless."""
        if self._open:
            self._open = False
            try:
                if not synced:
                    self.sync()
            finally:
                os.close(self._file)


def encode(seq: int, call: str, event: str, fields: Mapping[str, Any], *, wall_ns: int, mono: float) -> bytes:
    """Render one line with its LF."""
    record = {"seq": seq, "at": utc(wall_ns), "mono": round(mono, 6), "call": call, "event": event, **fields}
    try:
        return msgspec.json.encode(record) + b"\n"
    except (UnicodeEncodeError, OverflowError):  # bytes kept by surrogateescape; numbers beyond 64 bits
        return json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def read_events(path: Path) -> list[dict[str, Any]]:
    """Read a log as far as its lines are JSON objects; a missing file is an empty one. Raises OSError otherwise."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    found: list[dict[str, Any]] = []
    for line in data.split(b"\n"):
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict):
            found.append(event)
    return found
