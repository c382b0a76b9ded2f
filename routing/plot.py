"""A line of numbers over a day as text for a terminal and as SVG for a page.

in → out: (moment, value) whenever the value changed → lines of text, or one SVG document.
"""

import math
from collections.abc import Sequence
from typing import Final

BARS: Final = " ▁▂▃▄▅▆▇█"
Curve = Sequence[tuple[float, int]]


def peaks(curve: Curve, day: float, columns: int) -> list[int]:
    """Return the largest value within each of `columns` equal parts of the day."""
    found = [0] * columns
    for index, (at, value) in enumerate(curve):
        end = curve[index + 1][0] if index + 1 < len(curve) else at
        first = min(columns - 1, int(at / day * columns))
        last = min(columns - 1, max(first, math.ceil(end / day * columns) - 1))
        for column in range(first, last + 1):
            found[column] = max(found[column], value)
    return found


def text(curve: Curve, day: float, *, columns: int = 96, rows: int = 8) -> list[str]:
    """Return a picture of block characters, the scale at its left, the hours below."""
    values = peaks(curve, day, columns)
    top = max(1, *values)
    lines = []
    for row in range(rows, 0, -1):
        full = [value * rows / top - (row - 1) for value in values]
        bars = "".join(BARS[max(0, min(8, math.ceil(part * 8)))] for part in full)
        label = top if row == rows else ""
        lines.append(f"{label:>6} ┤{bars}")
    hours = "".join(f"{hour:<{columns // 8}}" for hour in range(0, 24, 3))
    return [*lines, f"{0:>6} └{'─' * columns}", f"        {hours}"]


def svg(curve: Curve, day: float, *, title: str, width: int = 960, height: int = 320) -> str:
    """Return an SVG document; `title` is escaped."""
    left, low, room = 50, height - 40, height - 80
    values = peaks(curve, day, width - left - 20)
    top = max(1, *values)
    points = " ".join(f"{left + x},{low - value * room / top:.1f}" for x, value in enumerate(values))
    right = left + len(values)
    hours = "".join(
        f'<text x="{left + hour * len(values) / 24:.0f}" y="{low + 18}" text-anchor="middle">{hour}</text>'
        for hour in range(0, 25, 3)
    )
    safe = title.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">'
        f'<rect width="{width}" height="{height}" fill="#fff"/><text x="{left}" y="24" font-size="14">{safe}</text>'
        f'<polygon points="{left},{low} {points} {right},{low}" fill="#2b6cb0"/>'
        f'<path d="M{left} {low - room}V{low}H{right}" fill="none" stroke="#222"/>'
        f'<text x="{left - 6}" y="{low - room + 4}" text-anchor="end">{top}</text>'
        f'<text x="{left - 6}" y="{low + 4}" text-anchor="end">0</text>{hours}</svg>\n'
    )
