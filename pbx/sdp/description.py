"""A session description as a value: RFC 8866 text in, text out.

`parse` is liberal where phones are careless (LF line ends, no t=, o= or c=, numbers that can't be, lines unknown to us) and
strict where a text is no SDP at all. What it can't use it keeps: `parse(d.encode()) == d` for every `d` it returned.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from string import ascii_letters
from typing import Any, Final, Literal

from msgspec import structs

from pbx.sdp.codecs import STATIC, format_rtpmap, parse_rtpmap
from pbx.sip.errors import SipError
from rtp.control import Codec

Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]
Attributes = tuple[tuple[str, str | None], ...]

MAX_BODY: Final = 16 * 1024  # bytes; an offer of a browser with all codecs and candidates is about 8 KiB
MAX_MEDIA: Final = 10  # m-lines; a conference phone with sound, picture, slides, floor and text has six
MAX_PTIME: Final = 1000  # ms
REMEMBERED: Final = 1024
"""Lines kept as they were read: all phones of a make write the same formats."""
_COMMON: Final = frozenset(
    {"a=rtpm", "a=fmtp", "a=rtcp", "a=send", "a=recv", "a=inac", "a=ptim", "a=mid:", "a=labe"}
)
"""How lines begin that phones share; what each call has of its own would only push them out."""
REMEMBERED_LENGTH: Final = 160
"""Characters of a line worth keeping: strangers can't fill more than 2048 × some 1 KiB."""

_DIRECTIONS: Final[dict[str, Direction]] = {
    "sendrecv": "sendrecv",
    "sendonly": "sendonly",
    "recvonly": "recvonly",
    "inactive": "inactive",
}
_LETTERS: Final = frozenset(ascii_letters)
_ORIGIN_LINE: Final = re.compile(r"(\S+) +([0-9]{1,20}) +([0-9]{1,20}) +\S+ +\S+ +(\S+)", re.ASCII)
_ADDRESS: Final = re.compile(r"IN +IP[46] +(\S{1,255})", re.ASCII | re.IGNORECASE)
_PORT: Final = re.compile(r"([0-9]{1,5})(?:/[0-9]{1,5})?")
_PAYLOAD_TYPES: Final = {f"{number:0{width}}": number for number in range(128) for width in (1, 2, 3)}
_PORT_AND_HOST: Final = re.compile(r"([0-9]{1,5})(?: +IN +IP[46] +(\S{1,255}))?", re.ASCII | re.IGNORECASE)
_MILLISECONDS: Final = re.compile(r"[0-9]{1,4}")
_FMTP: Final = re.compile(r"([0-9]{1,3})[ \t]+(.*)", re.DOTALL)
_RTCP_FB: Final = re.compile(r"([0-9]{1,3}|\*)[ \t]+(.*)", re.DOTALL)
_BLANK: Final = re.compile(r"[ \t]+")
# RFC 8866 §5: the order of lines is fixed. Letters not named here are nobody's and go last.
_BEFORE_CONNECTION: Final = "iuep"
_AFTER_BANDWIDTH: Final = "trzk"


@dataclass(frozen=True, slots=True)
class Origin:
    """The o= line. An unreadable one reads as this default."""

    username: str = "-"
    session: int = 0
    version: int = 0
    """Raised by one with each description that differs from the last (RFC 3264 §8)."""
    address: str = "0.0.0.0"


@dataclass(frozen=True, slots=True)
class Feedback:
    """One a=rtcp-fb line (RFC 4585 §4.2)."""

    payload_type: int | None
    """None is `*`: all formats of the medium."""
    value: str
    """Lower case, single spaces: `nack pli`, `ccm fir` …"""


