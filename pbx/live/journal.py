"""The journal of live state as a file: records by name, appended to turn by turn, rewritten when it has grown.

in → out: changed records → one write for a turn; a file that a dead process left → its records.

Nothing is synced to the disk: what was written outlives the process in the kernel's cache, and whatever loses that (the
machine) loses the supervisor's key and the media process too. A disk that refuses stops no call: the file is taken away, for
an old state would be worse than none, and begun anew as soon as the disk takes it.
"""

import os
import secrets
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Final, Literal

from pbx.live.frames import (
    HEADER_BYTES,
    KEY_BYTES,
    SALT_BYTES,
    Frame,
    Header,
    Seal,
    key_name,
    parse_header,
)

FILE: Final = "journal"
REWRITE_BYTES: Final = 4 << 20
"""A file below this is never rewritten: some four hundred calls."""
REWRITE_FACTOR: Final = 4
"""A file this many times as large as what it holds, doings that are kept included, is rewritten."""
OUTS_SECONDS: Final = 10.0
"""How long what a turn did to files is kept: threads that write are done with it after milliseconds."""
BEAT_SECONDS: Final = 0.5
"""A turn that changed nothing is written as a sign of life, but not oftener."""
BLAME_SECONDS: Final = 1.0
"""How far back what was written last goes, when signalling died of it."""
GATHERED_OUTS: Final = 500
"""Doings of several turns that are written as one frame when the file is rewritten: some 200 kB."""
PIECE_BYTES: Final = 256 << 10
"""Of records that are written as one frame when the file is rewritten: encoding and sealing take three times as much for a moment,
and just after a rush all of them are many megabytes."""
MAX_OUTS: Final = 20_000
"""Turns whose doings are kept; more wait only while the outbox's disk refuses, and there they are in memory too."""

Why = Literal["no_journal", "other_run", "other_boot", "not_a_journal", "unreadable"]


@dataclass(slots=True)
class Found:
    """What a dead process left."""

    records: dict[str, bytes] = field(default_factory=dict)
    turns: list[Frame] = field(default_factory=list)
    """All of them, without their changes, the oldest first."""
    changed: frozenset[str] = frozenset()
    """Records of the file's last second: whoever is to blame is among them."""
    cut: int = 0
    """Bytes behind the last whole frame."""
    why: Why | None = None
    """Why nothing could be taken from it."""

    @property
    def last(self) -> Frame | None:
        """The turn that was written last."""
        return max(self.turns, key=lambda turn: turn.mono, default=None)


