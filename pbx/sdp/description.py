"""A session description as a value: RFC 8866 text in, text out.

`parse` is liberal where phones are careless (LF line ends, no t=, o= or c=, numbers that can't be, lines unknown to us) and
strict where a text is no SDP at all. What it can't use it keeps: `parse(d.encode()) == d` for every `d` it returned.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

from pbx.sdp.codecs import STATIC, format_rtpmap, parse_rtpmap
from pbx.sip.errors import SipError
from rtp.control import Codec

Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]
Attributes = tuple[tuple[str, str | None], ...]

MAX_BODY: Final = 16 * 1024  # bytes; an offer of a browser with all codecs and candidates is about 8 KiB
MAX_MEDIA: Final = 10  # m-lines; a conference phone with sound, picture, slides, floor and text has six
MAX_PTIME: Final = 1000  # ms

_DIRECTIONS: Final[dict[str, Direction]] = {
    "sendrecv": "sendrecv",
    "sendonly": "sendonly",
    "recvonly": "recvonly",
    "inactive": "inactive",
}
_LINE: Final = re.compile(r"[A-Za-z]=.*", re.DOTALL)
_ORIGIN: Final = re.compile(r"(\S+) +([0-9]{1,20}) +([0-9]{1,20}) +\S+ +\S+ +(\S+)", re.ASCII)
_CONNECTION: Final = re.compile(r"IN +IP[46] +(\S{1,255})", re.ASCII | re.IGNORECASE)
_PORT: Final = re.compile(r"([0-9]{1,5})(?:/[0-9]{1,5})?")
_PAYLOAD_TYPE: Final = re.compile(r"[0-9]{1,3}")
_RTCP: Final = re.compile(r"([0-9]{1,5})(?: +IN +IP[46] +(\S{1,255}))?", re.ASCII | re.IGNORECASE)
_PTIME: Final = re.compile(r"[0-9]{1,4}")
_FMTP: Final = re.compile(r"([0-9]{1,3})[ \t]+(.*)", re.DOTALL)
_FEEDBACK: Final = re.compile(r"([0-9]{1,3}|\*)[ \t]+(.*)", re.DOTALL)
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
    lines = _split(body)
    if not lines or lines[0][0] != "v":
        raise SipError(400, "SDP Does Not Begin With v=")
    if lines[0][1] != "0":
        raise SipError(488, "SDP Version Not Supported")
    starts = [index for index, (key, _) in enumerate(lines) if key == "m"]
    if len(starts) > MAX_MEDIA:
        raise SipError(400, "Too Many Media Lines In SDP")
    first, *ends = [*starts, len(lines)]
    session = _Section(lines[1:first])
    others = session.others
    if not any(key == "t" for key, _ in others):
        others.append(("t", "0 0"))  # RFC 8866 §5: t= is mandatory; some phones leave it out
    return Description(
        origin=session.origin or Origin(),
        connection=session.connection,
        media=tuple(
            _media(lines[start][1], _Section(lines[start + 1 : end]), session)
            for start, end in zip(starts, ends, strict=True)
        ),
        name=session.name or "-",
        bandwidth=tuple(session.bandwidth),
        attributes=tuple(session.attributes),
        lines=tuple(sorted(others, key=_rank)),
    )


def _split(body: bytes) -> list[tuple[str, str]]:
    if len(body) > MAX_BODY:
        raise SipError(400, "SDP Too Large")
    lines = []
    # RFC 8866 §5: "parsers SHOULD be tolerant and also accept lines terminated with a single newline character"
    for raw in body.split(b"\n"):
        line = raw.removesuffix(b"\r").decode("utf-8", "surrogateescape")
        if not line.strip(" \t"):
            continue
        # RFC 8866 §9: byte-string excludes NUL, CR and LF
        if "\0" in line or "\r" in line or _LINE.fullmatch(line) is None:
            raise SipError(400, "Malformed Line In SDP")
        lines.append((line[0], line[2:].strip(" \t")))
    return lines


class _Section:
    """The lines of the session, or of one medium, sorted by what they say. The first of equal lines counts."""

    __slots__ = (
        "attributes", "bandwidth", "connection", "direction", "feedback", "fmtp", "name", "origin", "others",
        "ptime", "rtcp", "rtpmap",
    )  # fmt: skip

    def __init__(self, lines: list[tuple[str, str]]) -> None:
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
        for key, value in lines:
            match key:
                case "a":
                    self._attribute(value)
                case "b":
                    self.bandwidth.append(value)
                case "c":
                    found = _CONNECTION.fullmatch(value)
                    if found is not None and self.connection is None:
                        self.connection = found[1]
                case "o":
                    self.origin = self.origin or _origin(value)
                case "s":
                    self.name = self.name or value or None
                case _:
                    self.others.append((key, value))

    def _attribute(self, line: str) -> None:
        """Take an attribute that means something to us; keep every other one as it is."""
        name, colon, rest = line.partition(":")
        value = rest.strip(" \t")
        match name:
            case "rtpmap" if (codec := parse_rtpmap(value)) is not None:
                self.rtpmap.setdefault(codec.payload_type, codec)
            case "fmtp" if (found := _FMTP.fullmatch(value)) is not None:
                self.fmtp.setdefault(int(found[1]), found[2])
            case "rtcp-fb" if (found := _FEEDBACK.fullmatch(value)) is not None:
                self._feedback(found[1], found[2])
            case "rtcp" if (found := _RTCP.fullmatch(value)) is not None and 0 < int(found[1]) <= 65535:
                self.rtcp = self.rtcp or (int(found[1]), found[2])
            case "ptime" if _PTIME.fullmatch(value) is not None and 0 < int(value) <= MAX_PTIME:
                self.ptime = self.ptime or int(value)
            case "sendrecv" | "sendonly" | "recvonly" | "inactive" if not colon:
                self.direction = self.direction or _DIRECTIONS[name]
            case _:
                self.attributes.append((name, rest if colon else None))

    def _feedback(self, payload_type: str, value: str) -> None:
        words = _BLANK.sub(" ", value)
        feedback = Feedback(None if payload_type == "*" else int(payload_type), words)
        if feedback.value.isascii():
            feedback = Feedback(feedback.payload_type, words.lower())
        self.feedback.append(feedback)


def _media(value: str, section: _Section, session: _Section) -> Media:
    kind, *words = _BLANK.split(value)
    if len(words) < 2:
        raise SipError(400, "Malformed Media Line In SDP")  # nothing that could be refused in place
    found = _PORT.fullmatch(words[0])
    port = int(found[1]) if found is not None else 0
    protocol, formats = words[1], tuple(words[2:])
    rtcp_port, rtcp_address = section.rtcp or (None, None)
    return Media(
        kind=kind,
        # A medium that can't be is refused in place, and the call goes on with the others.
        port=port if port <= 65535 else 0,
        protocol=protocol,
        formats=formats,
        codecs=_codecs(formats, section) if "RTP/" in protocol.upper() else (),
        connection=section.connection or session.connection,
        direction=section.direction or session.direction or "sendrecv",
        rtcp_port=rtcp_port,
        rtcp_address=rtcp_address,
        feedback=tuple(section.feedback),
        ptime=section.ptime,
        bandwidth=tuple(section.bandwidth),
        attributes=tuple(section.attributes),
        lines=tuple(sorted(section.others, key=_rank)),
    )


def _codecs(formats: tuple[str, ...], section: _Section) -> tuple[Codec, ...]:
    found: dict[int, Codec] = {}
    for text in formats:
        if _PAYLOAD_TYPE.fullmatch(text) is None or int(text) > 127:
            continue
        number = int(text)
        codec = section.rtpmap.get(number) or STATIC.get(number)
        if codec is not None:
            fmtp = section.fmtp.get(number, "")
            found.setdefault(number, Codec(codec.name, number, codec.clock_rate, codec.channels, fmtp))
    return tuple(found.values())


def _origin(value: str) -> Origin | None:
    found = _ORIGIN.fullmatch(value)
    return None if found is None else Origin(found[1], int(found[2]), int(found[3]), found[4])


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
