"""Bodies of several parts (RFC 2046 §5.1, RFC 5621): an INVITE with SDP, location and data about the caller in one.

in → out: Content-Type value and bytes → tree of `Part`s; parts → bytes. A body that is not multipart is one part.
Content-Transfer-Encoding is left to the reader of the part: SIP carries binary (RFC 3261 §7.4), and the bytes are evidence.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from pbx.sip import grammar
from pbx.sip.errors import SipError
from pbx.sip.grammar import Params
from pbx.sip.headers import Headers
from pbx.sip.message import Request, Response

MAX_DEPTH: Final = 4
"""Multiparts inside each other (bars B7): mixed → related → alternative is the deepest real one."""

MAX_PARTS: Final = 20
"""Parts of one body at all depths, containers included (bars B7): SDP, PIDF-LO and every additional-data block of RFC 7852 are 12."""

MAX_PART_HEAD: Final = 16 * 1024
"""Bytes of one part's headers."""

_MEDIA_TYPE: Final = re.compile(rf"([{grammar.WORD_CHARS}]++)[ \t]*+/[ \t]*+([{grammar.WORD_CHARS}]++)")
_PLAIN: Final = frozenset({None, "session", "render"})
"""Dispositions of what is to be read: none stated, and those RFC 3261 §20.11 assumes."""
_EARLY: Final = "early-session"

# RFC 2046 §5.1.1: bcharsnospace; 70 characters at most. Spaces are refused: they are how trailing padding becomes ambiguous.
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,\-./:=?]{1,70}")


@dataclass(frozen=True, slots=True)
class MediaType:
    """A Content-Type: `kind` is `type/subtype` in lower case."""

    kind: str
    params: Params = ()

    def param(self, name: str) -> str | None:
        pair = grammar.find_param(self.params, name)
        return None if pair is None or pair[1] is None else grammar.unquote(pair[1])

    @property
    def is_multipart(self) -> bool:
        return self.kind.startswith("multipart/")


