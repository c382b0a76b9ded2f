"""What of a request can be read and obeyed: `Require`, `Content-Encoding`, and body parts with `handling=required`.

in → out: a request → nothing, or the refusal that says what we could have read (RFC 3261 §8.2.2.3, §8.2.3; RFC 5621).
An emergency INVITE is not asked these questions: `readable` makes of it what can be read.

`Max-Breadth` (RFC 5393) is for elements that fork: a user agent ignores it, and our own requests begin without it.
"""

import zlib
from collections.abc import Collection
from typing import Final

from pbx.sip import grammar
from pbx.sip.body import Part, parse_body
from pbx.sip.errors import SipError
from pbx.sip.message import Request
from pbx.sip.session_timer import tags

OPTION_TAGS: Final = frozenset({"timer", "100rel", "replaces", "norefersub"})
"""Extensions we have; any other in `Require` is refused with 420."""
REGISTRAR_TAGS: Final = frozenset({"outbound", "path"})
"""What a REGISTER may insist on beside: RFC 5626, RFC 3327."""
SUPPORTED: Final = ("Supported", "timer, 100rel, replaces, norefersub")

BODIES: Final = frozenset({"application/sdp"})
"""Body types an INVITE, UPDATE or PRACK may insist on."""
NO_ENCODING: Final = ("Accept-Encoding", "identity")
"""RFC 3261 §20.2: no content coding but none."""

MAX_UNPACKED: Final = 64 * 1024
"""Bytes a packed body may grow to, the same as an unpacked one may have (bars B7)."""

_ENCODED: Final = frozenset({"gzip", "x-gzip", "deflate"})


def check_require(request: Request) -> None:
    """Raise SipError(420) naming what we don't have (RFC 3261 §8.2.2.3)."""
    known = OPTION_TAGS | REGISTRAR_TAGS if request.method == "REGISTER" else OPTION_TAGS
    unknown = [tag for tag in request.headers.all("Require") if grammar.lower(tag) not in known]
    if unknown:
        raise SipError(420, headers=(("Unsupported", ", ".join(unknown)),))


def check_body(request: Request, known: Collection[str] = BODIES) -> None:
    """Raise SipError(415) when something in the body must be understood and is not (RFC 3261 §8.2.3, RFC 5621 §4.2)."""
    if encodings(request):
        raise SipError(415, headers=(NO_ENCODING,))
    root = parse_body(request)
    if root is not None and not _taken(root, known, request.headers.get("Content-Disposition")):
        raise SipError(415, headers=(("Accept", ", ".join(sorted(known))),))


def _taken(part: Part, known: Collection[str], disposition: str | None) -> bool:
    if part.media_type.is_multipart:
        parts = part.parts
        if part.kind == "multipart/related":
            parts = () if part.root is None else (part.root,)  # RFC 5621 §4.2: the root stands for all
        inside = [_taken(one, known, one.headers.get("Content-Disposition")) for one in parts]
        return any(inside) if part.kind == "multipart/alternative" else all(inside)
    return part.kind in known or not _required(disposition)


def _required(disposition: str | None) -> bool:
    """Tell whether a part with this Content-Disposition must be understood.

    RFC 3261 §20.11: "If this parameter is missing, the value "required" SHOULD be assumed." That is held for parts that
    say they describe the session; real peers attach data without a word and mean no harm by it.
    """
    if disposition is None:
        return False
    kind, semicolon, rest = disposition.partition(";")
    try:
        handling = grammar.find_param(
            grammar.parse_params(semicolon + rest, 0, "Content-Disposition"), "handling"
        )
    except SipError:
        return False
    if handling is not None and handling[1] is not None:
        return grammar.lower(grammar.unquote(handling[1])) == "required"
    return grammar.lower(kind.strip(" \t")) == "session"


def encodings(request: Request) -> list[str]:
    """The content codings of a body, in lower case, `identity` left out."""
    if not request.body:
        return []
    named = [grammar.lower(value.strip(" \t")) for value in request.headers.all("Content-Encoding")]
    return [value for value in named if value not in {"", "identity"}]


def readable(request: Request) -> Request:
    """Make of an emergency INVITE what can be read: a packed body is unpacked, or dropped when it can't be.

    Without a body the offer is ours to make (RFC 3261 §13.2.1), and the call goes on.
    """
    packed = encodings(request)
    if not packed:
        return request
    body = request.body
    for coding in reversed(packed):
        body = _unpack(body) if coding in _ENCODED else b""
    headers = request.headers.copy()
    headers.remove("Content-Encoding")
    if not body:
        headers.remove("Content-Type")
    return Request(request.method, request.uri, headers, body)


def unpacked(request: Request, *, patient: bool) -> Request:
    """Return a MESSAGE or INFO whose body is to be read, as it is.

    `patient`: of a caller in need, what is packed is unpacked. Raises SipError(415) for what is packed otherwise.
    """
    if not encodings(request):
        return request
    found = readable(request)
    if not patient or not found.body:
        raise SipError(415, headers=(NO_ENCODING,))
    return found


def _unpack(body: bytes) -> bytes:
    for bits in (zlib.MAX_WBITS | 32, -zlib.MAX_WBITS):  # gzip and zlib by their headers, then bare deflate
        unpacker = zlib.decompressobj(bits)
        try:
            out = unpacker.decompress(body, MAX_UNPACKED)
        except zlib.error:
            continue
        return out if unpacker.eof else b""
    return b""


def wants(request: Request, tag: str) -> bool:
    """Tell whether a request insists on an extension."""
    return tag in tags(request, "Require")