@dataclass(frozen=True, slots=True)
class Media:
    """One m-line with its lines. What stood at session level and holds for it is resolved into it."""

    kind: str
    port: int
    """0: refused or not wanted; also what a port that is no number 0…65535 reads as."""
    protocol: str
    formats: tuple[str, ...]
    """As they stand on the m-line."""
    codecs: tuple[Codec, ...] = ()
    """The formats that are payload types with a known meaning, in the order of the m-line."""
    connection: str | None = None
    """The address of c=: an IP address, a host name, or `address/ttl`."""
    direction: Direction = "sendrecv"
    rtcp_port: int | None = None
    """Of a=rtcp (RFC 3605)."""
    rtcp_address: str | None = None
    feedback: tuple[Feedback, ...] = ()
    ptime: int | None = None
    """ms."""
    bandwidth: tuple[str, ...] = ()
    """Values of b=, such as `AS:512`."""
    attributes: Attributes = ()
    """All other a= lines."""
    lines: tuple[tuple[str, str], ...] = ()
    """All other lines: (letter, value)."""

    def attribute(self, name: str) -> str | None:
        """Return the value of the first a= line of that name ("" if it has none), or None."""
        return next((value or "" for key, value in self.attributes if key == name), None)


@dataclass(frozen=True, slots=True)
class Description:
    origin: Origin
    connection: str | None
    media: tuple[Media, ...]
    name: str = "-"
    bandwidth: tuple[str, ...] = ()
    attributes: Attributes = ()
    lines: tuple[tuple[str, str], ...] = (("t", "0 0"),)

    def encode(self) -> bytes:
        """Return the text with CRLF line ends; ValueError if a value would break out of its line."""
        origin = self.origin
        lines = [
            "v=0",
            f"o={origin.username} {origin.session} {origin.version} {_network(origin.address)}",
            f"s={self.name}",
            *(f"{key}={value}" for key, value in self.lines if key in _BEFORE_CONNECTION),
        ]
        if self.connection is not None:
            lines.append(f"c={_network(self.connection)}")
        lines += [f"b={value}" for value in self.bandwidth]
        lines += [f"{key}={value}" for key, value in self.lines if key not in _BEFORE_CONNECTION]
        lines += [_attribute(key, value) for key, value in self.attributes]
        for media in self.media:
            lines += _media_lines(media, self.connection)
        if any(char in line for line in lines for char in "\r\n\0"):
            raise ValueError("a value of the description holds CR, LF or NUL")
        return ("\r\n".join(lines) + "\r\n").encode("utf-8", "surrogateescape")


def parse(body: bytes) -> Description:
    """Read one body of application/sdp; raises SipError 400 (no SDP, or past a limit) or 488 (another version)."""
    if len(body) > MAX_BODY:
        raise SipError(400, "SDP Too Large")
    # RFC 8866 §5: "parsers SHOULD be tolerant and also accept lines terminated with a single newline character"
    text = body.decode("utf-8", "surrogateescape").replace("\r\n", "\n").removesuffix("\r")
    # RFC 8866 §9: byte-string excludes NUL, CR and LF
    if "\0" in text or "\r" in text:
        raise SipError(400, "Malformed Line In SDP")
    lines = [line for line in text.split("\n") if line and (line[0] not in " \t" or line.strip(" \t"))]
    if not lines or not lines[0].startswith("v="):
        raise SipError(400, "SDP Does Not Begin With v=")
    if lines[0][2:].strip(" \t") != "0":
        raise SipError(488, "SDP Version Not Supported")
    session = section = _Section("")
    sections: list[_Section] = []
    for line in lines[1:]:
        common = line[:6] in _COMMON and len(line) <= REMEMBERED_LENGTH
        kind, value = _remembered(line) if common else _read_line(line)
        if kind != _MEDIA:
            section.take(kind, value)
            continue
        if len(sections) == MAX_MEDIA:
            raise SipError(400, "Too Many Media Lines In SDP")
        section = _Section(value)
        sections.append(section)
    others = session.others
    if not any(key == "t" for key, _ in others):
        others.append(("t", "0 0"))  # RFC 8866 §5: t= is mandatory; some phones leave it out
    return Description(
        origin=session.origin or Origin(),
        connection=session.connection,
        media=tuple([_media(section, session) for section in sections]),
        name=session.name or "-",
        bandwidth=tuple(session.bandwidth),
        attributes=tuple(session.attributes),
        lines=_ranked(others),
    )


