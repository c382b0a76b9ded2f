from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import routing.districts
from routing.districts import Decision, Districts, DistrictsError, Share
from routing.shapes import Circle, Point, Polygon, moved
from tests.kit import places
from tests.kit.places import WEST, collection, square

BOTH = places.districts()


def test_a_point_is_in_one_district() -> None:
    assert BOTH.decide(Point((36.5, 120.5))) == Decision("west", "q-west", "position", (Share("west", 1.0),))
    assert BOTH.decide(Point((36.5, 121.5))).queue == "q-east"


def test_a_point_on_the_border_is_in_one_too() -> None:
    assert BOTH.shares(Point((36.5, 121.0))) == (Share("west", 1.0),)


def test_an_uncertain_circle_over_a_border() -> None:
    """The district with the larger share serves, the other is noted."""
    middle = moved((36.5, 121.0), 0, 250)  # 250 m inside the east
    decision = BOTH.decide(Circle(middle, 500))
    assert decision.district == "east"
    assert [share.district for share in decision.shares] == ["east", "west"]
    # A circle cut half a radius from its middle: 80.4 % lie on one side.
    assert decision.shares[0].share == pytest.approx(0.804, abs=0.01)
    assert sum(share.share for share in decision.shares) == pytest.approx(1, abs=0.001)


def test_a_sliver_is_no_share() -> None:
    middle = moved((36.5, 121.0), 0, 495)
    (only,) = BOTH.shares(Circle(middle, 500))
    assert only.district == "east"
    assert only.share == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(
    ("trunk", "number", "district", "by"),
    [
        ("carrier", "+8605358111111", "west", "trunk"),
        (None, "+8605358111111", "east", "prefix"),
        (None, "+8605358811111", "west", "prefix"),  # the longest prefix
        (None, "+8613800138000", "east", "default"),
        ("another", None, "east", "default"),
        (None, None, "east", "default"),
    ],
)
def test_without_position(trunk: str | None, number: str | None, district: str, by: str) -> None:
    decision = BOTH.decide(None, trunk=trunk, number=number)
    assert (decision.district, decision.by, decision.outside) == (district, by, False)
    elsewhere = BOTH.decide(Point((10.0, 10.0)), trunk=trunk, number=number)
    assert (elsewhere.district, elsewhere.by, elsewhere.outside) == (district, by, True)


def test_a_site_without_districts() -> None:
    assert Districts().decide(Point((36.5, 120.5))) == Decision(None, "default", "default", outside=True)
    assert Districts(default="all").decide(None).queue == "all"


def test_a_bow_tie_is_still_an_area() -> None:
    tie = Polygon(((36.4, 120.4), (36.6, 120.6), (36.6, 120.4), (36.4, 120.6)))
    assert BOTH.decide(tie).district == "west"


def test_a_flat_polygon_is_a_point() -> None:
    line = Polygon(((36.4, 120.4), (36.5, 120.4), (36.6, 120.4)))
    assert BOTH.decide(line).district == "west"


@given(st.floats(35.5, 37.5), st.floats(119.5, 122.5), st.floats(1, 40_000))
def test_shares_never_exceed_the_whole(latitude: float, longitude: float, radius: float) -> None:
    shares = BOTH.shares(Circle((latitude, longitude), radius))
    assert sum(share.share for share in shares) <= 1.001
    assert [share.share for share in shares] == sorted((share.share for share in shares), reverse=True)
    assert len({share.district for share in shares}) == len(shares)
    if shares:
        assert BOTH.decide(Circle((latitude, longitude), radius)).district == shares[0].district


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "no JSON"),
        ("[]", "no FeatureCollection"),
        ('{"type":"FeatureCollection"}', "`features`"),
        (collection({"type": "Feature"}), "feature 1: no properties"),
        (collection(square("", 120)), "feature 1: no `id`"),
        (collection(WEST, WEST), "the same id"),
        (collection(square("a", 120, queue="")), r"feature 1 \(a\): `queue`"),
        (collection(square("a", 120, prefixes="0535")), "`prefixes`"),
        (collection(square("a", 120, name=3)), "`name`"),
        (collection(square("a", 179.5)), "not in degrees"),
        (collection({**square("a", 120), "geometry": {"type": "Point", "coordinates": [1, 2]}}), "Polygon"),
        (collection({**square("a", 120), "geometry": {"type": "Polygon", "coordinates": [[[1]]]}}), r"\(a\)"),
        (
            collection(
                {
                    **square("a", 120),
                    "geometry": {
                        "type": "Polygon",
                        "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]],
                    },
                }
            ),
            "Self-intersection",
        ),
    ],
)
def test_a_file_that_is_wrong_says_where(text: str, why: str) -> None:
    with pytest.raises(DistrictsError, match=why):
        Districts.load(text)


