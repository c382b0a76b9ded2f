"""Evidence as the media process sees it: an open sink for each call, written by a thread of its own.

packet ─▶ sink.packet (a list append, in the loop) ┄┄▶ every 100 or 200 ms sink.flush, every second factory.sync (in the thread)

The loop never waits for a disk: writing, fsync and closing happen in the thread, opening in a second one, because a
caller's answer waits for it and must not wait for the fsyncs of 200 others. So a sink is called from two threads:
`packet` and `sip` from the loop, `flush` and `close` from the evidence thread, never two of the latter at once.
A failure is told once for each call and never stops media.
"""

import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import structlog

from rtp.call_evidence import NEVER_OPENED, CallEvidence, EvidenceSink, Head, MakeHead, Tape
from rtp.control import Address, CloseEvidence, Event, EvidenceClosed, EvidenceOpened, OpenEvidence, Refused

FLUSH_SECONDS: Final = 0.1
"""Between two flushes: what a killed process loses (bar F8: ≤ 250 ms)."""
MANY_CALLS: Final = 100
"""Open captures from which on they are flushed every `MANY_FLUSH_SECONDS`: the price of a write is mostly that of a write, whatever its
size, and each second has two thousand of them when 200 calls are flushed every 100 ms."""
MANY_FLUSH_SECONDS: Final = 0.2
PORTION: Final = 8
"""Captures flushed in one go. On one processor the scheduler parts this thread and the loop at its tick, each 4 ms, however much sooner
the loop would have its turn: writing 200 files without a rest kept packets of the loop waiting for three or four of those."""
REST_SECONDS: Final = 0.001
"""Between two portions."""
MOST_RESTS: Final = 20
"""In one round: where there are many captures portions are larger, so that a round is over before the next one is due."""
SYNC_SECONDS: Final = 1.0
"""Between two fsyncs: what a power cut loses (bar F8: ≤ 1 s)."""
MAX_REMEMBERED: Final = 10_000
"""Closed calls whose result is kept, to answer a repeated `CloseEvidence` the same way."""

Jobs = queue.SimpleQueue[Callable[[], None] | None]
log = structlog.get_logger("media")


class EvidenceFactory(Protocol):
    """Opens captures; implemented above this package."""

    def open(self, call: str, folder: str) -> EvidenceSink:
        """Open the call's capture in `folder`. Called from the evidence thread. Raises OSError."""

    def head(self, source: Address, destination: Address, /) -> Head:
        """How packets between two addresses stand in its captures. Called from the loop."""

    def sync(self, sinks: Sequence[Any], /) -> bool:
        """Put what these sinks of its own, the one that is open longest first, have flushed on the disk in one go.

        False: each is to be flushed with `sync`. Called from the evidence thread.
        """