# What a line is, the most frequent first: `_Section.take` asks in this order.
(
    _RTPMAP,
    _FORMAT,
    _PLAIN,
    _FEEDBACK,
    _WAY,
    _PTIME,
    _RTCP,
    _BANDWIDTH,
    _CONNECTION,
    _ORIGIN,
    _NAME,
    _OTHER,
    _MEDIA,
) = range(13)


class _Section:
    """The lines of the session, or of one medium, sorted by what they say. The first of equal lines counts."""

    __slots__ = (
        "attributes", "bandwidth", "connection", "direction", "feedback", "fmtp", "name", "origin", "others",
        "ptime", "rtcp", "rtpmap", "start",
    )  # fmt: skip

    def __init__(self, start: str) -> None:
        self.start = start
        """The m-line; empty: this is the session."""
        self.origin: Origin | None = None
        self.name: str | None = None
        self.connection: str | None = None
        self.direction: Direction | None = None
        self.bandwidth: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.others: list[tuple[str, str]] = []
        self.rtpmap: dict[int, Codec] = {}
        self.fmtp: dict[int, str] = {}
        self.feedback: list[Feedback] = []
        self.rtcp: tuple[int, str | None] | None = None
        self.ptime: int | None = None

    def take(self, kind: int, value: Any) -> None:
        """Take what `_read_line` made of a line."""
        if kind == _RTPMAP:
            self.rtpmap.setdefault(value.payload_type, value)
        elif kind == _FORMAT:
            self.fmtp.setdefault(*value)
        elif kind == _PLAIN:
            self.attributes.append(value)
        elif kind == _FEEDBACK:
            self.feedback.append(value)
        elif kind == _WAY:
            self.direction = self.direction or value
        elif kind == _PTIME:
            self.ptime = self.ptime or value
        elif kind == _RTCP:
            self.rtcp = self.rtcp or value
        elif kind == _BANDWIDTH:
            self.bandwidth.append(value)
        elif kind == _CONNECTION:
            self.connection = self.connection or value
        elif kind == _ORIGIN:
            self.origin = self.origin or value
        elif kind == _NAME:
            self.name = self.name or value
        else:
            self.others.append(value)


def _read_line(line: str) -> tuple[int, Any]:
    """Return what a line is and what it says; None where it says nothing that can be. Raises SipError(400)."""
    key, value = line[0], line[2:].strip(" \t")
    if line[1:2] != "=" or key not in _LETTERS:
        raise SipError(400, "Malformed Line In SDP")
    match key:
        case "a":
            return _read_attribute(value)
        case "m":
            return _MEDIA, value
        case "b":
            return _BANDWIDTH, value
        case "c":
            found = _ADDRESS.fullmatch(value)
            return _CONNECTION, None if found is None else found[1]
        case "o":
            return _ORIGIN, _origin(value)
        case "s":
            return _NAME, value
    return _OTHER, (key, value)


_remembered: Final = lru_cache(REMEMBERED)(_read_line)


def _read_attribute(line: str) -> tuple[int, Any]:
    """Read an attribute that means something to us; keep every other one as it is."""
    name, colon, rest = line.partition(":")
    value = rest.strip(" \t")
    match name:
        case "rtpmap" if (codec := parse_rtpmap(value)) is not None:
            return _RTPMAP, codec
        case "fmtp" if (found := _FMTP.fullmatch(value)) is not None:
            return _FORMAT, (int(found[1]), found[2])
        case "rtcp-fb" if (found := _RTCP_FB.fullmatch(value)) is not None:
            words = _BLANK.sub(" ", found[2])
            number = None if found[1] == "*" else int(found[1])
            return _FEEDBACK, Feedback(number, words.lower() if words.isascii() else words)
        case "rtcp" if (found := _PORT_AND_HOST.fullmatch(value)) is not None and 0 < int(found[1]) <= 65535:
            return _RTCP, (int(found[1]), found[2])
        case "ptime" if _MILLISECONDS.fullmatch(value) is not None and 0 < int(value) <= MAX_PTIME:
            return _PTIME, int(value)
        case "sendrecv" | "sendonly" | "recvonly" | "inactive" if not colon:
            return _WAY, _DIRECTIONS[name]
    return _PLAIN, (name, rest if colon else None)


