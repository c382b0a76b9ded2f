"""What an INVITE says of its sender and of its way here, kept as claims: nobody vouches for them (bars S8).

in → out: a request of an untrusted peer → plain data for the `call_arrived` note. Nothing here makes a caller verified, and
nothing of it is sent on to anybody.
"""

from typing import Any, Final

from pbx.call.diverted import stations
from pbx.claims import CLAIMS, NAMES
from pbx.sdp.description import heard
from pbx.sdp.language import spoken_by
from pbx.sip import grammar
from pbx.sip.body import find_part
from pbx.sip.errors import SipError
from pbx.sip.message import Request

MAX_VALUES: Final = 10
"""Values of one header that are kept: History-Info grows by one at each hop, and ten hops are a loop."""
MAX_LENGTH: Final = 1024
"""Characters of one value that are kept; the whole message is in the evidence."""


def claims(request: Request) -> dict[str, Any]:
    """Return `claims` (header → values), `diverted`, `privacy` and `languages`, each only if the request has some."""
    out: dict[str, Any] = {}
    if request.headers.among(CLAIMS):
        out["claims"] = {name: values for name in NAMES if (values := _values(request, name))}
    if came_over := stations(request):
        out["diverted"] = came_over
    if asked := privacy(request):
        out["privacy"] = sorted(asked)
    if spoken := _languages(request):
        out["languages"] = spoken
    return out


def privacy(request: Request) -> frozenset[str]:
    """Return what of its sender's identity is to be kept back (RFC 3323 §4.2); empty when nothing or `none`.

    An emergency caller's wish does not keep its identity from the dispatcher (RFC 3325 leaves that to the place, and so do
    the laws); it keeps it out of everything else, such as the log.
    """
    words = {
        grammar.lower(word.strip(" \t"))
        for line in request.headers.lines("Privacy")
        for word in line.replace(",", ";").split(";")[:MAX_VALUES]
    }
    return frozenset(word[:40] for word in words if grammar.is_token(word)) - {"none"}


def _values(request: Request, name: str) -> list[str]:
    return [value[:MAX_LENGTH] for value in request.headers.all(name)[:MAX_VALUES]]


def _languages(request: Request) -> list[dict[str, str | list[str]]]:
    try:
        body = find_part(request, "application/sdp")
        return [] if body is None else spoken_by(heard(body))
    except SipError:
        return []
