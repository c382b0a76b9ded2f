"""The event packages we know, and what a SUBSCRIBE must say to get one (RFC 6665 §4.2.1).

in → out: a SUBSCRIBE → its `Wish`, or the refusal the RFC wants.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pbx.packages import conference, dialog, presence, reg
from pbx.packages.conference import Conference
from pbx.packages.dialog import Lamp
from pbx.packages.presence import Presence
from pbx.packages.reg import Registration
from pbx.packages.seat import Seat
from pbx.sip import grammar
from pbx.sip.errors import SipError
from pbx.sip.message import Request

Document = Lamp | Conference | Presence | Registration
"""What one package says of one resource at one moment; shared by all who watch it."""

CONTENT_TYPES: Final = {
    "dialog": dialog.CONTENT_TYPE,
    "conference": conference.CONTENT_TYPE,
    "presence": presence.CONTENT_TYPE,
    "reg": reg.CONTENT_TYPE,
}
"""Package → the one type of its bodies."""

OF_SEATS: Final[dict[str, Callable[[Seat], Document]]] = {
    "dialog": Lamp.of,
    "conference": Conference.of,
    "presence": Presence.of,
}
"""Packages that tell of a seat; `reg` tells of an account's phones."""

ALLOW_EVENTS: Final = ("Allow-Events", ", ".join(CONTENT_TYPES))
MIN_EXPIRES: Final = 60  # seconds; as for registrations: less is a phone gone wrong
MAX_EXPIRES: Final = 3600  # seconds; also what is granted to a wish of nothing (RFC 4235 §3.4, RFC 4575 §3.3)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a SUBSCRIBE asks for."""

    package: str
    event: str
    """The Event header of its NOTIFYs: package and `id`."""
    seconds: int
    """Granted life; 0 asks once, or ends it."""


def read(request: Request) -> Wish:
    """Read a SUBSCRIBE. Raises SipError 400, 406, 423 or 489."""
    # RFC 6665 §4.2.1.1, §8.3.2: a package that is not understood is refused with 489, and Allow-Events lists those that
    # are. That goes for message-summary too: there is no mailbox here, and a phone told so stops asking.
    event = kind = package(request)
    if kind not in CONTENT_TYPES:
        raise SipError(489, headers=[ALLOW_EVENTS])
    _check_accept(request, CONTENT_TYPES[kind])
    for param in (request.headers.get("Event") or "").split(";")[1:]:
        name, _, text = param.partition("=")
        if grammar.lower(name.strip(" \t")) == "id":
            # RFC 6665 §8.2.1: the id, if there was one, stands in every NOTIFY of the subscription.
            text = text.strip(" \t")
            if not grammar.is_token(text):
                raise SipError(400, "Malformed Event")
            event = f"{kind};id={text}"
    return Wish(kind, event, _seconds(request))


def package(request: Request) -> str:
    """Return the package a SUBSCRIBE names, "" when it names none."""
    return grammar.lower((request.headers.get("Event") or "").partition(";")[0].strip(" \t"))


def _seconds(request: Request) -> int:
    asked = request.expires
    if asked is None:
        return MAX_EXPIRES
    # RFC 6665 §4.2.1.1: a duration above zero, below one hour and below the notifier's minimum may be answered with 423
    # and Min-Expires; a longer one is shortened, never lengthened.
    if 0 < asked < MIN_EXPIRES:
        raise SipError(423, headers=[("Min-Expires", str(MIN_EXPIRES))])
    return min(asked, MAX_EXPIRES)


def _check_accept(request: Request, content_type: str) -> None:
    accepted = {grammar.lower(v.partition(";")[0].strip(" \t")) for v in request.headers.all("Accept")}
    if accepted and not accepted & {content_type, "application/*", "*/*"}:
        raise SipError(406, headers=[("Accept", content_type)])
