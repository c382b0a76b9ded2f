"""Answers to what a peer asks inside a dialog: OPTIONS, INFO, MESSAGE and everything we do not do.

in → out: a request → a response and what it said.
"""

import re
from typing import Final

from pbx.packages.table import ALLOW_EVENTS
from pbx.sip import acceptance
from pbx.sip.body import parse_body
from pbx.sip.errors import SipError
from pbx.sip.grammar import lower
from pbx.sip.message import Request, Response

METHODS: Final = (
    "INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "INFO", "MESSAGE", "UPDATE", "PRACK", "REFER"
)  # fmt: skip
KNOWN_ELSEWHERE: Final = frozenset({"NOTIFY", "SUBSCRIBE", "PUBLISH", "REGISTER"})
"""Methods that exist but that we do not allow: 405. Any other is unknown: 501 (RFC 3261 §8.2.1)."""

ALLOW: Final = ("Allow", ", ".join(METHODS))
"""In a call's dialog: subscriptions have dialogs of their own (RFC 6665 §4.5.2)."""
CAPABILITIES: Final = (
    ALLOW, ("Accept", "application/sdp"), acceptance.NO_ENCODING, acceptance.SUPPORTED, ALLOW_EVENTS
)  # fmt: skip
"""What a 2xx to INVITE or OPTIONS states about us (RFC 3261 §11.2, §13.2.2.4; RFC 6665 §4.4.4)."""
OPENING: Final = (*METHODS, "REGISTER", "SUBSCRIBE")
"""Methods outside a dialog."""
OUTSIDE: Final = (("Allow", ", ".join(OPENING)), *CAPABILITIES[1:], ("Accept-Language", "zh, en"))
"""What a 2xx to an OPTIONS outside a dialog states."""

PICTURE_FAST_UPDATE: Final = (
    b'<?xml version="1.0" encoding="utf-8"?><media_control><vc_primitive><to_encoder>'
    b"<picture_fast_update/></to_encoder></vc_primitive></media_control>"
)
"""RFC 5168 §4: the body that asks an encoder for a key frame."""

_WISH: Final = re.compile(rb"<(?:[A-Za-z_][\w.-]{0,63}:)?picture_fast_update[\s/>]")

MAX_TEXT = 8_192
"""Bytes of one text message that are kept; more is refused with 413."""

_CHARSETS: Final = {
    "gb2312": "gb18030", "gbk": "gb18030", "gb18030": "gb18030", "big5": "big5", "big5-hkscs": "big5hkscs",
    "iso-8859-1": "latin-1", "utf-16": "utf-16",
}  # fmt: skip
"""What texts are written in besides UTF-8 (RFC 3428 §4 has the body say so); GB 18030 reads its two predecessors."""

_SIGNAL = re.compile(rb"(?:^|\n)[Ss]ignal *= *([0-9A-Da-d*#])[ \t]*(?:\r|\n|$)")


def info(request: Request) -> tuple[Response, str | None]:
    """Answer an INFO; the second value is the digit it told, if any."""
    match request.content_type:
        case "application/dtmf-relay":
            found = _SIGNAL.search(request.body)
            return request.response(200), None if found is None else found[1].decode().upper()
        case "application/dtmf":
            body = request.body.strip(b" \t\r\n")
            digit = body.decode().upper() if re.fullmatch(rb"[0-9A-Da-d*#]", body) else None
            return request.response(200), digit
        case "application/media_control+xml" | "application/pidf+xml" | "multipart/mixed":
            return request.response(200), None
        case _ if "Info-Package" in request.headers:
            # RFC 6086 §4.2.2: an INFO of a package that was not agreed on is answered 469 with Recv-Info; ours is empty, for we
            # agree on none. What is older than packages is understood all the same, whatever package it names.
            return request.response(469, headers=(("Recv-Info", ""),)), None
        case None:
            return request.response(200), None
    accept = (
        "Accept",
        "application/dtmf-relay, application/dtmf, application/media_control+xml, application/pidf+xml",
    )
    return request.response(415, headers=(accept,)), None


def wants_picture(request: Request) -> bool:
    """Whether an INFO asks for a key frame of what we send (RFC 5168 §4)."""
    return request.content_type == "application/media_control+xml" and _WISH.search(request.body) is not None


def message(request: Request) -> tuple[Response, str | None]:
    """Answer a MESSAGE; the second value is its text. One that only tells a place (RFC 4119) has none."""
    body: bytes | None = request.body
    charset: str | None = None
    if request.content_type in {"multipart/mixed", "text/plain"}:
        try:
            root = parse_body(request)
        except SipError as error:
            if request.content_type != "text/plain":
                return request.response(error.status), None
            root = None  # a careless parameter keeps no text back
        part = None if root is None else next((p for p in root.walk() if p.kind == "text/plain"), None)
        charset = None if part is None else part.media_type.param("charset")
        if request.content_type != "text/plain":
            body = None if part is None else part.body
    elif request.content_type == "application/pidf+xml":
        body = None
    elif request.content_type is not None:
        return request.response(415, headers=(("Accept", "text/plain, application/pidf+xml"),)), None
    if body is None:
        return request.response(200), None
    if len(body) > MAX_TEXT:
        return request.response(413), None
    return request.response(200), body.decode(_CHARSETS.get(lower(charset or ""), "utf-8"), errors="replace")


def other(request: Request) -> Response:
    """Answer OPTIONS, and refuse the rest as RFC 3261 wants it refused."""
    if request.method == "OPTIONS":
        return request.response(200, headers=OUTSIDE if request.to.tag is None else CAPABILITIES)
    status = 405 if request.method in KNOWN_ELSEWHERE else 501
    return request.response(status, headers=(ALLOW,))


def methods(message: Request | Response) -> frozenset[str]:
    """Return the methods a peer says it takes."""
    return frozenset(message.headers.all("Allow"))