def _media(section: _Section, session: _Section) -> Media:
    start = section.start
    kind, *words = _BLANK.split(start) if "  " in start or "\t" in start else start.split(" ")
    if len(words) < 2:
        raise SipError(400, "Malformed Media Line In SDP")  # nothing that could be refused in place
    found = _PORT.fullmatch(words[0])
    port = int(found[1]) if found is not None else 0
    protocol, formats = words[1], tuple(words[2:])
    rtcp_port, rtcp_address = section.rtcp or (None, None)
    return Media(
        kind,
        # A medium that can't be is refused in place, and the call goes on with the others.
        port if port <= 65535 else 0,
        protocol,
        formats,
        _codecs(formats, section) if "RTP/" in protocol.upper() else (),
        section.connection or session.connection,
        section.direction or session.direction or "sendrecv",
        rtcp_port,
        rtcp_address,
        tuple(section.feedback),
        section.ptime,
        tuple(section.bandwidth),
        tuple(section.attributes),
        _ranked(section.others),
    )


def _codecs(formats: tuple[str, ...], section: _Section) -> tuple[Codec, ...]:
    found: dict[int, Codec] = {}
    for text in formats:
        number = _PAYLOAD_TYPES.get(text)
        if number is None:
            continue
        codec = section.rtpmap.get(number) or STATIC.get(number)
        if codec is not None and number not in found:
            fmtp = section.fmtp.get(number)
            found[number] = structs.replace(codec, fmtp=fmtp) if fmtp else codec
    return tuple(found.values())


def _origin(value: str) -> Origin | None:
    found = _ORIGIN_LINE.fullmatch(value)
    return None if found is None else Origin(found[1], int(found[2]), int(found[3]), found[4])


def _ranked(lines: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(lines, key=_rank) if len(lines) > 1 else lines)


def _rank(line: tuple[str, str]) -> int:
    return (_BEFORE_CONNECTION + _AFTER_BANDWIDTH).find(line[0]) % 64  # an unknown letter: -1 → 63, last


def _network(address: str) -> str:
    return f"IN {'IP6' if ':' in address else 'IP4'} {address}"


def _attribute(name: str, value: str | None) -> str:
    return f"a={name}" if value is None else f"a={name}:{value}"


def _media_lines(media: Media, session_connection: str | None) -> list[str]:
    lines = [" ".join((f"m={media.kind} {media.port} {media.protocol}", *media.formats))]
    lines += [f"{key}={value}" for key, value in media.lines if key in _BEFORE_CONNECTION]
    if media.connection is not None and media.connection != session_connection:
        lines.append(f"c={_network(media.connection)}")
    lines += [f"b={value}" for value in media.bandwidth]
    lines += [f"{key}={value}" for key, value in media.lines if key not in _BEFORE_CONNECTION]
    for codec in media.codecs:
        lines.append(f"a=rtpmap:{format_rtpmap(codec)}")
        if codec.fmtp:
            lines.append(f"a=fmtp:{codec.payload_type} {codec.fmtp}")
    for feedback in media.feedback:
        payload_type = "*" if feedback.payload_type is None else feedback.payload_type
        lines.append(f"a=rtcp-fb:{payload_type} {feedback.value}")
    if media.ptime is not None:
        lines.append(f"a=ptime:{media.ptime}")
    if media.rtcp_port is not None:
        where = f" {_network(media.rtcp_address)}" if media.rtcp_address is not None else ""
        lines.append(f"a=rtcp:{media.rtcp_port}{where}")
    lines.append(f"a={media.direction}")
    lines += [_attribute(name, value) for name, value in media.attributes]
    return lines
