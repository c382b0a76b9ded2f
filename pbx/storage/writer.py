"""The thread that puts outbox lines on disk, in groups, so that nobody waits for a disk.

in → out: `put` takes a record and returns; within `GROUP_SECONDS` and one fsync it is durable and `on_durable` is told.
A disk that refuses is tried again each second; meanwhile lines wait in memory, up to a limit.
"""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from pbx.storage.plain import encoded
from pbx.storage.segments import MAX_LINE, MAX_SEGMENT, Line, SegmentFile

__all__ = ["Writer"]

GROUP_SECONDS: Final = (
    0.02  # gathers what one burst of calls brings into one fsync, far below the promised 50 ms
)
RETRY_SECONDS: Final = 1.0
MAX_WAITING: Final = 64 * 1024 * 1024
"""Bytes kept while the disk refuses: some 100,000 records, hours of a busy centre."""


class Writer:
    """Owns the thread and the newest segment. `put` and the properties may be used from any thread."""

    def __init__(
        self, folder: Path, last: int, on_durable: Callable[[], None], on_fault: Callable[[OSError], None]
    ) -> None:
        """`last`: the highest position ever used. Both callbacks are called in the writer's thread."""
        self._folder = folder
        self._on_durable = on_durable
        self._on_fault = on_fault
        self._lock = threading.Lock()
        self._news = threading.Condition(self._lock)
        self._waiting: list[tuple[int, bytes]] = []
        self._bytes = 0
        self._last = last
        self._durable = last
        self._lost = 0
        self._closing = False
        self._segment: SegmentFile | None = None
        self._thread = threading.Thread(target=self._run, name="outbox-writer", daemon=True)

    @property
    def last(self) -> int:
        """The position given last."""
        return self._last

    @property
    def durable(self) -> int:
        """Everything up to this position is on disk."""
        return self._durable

    @property
    def lost(self) -> int:
        """Records refused because the disk refused for too long."""
        return self._lost

    def start(self) -> None:
        self._thread.start()

    def put(self, kind: str, record: Mapping[str, object]) -> None:
        """Take a record. Never waits, never raises for what the record holds."""
        fit = encoded(record)
        with self._lock:
            data = _encode(self._last + 1, kind, fit)
            if self._bytes + len(data) > MAX_WAITING:
                self._lost += 1
                return
            self._last += 1
            self._waiting.append((self._last, data))
            self._bytes += len(data)
            if len(self._waiting) == 1:
                self._news.notify()  # later ones come while the thread gathers, writes or waits for the disk

    def close(self) -> None:
        """Write what waits (one try) and end the thread. Blocks."""
        with self._lock:
            self._closing = True
            self._news.notify()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._lock:
                self._news.wait_for(lambda: self._waiting or self._closing)
                if not self._closing:
                    self._news.wait_for(lambda: self._closing, GROUP_SECONDS)
                group = self._waiting.copy()
                closing = self._closing
            done = self._write(group) if group else True
            if closing:
                self._close_segment()
                return
            if not done:
                with self._lock:
                    self._news.wait_for(lambda: self._closing, RETRY_SECONDS)

    def _write(self, group: list[tuple[int, bytes]]) -> bool:
        """Put the group on disk; False when the disk refused, and then the segment is done with."""
        try:
            if self._segment is None:
                self._segment = SegmentFile(self._folder, group[0][0])
            self._segment.write(b"".join(data for _, data in group))
        except OSError as error:
            self._close_segment()
            self._on_fault(error)
            return False
        with self._lock:
            del self._waiting[: len(group)]
            self._bytes -= sum(len(data) for _, data in group)
            self._durable = group[-1][0]
        if self._segment.size >= MAX_SEGMENT:
            self._close_segment()
        self._on_durable()
        return True

    def _close_segment(self) -> None:
        segment, self._segment = self._segment, None
        if segment is not None:
            try:
                segment.close()
            except OSError as error:
                self._on_fault(error)


def _encode(n: int, kind: str, record: bytes) -> bytes:
    """Render one `Line`; `record`: its JSON."""
    data = b'{"n":%d,"kind":"%b","record":%b}\n' % (n, kind.encode(), record)
    if len(data) <= MAX_LINE:
        return data
    # A reader bounds its lines; what names the row is kept, the rest is stated as too long.
    whole: dict[str, object] = msgspec.json.decode(record)
    short = {name: value for name, value in whole.items() if len(str(value)) <= 300}
    short["too_long"] = len(data)
    data = msgspec.json.encode(Line(n, kind, short)) + b"\n"
    if len(data) <= MAX_LINE:
        return data
    return msgspec.json.encode(Line(n, kind, {"too_long": len(data)})) + b"\n"
