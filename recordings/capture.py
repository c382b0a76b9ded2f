"""Append a call's packets to its `call.pcapng` while it lasts.

in → out: `packet`, `sip` (an append to a list, ~0.2 µs) → `flush` (one encoding, one write) → disk.

`Captures` and `Capture` are what the media process knows as EvidenceFactory and EvidenceSink. Any number of threads
may append and flush: the media loop appends and writes, another thread may wait for the disk in `flush(sync=True)`.

When the disk refuses, the file is cut back to its last whole block and OSError is raised; what was not written waits
for the next flush up to `MAX_HELD` bytes, then the oldest goes, and the first block written afterwards says in a
comment how much is missing, from when to when and why. The call itself goes on.
"""

import errno
import fcntl
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from recordings import pcapng
from recordings.folder import (
    CAPTURE_NAME,
    DAMAGED_NAMES,
    MANIFEST_NAME,
    make_private_folder,
    sync_filesystem,
    sync_folder,
    utc,
)
from recordings.pcapng import Address, Record

MAX_HELD: Final = 2 << 20
"""Bytes of payload one call keeps in memory while its disk refuses: some 10 s of sound and picture at 1.5 Mbit/s.
Two hundred such calls hold 400 MiB, which the machine of the bars has to spare."""

TOGETHER: Final = 8
"""Captures from which on the whole filesystem is synced in place of each file: few need not wait for what others write there."""

LeftOut = Callable[[int, int, int], None]
"""Told of packets that were dropped: (how many, first ns, last ns)."""
Append = Callable[[int, int, LeftOut], tuple[int, int, bytes | None, int] | None]
"""Writes blocks: (descriptor, where the file ends, told what was dropped before) → (bytes that went in, packets, all bytes if not all
went in, errno), or None, with nothing done, when it ends elsewhere."""


class _CutOff(Exception):  # noqa: N818  the error is `cause`
    """A write ended early."""

    def __init__(self, written: int, cause: OSError) -> None:
        super().__init__(written)
        self.written = written
        self.cause = cause


class Captures:
    """Open captures in the folders of calls."""

    def __init__(self, there: Callable[[], None] = lambda: None) -> None:
        """`there` raises OSError while no folder may be made, for the disk they belong on is not mounted (`store`)."""
        self._there = there

    def open(self, call: str, folder: str) -> "Capture":
        """Open or continue `folder`/call.pcapng; OSError if that can't be (BlockingIOError: another process has it)."""
        self._there()
        return Capture(call, folder)

    def head(self, source: Address, destination: Address) -> pcapng.Head:
        """What is the same in every block between two addresses."""
        return pcapng.head(source, destination)

    def sync(self, captures: Sequence["Capture"]) -> bool:
        """Put what was flushed of these captures on the disk in one go; False: it is to be done for each by itself.

        An fsync for each of 200 files has the filesystem commit 200 times a second. The first capture is to be the one that is open
        longest: the kernel tells a file of faults since that was opened.
        """
        if len(captures) < TOGETHER or not captures[0].sync_filesystem():
            return False
        for capture in captures:
            capture.synced()
        return True


