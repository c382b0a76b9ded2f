from typing import Any

import pytest
from msgspec import msgpack

from pbx.call.call_events import ToAcd
from pbx.call.effects import AskDistrict, FetchLocation, Note
from pbx.call.whereabouts import MAX_REFERENCES, Item, Whereabouts
from pbx.location import pidf
from pbx.location.lost import Mapping
from pbx.location.presence import Follow
from pbx.sip.message import Request
from routing.acd import Requeue
from tests.kit import places

LIS = "https://lis.example/x"


def everything(_queue: str) -> bool:
    return True


@pytest.fixture
def where() -> Whereabouts:
    return Whereabouts(
        places.districts(), lambda uri: uri.startswith("https://lis.example/"), serves=everything
    )


def arrive(
    where: Whereabouts, request: Request, trunk: str | None = None, number: str | None = None
) -> list[Item]:
    arrival = where.arrived("c", request, 0.0, trunk=trunk, number=number)
    return list(arrival.effects)


def notes(effects: list[Item], event: str) -> list[dict[str, Any]]:
    return [effect.fields for effect in effects if isinstance(effect, Note) and effect.event == event]


def test_a_position_chooses_the_district(where: Whereabouts) -> None:
    effects = arrive(
        where, places.request("Geolocation: <cid:place@phone>", place=places.document(36.5, 120.5))
    )
    (place,) = notes(effects, "location")
    assert (place["by"], place["via"], place["shape"], place["radius"]) == (
        "caller",
        "INVITE",
        "circle",
        25.0,
    )
    assert notes(effects, "district") == [
        {"district": "west", "queue": "q-west", "by": "position", "outside": False, "shares": {"west": 1.0}}
    ]
    decision = where.decision("c")
    assert decision is not None
    assert decision.queue == "q-west"
    assert where.place("c") == where.trail("c")[0] == place


@pytest.mark.parametrize(
    ("trunk", "number", "queue", "by"),
    [("carrier", None, "q-west", "trunk"), (None, "+8605358", "q-east", "prefix"), (None, None, "q-east", "default")],
)  # fmt: skip
def test_without_a_position(
    where: Whereabouts, trunk: str | None, number: str | None, queue: str, by: str
) -> None:
    (decided,) = notes(arrive(where, places.request(), trunk, number), "district")
    assert (decided["queue"], decided["by"], decided["outside"]) == (queue, by, False)


def test_a_bad_location_is_stated_and_costs_nothing(where: Whereabouts) -> None:
    bad = places.document().replace(b"37.5", b"97.5")
    arrival = where.arrived(
        "c", places.request("Geolocation: <cid:place@phone>", place=bad), 0.0, trunk=None, number=None
    )
    assert arrival.headers == (("Geolocation-Error", '100;code="Cannot Process Location"'),)
    (why,) = notes(list(arrival.effects), "location_unusable")
    assert "no place on earth" in why["why"]
    assert arrival.decision.queue == "q-east"


def test_a_reference_is_fetched_from_a_server_of_the_site_only(where: Whereabouts) -> None:
    effects = arrive(
        where, places.request(f"Geolocation: <{LIS}>, <http://10.0.0.1:22/>, <sip:x@169.254.169.254>")
    )
    assert [e for e in effects if isinstance(e, FetchLocation)] == [FetchLocation("c", LIS)]
    assert [note["uri"] for note in notes(effects, "location_unusable")] == ["http://10.0.0.1:22/"]
    # Where that one may lead is for `by_presence` to say.
    assert [e for e in effects if isinstance(e, Follow)] == [Follow("c", "sip:x@169.254.169.254")]


def test_no_more_references_than_some(where: Whereabouts) -> None:
    effects = arrive(where, places.request("Geolocation: " + ", ".join(f"<{LIS}{i}>" for i in range(8))))
    assert sum(isinstance(effect, FetchLocation) for effect in effects) == MAX_REFERENCES


def test_what_the_network_says_moves_the_call(where: Whereabouts) -> None:
    arrive(where, places.request(f"Geolocation: <{LIS}>"))
    effects = where.fetched("c", LIS, pidf.read(places.document(36.5, 120.5)), None, 0.0)
    assert notes(effects, "location")[0]["by"] == "server:lis.example"
    assert notes(effects, "district")[0]["district"] == "west"
    # What the caller then says of itself is kept in the trail, but the network is believed.
    effects = where.heard("c", places.request(method="INFO", place=places.document(36.5, 121.5)), 0.0)
    assert notes(effects, "location")[0]["via"] == "INFO"
    assert not notes(effects, "district")
    assert [place["number"] for place in where.trail("c")] == [1, 2]
    shown = where.place("c")
    assert shown is not None
    assert shown["number"] == 1


def test_a_server_that_fails(where: Whereabouts) -> None:
    arrive(where, places.request(f"Geolocation: <{LIS}>"))
    assert where.fetched("c", LIS, (), "no answer within 5 s", 0.0) == [
        Note("location_unusable", "c", {"uri": LIS, "why": "no answer within 5 s"})
    ]