class EvidenceKeeper:
    """Opens, flushes and closes the evidence of all calls through threads; results are fetched with `collect`."""

    def __init__(
        self,
        factory: EvidenceFactory,
        wake: Callable[[], None],
        tape: Callable[[MakeHead], Tape] | None = None,
        *,
        rest: Callable[[float], None] = time.sleep,
    ) -> None:
        """`wake` is called in a thread whenever `collect` has something to give; `tape` makes one for each call.

        `rest(seconds)` leaves the processor to others, in the thread.
        """
        self._factory = factory
        self._rest = rest
        self._tape = tape
        self._wake = wake
        self._open: dict[str, CallEvidence] = {}
        self._ready: dict[str, tuple[CallEvidence, EvidenceSink]] = {}  # those of them whose file is open
        self._closing: dict[str, CallEvidence] = {}
        self._closed: dict[str, EvidenceClosed] = {}
        self._jobs: Jobs = queue.SimpleQueue()
        self._openings: Jobs = queue.SimpleQueue()
        self._results: deque[Callable[[], list[Event]]] = deque()
        self._flushing = False
        self._flushed_at = self._synced_at = float("-inf")
        self._threads = [
            threading.Thread(target=self._work, args=(jobs,), name=name, daemon=True)
            for name, jobs in (("evidence", self._jobs), ("evidence-open", self._openings))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def calls(self) -> tuple[str, ...]:
        """Ids of the calls whose evidence is open, being opened or, for nobody else to go on with, closed; oldest first."""
        closing = (call for call, evidence in self._closing.items() if evidence.released is None)
        return tuple(dict.fromkeys([*closing, *self._open]))

    def find(self, call: str) -> CallEvidence | None:
        """Give the open evidence of a call."""
        return self._open.get(call)

    def open(self, command: OpenEvidence) -> list[Event]:
        """Begin to open; `EvidenceOpened` or `Refused` comes out of `collect`. Open already: answered at once."""
        evidence = self._open.get(command.call)
        if evidence is None:
            self._closed.pop(command.call, None)
            evidence = self._open[command.call] = CallEvidence(
                command.call, command.folder, self._make_tape()
            )
            self._begin(evidence)
        elif evidence.sink is not None:
            return [EvidenceOpened(command.call)]
        return []

    def close(self, command: CloseEvidence) -> list[Event]:
        """Begin to close; `EvidenceClosed` comes out of `collect`. Closed already: the same answer again."""
        evidence = self._take_out(command.call)
        if evidence is None:
            closed = self._closed.get(command.call)
            if closed is None and command.call not in self._closing:
                return [Refused("CloseEvidence", command.call, "unknown_call")]
            return [closed] if closed else []
        self._closing[command.call] = evidence
        return [] if evidence.opening else self._finish(evidence)

    def release(self, call: str, done: Callable[[int, int], None]) -> str | None:
        """Write and close a call's capture for another process to go on with: its folder, None when none is open.

        `done(written, missing)`, in packets, is called out of `collect`; nothing else is told.
        """
        evidence = self._take_out(call)
        if evidence is None:
            return None
        self._closing[call] = evidence
        evidence.released = done
        if not evidence.opening:
            self._finish(evidence)
        return evidence.folder

    def adopt(self, call: str, folder: str) -> None:
        """Go on with a capture that another process has open still: packets wait until it has closed it (`closed_elsewhere`).

        Its death closes it too, so that it is tried once a second.
        """
        if call in self._open:
            return
        self._closed.pop(call, None)
        evidence = CallEvidence(call, folder, self._make_tape())
        evidence.elsewhere = True
        self._open[call] = evidence

    def closed_elsewhere(self, call: str, written: int, missing: int) -> None:
        """Open an adopted capture: the process that had it has closed it; `missing` packets could not be written."""
        evidence = self._open.get(call)
        if evidence is not None and evidence.elsewhere:
            evidence.before = written
            if missing:
                evidence.lose(missing, time.time_ns(), time.time_ns(), NEVER_OPENED)
            if evidence.sink is None and not evidence.opening:
                self._begin(evidence)

    def tick(self, now: float) -> None:
        """Flush every open call once, unless the disk is still busy with the last round or there are many and it is soon for them.

        To be called every `FLUSH_SECONDS`; `now`: monotonic seconds.
        """
        if self._flushing or not self._open:
            return
        # Half a flush early is on time, here and below: calls of this come late now and then.
        if len(self._open) >= MANY_CALLS and now - self._flushed_at < MANY_FLUSH_SECONDS - FLUSH_SECONDS / 2:
            return
        self._flushed_at = now
        sync = now - self._synced_at >= SYNC_SECONDS - FLUSH_SECONDS / 2
        if sync:
            self._synced_at = now
        flushed = list(self._ready.values())
        if sync and len(flushed) < len(self._open):
            for evidence in self._open.values():
                if evidence.sink is None and not evidence.opening:
                    self._begin(evidence)
        self._flushing = True
        self._jobs.put(lambda: self._flush(flushed, sync=sync))

    def collect(self) -> list[Event]:
        """Take over what the thread has done since the last call."""
        events: list[Event] = []
        while self._results:
            events += self._results.popleft()()
        return events

    def shut(self) -> list[Event]:
        """Close all that is open and wait for it: the end of the process."""
        for call in self.calls:
            self.close(CloseEvidence(call))
        events: list[Event] = []
        while self._closing:
            self._pass()
            events += self.collect()
        for jobs, thread in zip((self._jobs, self._openings), self._threads, strict=True):
            jobs.put(None)
            thread.join()
        return events

    def _pass(self) -> None:
        """Wait until both threads have done what they were asked so far."""
        for jobs in (self._openings, self._jobs):
            reached = threading.Event()
            jobs.put(reached.set)
            reached.wait()

    # --- in the loop ---------------------------------------------------------------------------------------------

    def _make_tape(self) -> Tape | None:
        return self._tape(self._factory.head) if self._tape is not None else None

    def _take_out(self, call: str) -> CallEvidence | None:
        self._ready.pop(call, None)
        return self._open.pop(call, None)

    def _begin(self, evidence: CallEvidence) -> None:
        evidence.opening = True
        # A call that comes back while its file is being closed has to wait for that: one writer for each file.
        jobs = self._jobs if evidence.call in self._closing else self._openings
        jobs.put(lambda: self._open_sink(evidence))

    def _finish(self, evidence: CallEvidence) -> list[Event]:
        sink = evidence.sink
        if sink is not None:
            self._jobs.put(lambda: self._close_sink(evidence, sink))
            return []
        log.error("evidence_never_opened", call=evidence.call, packets=evidence.waiting + evidence.left_out)
        return self._ended(evidence, EvidenceClosed(evidence.call, 0, 0), None)

    def _opened(
        self, evidence: CallEvidence, sink: EvidenceSink | None, error: Exception | None
    ) -> list[Event]:
        evidence.opening = False
        events: list[Event] = []
        if sink is not None:
            evidence.attach(sink)
            if self._open.get(evidence.call) is evidence:
                self._ready[evidence.call] = (evidence, sink)
            evidence.stated = evidence.elsewhere = False
            events.append(EvidenceOpened(evidence.call))
        elif error is not None and not (evidence.elsewhere and isinstance(error, BlockingIOError)):
            events += _state(evidence, "OpenEvidence", error)
        if self._closing.get(evidence.call) is evidence:
            events += self._finish(evidence)
        return events

    def _flushed(self, failures: list[tuple[CallEvidence, Exception | None]]) -> list[Event]:
        self._flushing = False
        events: list[Event] = []
        for evidence, error in failures:
            if error is None:
                evidence.stated = False
                events.append(EvidenceOpened(evidence.call))  # it takes it again
            else:
                events += _state(evidence, "OpenEvidence", error)
        return events

    def _ended(self, evidence: CallEvidence, closed: EvidenceClosed, error: Exception | None) -> list[Event]:
        self._closing.pop(evidence.call, None)
        if evidence.released is not None:
            missing = evidence.waiting + evidence.left_out if evidence.sink is None else 0
            evidence.released(evidence.before + closed.packets, missing)
            return _state(evidence, "CloseEvidence", error) if error else []
        closed = EvidenceClosed(closed.call, evidence.before + closed.packets, closed.bytes)
        self._closed[evidence.call] = closed
        if len(self._closed) > MAX_REMEMBERED:
            del self._closed[next(iter(self._closed))]
        return [*(_state(evidence, "CloseEvidence", error) if error else ()), closed]

    # --- in the threads ------------------------------------------------------------------------------------------

    def _work(self, jobs: Jobs) -> None:
        while (job := jobs.get()) is not None:
            job()
            self._wake()

    def _open_sink(self, evidence: CallEvidence) -> None:
        sink, failure = None, None
        try:
            sink = self._factory.open(evidence.call, evidence.folder)
        except Exception as error:  # noqa: BLE001  # told and logged by `_state`: this thread serves all other calls too
            failure = error
        self._results.append(lambda: self._opened(evidence, sink, failure))

    def _flush(self, flushed: list[tuple[CallEvidence, EvidenceSink]], *, sync: bool) -> None:
        faults: dict[str, Exception] = {}
        portion = max(PORTION, math.ceil(len(flushed) / (MOST_RESTS + 1)))
        for number, (evidence, sink) in enumerate(flushed):
            if number and number % portion == 0:
                self._rest(REST_SECONDS)
            try:
                if not evidence.pour(sink):
                    sink.flush(sync=False)
            except Exception as error:  # noqa: BLE001  # as above
                faults[evidence.call] = error
        whole = [(evidence, sink) for evidence, sink in flushed if evidence.call not in faults]
        if sync and whole and not self._factory.sync([sink for _, sink in whole]):
            for evidence, sink in whole:
                try:
                    sink.flush(sync=True)
                except Exception as error:  # noqa: BLE001  # as above
                    faults[evidence.call] = error
        results = [
            (evidence, fault)
            for evidence, _ in flushed
            if (fault := faults.get(evidence.call)) is not None or evidence.stated
        ]
        self._results.append(lambda: self._flushed(results))

    def _close_sink(self, evidence: CallEvidence, sink: EvidenceSink) -> None:
        packets, size, failure = 0, 0, None
        try:
            evidence.pour(sink)
            packets, size = sink.close()
        except Exception as error:  # noqa: BLE001  # as above
            failure = error
        self._results.append(
            lambda: self._ended(evidence, EvidenceClosed(evidence.call, packets, size), failure)
        )


def _state(evidence: CallEvidence, command: str, error: Exception) -> list[Event]:
    """Tell a failure once, until it works again: `disk`, or `evidence` for what is a bug of ours."""
    if evidence.stated:
        return []
    evidence.stated = True
    disk = isinstance(error, OSError)
    log.error(
        "evidence_failed",
        call=evidence.call,
        folder=evidence.folder,
        error=str(error),
        exc_info=None if disk else error,
    )
    return [Refused(command, evidence.call, "disk" if disk else "evidence")]
