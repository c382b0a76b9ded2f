"""The Geolocation header (RFC 6442, `loc-src` of RFC 8787): what an INVITE says of where its sender is. Pure.

in → out: a request → the references and documents it carries, in its order.
"""

from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import unquote

from pbx.location.pidf import Located, LocationError, read
from pbx.sip import grammar
from pbx.sip.body import Part, parse_body
from pbx.sip.errors import SipError
from pbx.sip.message import Request

MAX_VALUES: Final = 8
"""Of one request; RFC 6442 expects one or two."""
MAX_URI: Final = 1_024
PIDF: Final = "application/pidf+xml"

Fault = Literal["cannot_process", "not_found", "dereference"]

# RFC 6442 §4.3: 1xx "the Location Recipient cannot process the location within the request", 3xx "dereference failure".
ERRORS: Final[dict[Fault, tuple[int, str]]] = {
    "cannot_process": (100, "Cannot Process Location"),
    "not_found": (100, "Cannot Process Location"),
    "dereference": (300, "Dereference Failure"),
}


@dataclass(frozen=True, slots=True)
class Said:
    """One locationValue, or a document that came without one."""

    uri: str | None
    """`cid:…`, `https:…`, `sip:…`; None for a document no header names."""
    source: str | None
    """`loc-src`: the host that says it put it there."""
    found: tuple[Located, ...] = ()
    """What a document in the body says; empty for a reference to elsewhere."""
    fault: str | None = None
    """Why it can't be used."""


@dataclass(frozen=True, slots=True)
class Geolocation:
    """All a request says of its sender's place."""

    said: tuple[Said, ...]
    routing: bool
    """Geolocation-Routing: whether the sender lets others route by it. An emergency call is routed by it all the same."""

    @property
    def faulty(self) -> bool:
        return any(one.fault for one in self.said)


def geolocation(request: Request) -> Geolocation:
    """Read the headers and the documents they name. Nothing raises: a bad location never costs a call."""
    parts = _documents(request)
    said: list[Said] = []
    named: set[int] = set()
    for value in request.headers.all("Geolocation")[:MAX_VALUES]:
        uri, source, fault = _value(value)
        if uri is None or fault is not None:
            said.append(Said(uri, source, fault=fault or "malformed Geolocation"))
        elif uri.lower().startswith("cid:"):
            wanted = unquote(uri[4:])
            index = next((i for i, part in enumerate(parts) if part.content_id == wanted), None)
            if index is None:
                said.append(Said(uri, source, fault="no such body part"))
                continue
            named.add(index)
            said.append(_document(parts[index], uri, source))
        else:
            said.append(Said(uri, source))
    said += [_document(part, None, None) for i, part in enumerate(parts) if i not in named][:MAX_VALUES]
    asked = (request.headers.get("Geolocation-Routing") or "").strip(" \t").lower()
    return Geolocation(tuple(said[:MAX_VALUES]), asked == "yes")


def error(fault: Fault) -> tuple[str, str]:
    """Return the header that tells a sender its location can't be used (RFC 6442 §4.3); the call goes on."""
    code, text = ERRORS[fault]
    return "Geolocation-Error", f'{code};code="{text}"'


def _documents(request: Request) -> list[Part]:
    kind = request.content_type
    if kind is None or not (kind == PIDF or kind.startswith("multipart/")):
        return []
    try:
        root = parse_body(request)
    except SipError:
        return []
    return [] if root is None else [part for part in root.walk() if part.kind == PIDF][:MAX_VALUES]


def _document(part: Part, uri: str | None, source: str | None) -> Said:
    try:
        return Said(uri, source, read(part.body))
    except LocationError as bad:
        return Said(uri, source, fault=str(bad))


def _value(value: str) -> tuple[str | None, str | None, str | None]:
    """Read locationValue = LAQUOT locationURI RAQUOT *(SEMI geoloc-param) → URI, loc-src, fault."""
    value = value.strip(" \t")
    end = value.find(">")
    if not value.startswith("<") or end < 2:
        return None, None, "malformed Geolocation"
    uri = value[1:end].strip(" \t")
    if len(uri) > MAX_URI or not uri.isascii() or any(c in uri for c in ' "<\\\r\n\t'):
        return None, None, "malformed Geolocation"
    source = None
    rest = value[end + 1 :]
    if rest.strip(" \t"):
        try:
            pair = grammar.find_param(grammar.parse_params(rest, 0, "Geolocation"), "loc-src")
        except SipError:
            return uri, None, "malformed Geolocation"
        source = None if pair is None or pair[1] is None else grammar.unquote(pair[1])[:255]
    return uri, source, None
