"""One subscription to a caller's place as its subscriber sees it (RFC 6665 §4.1): the road, the dialog, what was granted.

in → out: a state → the SUBSCRIBE it asks with; plain data ↔ a state. `pbx.location.presence` decides what happens to it.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from pbx.sip.dialog import Dialog, DialogState
from pbx.sip.errors import SipError
from pbx.sip.flow import Flow, restore_flow
from pbx.sip.message import Request
from pbx.sip.uri import NameAddr, Uri, parse_name_addr, parse_uri
from pbx.sip.wakeups import earliest

REF: Final = "presence/"
"""Begins the `ref` of every request sent here."""
EXPIRES: Final = 600
"""Seconds asked for; a call is over long before it was refreshed often."""
MIN_GRANTED: Final = 20.0
"""Seconds; who grants less is asked again no sooner."""
REFRESH_SHARE: Final = 0.8
"""Of what was granted; what is left is longer than a SUBSCRIBE takes with all its repetitions."""
ACCEPT: Final = "application/pidf+xml, multipart/related"


class State(StrEnum):
    """What a subscription is."""

    ASKED = "asked"
    ACTIVE = "active"
    WAITING = "waiting"
    ENDING = "ending"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Road:
    """Where a reference leads."""

    uri: Uri
    """Request-URI."""
    by: str
    """Who says what is told there: `caller` for its own phone, else `server:HOST`."""
    us: NameAddr
    """Our From, without tag."""
    contact: NameAddr
    flow: Flow | None = None
    """The phone's own; None: found by RFC 3263."""
    routes: tuple[NameAddr, ...] = ()


@dataclass(slots=True)
class Subscription:
    """See the module."""

    id: int
    call: str
    uri: str
    road: Road
    call_id: str = ""
    tag: str = ""
    state: State = State.WAITING
    number: int = 0
    """Of the last SUBSCRIBE, over all dialogs."""
    contact: NameAddr | None = None
    flow: Flow | None = None
    """The road requests take, and NOTIFYs come, whatever a Contact claims (bars S9)."""
    dialog: Dialog | None = None
    seconds: int = EXPIRES
    tries: int = 0
    refresh_at: float | None = None
    due: float | None = None
    """When patience, or what was granted, ends."""
    said: bool = False
    """While ENDING: the SUBSCRIBE with Expires: 0 is sent."""

    @property
    def ref(self) -> str:
        """Of the last SUBSCRIBE."""
        return f"{REF}{self.id}/{self.number}"

    @property
    def next_due(self) -> float | None:
        """When something is to be done with it."""
        return earliest(self.refresh_at, self.due)

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """What a SUBSCRIBE says besides."""
        seconds = 0 if self.state is State.ENDING else self.seconds
        return ("Event", "presence"), ("Accept", ACCEPT), ("Expires", str(seconds))

    def request(self) -> Request:
        """Build the SUBSCRIBE that asks for a dialog."""
        return Request.build(
            "SUBSCRIBE",
            self.road.uri,
            from_=self.road.us.with_tag(self.tag),
            to=NameAddr(None, self.road.uri),
            call_id=self.call_id,
            cseq=1,
            contact=self.contact,
            routes=self.road.routes,
            headers=self.headers,
        )

    def granted(self, seconds: float, now: float) -> None:
        """Count the time from now on: refreshed at four fifths of it."""
        seconds = max(MIN_GRANTED, min(seconds, self.seconds))
        self.refresh_at, self.due = now + seconds * REFRESH_SHARE, now + seconds


def notified_dialog(one: Subscription, request: Request) -> Dialog:
    """Return the dialog a NOTIFY makes that overtook the 2xx (RFC 6665 §4.4.1). Raises SipError(400)."""
    if request.contact is None:
        raise SipError(400, "Missing Contact")
    assert one.contact is not None, "a SUBSCRIBE that was sent has a Contact"
    return Dialog(
        call_id=one.call_id,
        local_tag=one.tag,
        remote_tag=request.from_.tag or "",
        local=one.road.us.with_tag(one.tag),
        remote=request.from_,
        local_seq=1,
        remote_seq=None,
        route_set=request.record_routes,
        remote_target=request.contact.uri,
        contact=one.contact,
        state=DialogState.CONFIRMED,
        secure=one.road.uri.scheme == "sips",
    )


def pack(one: Subscription) -> dict[str, Any]:
    """Return plain data."""
    road = one.road
    return {
        "id": one.id,
        "call": one.call,
        "uri": one.uri,
        "road": [str(road.uri), road.by, str(road.us), str(road.contact), [str(hop) for hop in road.routes]],
        "own": None if road.flow is None else road.flow.snapshot(),
        "call_id": one.call_id,
        "tag": one.tag,
        "state": str(one.state),
        "number": one.number,
        "contact": None if one.contact is None else str(one.contact),
        "flow": None if one.flow is None else one.flow.snapshot(),
        "dialog": None if one.dialog is None else one.dialog.snapshot(),
        "seconds": one.seconds,
        "tries": one.tries,
        "refresh_at": one.refresh_at,
        "due": one.due,
        "said": one.said,
    }


def unpack(data: dict[str, Any]) -> Subscription:
    """Make the subscription that `pack` described."""
    uri, by, us, contact, routes = data["road"]
    own = None if data["own"] is None else restore_flow(data["own"])
    hops = tuple(parse_name_addr(hop) for hop in routes)
    road = Road(parse_uri(uri), by, parse_name_addr(us), parse_name_addr(contact), own, hops)
    return Subscription(
        id=data["id"],
        call=data["call"],
        uri=data["uri"],
        road=road,
        call_id=data["call_id"],
        tag=data["tag"],
        state=State(data["state"]),
        number=data["number"],
        contact=None if data["contact"] is None else parse_name_addr(data["contact"]),
        flow=None if data["flow"] is None else restore_flow(data["flow"]),
        dialog=None if data["dialog"] is None else Dialog.restore(data["dialog"]),
        seconds=data["seconds"],
        tries=data["tries"],
        refresh_at=data["refresh_at"],
        due=data["due"],
        said=data["said"],
    )