class Capture:
    """The open `call.pcapng` of one call."""

    def __init__(self, call: str, folder: str) -> None:
        self.call = call
        self.path = Path(folder) / CAPTURE_NAME
        self.lost = 0
        """Packets that were never written, because the disk refused for too long."""
        self._pending: list[Record] = []
        self._encoded: list[
            tuple[bytes, int]
        ] = []  # blocks that need no more than to be written, and how many each is
        self._writing = threading.Lock()
        self._syncing = threading.Lock()
        self._packets = 0
        self._refused = False  # the last write failed
        self._lost_span: tuple[int, int, int, str] | None = None  # packets, first ns, last ns, reason
        self._losses: list[tuple[int, int, int, str]] = []  # the same, of packets that never came here
        self._noting = threading.Lock()
        self._new_folder = make_private_folder(Path(folder))
        if not self._new_folder and (self.path.parent / MANIFEST_NAME).exists():
            raise FileExistsError(errno.EEXIST, "sealed already: it was waited for too long", folder)
        self._size = 0
        try:
            self._file = _locked(self.path)
            self._start()
        except pcapng.PcapngError:
            put_aside(self.path)
            self._file = _locked(self.path)
            self._start()
        self._open = True
        self._folder_synced = False

    @property
    def pending(self) -> int:
        """Packets not yet written."""
        return len(self._pending) + sum(packets for _, packets in self._encoded)

    @property
    def takes_blocks(self) -> bool:
        """Whether packets may come as blocks; not while the disk refuses, or something is to be stated in the next of them."""
        return not (self._refused or self._losses)

    def encoded(self, data: bytes, packets: int) -> None:
        """Take packets that are blocks already (see `Captures.head`); behind what came before."""
        if packets:
            self._encoded.append((data, packets))

    def append(self, append: Append, left_out: LeftOut) -> bool:
        """Let blocks be written straight behind the file's last one; False: not now, for something else is to be written before.

        Raises OSError; what could not be written is kept, as in `flush`.
        """
        with self._writing:
            if not self._open or self._pending or self._encoded or not self.takes_blocks:
                return False
            done = append(self._file, self._size, left_out)
            if done is None:
                return False
            written, packets, data, error = done
            if data is None:
                self._size += written
                self._packets += packets
                return True
            self._encoded.append((data, packets))
            raise self._cut(_CutOff(written, OSError(error, os.strerror(error)))) from None

    def packet(self, at_ns: int, source: Address, destination: Address, data: bytes) -> None:
        """Take one UDP payload as received or as sent; `at_ns` is wall clock in ns since 1970."""
        self._pending.append((at_ns, source, destination, data, ()))

    def sip(self, at_ns: int, source: Address, destination: Address, transport: str, data: bytes) -> None:
        """Take one SIP message as it stood on the wire; over anything but UDP it is marked `transport=…`."""
        comments = () if transport == "udp" else (f"transport={transport}",)
        self._pending.append((at_ns, source, destination, data, comments))

    def left_out(self, packets: int, first_ns: int, last_ns: int, reason: str) -> None:
        """Take note of packets that were dropped before they came here; the next block, or the end of the file, states them."""
        with self._noting:
            if self._losses and self._losses[-1][3] == reason:
                before = self._losses.pop()
                packets, first_ns = packets + before[0], before[1]
            self._losses.append((packets, first_ns, last_ns, reason))

    def flush(self, *, sync: bool) -> None:
        """Write everything appended so far; with `sync` wait until it is on the disk. Raises OSError.

        After OSError the file holds whole blocks only, and what was not written is tried again at the next flush.
        """
        with self._writing:
            if self._open:
                self._write()
        if sync:
            with self._syncing:
                if self._open:
                    self._sync()

    def sync_filesystem(self) -> bool:
        """Put all that was written to the filesystem of this capture on the disk; False: it can't be told whether it is there."""
        with self._syncing:
            return self._open and sync_filesystem(self._file)

    def synced(self) -> None:
        """Hear that what was flushed is on the disk, and the name of the file too."""
        self._folder_synced = True

    def close(self) -> tuple[int, int]:
        """Write, sync and close; gives (packets written since it was opened, bytes of the file).

        The file is closed even if OSError is raised. Closing twice is harmless.
        """
        with self._writing, self._syncing:
            if self._open:
                self._open = False
                try:
                    try:
                        self._write()
                        self._conclude()
                    finally:
                        self._sync()
                finally:
                    os.close(self._file)
        return self._packets, self._size

    def _start(self) -> None:
        try:
            self._begin()
        except BaseException:
            os.close(self._file)
            raise

    def _begin(self) -> None:
        """Start a section behind what is whole."""
        comment = None
        if size := os.fstat(self._file).st_size:
            with open(self._file, "rb", closefd=False) as file:
                self._size = pcapng.whole_length(file)
            comment = "continued by another media process"
            if self._size < size:
                comment += f"; {size - self._size} bytes of an unfinished block removed"
        elif not self._new_folder and (aside := sorted(self.path.parent.glob(DAMAGED_NAMES))):
            comment = f"what came before is in {aside[-1].name}, which is damaged"
        try:
            self._size += self._append(pcapng.section(comment=comment))
        except _CutOff as cut:
            os.ftruncate(self._file, self._size)
            raise cut.cause from None

    def _write(self) -> None:
        try:
            self._write_records()
            while self._encoded:
                data, packets = self._encoded[0]
                self._size += self._append(data)
                self._packets += packets
                del self._encoded[0]
        except _CutOff as cut:
            raise self._cut(cut) from None
        self._refused = False

    def _cut(self, cut: _CutOff) -> OSError:
        """Keep what could not be written; the error to be raised."""
        self._refused = True
        self._take_apart(cut.written)
        self._hold(cut.cause)
        return cut.cause

    def _write_records(self) -> None:
        # Other threads append meanwhile: what is behind `count` is not ours, and the list is never replaced.
        count = len(self._pending)
        if not count:
            return
        records = self._pending[:count]
        if any(len(record[3]) > pcapng.MAX_PAYLOAD for record in records):
            records = [part for record in records for part in _parts(record)]
            self._pending[:count] = records
        with self._noting:
            losses, self._losses = self._losses, []
        blocks = pcapng.encode_batch([self._noted(records[0], losses), *records[1:]])
        try:
            written = self._append(b"".join(blocks))
        except _CutOff as cut:
            kept = self._settle(blocks, cut.written)
            if kept:
                self._lost_span = None
            else:
                with self._noting:
                    self._losses[:0] = losses
            raise _CutOff(0, cut.cause) from None
        assert written == sum(map(len, blocks)), "a write gave back more than it was given"
        self._settle(blocks, written)
        self._lost_span = None

    def _take_apart(self, written: int) -> None:
        """Let blocks that could not be written wait as any other packets; of the first, `written` bytes went in."""
        if not self._encoded:
            return
        waiting = pcapng.records(b"".join(data for data, _ in self._encoded))
        self._encoded.clear()
        if written:  # so all that stood before them is on the disk
            self._pending[:0] = waiting
            self._settle(pcapng.encode_batch(waiting), written)
        else:
            self._pending.extend(waiting)

    def _append(self, data: bytes) -> int:
        """Write `data` behind the whole blocks; raises _CutOff with the number of bytes that went in."""
        if os.fstat(self._file).st_size != self._size:
            os.ftruncate(self._file, self._size)  # what a cut that failed had left
        written = 0
        try:
            while written < len(data):
                # A short write is followed by the error that stopped it (write(2)).
                written += os.write(self._file, data[written:] if written else data)
        except OSError as error:
            raise _CutOff(written, error) from error
        return written

    def _settle(self, blocks: list[bytes], written: int) -> int:
        """Count the blocks that are whole within `written` bytes, forget them, cut the rest off the file."""
        kept = size = 0
        for block in blocks:
            if size + len(block) > written:
                os.ftruncate(self._file, self._size + size)
                break
            size += len(block)
            kept += 1
        self._size += size
        self._packets += kept
        del self._pending[:kept]
        return kept

    def _conclude(self) -> None:
        """State at the end of the file what no later packet could."""
        if self._losses:
            note = "; ".join(map(_note, self._losses))
            try:
                self._size += self._append(pcapng.section(comment=note))
            except _CutOff as cut:
                os.ftruncate(self._file, self._size)
                raise cut.cause from None
            self._losses.clear()

    def _noted(self, record: Record, losses: list[tuple[int, int, int, str]]) -> Record:
        """Add to the first record after a loss what was lost before it."""
        if self._lost_span is not None:
            losses = [self._lost_span, *losses]
        at, source, destination, data, comments = record
        return at, source, destination, data, (*comments, *map(_note, losses))

    def _hold(self, error: OSError) -> None:
        """Keep the newest `MAX_HELD` bytes of what could not be written, and remember what had to go."""
        held = 0
        for index in range(len(self._pending) - 1, -1, -1):
            held += len(self._pending[index][3])
            if held > MAX_HELD:
                gone = self._pending[: index + 1]
                del self._pending[: index + 1]
                before = self._lost_span
                lost = len(gone) + (before[0] if before else 0)
                self._lost_span = (
                    lost,
                    before[1] if before else gone[0][0],
                    gone[-1][0],
                    error.strerror or str(error),
                )
                self.lost += len(gone)
                return

    def _sync(self) -> None:
        os.fsync(self._file)
        if not self._folder_synced:
            # The name of a new file is on the disk only once its folder is.
            sync_folder(self.path.parent)
            self._folder_synced = True


