"""`make bars`: the bars whose size is more than a test run has time for, one after the other, and a table of what came of them.

    python -m tests.bars.run [NAME…] [--list]

Each row is a part of the tests, run by pytest with `AT110_BARS=full` (`tests/kit/size.py`). While one runs it says which tests are
done, and every minute that it still runs; a row that fails is told with what pytest says, and the next one begins. It ends with 1
when a row failed. Rows marked `alone` measure media: nothing else should run on the machine.
"""

import argparse
import os
import queue
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
STILL_SECONDS: Final = 60.0
"""Between two signs of life of a row."""
LAST_LINES: Final = 60
"""Of what pytest says of a failure."""


@dataclass(frozen=True, slots=True)
class Row:
    """One bar."""

    name: str
    size: str
    tests: tuple[str, ...]
    alone: bool = True
    """It is live, one test after the other; else simulated, on all cores."""


ROWS: Final = (
    Row("F11", "2,000 calls on each of six bad roads", ("tests/scenarios/test_bad_roads.py",), alone=False),
    Row("F16", "each duplicate and fork 1,000 times", ("tests/scenarios/test_duplicates.py",), alone=False),
    Row("F18", "10,000 half-open dialogs", ("tests/scenarios/test_half_open.py",), alone=False),
    Row("S4", "100,000 guesses of a password", ("tests/pbx/test_identity_guesses.py",), alone=False),
    Row("B11", "each message split at every byte", ("tests/pbx/transport/test_framing.py",), alone=False),
    Row("B10", "a million packets into films", ("tests/recordings/test_fuzzed_media.py",), alone=False),
    Row("S11", "500 TLS hellos a second, 60 s", ("tests/live/test_tls.py",)),
    Row("L8", "five minutes of a forged flood; L7", ("tests/live/test_flood.py",)),
    Row("L4", "a rush of calls for help from SIPp", ("tests/live/test_rush.py",)),
    Row("L10", "100 connections that read nothing, 60 s", ("tests/live/test_transports.py",)),
    Row("L11", "10,000 phones for ten minutes; F19, F20", ("tests/live/test_crowds.py",)),
    Row("F24", "400 callers, 512 files", ("tests/live/test_few_files.py",)),
    Row("F27", "the recorder killed 100 times", ("tests/live/test_recorder_alone.py",)),
    Row("F30b", "1,000 acts, 50 callers, 10 desks", ("tests/live/test_never_meet.py",)),
    Row("loss", "30 recoveries after 5 % loss, either engine", ("tests/live/test_in_time.py",)),
    Row("F12", "six roads, 20 calls of 60 s, either engine", ("tests/live/test_bad_media.py",)),
    Row("S1", "thirteen calls under a spray, 16 times; L9, F13, F14", ("tests/live/test_siege.py",)),
)

DONE: Final = re.compile(
    r"^(?:\[gw[0-9]+\] \[ *[0-9]+%\] )?(PASSED|FAILED|ERROR|SKIPPED) (\S+)|^(\S+) (PASSED|FAILED|ERROR|SKIPPED)"
)
MEASURED: Final = re.compile(r"^\S.*?: (.+) (-?[0-9.]+) (\S+)$")
ENDED: Final = re.compile(r"^=+ (.*\b(?:passed|failed|error|errors|skipped)\b.*) in [0-9.]+s")


@dataclass(slots=True)
class Outcome:
    """What came of a row."""

    row: Row
    status: int = 0
    seconds: float = 0.0
    said: str = "nothing ran"
    """The last line of pytest: how many passed, failed, were skipped."""
    lines: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """One word for the table."""
        if self.status:
            return "FAILED"
        return "passed" if "passed" in self.said else "not run"


def command(row: Row) -> list[str]:
    """What pytest is told."""
    how = () if row.alone else ("-n", "auto")
    return [sys.executable, "-m", "pytest", "-v", "--no-header", "--tb=short", *how, *row.tests]


def told(line: str) -> str | None:
    """What a line of pytest says to who waits: a test that is done; None: nothing."""
    found = DONE.match(line)
    if found is None:
        return None
    name = found[2] or found[3]
    return f"{found[1] or found[4]:8}{name.partition('::')[2] or name}"


def figures(lines: Sequence[str]) -> Iterator[str]:
    """What the tests measured, figures of one name together."""
    kept: dict[tuple[str, str], list[float]] = {}
    inside = False
    for line in lines:
        if line.startswith("==="):
            inside = " measured " in line
        elif inside and (found := MEASURED.match(line)):
            name = re.sub(r",? time [0-9]+$", "", found[1])
            kept.setdefault((name, found[3]), []).append(float(found[2]))
    for (name, unit), values in kept.items():
        if len(values) == 1:
            yield f"{name}: {values[0]:g} {unit}"
        else:
            yield (
                f"{name}: median {statistics.median(values):g}, {min(values):g} to {max(values):g} {unit} ({len(values)})"
            )


def run(row: Row) -> Outcome:
    """Run one row, and say how far it is."""
    outcome, began = Outcome(row), time.monotonic()
    environment = {**os.environ, "AT110_BARS": "full", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command(row), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        cwd=ROOT, env=environment,
    )  # fmt: skip
    assert process.stdout is not None
    said: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read(lines: Iterator[str]) -> None:
        for line in lines:
            said.put(line.rstrip("\n"))
        said.put(None)

    reader = threading.Thread(target=read, args=(iter(process.stdout),), name="reader", daemon=True)
    reader.start()
    try:
        while True:
            try:
                line = said.get(timeout=STILL_SECONDS)
            except queue.Empty:
                print(f"   … {row.name}, {(time.monotonic() - began) / 60:.0f} min", flush=True)
                continue
            if line is None:
                break
            outcome.lines.append(line)
            if (done := told(line)) is not None:
                print(f"   {done}", flush=True)
            if (ended := ENDED.match(line)) is not None:
                outcome.said = ended[1]
        outcome.status = process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    outcome.seconds = time.monotonic() - began
    return outcome


def table(outcomes: Sequence[Outcome]) -> str:
    """Bar, size, result, time."""
    width = max(len(one.row.size) for one in outcomes)
    lines = [f"{'bar':6}{'size':{width}}  {'result':8}  time"]
    lines += [
        f"{one.row.name:6}{one.row.size:{width}}  {one.verdict:8}  {one.seconds / 60:4.1f} min  {one.said}"
        for one in outcomes
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bars.run", description="bars at their own size")
    parser.add_argument("names", nargs="*", metavar="NAME", help="rows to run; all without any")
    parser.add_argument("--list", action="store_true", help="name the rows and end")
    words = parser.parse_args()
    unknown = set(words.names) - {row.name for row in ROWS}
    if unknown:
        parser.error(f"no such row: {' '.join(sorted(unknown))}")
    chosen = [row for row in ROWS if not words.names or row.name in words.names]
    if words.list:
        print("\n".join(f"{row.name:6}{row.size}" for row in chosen))
        return 0
    outcomes = []
    for number, row in enumerate(chosen, 1):
        print(f"== {number} of {len(chosen)}: {row.name}, {row.size}", flush=True)
        outcome = run(row)
        outcomes.append(outcome)
        if outcome.status:
            print("\n".join(outcome.lines[-LAST_LINES:]))
        for line in figures(outcome.lines):
            print(f"   {line}")
        print(f"   {outcome.verdict} in {outcome.seconds / 60:.1f} min", flush=True)
    print(table(outcomes), flush=True)
    return int(any(outcome.status for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
