"""`make bench`: measure Q1 to Q9, the parser and what refusals tell of who exists; print a table, write `bench.json`.

    python -m tests.bench.run [Q1 … Q9 L4 parser S5] [--quick] [--json FILE] [--folder FOLDER]

Everything stays on 127.0.0.1. Figures are processor time, ratios within this run, or delays by the kernel's time of
arrival, so that a busy machine blurs them but does not turn them over. See docs/performance.md.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tests.bench import calls, crowd, guessing, mixing, overload, parsing, picture, registered, relay, waiting
from tests.bench.cpu import filesystem, machine
from tests.bench.figures import Figure, table, write
from tests.bench.native import NoCompilerError, compile_program
from tests.bench.site import SetUpError

ROWS = ("Q1", "Q2", "Q3", "Q4", "Q5", "Q6", "Q7", "Q8", "Q9", "L4", "parser", "S5")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the bench; 0 when everything that was asked for was measured, whether or not it met its bar."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.run", description="measure the exchange")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"which of {', '.join(ROWS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="a third of the time, for trying")
    parser.add_argument("--json", type=Path, default=Path("bench.json"), metavar="FILE")
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()), help="for evidence and journal"
    )
    options = parser.parse_args(argv)
    rows = options.rows or list(ROWS)
    if unknown := set(rows) - set(ROWS):
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    start = time.monotonic()
    _say(f"machine: {machine()}; state on {filesystem(options.folder.absolute())}")
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="at110-bench-") as folder:
        programs: dict[str, Path] = {}
        try:
            programs = {name: compile_program(name, Path(folder)) for name in ("floor", "sound")}
        except NoCompilerError as error:
            _say(f"{error}: Q1 to Q4 and Q7 to Q9 can't be measured")
        for bars, measure in _measurements(programs, options.folder, set(rows), quick=options.quick):
            try:
                figures += measure()
            except (ImportError, OSError, RuntimeError, SetUpError, AssertionError, KeyError) as error:
                why = str(error).partition("\n")[0][:200]
                if not programs and not isinstance(error, ImportError):
                    why = "no C compiler"
                _say(f"{', '.join(bars)}: not measured: {error!r}")
                figures += [replace(bar, note=why) for bar in bars.values()]
    print(f"\n{table(figures)}\n", flush=True)
    write(options.json, figures)
    _say(f"{time.monotonic() - start:.0f} s; {options.json} written")
    return 1 if any(figure.value is None and figure.bar is not None for figure in figures) else 0


def _measurements(
    programs: dict[str, Path], folder: Path, rows: set[str], *, quick: bool
) -> Iterator[tuple[dict[str, Figure], Callable[[], list[Figure]]]]:
    """What is to be measured: (the figures that are missing when it fails, how)."""
    if "Q1" in rows:
        rounds, seconds = (2, 2.0) if quick else (5, 3.0)
        yield (
            _missing(Figure("Q1", "CPU of a relayed packet ÷ bare C relay", None, "×", relay.BAR)),
            lambda: relay.measure(programs, folder, rounds=rounds, seconds=seconds, say=_say),
        )
    crowds: dict[str, tuple[Figure, Callable[..., list[Figure]]]] = {
        "Q2": (Figure("Q2", "200 calls recorded", None, "core", crowd.SHARE_BAR), crowd.recorded),
        "Q7": (Figure("Q7", "CPU of a call as calls grow", None, "×", crowd.GROWTH_BAR), crowd.growth),
        "Q9": (Figure("Q9", "200 callers waiting, recorded", None, "core", crowd.WAITING_BAR), crowd.waiting),
    }
    for row, (figure, measure) in crowds.items():
        if row in rows:
            rounds, seconds = (2, 2.0) if quick else (5, 4.0)
            yield (
                _missing(figure),
                lambda measure=measure, rounds=rounds, seconds=seconds: measure(  # type: ignore[misc]
                    programs, folder, rounds=rounds, seconds=seconds, say=_say
                ),
            )
    if "Q7" in rows:
        yield (
            _missing(
                Figure("Q7.registered", "a call with 10,000 phones registered", None, "×", registered.BAR)
            ),
            lambda: registered.measure(rounds=3 if quick else 9, calls=100 if quick else 200, say=_say),
        )
    if both := {"Q3", "Q4"} & rows:
        yield (
            _missing(
                *(
                    Figure(row, "delays with 200 callers", None, "ms", waiting.BARS[row])
                    for row in sorted(both)
                )
            ),
            lambda: waiting.measure(
                programs,
                folder,
                probes=60 if quick else 250,
                trials=30 if quick else 120,
                say=_say,
                rows=both,
            ),
        )
    if "Q5" in rows:
        yield (
            _missing(Figure("Q5", "put through → key frame at the desk", None, "ms", picture.BAR)),
            lambda: picture.measure(folder, trials=30 if quick else 100, say=_say),
        )
    if "Q6" in rows:
        yield (
            _missing(Figure("Q6", "signalling's CPU for a call", None, "ms", calls.COST_BAR)),
            lambda: calls.measure(programs, folder, seconds=4.0 if quick else 12.0, say=_say),
        )
    if "Q8" in rows:
        rounds, seconds = (2, 2.0) if quick else (5, 4.0)
        yield (
            _missing(Figure("Q8", "66 rooms of three voices mixed", None, "core", mixing.BAR)),
            lambda: mixing.measure(programs, folder, rounds=rounds, seconds=seconds, say=_say),
        )
    if "L4" in rows:
        yield (
            _missing(Figure("L4", "goodput at 10C ÷ C", None, "×", overload.FACTORS[10], "more")),
            lambda: overload.measure(programs, folder, seconds=5.0 if quick else 15.0, say=_say),
        )
    if "parser" in rows:
        yield (
            _missing(Figure("parser", "messages a second ÷ those of aiosipua", None, "×", 2.0, "more")),
            lambda: parsing.measure(5 if quick else parsing.ROUNDS),
        )
    if "S5" in rows:
        yield (
            _missing(
                Figure("S5", "p of the times of known and unknown users", None, "", guessing.BAR, "more")
            ),
            lambda: guessing.measure(500 if quick else guessing.REQUESTS),
        )


def _missing(*figures: Figure) -> dict[str, Figure]:
    return {figure.name: figure for figure in figures}


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
