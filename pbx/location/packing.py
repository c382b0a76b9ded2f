"""Trails as plain data, for the journal. Pure.

in → out: `Trail` → lists and dicts; those → an equal `Trail`.
"""

from dataclasses import asdict, fields
from typing import Any, Final

from pbx.location.civic import Civic
from pbx.location.pidf import Located
from pbx.location.trail import Entry, Trail
from routing.shapes import ArcBand, Circle, Ellipse, Point, Polygon, Shape

_KINDS: Final[dict[str, type[Point | Circle | Ellipse | ArcBand | Polygon]]] = {
    "point": Point, "circle": Circle, "ellipse": Ellipse, "arc_band": ArcBand, "polygon": Polygon
}  # fmt: skip


def pack(trail: Trail) -> dict[str, Any]:
    """Return plain data."""
    return {"count": trail.count, "entries": [_entry(entry) for entry in trail.entries]}


def unpack(data: dict[str, Any]) -> Trail:
    """Make the trail that `pack` described."""
    return Trail([_made(entry) for entry in data["entries"]], data["count"])


def _entry(entry: Entry) -> dict[str, Any]:
    located = entry.located
    civic = located.civic
    shape = located.shape
    kind = next((name for name, kind in _KINDS.items() if type(shape) is kind), None)
    mine = {field.name: getattr(entry, field.name) for field in fields(entry) if field.name != "located"}
    rest = {f.name: getattr(located, f.name) for f in fields(located) if f.name not in {"shape", "civic"}}
    return {
        **mine,
        "located": rest,
        "shape": None if shape is None else [kind, _listed(asdict(shape))],
        "civic": None if civic is None else [[list(part) for part in civic.parts], civic.language],
    }


def _made(data: dict[str, Any]) -> Entry:
    rest = {key: value for key, value in data.items() if key not in {"located", "shape", "civic"}}
    civic = data["civic"]
    located = Located(
        shape=_shape(data["shape"]),
        civic=None if civic is None else Civic(tuple((name, value) for name, value in civic[0]), civic[1]),
        **data["located"],
    )
    return Entry(located=located, **rest)


def _shape(data: list[Any] | None) -> Shape | None:
    if data is None:
        return None
    kind, values = data
    if "at" in values:
        values = {**values, "at": tuple(values["at"])}
    if "corners" in values:
        values = {**values, "corners": tuple(tuple(corner) for corner in values["corners"])}
    return _KINDS[kind](**values)


def _listed(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_listed(item) for item in value]
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    return value