def boot_id() -> str:
    """Return what tells one boot of this machine from another; monotonic times mean nothing beyond it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return "unknown"


class Journal:
    """See the module. One process writes; nothing here waits for a disk."""

    def __init__(self, folder: Path, key: bytes, boot: str) -> None:
        """`folder`: ours alone, made here with mode 700. `key`: the supervisor's, `KEY_BYTES` long."""
        assert len(key) == KEY_BYTES, "the supervisor's key"
        self._folder = folder
        self._path = folder / FILE
        self._key = key
        self._boot = boot
        self._file: int | None = None
        self._seal: Seal | None = None
        self._outs: deque[tuple[float, int, Frame]] = deque()
        self._kept = 0  # bytes of what `_outs` hold
        self._written = 0.0
        self.table: dict[str, bytes] = {}
        """Every record as it was written last."""
        self.size = 0
        """Bytes of the file."""
        self.fault: str | None = None
        """Why nothing is kept at the moment."""

    # --- what was ----------------------------------------------------------------------------------------------------

    def read(self) -> Found:
        """Read what a process before this one left."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            with os.fdopen(descriptor, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return Found(why="no_journal")
        except OSError:
            return Found(why="unreadable")
        header = parse_header(data)
        if header is None:
            return Found(why="not_a_journal")
        if header.boot != self._boot:
            return Found(why="other_boot")
        if header.key != key_name(self._key):
            return Found(why="other_run")
        return _opened(memoryview(data)[HEADER_BYTES:], Seal(self._key, header))

    # --- what is -----------------------------------------------------------------------------------------------------

    def begin(
        self,
        records: Mapping[str, bytes],
        turns: Iterable[Frame],
        *,
        mono: float,
        wall: int,
        base: int,
        fresh: frozenset[str] = frozenset(),
    ) -> bool:
        """Write a new file with this state, which takes the place of any other whole or not at all. False: the disk refused.

        `turns`: those whose doings are still to be kept; `fresh`: records that are to count as written last.
        """
        self.table = dict(records)
        header = Header(self._boot, secrets.token_bytes(SALT_BYTES), key_name(self._key))
        seal = Seal(self._key, header)
        frames = chain(
            # Long ago, as far as blame goes: only what is fresh counts as written last.
            (Frame(mono - 2 * BLAME_SECONDS, wall, base, piece, []) for piece in _pieces(self.table, fresh)),
            (Frame(one.mono, one.wall, one.base, [], one.outs) for one in turns),
            (Frame(mono, wall, base, [one for one in self.table.items() if one[0] in fresh], []),),
        )
        size = 0
        draft = self._path.with_suffix(".new")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft.unlink(missing_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(draft, flags, 0o600)
            try:
                for data in chain((header.encode(),), map(seal.seal, frames)):
                    _write(descriptor, data)
                    size += len(data)
                draft.replace(self._path)
            except OSError:
                os.close(descriptor)
                draft.unlink(missing_ok=True)
                raise
        except OSError as error:
            self._give_up(error)
            return False
        self._close()
        self._file, self._seal, self.size, self.fault = descriptor, seal, size, None
        return True

    def append(
        self,
        changes: list[tuple[str, bytes | None]],
        outs: list[bytes],
        *,
        mono: float,
        wall: int,
        base: int,
        rows: int = 0,
    ) -> bool:
        """Write one turn. `changes` that change nothing are left out. False: the disk refused, and nothing is kept now.

        `base`: rows the outbox had before; `rows`: how many of `outs` are rows.
        """
        news = self._news(changes)
        frame = Frame(mono, wall, base, news, outs)
        if outs:  # without the changes: records that newer ones have replaced are many times as large
            self._outs.append((mono, base + rows, Frame(mono, wall, base, [], outs)))
            self._kept += sum(map(len, outs))
            if len(self._outs) > MAX_OUTS:
                self._drop_oldest()
        if self._file is None or self._seal is None:
            return False
        if not news and not outs and mono - self._written < BEAT_SECONDS:
            return True
        self._written = mono
        data = self._seal.seal(frame)
        try:
            _write(self._file, data)
        except OSError as error:
            self._give_up(error)
            return False
        self.size += len(data)
        return True

    def rewrite(self, *, mono: float, wall: int, base: int, durable: int) -> bool:
        """Begin anew if the file has grown too large, or is none. `durable`: rows the outbox has on disk.

        True: a new file stands.
        """
        while self._outs and self._outs[0][0] < mono - OUTS_SECONDS and self._outs[0][1] <= durable:
            self._drop_oldest()
        if self._file is not None and not self._grown():
            return False
        turns = list(_gathered(self._outs))
        return self.begin(self.table, turns, mono=mono, wall=wall, base=base)

    def end(self) -> None:
        """Leave nothing: everything ended in order."""
        self._close()
        self.table.clear()
        self._path.unlink(missing_ok=True)

    def _grown(self) -> bool:
        if self.size <= REWRITE_BYTES:
            return False
        live = sum(map(len, self.table)) + sum(map(len, self.table.values()))
        return self.size > REWRITE_FACTOR * (live + self._kept)

    def _news(self, changes: list[tuple[str, bytes | None]]) -> list[tuple[str, bytes | None]]:
        table = self.table
        news: list[tuple[str, bytes | None]] = []
        for change in changes:
            name, data = change
            if table.get(name) == data:
                continue
            if data is None:
                del table[name]
            else:
                table[name] = data
            news.append(change)
        return news

    def _drop_oldest(self) -> None:
        _, _, frame = self._outs.popleft()
        self._kept -= sum(map(len, frame.outs))

    def _give_up(self, error: OSError) -> None:
        """Take the file away: what it holds will soon be wrong. Removing needs no room on the disk."""
        self.fault = error.strerror or str(error)
        self._close()
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            pass  # a disk that refuses even this is no longer ours; its file's calls are compared with the media process

    def _close(self) -> None:
        descriptor, self._file, self._seal, self.size = self._file, None, None, 0
        if descriptor is not None:
            os.close(descriptor)


def _pieces(table: Mapping[str, bytes], fresh: frozenset[str]) -> Iterator[list[tuple[str, bytes | None]]]:
    """Give all records but the fresh ones, some `PIECE_BYTES` at a time."""
    piece: list[tuple[str, bytes | None]] = []
    size = 0
    for name, data in table.items():
        if name in fresh:
            continue
        piece.append((name, data))
        size += len(name) + len(data)
        if size >= PIECE_BYTES:
            yield piece
            piece, size = [], 0
    yield piece


def _gathered(kept: Iterable[tuple[float, int, Frame]]) -> Iterator[Frame]:
    """Make few frames of many turns, whose rows follow each other without a gap: thousands would be sealed one by one."""
    last, behind = None, 0
    for _, end, turn in kept:
        if last is None or turn.base != behind or len(last.outs) >= GATHERED_OUTS:
            if last is not None:
                yield last
            last = Frame(turn.mono, turn.wall, turn.base, [], [])
        last.mono, last.wall, behind = max(last.mono, turn.mono), max(last.wall, turn.wall), end
        last.outs += turn.outs
    if last is not None:
        yield last


def _opened(data: memoryview, seal: Seal) -> Found:
    found = Found()
    at, recent = 0, deque[tuple[float, list[str]]]()
    while (one := seal.open(data[at:])) is not None:
        frame, length = one
        at += length
        for name, record in frame.changes:
            if record is None:
                found.records.pop(name, None)
            else:
                found.records[name] = record
        recent.append((frame.mono, [name for name, _ in frame.changes] if found.turns else []))
        while recent[0][0] < frame.mono - BLAME_SECONDS:
            recent.popleft()
        found.turns.append(Frame(frame.mono, frame.wall, frame.base, [], frame.outs))
    found.cut = len(data) - at
    found.changed = frozenset(name for _, names in recent for name in names)
    return found


def _write(descriptor: int, data: bytes) -> None:
    written = os.write(descriptor, data)
    while written < len(data):
        written += os.write(descriptor, data[written:])
