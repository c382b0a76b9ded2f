"""Which district a caller is in: polygons, and what to go by when there is no position.

in → out: what is known of a caller's place → `Decision`: one district, and why. Pure; the file is read by `load`.

    position ─▶ the district with the largest share of the uncertain area, the others noted
    none, or outside every district ─▶ that of the civic address ─▶ the trunk's ─▶ the longest prefix of the number ─▶ the default

Each district names the queue it is served by.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import shapely
from shapely.geometry import shape as read_geometry
from shapely.geometry.base import BaseGeometry

from routing.shapes import Point, Shape, centre, outline, reach

MIN_SHARE: Final = 0.01
"""Of an uncertain area; less than this in a district is not worth a note."""
MAX_DISTRICTS: Final = 5_000
"""A province has some 3,000 townships."""


@dataclass(frozen=True, slots=True)
class District:
    """One district; `area` in degrees, longitude first as GeoJSON has it (RFC 7946 §3.1.1)."""

    id: str
    names: Mapping[str, str]
    """Language → name."""
    queue: str
    area: BaseGeometry
    prefixes: tuple[str, ...] = ()
    """Beginnings of telephone numbers at home here, such as an area code."""
    trunks: tuple[str, ...] = ()
    """Trunks whose callers are here unless a position says otherwise."""
    addresses: tuple[frozenset[tuple[str, str]], ...] = ()
    """Beginnings of civic addresses that are here: elements (RFC 5139 §3.1, such as `A3`) that all have to fit."""


@dataclass(frozen=True, slots=True)
class Share:
    """How much of the uncertain area lies in a district, 0…1."""

    district: str
    share: float


@dataclass(frozen=True, slots=True)
class Decision:
    """A district and why: `position`, `address`, `trunk`, `prefix` or `default`."""

    district: str | None
    queue: str
    by: str
    shares: tuple[Share, ...] = ()
    """All districts the position may be in, the largest first."""
    outside: bool = False
    """There was a position, but no district holds any of it."""


class DistrictsError(ValueError):
    """The file of districts can't be used; the text says where and why."""


class Districts:
    """The districts of one site."""

    def __init__(self, districts: Sequence[District] = (), *, default: str = "default") -> None:
        """`default`: the queue of callers no district is found for, or the id of a district. Raises DistrictsError."""
        self._by_id = {district.id: district for district in districts}
        if len(self._by_id) != len(districts):
            raise DistrictsError("two districts have the same id")
        self._districts = tuple(districts)
        self._default = default
        self._tree = shapely.STRtree([district.area for district in districts])
        self._prefixes = sorted(
            ((prefix, district) for district in districts for prefix in district.prefixes),
            key=lambda pair: -len(pair[0]),
        )
        self._trunks = {trunk: district for district in districts for trunk in district.trunks}
        self._addresses = sorted(
            ((address, district) for district in districts for address in district.addresses),
            key=lambda pair: -len(pair[0]),
        )

    @classmethod
    def load(cls, text: str, *, default: str = "default") -> Self:
        """Read a GeoJSON FeatureCollection (RFC 7946). Raises DistrictsError that names the feature at fault.

        Properties of a feature: `id`, `name` (text, or language → text), `queue` (else the id), `prefixes`, `trunks`,
        `addresses` (a list of objects: element of RFC 5139 → text).
        """
        try:
            data = json.loads(text)
        except ValueError as error:
            raise DistrictsError(f"no JSON: {error}") from None
        if not isinstance(data, dict) or data.get("type") != "FeatureCollection":
            raise DistrictsError("no FeatureCollection (RFC 7946 §3.3)")
        features = data.get("features")
        if not isinstance(features, list) or len(features) > MAX_DISTRICTS:
            raise DistrictsError(f"`features` must be a list of at most {MAX_DISTRICTS}")
        return cls([_district(index, feature) for index, feature in enumerate(features)], default=default)

    def __len__(self) -> int:
        return len(self._districts)

    def __iter__(self) -> Iterator[District]:
        return iter(self._districts)

    def find(self, name: str) -> District | None:
        """Return the district with this id."""
        return self._by_id.get(name)

    def decide(
        self,
        position: Shape | None,
        *,
        address: Iterable[tuple[str, str]] = (),
        trunk: str | None = None,
        number: str | None = None,
    ) -> Decision:
        """Choose a district; there is always an answer.

        `address`: elements of a civic address, as (name, text); `number`: digits of the caller's number, with `+` when
        international.
        """
        shares = () if position is None else self.shares(position)
        if shares:
            return self._decision(self._by_id[shares[0].district], "position", shares)
        outside = position is not None
        said = frozenset((name, _same(text)) for name, text in address)
        here = next((district for wanted, district in self._addresses if wanted <= said), None)
        if here is not None:
            return self._decision(here, "address", outside=outside)
        if trunk is not None and (district := self._trunks.get(trunk)):
            return self._decision(district, "trunk", outside=outside)
        if number:
            for prefix, district in self._prefixes:
                if number.startswith(prefix):
                    return self._decision(district, "prefix", outside=outside)
        if district := self._by_id.get(self._default):
            return self._decision(district, "default", outside=outside)
        return Decision(None, self._default, "default", outside=outside)

    def shares(self, position: Shape) -> tuple[Share, ...]:
        """Return how the uncertain area falls on the districts, the largest share first; empty when outside all.

        Between equal shares the one that holds the centre stands first, then the first in the file.
        """
        latitude, longitude = centre(position)
        middle = shapely.Point(longitude, latitude)
        corners = outline(position)
        if isinstance(position, Point) or len(corners) < 3 or reach(position) == 0:
            hits = sorted(int(i) for i in self._tree.query(middle, predicate="intersects"))
            # A point on a border is in both; the first of the file has it.
            return tuple(Share(self._districts[i].id, 1.0) for i in hits[:1])
        area = shapely.make_valid(shapely.Polygon([(lon, lat) for lat, lon in corners]))
        whole = area.area
        if whole <= 0:
            return self.shares(Point((latitude, longitude)))
        found: list[tuple[float, bool, int]] = []
        for i in sorted(int(i) for i in self._tree.query(area, predicate="intersects")):
            share = float(self._districts[i].area.intersection(area).area) / whole
            if share >= MIN_SHARE:
                found.append((round(share, 4), bool(self._districts[i].area.covers(middle)), i))
        found.sort(key=lambda one: (-one[0], not one[1], one[2]))
        return tuple(Share(self._districts[i].id, min(share, 1.0)) for share, _, i in found)

    @staticmethod
    def _decision(
        district: District, by: str, shares: tuple[Share, ...] = (), *, outside: bool = False
    ) -> Decision:
        return Decision(district.id, district.queue, by, shares, outside)


