"""Over which stations a call came: Diversion (RFC 5806) and History-Info (RFC 7044), read into one list.

in → out: an INVITE → plain data, the station that was called first first. It is what the network says of itself, or what a
stranger made up: shown as such, and acted on by nobody.
"""

from typing import Any, Final

from pbx.sip.errors import SipError
from pbx.sip.message import Request
from pbx.sip.uri import NameAddr, parse_name_addr

MAX_STATIONS: Final = 10
"""Of each header; ten hops are a loop."""
MAX_TEXT: Final = 200
"""Characters of an address or a reason; the whole stands among the claims, and in the evidence."""

Station = dict[str, Any]


def stations(request: Request) -> list[Station]:
    """Return `from` (URI), `reason` (text or None) and `header` of each station the call was sent on from."""
    # RFC 5806 §6: each diverting node puts its entry before those that are there, so the last one diverted first.
    found = [
        _station("Diversion", address, address.param("reason"))
        for address in reversed(_addresses(request, "Diversion"))
    ]
    # RFC 7044 §5: entries stand in the order of their index; the last one is where the call is now.
    history = _addresses(request, "History-Info")
    found += [_station("History-Info", address, _why(address)) for address in history[:-1]]
    return found


def _addresses(request: Request, name: str) -> list[NameAddr]:
    found = []
    for value in request.headers.all(name)[:MAX_STATIONS]:
        try:
            found.append(parse_name_addr(value))
        except SipError:
            continue  # one word that can't be read says nothing of the others
    return found


def _why(address: NameAddr) -> str | None:
    """Return the Reason a History-Info entry carries (RFC 7044 §5), or the cause of its URI (RFC 4458)."""
    reason = address.uri.header("Reason")
    cause = address.uri.param("cause")
    return reason if reason is not None else None if cause is None else f"SIP;cause={cause}"


def _station(header: str, address: NameAddr, reason: str | None) -> Station:
    uri = str(address.uri.bare())
    return {"from": uri[:MAX_TEXT], "reason": None if reason is None else reason[:MAX_TEXT], "header": header}
