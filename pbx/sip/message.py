"""Requests and responses (RFC 3261 §7): a start line, headers, a body; typed views of the headers everyone reads.

in → out: the parser or `Request.build()` / `Request.response()` make messages; `encode()` writes them. Typed values are read from
the headers when first asked for and kept until the headers change.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from pbx.sip import grammar
from pbx.sip.errors import REASONS, SipError
from pbx.sip.grammar import MAX_UINT32
from pbx.sip.headers import Headers
from pbx.sip.uri import (
    NameAddr,
    Uri,
    Via,
    delta_seconds,
    parse_name_addr,
    parse_name_addr_list,
    parse_via_list,
)

__all__ = ["REASONS", "CSeq", "Request", "Response"]

MAX_FORWARDS: Final = 70
"""Hops a request of ours may take (RFC 3261 §8.1.1.6)."""

_CSEQ: Final = re.compile("([0-9]{1,10}) ([A-Z]{1,20})")
"""A CSeq as nearly everybody writes it; others are read with more patience."""
_DIALOG_MAKERS: Final = frozenset({"INVITE", "SUBSCRIBE", "REFER"})
_NOTHING: Final = ("",)
"""What is echoed of a header that is missing."""


class CSeq(Struct, frozen=True, gc=False):
    """Sequence number, 0…2**32-1, and method."""

    number: int
    method: str

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


class _Message:
    """What requests and responses share. Typed views raise SipError(400) when their header is malformed or missing; messages
    that came through the parser have sound From, To, Via, Call-ID, CSeq, Contact, Route and Record-Route.
    """

    __slots__ = ("body", "headers")
    headers: Headers
    body: bytes

    def read(self) -> tuple[Via, ...]:
        """Read at once what every message has, and keep it; return the Via values. Raises SipError(400) for what is malformed or
        missing, but for the Via, whose absence is for who asked to judge.
        """
        lines, kept = self.headers.opened()
        vias = kept["Via"] = parse_via_list(lines.get("via", ()))
        kept["From"] = _parse_from(lines.get("from", ()))
        kept["To"] = _parse_to(lines.get("to", ()))
        kept["CSeq"] = _parse_cseq(lines.get("cseq", ()))
        contact = lines.get("contact")
        kept["Contact"] = () if contact is None else _parse_contacts(contact)
        if "record-route" in lines:
            kept["Record-Route"] = _parse_addresses(lines["record-route"])
        if "route" in lines:
            kept["Route"] = _parse_addresses(lines["route"])
        return vias

    @property
    def vias(self) -> tuple[Via, ...]:
        """All Via values, topmost first."""
        return self.headers.parsed("Via", parse_via_list)

    @property
    def via(self) -> Via:
        """The topmost Via."""
        vias = self.vias
        if not vias:
            raise SipError(400, "Missing Via")
        return vias[0]

    def set_via(self, via: Via) -> None:
        """Put `via` in the place of the topmost Via value (to stamp `received` and `rport` into it)."""
        below = self.vias[1:]
        self.headers.replace_first("Via", str(via))
        self.headers.keep("Via", (via, *below))

    @property
    def from_(self) -> NameAddr:
        return self.headers.parsed("From", _parse_from)

    @property
    def to(self) -> NameAddr:
        return self.headers.parsed("To", _parse_to)

    @property
    def call_id(self) -> str:
        """The Call-ID, byte for byte."""
        value = self.headers.get("Call-ID")
        if not value:
            raise SipError(400, "Missing Call-ID")
        return value

    @property
    def cseq(self) -> CSeq:
        return self.headers.parsed("CSeq", _parse_cseq)

    @property
    def contacts(self) -> tuple[NameAddr, ...]:
        """All Contact addresses; empty also for `Contact: *`."""
        return self.headers.parsed("Contact", _parse_contacts)

    @property
    def contact(self) -> NameAddr | None:
        """The first Contact address."""
        contacts = self.contacts
        return contacts[0] if contacts else None

    @property
    def contact_star(self) -> bool:
        """`Contact: *`: all bindings (RFC 3261 §10.2.2)."""
        return self.headers.lines("Contact") == ["*"]

    @property
    def routes(self) -> tuple[NameAddr, ...]:
        return self.headers.parsed("Route", _parse_addresses)

    @property
    def record_routes(self) -> tuple[NameAddr, ...]:
        """Record-Route addresses in the order of the message, topmost first."""
        return self.headers.parsed("Record-Route", _parse_addresses)

    @property
    def path(self) -> tuple[NameAddr, ...]:
        """Path addresses (RFC 3327), nearest to the registrar first."""
        return self.headers.parsed("Path", _parse_addresses)

    @property
    def max_forwards(self) -> int | None:
        """0…255; None when absent or malformed: a bad hop count alone never refuses a call."""
        value = self.headers.get("Max-Forwards")
        return None if value is None else grammar.number(value, 255)

    @property
    def hops_left(self) -> int:
        """How many hops a request made because of this one may take: one less (RFC 3261 §16.6), 70 when it does not say."""
        stated = self.max_forwards
        return MAX_FORWARDS if stated is None else max(0, min(stated, MAX_FORWARDS) - 1)

    @property
    def content_type(self) -> str | None:
        """`type/subtype` in lower case without parameters; None when absent."""
        value = self.headers.get("Content-Type")
        if value is None:
            return None
        if value == "application/sdp":
            return value
        kind, _, subtype = value.partition(";")[0].partition("/")
        return grammar.lower("/".join([kind.strip(" \t"), subtype.strip(" \t")]))

    @property
    def expires(self) -> int | None:
        """Seconds of the Expires header; None when absent, 3600 when malformed (RFC 3261 §20.10)."""
        value = self.headers.get("Expires")
        return None if value is None else delta_seconds(value)

    def _encode(self, start: str) -> bytes:
        if "\r" in start or "\n" in start:
            raise ValueError("CR or LF in a start line")
        lines = [f"{name}: {value}\r\n" for name, value in self.headers if name != "Content-Length"]
        head = f"{start}\r\n{''.join(lines)}Content-Length: {len(self.body)}\r\n\r\n"
        return head.encode("utf-8", "surrogateescape") + self.body


class Request(_Message):
    """A request."""

    __slots__ = ("method", "uri")

    def __init__(self, method: str, uri: Uri, headers: Headers, body: bytes = b"") -> None:
        self.method = method
        self.uri = uri
        self.headers = headers
        self.body = body

    @classmethod
    def build(
        cls,
        method: str,
        uri: Uri,
        *,
        from_: NameAddr,
        to: NameAddr,
        call_id: str,
        cseq: int,
        contact: NameAddr | None = None,
        routes: Iterable[NameAddr] = (),
        max_forwards: int = MAX_FORWARDS,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        content_type: str | None = None,
    ) -> "Request":
        """Make a request as RFC 3261 §8.1.1 wants it, without Via: the transaction adds that."""
        fields = [("Max-Forwards", str(max_forwards))]
        fields += [("Route", str(route)) for route in routes]
        fields += [("From", str(from_)), ("To", str(to)), ("Call-ID", call_id), ("CSeq", f"{cseq} {method}")]
        if contact is not None:
            fields.append(("Contact", str(contact)))
        fields += headers
        if content_type is not None:
            fields.append(("Content-Type", content_type))
        made = Headers(fields)
        made.keep("CSeq", CSeq(cseq, method))
        made.keep("Via", ())
        return cls(method, uri, made, body)

    def response(
        self,
        status: int,
        reason: str | None = None,
        *,
        to_tag: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        content_type: str | None = None,
    ) -> "Response":
        """Answer this request (RFC 3261 §8.2.6.2): all Via, From, To, Call-ID and CSeq as they came, byte for byte.

        `to_tag` is added when the request's To has none. A 100 copies Timestamp (§8.2.6.1); an answer 101…299 to INVITE,
        SUBSCRIBE or REFER copies Record-Route (§12.1.1) unless `headers` brings its own. Raises ValueError for a status outside
        100…699 and for CR or LF in `reason`.
        """
        lines, read = self.headers.opened()
        answer = Headers(headers)
        routed = (
            self.method in _DIALOG_MAKERS
            and 101 <= status <= 299
            and "record-route" in lines
            and "Record-Route" not in answer
        )
        to = lines.get("to", _NOTHING)[0]
        callee = read.get("To")
        if to_tag is not None and self.to.tag is None:
            to, callee = _tagged(to, to_tag), self.to.with_tag(to_tag)
        answer.put_first(
            [
                *[("Via", line) for line in lines.get("via", ())],
                *([("Record-Route", line) for line in lines["record-route"]] if routed else ()),
                ("From", lines.get("from", _NOTHING)[0]),
                ("To", to),
                ("Call-ID", lines.get("call-id", _NOTHING)[0]),
                ("CSeq", lines.get("cseq", _NOTHING)[0]),
                *([("Timestamp", line) for line in lines.get("timestamp", ())] if status == 100 else ()),
            ]
        )
        if content_type is not None:
            answer.add("Content-Type", content_type)
        for name, value in (("CSeq", read.get("CSeq")), ("To", callee)):
            if value is not None:
                answer.keep(name, value)
        return Response(status, REASONS.get(status, "") if reason is None else reason, answer, body)

    def encode(self) -> bytes:
        """The request as it goes on the wire. Raises ValueError when a part of the request line would break it."""
        uri = str(self.uri)
        if not grammar.is_token(self.method) or " " in uri or not uri:
            raise ValueError("not a method or URI for a request line")
        return self._encode(f"{self.method} {uri} SIP/2.0")

    def copy(self) -> "Request":
        """A copy whose headers may be changed without changing this one's."""
        return Request(self.method, self.uri, self.headers.copy(), self.body)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Request):
            return NotImplemented
        return (self.method, self.uri, self.headers, self.body) == (
            other.method,
            other.uri,
            other.headers,
            other.body,
        )

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.uri} {self.headers.get('Call-ID')}>"