def _district(index: int, feature: Any) -> District:
    where = f"feature {index + 1}"
    properties = feature.get("properties") if isinstance(feature, dict) else None
    if not isinstance(properties, dict):
        raise DistrictsError(f"{where}: no properties")
    name = properties.get("id", feature.get("id"))
    if not isinstance(name, str) or not name:
        raise DistrictsError(f"{where}: no `id`")
    where = f"{where} ({name})"
    geometry = feature.get("geometry")
    if not isinstance(geometry, dict) or geometry.get("type") not in {"Polygon", "MultiPolygon"}:
        raise DistrictsError(f"{where}: its geometry must be a Polygon or MultiPolygon")
    try:
        area = read_geometry(geometry)
    except (ValueError, TypeError, KeyError, IndexError, shapely.errors.ShapelyError) as error:
        raise DistrictsError(f"{where}: {error}") from None
    if area.is_empty or not area.is_valid:
        raise DistrictsError(f"{where}: {shapely.is_valid_reason(area)}")
    west, south, east, north = area.bounds
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        raise DistrictsError(f"{where}: not in degrees, or latitude stands first")
    shapely.prepare(area)
    return District(
        id=name,
        names=_names(where, properties.get("name", name)),
        queue=_text(where, "queue", properties.get("queue", name)),
        area=area,
        prefixes=_texts(where, "prefixes", properties.get("prefixes", [])),
        trunks=_texts(where, "trunks", properties.get("trunks", [])),
        addresses=_addresses(where, properties.get("addresses", [])),
    )


def _names(where: str, value: Any) -> Mapping[str, str]:
    if isinstance(value, str):
        return {"zh": value, "en": value}
    if isinstance(value, dict) and value and all(isinstance(text, str) for text in value.values()):
        return {str(language): text for language, text in value.items()}
    raise DistrictsError(f"{where}: `name` must be a text, or texts by language")


def _text(where: str, key: str, value: Any) -> str:
    if isinstance(value, str) and value:
        return value
    raise DistrictsError(f"{where}: `{key}` must be a text")


def _texts(where: str, key: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(text, str) and text for text in value):
        return tuple(value)
    raise DistrictsError(f"{where}: `{key}` must be a list of texts")


def _addresses(where: str, value: Any) -> tuple[frozenset[tuple[str, str]], ...]:
    good = isinstance(value, list) and all(
        isinstance(one, dict) and one and all(isinstance(text, str) and text for text in one.values())
        for one in value
    )
    if not good:
        raise DistrictsError(
            f'{where}: `addresses` must be a list of objects of texts, such as {{"A3": "…"}}'
        )
    return tuple(frozenset((name, _same(text)) for name, text in one.items()) for one in value)


def _same(text: str) -> str:
    """Write what people write in several ways in one: letters and blanks."""
    return " ".join(text.split()).casefold()