def _note(loss: tuple[int, int, int, str]) -> str:
    packets, first, last, reason = loss
    return f"not recorded: {packets} packets from {utc(first)} to {utc(last)}: {reason}"


def _locked(path: Path) -> int:
    """Open a capture for this process alone. Raises OSError."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        # Two writers would cut each other's blocks back; the lock goes with the process that held it.
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(file)
        raise
    return file


def in_use(folder: Path) -> bool:
    """Tell whether a process has the capture in this folder open to write. Raises OSError."""
    try:
        file = os.open(folder / CAPTURE_NAME, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def put_aside(path: Path) -> Path:
    """Give a broken capture a name of its own, so that a new one can begin and nothing is cut. Raises OSError."""
    number = 1
    while (aside := path.with_name(DAMAGED_NAMES.replace("*", str(number)))).exists():
        number += 1
    path.rename(aside)
    return aside


def _parts(record: Record) -> list[Record]:
    """Cut what no datagram can hold (a SIP message over TCP) into numbered parts."""
    at, source, destination, data, comments = record
    if len(data) <= pcapng.MAX_PAYLOAD:
        return [record]
    pieces = [data[i : i + pcapng.MAX_PAYLOAD] for i in range(0, len(data), pcapng.MAX_PAYLOAD)]
    first, rest = comments[:1], comments[1:]
    return [
        (at, source, destination, piece, (" ".join((*first, f"part={i}/{len(pieces)}")), *rest))
        for i, piece in enumerate(pieces, 1)
    ]