class Response(_Message):
    """A response; `status` is 100…699."""

    __slots__ = ("reason", "status")

    def __init__(self, status: int, reason: str, headers: Headers, body: bytes = b"") -> None:
        if not 100 <= status <= 699:
            raise ValueError(f"not a status: {status}")
        self.status = status
        self.reason = reason
        self.headers = headers
        self.body = body

    def tag(self, to_tag: str) -> None:
        """Give its To this tag; it has none yet. RFC 3261 §8.2.6.2: "the UAS MUST add a tag to the To header field in the response"."""
        self.headers.set("To", _tagged(self.headers.get("To") or "", to_tag))

    def encode(self) -> bytes:
        """The response as it goes on the wire. Raises ValueError for CR or LF in the reason."""
        return self._encode(f"SIP/2.0 {self.status} {self.reason}")

    def copy(self) -> "Response":
        """A copy whose headers may be changed without changing this one's."""
        return Response(self.status, self.reason, self.headers.copy(), self.body)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Response):
            return NotImplemented
        mine = (self.status, self.reason, self.headers, self.body)
        return mine == (other.status, other.reason, other.headers, other.body)

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"<Response {self.status} {self.reason!r} {self.headers.get('CSeq')} {self.headers.get('Call-ID')}>"


def _tagged(to: str, tag: str) -> str:
    return to.rstrip("; \t") + f";tag={tag}"


