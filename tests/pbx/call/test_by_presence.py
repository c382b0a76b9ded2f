"""Locations by reference over SIP presence, on the virtual network (RFC 6442 §4.6, RFC 3856, RFC 6665)."""

from typing import Any

import msgspec
import pytest

from pbx.call.live_state import LiveState
from pbx.call.whereabouts import Whereabouts
from pbx.location.presence import GOODBYE_SECONDS, MAX_PER_CALL, NOTIFY_SECONDS, RETRY_SECONDS
from pbx.sip.dialog import Dialog
from routing.acd import Acd
from routing.queues import QueueRule, Rules
from tests.kit import places
from tests.kit.network import Network
from tests.kit.presence import HOST, URI, PresenceServer, PresenceStand, document
from tests.kit.stand import SERVER, Phone, wait


class Scene:
    """A server, a caller and the exchange."""

    def __init__(self) -> None:
        self.network = Network(1)
        self.stand = PresenceStand()
        self.network.attach(SERVER, self.stand)
        self.phone = Phone(self.network, "alice")
        self.server = PresenceServer(self.network)

    def call(self, *uris: str) -> str:
        """Call with these references; returns the id of the call, which is answered."""
        self.phone.invite(headers=[("Geolocation", f"<{uri}>") for uri in uris])
        wait(self.network, 1.0)
        (call,) = self.stand.exchange.calls
        assert "< 200 INVITE" in self.phone.ladder
        return call

    def trail(self, call: str) -> list[dict[str, Any]]:
        return self.stand.exchange.whereabouts.trail(call)

    def unusable(self) -> list[str]:
        return [note.fields["why"] for note in self.stand.notes if note.event == "location_unusable"]

    def notify(self, body: bytes = b"", **how: Any) -> None:
        self.server.notify(body, **how)
        wait(self.network, 0.5)

    def restart(self) -> None:
        """Put the subscriptions through bytes."""
        exchange = self.stand.exchange
        data = msgspec.msgpack.decode(msgspec.msgpack.encode(exchange.presence.snapshot()))
        exchange.presence = type(exchange.presence).restore(data, exchange.mint)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_notifies_make_a_trail(scene: Scene) -> None:
    call = scene.call(URI)
    (asked,) = scene.server.subscribed
    assert (asked.headers.get("Event"), asked.headers.get("Expires")) == ("presence", "600")
    # RFC 3856 §6.7 and RFC 6442: what a NOTIFY may carry; a PIDF-LO may stand in a multipart.
    assert asked.headers.get("Accept") == "application/pidf+xml, multipart/related"
    scene.notify(document(36.5))
    scene.restart()
    scene.notify(document(36.6))
    assert [(e["by"], e["via"], e["latitude"]) for e in scene.trail(call)] == [
        ("server:presence.example", "presence", 36.5),
        ("server:presence.example", "presence", 36.6),
    ]
    assert scene.server.ladder.count("< 200 NOTIFY") == 2
    assert scene.unusable() == []
    # Its messages belong to the evidence of the call.
    assert scene.stand.exchange.call_of(asked.call_id) == call


def test_a_place_told_before_the_answer_chooses_the_queue(scene: Scene) -> None:
    """The media process is slower than the server: the call is not in the queue yet when its place is told."""
    site = scene.stand.exchange.site
    rules = Rules(queues={"q-west": QueueRule(), "q-east": QueueRule()})
    scene.stand.exchange.acd = Acd(rules)
    scene.stand.exchange.whereabouts = Whereabouts(places.districts(), site.may_ask, serves=rules.serves)
    scene.stand.media_answers = False
    scene.phone.invite(headers=[("Geolocation", f"<{URI}>")])
    wait(scene.network, 0.2)
    scene.notify(places.document(36.5, 120.5))
    assert scene.stand.exchange.acd.queue == ()
    scene.stand.media_answers = True
    scene.stand.media()
    assert [place.queue for place in scene.stand.exchange.acd.queue] == ["q-west"]


def test_the_journal_keeps_it(scene: Scene) -> None:
    """Who is killed in between goes on in the same dialog: the next NOTIFY extends the trail."""
    exchange = scene.stand.exchange
    state = LiveState(exchange)
    call = scene.call(URI)
    scene.notify(document(36.5))
    kept = dict(state.changes())["presence/"]
    assert "presence/" not in dict(state.changes()), "nothing has changed since"
    exchange.presence = type(exchange.presence)(exchange.mint)
    LiveState(exchange)._one("presence", "", msgspec.msgpack.decode(msgspec.msgpack.encode(kept)))
    scene.notify(document(36.6))
    assert [entry["latitude"] for entry in scene.trail(call)] == [36.5, 36.6]


