"""What a measurement gives: named values with a bar, printed as one table and written as JSON. Pure but for `write`."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True)
class Figure:
    """One value beside its bar (`docs/performance.md` says what each is)."""

    name: str
    """`Q1`, or `Q1.recorded` for what is printed beside it."""
    what: str
    value: float | None
    """None: could not be measured; `note` says why."""
    unit: str
    bar: float | None = None
    """None: told for comparison, held to nothing."""
    better: Literal["less", "more"] = "less"
    note: str = ""

    @property
    def ok(self) -> bool | None:
        """Whether the bar is met; None without a bar."""
        if self.bar is None:
            return None
        if self.value is None:
            return False
        return self.value <= self.bar if self.better == "less" else self.value >= self.bar


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0…1) of the values do not exceed; ValueError without values."""
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def median(values: Sequence[float]) -> float:
    """The middle value, the mean of both middle ones when they are even in number; ValueError without values."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def rounded(value: float | None) -> float | None:
    """Four significant digits: more would be noise."""
    return None if value is None else float(f"{value:.4g}")


def table(figures: Sequence[Figure]) -> str:
    """All figures as lines of text."""
    rows = [("", "measured", "bar", "", "")]
    for figure in figures:
        value = "–" if figure.value is None else f"{rounded(figure.value):g} {figure.unit}"
        sign = "≤" if figure.better == "less" else "≥"
        bar = "" if figure.bar is None else f"{sign} {figure.bar:g} {figure.unit}"
        verdict = {True: "ok", False: "MISSED", None: ""}[figure.ok]
        what = f"{figure.name}  {figure.what}" + (f" ({figure.note})" if figure.note else "")
        rows.append((what, value, bar, verdict, ""))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]}".rstrip()
        for row in rows
    )


def as_json(figures: Sequence[Figure]) -> str:
    """`{"Q1": {"value":…, "bar":…, "unit":…, "ok":true}, …}`.

    Where one row of the bars has several figures (`Q3.trying`, `Q3.answer`), the row itself is there too: the figure that comes
    closest to its bar or misses it most, and `ok` only if all of them are.
    """
    out: dict[str, dict[str, object]] = {}
    for row in sorted({figure.name.partition(".")[0] for figure in figures}):
        barred = [f for f in figures if f.name.partition(".")[0] == row and f.bar is not None]
        if not barred:
            continue
        worst = max(barred, key=_distance)
        out[row] = _entry(worst) | {"ok": all(figure.ok for figure in barred)}
    for figure in figures:
        if "." in figure.name:
            out[figure.name] = _entry(figure)
    return json.dumps(out, indent=2, ensure_ascii=False) + "\n"


def _distance(figure: Figure) -> float:
    """How much of its bar a figure uses: above 1 it is missed."""
    assert figure.bar is not None, "only figures with a bar are compared with it"
    if figure.value is None:
        return math.inf
    if figure.better == "less":
        if not figure.bar:
            return math.inf if figure.value else 0.0  # none is allowed
        return figure.value / figure.bar
    return figure.bar / figure.value if figure.value > 0 else math.inf


def _entry(figure: Figure) -> dict[str, object]:
    entry: dict[str, object] = {
        "value": rounded(figure.value),
        "bar": figure.bar,
        "unit": figure.unit,
        "ok": figure.ok,
        "what": figure.what,
    }
    return entry | ({"note": figure.note} if figure.note else {})


def write(path: Path, figures: Sequence[Figure]) -> None:
    """Write `bench.json`. Raises OSError."""
    path.write_text(as_json(figures), encoding="utf-8")