def test_the_sample_prefecture() -> None:
    """What a newcomer starts with: districts that touch and never overlap."""
    text = Path(routing.districts.__file__).with_name("sample_districts.geojson").read_text("utf-8")
    districts = Districts.load(text, default="harbour")
    assert [district.id for district in districts] == ["harbour", "oldtown", "hills", "newport", "islands"]
    for one in districts:
        assert one.names.keys() == {"zh", "en"}
        for other in districts:
            if other.id != one.id:
                assert one.area.intersection(other.area).area == 0
    assert districts.decide(Circle((30.1, 124.6), 300)).district == "harbour"
    assert districts.decide(Point((30.44, 125.15))).queue == "islands"
    assert districts.decide(None, number="+8699030123456").district == "hills"


TOWNS = Districts.load(
    places.collection(
        places.square("west", 120.0, queue="q-west", addresses=[{"A3": "古城区"}, {"A3": "Old Town"}]),
        places.square(
            "east", 121.0, queue="q-east", addresses=[{"A2": "某市"}, {"A3": "古城区", "A4": "东关街道"}]
        ),
        places.square("south", 122.0),
    ),
    default="south",
)


@pytest.mark.parametrize(
    ("address", "district", "by"),
    [
        ([("country", "CN"), ("A3", "古城区")], "west", "address"),
        ([("A3", " old  TOWN ")], "west", "address"),
        ([("A2", "某市"), ("A3", "别的区")], "east", "address"),
        ([("A3", "古城区"), ("A4", "东关街道"), ("RD", "滨海路")], "east", "address"),
        ([("A3", "古城")], "south", "default"),
        ([("A4", "古城区")], "south", "default"),
        ([], "south", "default"),
    ],
)
def test_a_civic_address_has_its_district_and_the_most_exact_one_counts(
    address: list[tuple[str, str]], district: str, by: str
) -> None:
    decision = TOWNS.decide(None, address=address)
    assert (decision.district, decision.by) == (district, by)


def test_a_position_goes_before_an_address_and_an_address_before_trunk_and_number() -> None:
    said = [("A3", "古城区")]
    assert TOWNS.decide(Point((36.5, 121.5)), address=said).by == "position"
    beyond = TOWNS.decide(Point((10.0, 10.0)), address=said)
    assert (beyond.district, beyond.by, beyond.outside) == ("west", "address", True)
    known = Districts.load(
        places.collection(
            places.square("west", 120.0, addresses=[{"A3": "古城区"}]),
            places.square("east", 121.0, trunks=["carrier"], prefixes=["+86535"]),
        )
    )
    assert known.decide(None, address=said, trunk="carrier", number="+86535110").district == "west"
    assert known.decide(None, trunk="carrier").by == "trunk"


@pytest.mark.parametrize("wrong", ["古城区", [{}], [{"A3": ""}], [{"A3": 3}], ["古城区"]])
def test_addresses_that_are_none_are_named(wrong: object) -> None:
    with pytest.raises(DistrictsError, match="addresses"):
        Districts.load(places.collection(places.square("west", 120.0, addresses=wrong)))