def test_the_end_of_the_call_ends_the_subscription(scene: Scene) -> None:
    scene.call(URI)
    scene.notify(document(36.5))
    scene.phone.send("BYE")
    wait(scene.network, 2.0)
    # RFC 6665 §4.1.2.3: a subscriber ends by a SUBSCRIBE with an Expires of 0.
    assert [request.headers.get("Expires") for request in scene.server.subscribed] == ["600", "0"]
    assert scene.server.subscribed[1].to.tag == "p1"
    scene.notify(document(36.6), state="terminated;reason=timeout")
    assert scene.server.ladder[-1] == "< 200 NOTIFY"
    assert len(scene.stand.exchange.presence) == 0
    scene.notify(document(36.6))
    assert scene.server.ladder[-1] == "< 481 NOTIFY"


def test_a_call_that_ends_before_the_server_answered(scene: Scene) -> None:
    scene.server.status = 100
    scene.call(URI)
    scene.phone.send("BYE")
    wait(scene.network, 2.0)
    assert len(scene.stand.exchange.presence) == 1, "the server may still accept"
    (asked,) = scene.server.subscribed
    scene.server.watcher = Dialog.uas(asked, local_tag="late", contact=scene.server.contact)
    scene.notify(document(36.5))
    assert [request.headers.get("Expires") for request in scene.server.subscribed] == ["600", "0"]
    wait(scene.network, 2 * GOODBYE_SECONDS)
    assert len(scene.stand.exchange.presence) == 0


def test_refreshed_before_it_expires(scene: Scene) -> None:
    scene.server.granted = 100
    scene.call(URI)
    scene.notify(document(36.5), state="active;expires=100")
    wait(scene.network, 70.0)
    assert len(scene.server.subscribed) == 1
    wait(scene.network, 20.0)
    first, again = scene.server.subscribed
    assert (again.to.tag, again.cseq.number, again.headers.get("Expires")) == ("p1", 2, "600")
    assert again.call_id == first.call_id


def test_a_silent_server_is_asked_once_more_and_given_up(scene: Scene) -> None:
    call = scene.call(URI)
    wait(scene.network, NOTIFY_SECONDS + RETRY_SECONDS + 1)
    first, second = scene.server.subscribed
    assert first.call_id != second.call_id
    wait(scene.network, NOTIFY_SECONDS + 60)
    assert scene.unusable() == ["no NOTIFY within 10 s"] * 2
    assert len(scene.server.subscribed) == 2
    assert call in scene.stand.exchange.calls, "the call goes on"


@pytest.mark.parametrize(("status", "asked"), [(403, 1), (489, 1), (401, 1), (404, 1), (503, 2), (480, 2)])
def test_a_server_that_refuses(scene: Scene, status: int, asked: int) -> None:
    scene.server.status = status
    call = scene.call(URI)
    wait(scene.network, 40.0)
    assert scene.unusable() == [f"SUBSCRIBE was answered {status}"] * asked
    assert len(scene.server.subscribed) == asked
    assert call in scene.stand.exchange.calls


@pytest.mark.parametrize(
    ("state", "again"),
    [
        ("terminated;reason=deactivated", 2),
        ("terminated;reason=rejected", 1),
        ("terminated;reason=noresource", 1),
    ],
)
def test_a_server_that_ends_it(scene: Scene, state: str, again: int) -> None:
    # RFC 6665 §4.1.3: after "deactivated" the subscriber subscribes anew, after "rejected" and "noresource" it does not.
    scene.call(URI)
    scene.notify(document(36.5), state=state)
    wait(scene.network, RETRY_SECONDS + 1)
    assert len(scene.server.subscribed) == again


