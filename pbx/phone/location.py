"""Where a scripted caller says it is: `LAT,LON,RADIUS` on the command line."""

import re
from typing import Final

from pbx.location.writing import Circle

_NUMBER: Final = r"(-?[0-9]{1,6}(?:\.[0-9]{1,10})?)"
_CIRCLE: Final = re.compile(rf"{_NUMBER},{_NUMBER},{_NUMBER}")
MAX_RADIUS: Final = 100_000.0  # metres; who knows less than that does not know where they are


def parse_circle(text: str) -> Circle:
    """`LAT,LON,RADIUS` → Circle; ValueError when it is none."""
    match = _CIRCLE.fullmatch(text)
    if match is None:
        raise ValueError(f"not LAT,LON,RADIUS: {text!r}")
    latitude, longitude, radius = (float(number) for number in match.groups())
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180 and 0 < radius <= MAX_RADIUS):
        raise ValueError(f"no place on earth: {text!r}")
    return Circle(latitude, longitude, radius)
