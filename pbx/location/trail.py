"""The trail of one caller: every place it was said to be at, by whom and when. Pure.

in → out: what a request or a location server said → entries; entries → plain data for evidence, API and map, and the one
the call is routed by.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pbx.location.header import Said
from pbx.location.pidf import Located
from routing.gcj02 import to_gcj02
from routing.shapes import ArcBand, Circle, Ellipse, Place, Point, Polygon, Shape, centre, reach

MAX_ENTRIES: Final = 500
"""Of one call: a phone that tells its place every ten seconds fills it in 80 minutes. The first ones and the latest stay."""
DECIMALS: Final = 7
"""Of a degree: a centimetre."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One place."""

    number: int
    """From 1, in the order they came."""
    by: str
    """Who says so: `caller`, `trunk:NAME`, or `server:HOST` for what was fetched by reference."""
    via: str
    """How it came: the method of the request, `held` or `presence`."""
    located: Located
    source: str | None = None
    """`loc-src` (RFC 8787), only from a trusted peer; a caller could write anything there."""
    uri: str | None = None

    @property
    def trusted(self) -> bool:
        """Whether somebody else than the caller says so."""
        return self.by != "caller"

    def plain(self) -> dict[str, Any]:
        """Return what evidence and API show; degrees are WGS 84, `gcj02` is for Chinese maps."""
        located = self.located
        out: dict[str, Any] = {"number": self.number, "by": self.by, "via": self.via}
        if located.shape is not None:
            out |= described(located.shape)
        if located.civic is not None:
            out["civic"] = dict(located.civic.parts)
            out["address"] = {language: located.civic.text(language) for language in ("zh", "en")}
        rest = {
            "height": located.height,
            "confidence": located.confidence,
            "method": located.method,
            "timestamp": located.timestamp,
            "loc_src": self.source,
            "uri": self.uri,
        }
        return out | {key: value for key, value in rest.items() if value is not None}


@dataclass(slots=True)
class Trail:
    """See the module."""

    entries: list[Entry] = field(default_factory=list)
    count: int = 0

    def add(self, said: Sequence[Said], *, via: str, trunk: str | None = None) -> list[Entry]:
        """Take what a request said; return the new entries. References are not entries until they are fetched."""
        by = "caller" if trunk is None else f"trunk:{trunk}"
        made = []
        for one in said:
            source = one.source if trunk is not None else None
            made += [self._append(by, via, located, source, one.uri) for located in one.found]
        return made

    def fetched(self, uri: str, host: str, found: Sequence[Located]) -> list[Entry]:
        """Take what a location server gave for a reference."""
        return [self._append(f"server:{host}", "held", located, None, uri) for located in found]

    def told(self, uri: str, by: str, found: Sequence[Located]) -> list[Entry]:
        """Take what a presence NOTIFY said for a reference; `by` as in `Entry`."""
        return [self._append(by, "presence", located, None, uri) for located in found]

    def _append(self, by: str, via: str, located: Located, source: str | None, uri: str | None) -> Entry:
        self.count += 1
        entry = Entry(self.count, by, via, located, source, uri)
        self.entries.append(entry)
        if len(self.entries) > MAX_ENTRIES:
            # The beginning says where it began; what goes is the middle.
            del self.entries[MAX_ENTRIES // 2]
        return entry

    @property
    def best(self) -> Entry | None:
        """Return the entry to route by and to show: what others than the caller say before what the caller says, and of
        those the latest with a shape; a network is harder to lie with than a phone.
        """
        shaped = [entry for entry in self.entries if entry.located.shape is not None]
        trusted = [entry for entry in shaped if entry.trusted]
        return (trusted or shaped or self.entries or [None])[-1]  # type: ignore[list-item]

    @property
    def first(self) -> Entry | None:
        """Return the entry a new call is routed by: like `best`, but of one request the first stands first."""
        shaped = [entry for entry in self.entries if entry.located.shape is not None]
        trusted = [entry for entry in shaped if entry.trusted]
        return next(iter(trusted or shaped or self.entries), None)


def described(shape: Shape) -> dict[str, Any]:
    """Return a shape as plain data: its kind, centre, reach, and its own measures."""
    kind = {Point: "point", Circle: "circle", Ellipse: "ellipse", ArcBand: "arc_band", Polygon: "polygon"}
    middle = centre(shape)
    out: dict[str, Any] = {
        "shape": kind[type(shape)],
        "latitude": round(middle[0], DECIMALS),
        "longitude": round(middle[1], DECIMALS),
        "radius": round(reach(shape), 1),
        "gcj02": [round(degrees, DECIMALS) for degrees in to_gcj02(middle)],
    }
    measures: Mapping[str, Any]
    match shape:
        case Ellipse(major=major, minor=minor, orientation=turn):
            measures = {"major": major, "minor": minor, "orientation": turn}
        case ArcBand(at=at, inner=inner, outer=outer, start=start, opening=opening):
            measures = {"mast": list(at), "inner": inner, "outer": outer, "start": start, "opening": opening}
        case Polygon(corners=corners):
            measures = {"corners": [_rounded(corner) for corner in corners]}
        case _:
            measures = {}
    return out | dict(measures)


def _rounded(place: Place) -> list[float]:
    return [round(degrees, DECIMALS) for degrees in place]