@pytest.mark.parametrize("method", ["INVITE", "UPDATE", "INFO", "MESSAGE"])
def test_a_caller_that_moves_leaves_a_trail(where: Whereabouts, method: str) -> None:
    arrive(where, places.request(place=places.document(36.5, 120.5)))
    effects = where.heard("c", places.request(method=method, place=places.document(36.5, 120.6)), 0.0)
    assert notes(effects, "location")[0]["via"] == method
    assert not notes(effects, "district")
    assert len(where.trail("c")) == 2
    shown = where.place("c")
    assert shown is not None
    assert shown["longitude"] == 120.6


def test_a_request_without_place_says_nothing(where: Whereabouts) -> None:
    arrive(where, places.request())
    assert where.heard("c", places.request(method="INFO"), 0.0) == []
    assert where.heard("c", places.request(method="BYE", place=places.document()), 0.0) == []


def test_a_call_that_is_over_has_no_place(where: Whereabouts) -> None:
    arrive(where, places.request(f"Geolocation: <{LIS}>", place=places.document()))
    where.ended("c")
    assert where.trail("c") == []
    assert (where.place("c"), where.decision("c")) == (None, None)
    assert where.heard("c", places.request(method="INFO", place=places.document()), 0.0) == []
    assert where.fetched("c", LIS, pidf.read(places.document()), None, 0.0) == []


@pytest.fixture
def asking() -> Whereabouts:
    """A site with a LoST server."""
    return Whereabouts(places.districts(), lambda _: False, serves=everything, lost=True)


RING = ((36.0, 120.0), (36.0, 121.0), (37.0, 121.0), (37.0, 120.0))


def test_a_lost_server_is_asked_and_moves_the_call(asking: Whereabouts) -> None:
    effects = arrive(asking, places.request(place=places.document(36.5, 120.5)))
    assert [e for e in effects if isinstance(e, AskDistrict)] == [AskDistrict("c", (36.5, 120.5))]
    assert notes(effects, "district")[0]["by"] == "position"
    moved = asking.mapped("c", Mapping("sip:q-east@lost.example", None, RING, 3600.0), None, 1.0)
    assert notes(moved, "district") == [
        {"district": "east", "queue": "q-east", "by": "lost", "outside": False, "shares": {}}
    ]
    # The next caller from there is not asked about again, nor is the first when it moves a little.
    assert asking.heard("c", places.request(method="INFO", place=places.document(36.5, 120.51)), 2.0) != []
    decision = asking.decision("c")
    assert decision is not None
    assert decision.by == "lost"
    effects = arrive(asking, places.request(place=places.document(36.6, 120.6)))
    assert not [e for e in effects if isinstance(e, AskDistrict)]
    assert notes(effects, "district")[0]["by"] == "lost"


@pytest.mark.parametrize(
    ("mapping", "fault", "why"),
    [
        (None, "no answer within 2 s", "no answer within 2 s"),
        (Mapping("sip:mars@lost.example", None, RING, 3600.0), None, "no queue or district 'mars' here"),
    ],
)
def test_a_lost_server_that_is_of_no_use(
    asking: Whereabouts, mapping: Mapping | None, fault: str | None, why: str
) -> None:
    arrive(asking, places.request(place=places.document(36.5, 120.5)))
    assert asking.mapped("c", mapping, fault, 1.0) == [Note("lost_failed", "c", {"why": why})]
    decision = asking.decision("c")
    assert decision is not None
    assert decision.district == "west"


def test_an_answer_after_the_call(asking: Whereabouts) -> None:
    assert asking.mapped("c", None, "late", 1.0) == []
    assert asking.mapped("c", Mapping("sip:east@lost.example", None, RING, 3600.0), None, 1.0) == []


def test_a_queue_that_nobody_serves_keeps_nobody() -> None:
    where = Whereabouts(places.districts(), lambda _: False, serves=lambda queue: queue == "q-east")
    effects = arrive(where, places.request(place=places.document(36.5, 120.5)))
    (decided,) = notes(effects, "district")
    assert (decided["district"], decided["queue"]) == ("west", "default")


def test_who_waits_goes_to_the_queue_of_the_place_that_became_known(where: Whereabouts) -> None:
    arrive(where, places.request())
    effects = where.heard("c", places.request(method="INFO", place=places.document(36.5, 120.5)), 1.0)
    assert [effect.event for effect in effects if isinstance(effect, ToAcd)] == [Requeue("c", "q-west")]


def test_a_trail_goes_on_after_a_restart(where: Whereabouts) -> None:
    arrive(where, places.request(place=places.document(36.5, 120.5)), trunk="carrier", number="+86")
    where.heard("c", places.request(method="INFO", place=places.document(36.5, 120.6)), 1.0)
    kept = msgpack.decode(msgpack.encode(where.snapshot()))
    again = Whereabouts(places.districts(), lambda _: False, serves=everything)
    again.resume(kept)
    assert again.trail("c") == where.trail("c")
    assert again.decision("c") == where.decision("c")
    assert again.snapshot() == where.snapshot()
