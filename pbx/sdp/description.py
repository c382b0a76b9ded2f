"""A session description as a value: RFC 8866 text in, text out.

`parse` is liberal where phones are careless (LF line ends, no t=, o= or c=, numbers that can't be, lines unknown to us) and
strict where a text is no SDP at all. What it can't use it keeps: `parse(d.encode()) == d` for every `d` it returned.
"""

import re
from functools import lru_cache
from typing import Any, Final

from msgspec import Struct

from pbx.sdp.codecs import format_rtpmap
from pbx.sdp.lines import (
    BANDWIDTH,
    CONNECTION,
    MEDIA,
    NAME,
    ORIGIN,
    OTHER,
    PLAIN,
    PTIME,
    REMEMBERED_TEXT,
    RTCP,
    RTPMAP,
    WAY,
    Direction,
    Feedback,
    Origin,
    milliseconds,
    read_line,
    read_medium,
    remembered_line,
)
from pbx.sip.errors import SipError
from rtp.control import Codec

__all__ = ["Attributes", "Description", "Direction", "Feedback", "Media", "Origin", "heard", "parse"]

Attributes = tuple[tuple[str, str | None], ...]

MAX_BODY: Final = 16 * 1024  # bytes; an offer of a browser with all codecs and candidates is about 8 KiB
MAX_MEDIA: Final = 10  # m-lines; a conference phone with sound, picture, slides, floor and text has six
_PORT: Final = re.compile(r"([0-9]{1,5})(?:/[0-9]{1,5})?")
_BLANK: Final = re.compile(r"[ \t]+")
# RFC 8866 §5: the order of lines is fixed. Letters not named here are nobody's and go last.
_BEFORE_CONNECTION: Final = "iuep"
_AFTER_BANDWIDTH: Final = "trzk"


class Media(Struct, frozen=True, gc=False):
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

    @property
    def max_ptime(self) -> int | None:
        """Ms of sound its writer takes in one packet at most (RFC 8866 §6.5); None: it says nothing."""
        return milliseconds(self.attribute("maxptime"))


class Description(Struct, frozen=True, gc=False):
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
        text = "\r\n".join([*lines, ""])
        if "\0" in text or text.count("\r") != len(lines) or text.count("\n") != len(lines):
            raise ValueError("a value of the description holds CR, LF or NUL")
        return text.encode("utf-8", "surrogateescape")


def parse(body: bytes) -> Description:
    """Read one body of application/sdp; raises SipError 400 (no SDP, or past a limit) or 488 (another version)."""
    if len(body) > MAX_BODY:
        raise SipError(400, "SDP Too Large")
    # RFC 8866 §5: "parsers SHOULD be tolerant and also accept lines terminated with a single newline character"
    text = body.decode("utf-8", "surrogateescape").replace("\r\n", "\n").removesuffix("\r").removesuffix("\n")
    # RFC 8866 §9: byte-string excludes NUL, CR and LF
    if "\0" in text or "\r" in text:
        raise SipError(400, "Malformed Line In SDP")
    lines = text.split("\n")
    if "" in lines or "\n " in text or "\n\t" in text or text[0] in " \t":
        lines = [line for line in lines if line.strip(" \t")]
    if not lines or not lines[0].startswith("v="):
        raise SipError(400, "SDP Does Not Begin With v=")
    if lines[0][2:].strip(" \t") != "0":
        raise SipError(488, "SDP Version Not Supported")
    session = section = _Section("")
    sections: list[_Section] = []
    # A key is forgotten with its call.
    shared = len(text) <= REMEMBERED_TEXT and "a=crypto:" not in text and "\nk=" not in text
    read = remembered_line if shared else read_line
    for line in lines[1:]:
        kind, value = read(line)
        if kind == PLAIN:
            section.attributes.append(value)
        elif kind >= RTPMAP:
            section.shared.append(line)
        elif kind == WAY:
            section.direction = section.direction or value
        elif kind == RTCP:
            section.rtcp = section.rtcp or value
        elif kind != MEDIA:
            section.take(kind, value)
        elif len(sections) == MAX_MEDIA:
            raise SipError(400, "Too Many Media Lines In SDP")
        else:
            section = _Section(value)
            sections.append(section)
    others = session.others
    if not any(key == "t" for key, _ in others):
        others.append(("t", "0 0"))  # RFC 8866 §5: t= is mandatory; some phones leave it out
    return Description(
        session.origin or Origin(),
        session.connection,
        tuple([_media(section, session) for section in sections]),
        session.name or "-",
        tuple(session.bandwidth),
        tuple(session.attributes),
        _ranked(others),
    )


heard: Final = lru_cache(64)(parse)
"""`parse` for who reads the body of one message in several places."""


class _Section:
    """The lines of the session, or of one medium, sorted by what they say. The first of equal lines counts."""

    __slots__ = (
        "attributes", "bandwidth", "connection", "direction", "name", "origin", "others", "ptime", "rtcp", "shared",
        "start",
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
        self.shared: list[str] = []
        """Lines about formats, as they stand."""
        self.rtcp: tuple[int, str | None] | None = None
        self.ptime: int | None = None

    def take(self, kind: int, value: Any) -> None:
        """Take what `read_line` made of a line of the rarer kinds."""
        if kind == PTIME:
            self.ptime = self.ptime or value
        elif kind == OTHER:
            self.others.append(value)
        elif kind == BANDWIDTH:
            self.bandwidth.append(value)
        elif kind == CONNECTION:
            self.connection = self.connection or value
        elif kind == ORIGIN:
            self.origin = self.origin or value
        elif kind == NAME:
            self.name = self.name or value


def _media(section: _Section, session: _Section) -> Media:
    start = section.start
    words = _BLANK.split(start, 2) if "  " in start or "\t" in start else start.split(" ", 2)
    if len(words) < 3:
        raise SipError(400, "Malformed Media Line In SDP")  # nothing that could be refused in place
    found = _PORT.fullmatch(words[1])
    port = int(found[1]) if found is not None else 0
    protocol, formats, codecs, feedback = read_medium(words[2], tuple(section.shared))
    rtcp_port, rtcp_address = section.rtcp or (None, None)
    return Media(
        words[0],
        # A medium that can't be is refused in place, and the call goes on with the others.
        port if port <= 65535 else 0,
        protocol,
        formats,
        codecs,
        section.connection or session.connection,
        section.direction or session.direction or "sendrecv",
        rtcp_port,
        rtcp_address,
        feedback,
        section.ptime,
        tuple(section.bandwidth),
        tuple(section.attributes),
        _ranked(section.others),
    )


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
