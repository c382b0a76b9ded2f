"""Callers that say where they are: SIPp with a PIDF-LO in every shape, a location server, a LoST server (RFC 6442, 6753, 5222)."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pbx.location import held
from tests.kit import places
from tests.live.conftest import NewSipp
from tests.live.kit.exchange import ApiError, Exchange
from tests.live.kit.ports import ADDRESS
from tests.live.kit.presence import PresenceServer

pytestmark = pytest.mark.beside

WEST, EAST = (36.5, 120.5), (36.5, 121.5)
DISTRICTS = places.collection(
    places.square(
        "west", 120.0, name={"zh": "西区", "en": "West"}, addresses=[{"A2": "某市", "A3": "古城区"}]
    ),
    places.square("east", 121.0, name={"zh": "东区", "en": "East"}),
)


class Server(BaseHTTPRequestHandler):
    """Keeps the location of whoever asks for /west, and says that the whole east is served by the west. /document is only given."""

    def do_GET(self) -> None:
        assert self.path == "/document"
        self._say(places.document(*WEST))

    def do_POST(self) -> None:
        if self.path == "/document":
            self.send_response(405)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/west":
            assert body == held.REQUEST
            inner = places.document(*WEST)
            inner = inner[inner.index(b"<presence") :]
            self._say(
                b'<locationResponse xmlns="urn:ietf:params:xml:ns:geopriv:held">'
                + inner
                + b"</locationResponse>"
            )
        elif self.path == "/lost" and b"36.5000000 121.5000000" in body:
            self._say(
                b'<findServiceResponse xmlns="urn:ietf:params:xml:ns:lost1"><mapping expires="NO-CACHE">'
                b"<uri>sip:west@lost.example</uri></mapping></findServiceResponse>"
            )
        else:
            self._say(b'<errors xmlns="urn:ietf:params:xml:ns:lost1"><notFound/></errors>')

    def _say(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def presence() -> Iterator[PresenceServer]:
    with PresenceServer([places.document(36.4, 120.5), b"nonsense", places.document(*WEST)]) as running:
        yield running


@pytest.fixture(scope="module")
def exchange(server: str, presence: PresenceServer) -> Iterator[Exchange]:
    running = Exchange(
        settings=f"[queue]\nlanguage = 'en'\n[location]\nservers = ['{server}']\nlost = '{server}/lost'\n"
        f"presence_servers = ['{ADDRESS}:{presence.port}']\n"
    )
    try:
        running.start()
        running.api("PUT", "/api/districts", json.loads(DISTRICTS))
        yield running
        running.wait_sealed()
    finally:
        running.stop()
        running.remove()


def document(shape: str) -> bytes:
    """A PIDF-LO with one shape."""
    whole = places.document().decode()
    start, end = whole.index("<gs:Circle"), whole.index("</gs:Circle>") + len("</gs:Circle>")
    return (whole[:start] + shape + whole[end:]).encode()


POS = "<gml:pos>36.5 120.5</gml:pos>"
SHAPES = {
    "point": f"<gml:Point>{POS}</gml:Point>",
    "circle": f"<gs:Circle>{POS}<gs:radius>500</gs:radius></gs:Circle>",
    "ellipse": f"<gs:Ellipse>{POS}<gs:semiMajorAxis>900</gs:semiMajorAxis><gs:semiMinorAxis>90</gs:semiMinorAxis><gs:orientation>20</gs:orientation></gs:Ellipse>",
    "arc_band": f"<gs:ArcBand>{POS}<gs:innerRadius>100</gs:innerRadius><gs:outerRadius>2000</gs:outerRadius><gs:startAngle>30</gs:startAngle><gs:openingAngle>60</gs:openingAngle></gs:ArcBand>",
    "polygon": "<gml:Polygon><gml:exterior><gml:LinearRing><gml:posList>36.4 120.4 36.4 120.6 36.6 120.6 36.4 120.4</gml:posList></gml:LinearRing></gml:exterior></gml:Polygon>",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_finds_its_district(exchange: Exchange, sipp: NewSipp, shape: str) -> None:
    place = document(SHAPES[shape]).decode()
    keys: dict[str, str | Path] = {"reference": "cid:place@sipp", "document": place, "stay": "2500"}
    caller = sipp("caller_somewhere", keys=keys, transport="t1")
    call = exchange.call_of("sipp")
    assert (call["queue"], call["district"]["district"], call["district"]["by"]) == (
        "west",
        "west",
        "position",
    )
    assert call["district"]["name"] == {"zh": "西区", "en": "West"}
    assert call["place"]["shape"] == shape
    (entry,) = exchange.api("GET", f"/api/calls/{call['call']}/trail")["trail"]
    assert entry == call["place"]
    caller.wait(30).check(1)
    exchange.wait_gone(call["call"])
    events = [event["event"] for event in exchange.events(call["call"])]
    assert events.count("location") == events.count("district") == 1


CIVIC = (
    '<ca:civicAddress xmlns:ca="urn:ietf:params:xml:ns:pidf:geopriv10:civicAddr" xml:lang="zh"><ca:country>CN</ca:country>'
    "<ca:A1>某省</ca:A1><ca:A2>某市</ca:A2><ca:A3>古城区</ca:A3><ca:RD>滨海路</ca:RD><ca:HNO>1</ca:HNO></ca:civicAddress>"
)


def test_a_civic_address_finds_its_district(exchange: Exchange, sipp: NewSipp) -> None:
    place = document(CIVIC.encode("ascii", "xmlcharrefreplace").decode()).decode()
    keys: dict[str, str | Path] = {"reference": "cid:place@sipp", "document": place, "stay": "2500"}
    caller = sipp("caller_somewhere", keys=keys, transport="t1")
    call = exchange.call_of("sipp")
    assert (call["queue"], call["district"]["district"], call["district"]["by"]) == (
        "west",
        "west",
        "address",
    )
    assert call["place"]["address"]["zh"] == "某省某市古城区滨海路1号"
    caller.wait(30).check(1)
    exchange.wait_gone(call["call"])


def test_a_caller_that_moves_leaves_a_trail(exchange: Exchange, sipp: NewSipp) -> None:
    """By re-INVITE, UPDATE, INFO and MESSAGE, each with a PIDF-LO; by presence NOTIFY see below."""
    ways = ("reinvite", "update", "info", "message")
    steps = [places.document(36.5, 120.5 + step / 100) for step in range(5)]
    keys: dict[str, str | Path] = {"document": steps[0].decode(), "stay": "1000"}
    keys |= {f"by_{way}": step.decode() for way, step in zip(ways, steps[1:], strict=True)}
    caller = sipp("caller_moves", keys=keys, transport="t1")
    call = exchange.call_of("sipp")
    caller.wait(30).check(1)
    exchange.wait_gone(call["call"])
    told = [event for event in exchange.events(call["call"]) if event["event"] == "location"]
    assert [(place["via"], place["longitude"]) for place in told] == [
        ("INVITE", 120.5),
        ("INVITE", 120.51),
        ("UPDATE", 120.52),
        ("INFO", 120.53),
        ("MESSAGE", 120.54),
    ]
    moments = [place["mono"] for place in told]
    assert moments == sorted(moments), "each with the clock of the evidence"


@pytest.mark.parametrize("path", ["west", "document"])
def test_a_reference_is_fetched_and_moves_the_caller(
    exchange: Exchange, server: str, sipp: NewSipp, path: str
) -> None:
    """By POST, and by GET where a server only gives the document (RFC 6753 §3.1).

    The document beside it is of no use; the network's server knows better, and comes after the answer.
    """
    keys: dict[str, str | Path] = {"reference": f"{server}/{path}", "document": "nonsense", "stay": "3000"}
    caller = sipp("caller_somewhere", keys=keys, transport="t1")
    call = exchange.call_of("sipp")

    def moved() -> bool:
        return [one["queue"] for one in exchange.queue() if one["call"] == call["call"]] == ["west"]

    exchange.until(moved, "the caller is not in the west's queue")
    caller.wait(30).check(1)
    assert 'Geolocation-Error: 100;code="Cannot Process Location"' in caller.messages
    exchange.wait_gone(call["call"])
    events = exchange.events(call["call"])
    assert [e["queue"] for e in events if e["event"] == "district"] == ["default", "west"]
    (place,) = [e for e in events if e["event"] == "location"]
    assert (place["by"], place["via"]) == ("server:127.0.0.1", "held")


def test_a_reference_is_subscribed_to_until_the_call_ends(
    exchange: Exchange, presence: PresenceServer, sipp: NewSipp
) -> None:
    uri = f"sip:somebody@{ADDRESS}:{presence.port}"
    keys: dict[str, str | Path] = {"reference": uri, "document": "nonsense", "stay": "4000"}
    caller = sipp("caller_somewhere", keys=keys, transport="t1")
    call = exchange.call_of("sipp")
    exchange.until(lambda: len(presence.of("SIP/2.0 200 ")) >= 3, "the NOTIFYs were not answered", timeout=20)
    caller.wait(60).check(1)
    exchange.wait_gone(call["call"], timeout=20)
    # Three documents, the second of them useless, and the word that ends it.
    exchange.until(
        lambda: len(presence.of("SIP/2.0 200 ")) >= 4, "the last NOTIFY was not answered", timeout=20
    )
    assert "Geolocation-Error: 100" in presence.of("SIP/2.0 200 ")[1]
    asked = presence.of("SUBSCRIBE ")
    assert "\r\nExpires: 0\r\n" in asked[-1]
    assert "\r\nExpires: 600\r\n" in asked[0]
    places_told = [e for e in exchange.events(call["call"]) if e["event"] == "location"]
    assert [(e["by"], e["via"], e["latitude"]) for e in places_told] == [
        (f"server:{ADDRESS}", "presence", 36.4),
        (f"server:{ADDRESS}", "presence", 36.5),
    ]


def test_a_lost_server_knows_better(exchange: Exchange, sipp: NewSipp) -> None:
    keys: dict[str, str | Path] = {"reference": "cid:place@sipp", "document": places.document(*EAST).decode(), "stay": "3000"}  # fmt: skip
    caller = sipp("caller_somewhere", keys=keys, transport="t1")
    call = exchange.call_of("sipp")
    exchange.until(
        lambda: exchange.call_of("sipp")["district"]["by"] == "lost", "the LoST server was not heard"
    )
    caller.wait(30).check(1)
    exchange.wait_gone(call["call"])
    events = exchange.events(call["call"])
    assert [e["by"] for e in events if e["event"] == "district"] == ["position", "lost"]


def test_districts_that_are_wrong_change_nothing(exchange: Exchange) -> None:
    before = exchange.api("GET", "/api/districts")
    assert [one["id"] for one in before["districts"]] == ["west", "east"]
    with pytest.raises(ApiError, match="no FeatureCollection") as refused:
        exchange.api("PUT", "/api/districts", {"type": "Feature"})
    assert refused.value.status == 400
    assert exchange.api("GET", "/api/districts") == before
    with pytest.raises(ApiError) as unknown:
        exchange.api("GET", "/api/calls/nobody/trail")
    assert unknown.value.status == 404
