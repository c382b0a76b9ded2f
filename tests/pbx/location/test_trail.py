import json

import pytest

from pbx.location.civic import Civic
from pbx.location.header import Said
from pbx.location.pidf import Located
from pbx.location.trail import MAX_ENTRIES, Trail, described
from routing.gcj02 import to_gcj02
from routing.shapes import ArcBand, Circle, Ellipse, Point, Polygon, Shape

HERE = (37.5, 121.4)


def at(latitude: float, *, civic: Civic | None = None, shape: bool = True) -> Located:
    place = Point((latitude, 121.4)) if shape else None
    return Located(place, civic, 95.0, "GPS", "2026-11-22T08:00:00Z", "pres:x@y")


def said(*places: Located, source: str | None = None) -> list[Said]:
    return [Said("cid:a", source, places)]


def test_who_said_what_in_order() -> None:
    trail = Trail()
    trail.add(said(at(1), at(2), source="liar.example"), via="INVITE")
    trail.add(said(at(3), source="net.example"), via="INVITE", trunk="carrier")
    trail.fetched("https://lis.example/x", "lis.example", [at(4)])
    assert [(e.number, e.by, e.via, e.source) for e in trail.entries] == [
        (1, "caller", "INVITE", None),  # a caller's loc-src is nobody's word
        (2, "caller", "INVITE", None),
        (3, "trunk:carrier", "INVITE", "net.example"),
        (4, "server:lis.example", "held", None),
    ]


def test_a_network_is_believed_before_the_caller() -> None:
    trail = Trail()
    trail.add(said(at(1), at(2)), via="INVITE")
    assert trail.first is trail.entries[0]
    assert trail.best is trail.entries[1]
    trail.add(said(at(3)), via="INVITE", trunk="carrier")
    trail.add(said(at(4)), via="INFO")
    assert trail.best is trail.first is trail.entries[2]


def test_an_address_is_better_than_nothing_and_a_shape_better_than_an_address() -> None:
    assert (Trail().best, Trail().first) == (None, None)
    trail = Trail()
    address = Civic((("A1", "山东省"),))
    trail.add(said(at(0, civic=address, shape=False)), via="INVITE")
    assert trail.best is trail.entries[0]
    trail.add(said(at(1)), via="INVITE")
    assert trail.best is trail.first is trail.entries[1]


def test_beginning_and_end_of_a_long_trail_stay() -> None:
    trail = Trail()
    for i in range(MAX_ENTRIES * 2):
        trail.add(said(at(i / 100)), via="INFO")
    numbers = [entry.number for entry in trail.entries]
    assert len(numbers) == MAX_ENTRIES
    assert numbers[: MAX_ENTRIES // 2] == list(range(1, MAX_ENTRIES // 2 + 1))
    assert numbers[-1] == MAX_ENTRIES * 2
    assert numbers == sorted(numbers)


@pytest.mark.parametrize(
    ("shape", "more"),
    [
        (Point(HERE), {"shape": "point", "radius": 0.0}),
        (Circle(HERE, 25), {"shape": "circle", "radius": 25}),
        (Ellipse(HERE, 30, 10, 45), {"shape": "ellipse", "radius": 30, "minor": 10, "orientation": 45}),
        (ArcBand(HERE, 100, 200, 0, 90), {"shape": "arc_band", "mast": [37.5, 121.4], "opening": 90}),
        (Polygon((HERE, (37.6, 121.4), (37.6, 121.5))), {"shape": "polygon", "corners": [[37.5, 121.4], [37.6, 121.4], [37.6, 121.5]]}),
    ],
)  # fmt: skip
def test_shapes_as_data(shape: Shape, more: dict[str, object]) -> None:
    data = described(shape)
    assert data.items() >= more.items()
    assert data["gcj02"] == pytest.approx(to_gcj02((data["latitude"], data["longitude"])), abs=1e-6)
    assert json.loads(json.dumps(data)) == data


def test_an_entry_as_data() -> None:
    trail = Trail()
    trail.add(said(at(37.5, civic=Civic((("A1", "山东省"), ("A2", "烟台市"))))), via="INVITE")
    assert trail.entries[0].plain() == {
        "number": 1,
        "by": "caller",
        "via": "INVITE",
        "shape": "point",
        "latitude": 37.5,
        "longitude": 121.4,
        "radius": 0.0,
        "gcj02": pytest.approx(list(to_gcj02(HERE)), abs=1e-6),
        "civic": {"A1": "山东省", "A2": "烟台市"},
        "address": {"zh": "山东省烟台市", "en": "烟台市, 山东省"},
        "confidence": 95.0,
        "method": "GPS",
        "timestamp": "2026-11-22T08:00:00Z",
        "uri": "cid:a",
    }
