"""`make bench`: measure Q1, Q3, Q4 and Q6, print one table, write `bench.json`.

    python -m tests.bench.run [Q1 Q3 Q4 Q6] [--quick] [--json FILE] [--folder FOLDER]

Everything stays on 127.0.0.1. Figures are processor time, ratios within this run, or delays by the kernel's time of
arrival, so that a busy machine blurs them but does not turn them over. See docs/performance.md.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench import calls, relay, waiting
from tests.bench.cpu import filesystem, machine
from tests.bench.figures import Figure, table, write
from tests.bench.native import NoCompilerError, compile_program

ROWS = ("Q1", "Q3", "Q4", "Q6")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the bench; 0 when everything that was asked for was measured, whether or not it met its bar."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.run", description="measure the exchange")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"which of {', '.join(ROWS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="a third of the time, for trying")
    parser.add_argument("--json", type=Path, default=Path("bench.json"), metavar="FILE")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="for evidence and journal")
    options = parser.parse_args(argv)
    rows = options.rows or list(ROWS)
    if unknown := set(rows) - set(ROWS):
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    start = time.monotonic()
    _say(f"machine: {machine()}; state on {filesystem(options.folder.absolute())}")
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="at110-bench-") as programs:
        try:
            compiled = {name: compile_program(name, Path(programs)) for name in ("floor", "sound")}
        except NoCompilerError as error:
            _say(f"{error}: nothing that needs sound can be measured")
            return 1
        quick = bool(options.quick)
        if "Q1" in rows:
            rounds, seconds = (2, 2.0) if quick else (5, 3.0)
            figures += relay.measure(compiled, options.folder, rounds=rounds, seconds=seconds, say=_say)
        if {"Q3", "Q4"} & set(rows):
            figures += waiting.measure(
                compiled,
                options.folder,
                probes=60 if quick else 250,
                trials=30 if quick else 150,
                say=_say,
                rows=set(rows),
            )
        if "Q6" in rows:
            figures += calls.measure(compiled, options.folder, seconds=4.0 if quick else 12.0, say=_say)
    print(f"\n{table(figures)}\n\n{time.monotonic() - start:.0f} s; {options.json} written", flush=True)
    write(options.json, figures)
    return 0


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