def parse_media_type(text: str) -> MediaType:
    """Read the value of a Content-Type header. Raises SipError(400)."""
    text = text.strip(" \t")
    match = _MEDIA_TYPE.match(text)
    if match is None:
        raise SipError(400, "Malformed Content-Type")
    params = grammar.parse_params(text, match.end(), "Content-Type") if match.end() < len(text) else ()
    return MediaType(grammar.lower(f"{match[1]}/{match[2]}"), params)


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its headers, its bytes exactly as they came, and, when it is itself a multipart, what is inside."""

    headers: Headers
    body: bytes
    media_type: MediaType
    parts: tuple["Part", ...] = ()

    @property
    def kind(self) -> str:
        """`type/subtype` in lower case."""
        return self.media_type.kind

    @property
    def content_id(self) -> str | None:
        """Content-ID without its angle brackets: what a `cid:` URI names (RFC 2392)."""
        value = self.headers.get("Content-ID")
        return None if value is None else value.removeprefix("<").removesuffix(">")

    @property
    def disposition(self) -> str | None:
        """Content-Disposition without parameters, in lower case."""
        value = self.headers.get("Content-Disposition")
        return None if value is None else grammar.lower(value.partition(";")[0].strip(" \t"))

    @property
    def root(self) -> "Part | None":
        """Of a multipart/related the part that stands for all: the one `start` names, else the first (RFC 2387 §3.2)."""
        start = self.media_type.param("start")
        named = None if start is None else start.strip(" \t").removeprefix("<").removesuffix(">")
        return next(
            (part for part in self.parts if named is not None and part.content_id == named),
            next(iter(self.parts), None),
        )

    def walk(self) -> Iterator["Part"]:
        """Give this part and all inside it, in the order of the body."""
        yield self
        for part in self.parts:
            yield from part.walk()


def parse_body(message: Request | Response) -> Part | None:
    """The body of a message as a tree of parts; None when it has no body or no Content-Type. Raises SipError(400)."""
    value = message.headers.get("Content-Type")
    if value is None or not message.body:
        return None
    headers = [item for item in message.headers if item[0].startswith("Content-")]
    return _Reader().part(Headers(headers), message.body, parse_media_type(value), 0)


def find_part(message: Request | Response, kind: str) -> bytes | None:
    """The bytes of the first part of that type (`application/sdp`), at any depth; None when there is none. Raises SipError(400).

    A part that says it is there for another purpose, such as an `early-session` beside the session (RFC 3959 §4), is taken
    only where nothing better is, and an early session never.
    """
    if message.content_type == kind and "Content-Disposition" not in message.headers:
        return message.body or None
    root = parse_body(message)
    if root is None:
        return None
    found = [part for part in root.walk() if part.kind == kind and part.disposition != _EARLY]
    plain = (part for part in found if part.disposition in _PLAIN)
    best = next(plain, next(iter(found), None))
    return None if best is None else best.body


def parse_multipart(content_type: str, body: bytes) -> tuple[Part, ...]:
    """The parts of a multipart body. Raises SipError(400): not a multipart, no usable boundary, no part, too many or too deep."""
    media_type = parse_media_type(content_type)
    if not media_type.is_multipart:
        raise SipError(400, "Not a multipart body")
    return _Reader().part(Headers(), body, media_type, 0).parts


class _Reader:
    """Counts the parts of one body while it is cut."""

    def __init__(self) -> None:
        self._count = 0

    def part(self, headers: Headers, body: bytes, media_type: MediaType, depth: int) -> Part:
        if not media_type.is_multipart:
            return Part(headers, body, media_type)
        if depth == MAX_DEPTH:
            raise SipError(400, "Multipart too deep")
        boundary = media_type.param("boundary")
        if boundary is None or _BOUNDARY.fullmatch(boundary) is None:
            raise SipError(400, "Malformed multipart boundary")
        parts = tuple([self._inner(piece, media_type.kind, depth + 1) for piece in self._cut(body, boundary)])
        return Part(headers, body, media_type, parts)

    def _cut(self, body: bytes, boundary: str) -> list[bytes]:
        """What stands between the delimiter lines; preamble and epilogue are ignored (RFC 2046 §5.1.1).

        A body that ends without the closing delimiter was cut short by someone; what is there is taken.
        """
        line = re.compile(
            rb"(?:^|\r\n)--" + re.escape(boundary.encode("ascii")) + rb"(--)?[ \t]*+(?=\r\n|\Z)"
        )
        pieces: list[bytes] = []
        start = -1
        for match in line.finditer(body):
            if start >= 0:
                self._count += 1
                if self._count > MAX_PARTS:
                    raise SipError(400, "Too many body parts")
                pieces.append(body[start : match.start()])
            start = match.end()
            if match[1]:
                start = -1
                break
        if start >= 0:
            self._count += 1
            pieces.append(body[start:])
        if self._count > MAX_PARTS:
            raise SipError(400, "Too many body parts")
        if not pieces:
            raise SipError(400, "Multipart body without parts")
        return pieces

    def _inner(self, piece: bytes, outer: str, depth: int) -> Part:
        piece = piece.removeprefix(b"\r\n")  # the end of the delimiter line
        if piece.startswith(b"\r\n"):
            head, body = b"", piece[2:]
        else:
            head, _, body = piece.partition(b"\r\n\r\n")
            head = head.removesuffix(b"\r\n")
        if len(head) > MAX_PART_HEAD:
            raise SipError(400, "Body part's headers too long")
        headers = Headers.parse(head.decode("utf-8", "surrogateescape"))
        # RFC 2046 §5.1: a part without Content-Type is text/plain, in a digest message/rfc822.
        default = "message/rfc822" if outer == "multipart/digest" else "text/plain"
        return self.part(headers, body, parse_media_type(headers.get("Content-Type") or default), depth)


def write_multipart(parts: Iterable[tuple[Headers, bytes]], boundary: str) -> bytes:
    """A multipart body of these parts (its Content-Type is the caller's: `multipart/mixed;boundary=…`).

    Raises ValueError for a boundary that RFC 2046 does not allow or that occurs in a part.
    """
    if _BOUNDARY.fullmatch(boundary) is None:
        raise ValueError("not a multipart boundary")
    mark = b"--" + boundary.encode("ascii")
    out: list[bytes] = []
    for headers, body in parts:
        head = headers.encode().encode("utf-8", "surrogateescape")
        if mark in head or mark in body:
            raise ValueError("the boundary occurs in a part")
        out += [mark, b"\r\n", head, b"\r\n", body, b"\r\n"]
    return b"".join([*out, mark, b"--\r\n"])