def _parse_from(lines: Sequence[str]) -> NameAddr:
    if not lines:
        raise SipError(400, "Missing From")
    return parse_name_addr(lines[0])


def _parse_to(lines: Sequence[str]) -> NameAddr:
    if not lines:
        raise SipError(400, "Missing To")
    return parse_name_addr(lines[0])


def _parse_cseq(lines: Sequence[str]) -> CSeq:
    if not lines:
        raise SipError(400, "Missing CSeq")
    if (plain := _CSEQ.fullmatch(lines[0])) is not None and (sequence := int(plain[1])) <= MAX_UINT32:
        return CSeq(sequence, plain[2])
    words = lines[0].replace("\t", " ").split(" ")
    number = grammar.number(words[0])
    if number is None or len(words) < 2 or any(words[1:-1]) or not grammar.is_token(words[-1]):
        raise SipError(400, "Malformed CSeq")
    return CSeq(number, words[-1])


def _parse_addresses(lines: Sequence[str]) -> tuple[NameAddr, ...]:
    if len(lines) == 1 and "," not in lines[0]:
        return (parse_name_addr(lines[0]),)
    return tuple([address for line in lines for address in parse_name_addr_list(line)])


def _parse_contacts(lines: Sequence[str]) -> tuple[NameAddr, ...]:
    return () if len(lines) == 1 and lines[0] == "*" else _parse_addresses(lines)