@pytest.mark.parametrize(
    "body", [b"nonsense", b"<presence/>", b"<!DOCTYPE x [<!ENTITY a 'b'>]><presence>&a;</presence>"]
)
def test_a_malformed_document_costs_nothing(scene: Scene, body: bytes) -> None:
    call = scene.call(URI)
    scene.notify(body)
    (answer,) = [response for response in scene.server.responses if response.cseq.method == "NOTIFY"]
    # RFC 6442 §4.3: Geolocation-Error tells the sender what was wrong with its location.
    assert answer.status == 200
    assert answer.headers.get("Geolocation-Error") == '100;code="Cannot Process Location"'
    assert len(scene.unusable()) == 1
    scene.notify(document(36.6))
    assert [entry["latitude"] for entry in scene.trail(call)] == [36.6]


def test_a_notify_that_overtakes_the_answer(scene: Scene) -> None:
    """RFC 6665 §4.4.1: the NOTIFY makes the dialog, whenever the 2xx comes."""
    scene.server.lose = ["200 SUBSCRIBE"]
    call = scene.call(URI)
    scene.notify(document(36.5))
    assert len(scene.trail(call)) == 1
    wait(scene.network, 5.0)
    scene.notify(document(36.6))
    assert [entry["latitude"] for entry in scene.trail(call)] == [36.5, 36.6]


def test_notifies_of_strangers_are_refused(scene: Scene) -> None:
    call = scene.call(URI)
    scene.notify(document(36.5))
    # Tags read on the way do not let somebody else say where a caller is.
    other = PresenceServer(scene.network, address=("192.0.2.99", 5060))
    other.watcher = scene.server.watcher
    other.notify(document(10.0))
    wait(scene.network, 0.5)
    assert other.ladder[-1] == "< 481 NOTIFY"
    for header, value in (("From", "<sip:presence@x>;tag=fork"), ("Event", "dialog")):
        forged = scene.server.built(document(10.0))
        forged.headers.set(header, value)
        scene.server.tell(forged)
        wait(scene.network, 0.5)
        assert scene.server.ladder[-1] == "< 481 NOTIFY"
    nameless = scene.server.built(document(10.0))
    nameless.headers.remove("Subscription-State")
    scene.server.tell(nameless)
    wait(scene.network, 0.5)
    assert scene.server.ladder[-1] == "< 400 NOTIFY"
    assert [entry["latitude"] for entry in scene.trail(call)] == [36.5]


@pytest.mark.parametrize(
    "uri",
    [
        "sip:x@192.0.2.66", "sip:x@127.0.0.1:25", "pres:x@elsewhere.example", f"{URI};maddr=192.0.2.66", f"{URI}:5432",
        "sip:x:pw@presence.example", "sip:bob@at110", f"sip:alice@{SERVER[0]}", "sip:alice@192.0.2.77:5070",
    ],
)  # fmt: skip
def test_it_goes_nowhere_else(scene: Scene, uri: str) -> None:
    """Bars S9: where a stranger's URI points decides nothing; nobody of these has registered."""
    scene.call(uri)
    assert scene.unusable() == ["not a presence server of this site"]
    assert len(scene.stand.exchange.presence) == 0
    assert scene.server.subscribed == []


@pytest.mark.parametrize("uri", ["sip:alice@192.0.2.77:5070", "sip:alice@at110", "pres:alice@at110"])
def test_the_callers_own_phone_is_asked_over_its_own_flow(scene: Scene, uri: str) -> None:
    assert scene.phone.register().status == 200
    scene.phone.auto.discard("ok")
    scene.call(uri)
    (asked,) = [request for _, request in scene.phone.requests if request.method == "SUBSCRIBE"]
    assert str(asked.uri) == "sip:alice@192.0.2.77:5070"
    assert scene.server.subscribed == []
    assert scene.unusable() == []


def test_no_more_than_two_of_a_call(scene: Scene) -> None:
    scene.call(*(f"sip:place-{n}@{HOST}" for n in range(4)))
    assert len(scene.server.subscribed) == MAX_PER_CALL
    assert scene.unusable() == ["too many subscriptions"] * 2


def test_the_same_reference_again_is_left_alone(scene: Scene) -> None:
    scene.call(URI)
    scene.phone.send("INFO", headers=(("Geolocation", f"<{URI}>"),))
    wait(scene.network, 1.0)
    assert len(scene.server.subscribed) == 1


def test_a_server_that_wants_longer(scene: Scene) -> None:
    """RFC 6665 §4.2.1.1: 423 with Min-Expires."""
    scene.server.least = 1200
    scene.call(URI)
    assert [request.headers.get("Expires") for request in scene.server.subscribed] == ["600", "1200"]
    assert scene.unusable() == []
