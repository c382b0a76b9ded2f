"""Lines of a session description (RFC 8866), each read by itself.

in → out: a line → what it is, and what it says. What is wrong in one but harms nobody is kept as it stands.
"""

import re
from functools import lru_cache
from string import ascii_letters
from typing import Any, Final, Literal

from msgspec import Struct, structs

from pbx.sdp.codecs import STATIC, parse_rtpmap
from pbx.sip.errors import SipError
from rtp.control import Codec

Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]

MAX_PTIME: Final = 1000  # ms
REMEMBERED_LINES: Final = 2048
"""Lines kept as they were read: most of them stand in the descriptions of all phones of a make."""
REMEMBERED_TEXT: Final = 4096
"""Characters of a description whose lines are worth keeping: strangers can't fill more than 2048 × some 8 KiB. What a browser
writes is longer, and hardly a line of it is anybody else's."""
REMEMBERED: Final = 256
"""Sets of formats kept as they were read: all phones of a make write the same."""
REMEMBERED_LENGTH: Final = 2048
"""Characters of a set worth keeping: strangers can't fill more than 256 × some 8 KiB."""
_MEANT: Final = frozenset(
    {"rtpmap", "fmtp", "rtcp-fb", "rtcp", "ptime", "sendrecv", "sendonly", "recvonly", "inactive"}
)
"""Attributes that mean something to us."""

_DIRECTIONS: Final[dict[str, Direction]] = {
    "sendrecv": "sendrecv",
    "sendonly": "sendonly",
    "recvonly": "recvonly",
    "inactive": "inactive",
}
_LETTERS: Final = frozenset(ascii_letters)
_ORIGIN_LINE: Final = re.compile(r"(\S+) +([0-9]{1,20}) +([0-9]{1,20}) +\S+ +\S+ +(\S+)", re.ASCII)
_ADDRESS: Final = re.compile(r"IN +IP[46] +(\S{1,255})", re.ASCII | re.IGNORECASE)
_PORT_AND_HOST: Final = re.compile(r"([0-9]{1,5})(?: +IN +IP[46] +(\S{1,255}))?", re.ASCII | re.IGNORECASE)
_MILLISECONDS: Final = re.compile(r"[0-9]{1,4}")
_FMTP: Final = re.compile(r"([0-9]{1,3})[ \t]+(.*)", re.DOTALL)
_RTCP_FB: Final = re.compile(r"([0-9]{1,3}|\*)[ \t]+(.*)", re.DOTALL)
_BLANK: Final = re.compile(r"[ \t]+")
_PAYLOAD_TYPES: Final = {f"{number:0{width}}": number for number in range(128) for width in (1, 2, 3)}


class Origin(Struct, frozen=True, gc=False):
    """The o= line. An unreadable one reads as this default."""

    username: str = "-"
    session: int = 0
    version: int = 0
    """Raised by one with each description that differs from the last (RFC 3264 §8)."""
    address: str = "0.0.0.0"


class Feedback(Struct, frozen=True, gc=False):
    """One a=rtcp-fb line (RFC 4585 §4.2)."""

    payload_type: int | None
    """None is `*`: all formats of the medium."""
    value: str
    """Lower case, single spaces: `nack pli`, `ccm fir` …"""


# What a line is: the most frequent first, what is said of formats last.
(
    PLAIN,
    WAY,
    RTCP,
    PTIME,
    OTHER,
    BANDWIDTH,
    CONNECTION,
    ORIGIN,
    NAME,
    MEDIA,
    RTPMAP,
    FORMAT,
    FEEDBACK,
) = range(13)

Formats = tuple[dict[int, Codec], tuple[Feedback, ...]]
"""What the formats of a section are, and what feedback is wanted of them."""
Medium = tuple[str, tuple[str, ...], tuple[Codec, ...], tuple[Feedback, ...]]
"""Of an m-line and its section: protocol, formats as written, those with a known meaning, feedback."""


def _read_formats(lines: tuple[str, ...]) -> Formats:
    rtpmap: dict[int, Codec] = {}
    fmtp: dict[int, str] = {}
    feedback: list[Feedback] = []
    for line in lines:
        kind, value = read_line(line)
        if kind == RTPMAP:
            rtpmap.setdefault(value.payload_type, value)
        elif kind == FORMAT:
            fmtp.setdefault(*value)
        else:
            feedback.append(value)
    codecs = {**STATIC, **rtpmap}
    for number in codecs.keys() & fmtp.keys():
        if fmtp[number]:
            codecs[number] = structs.replace(codecs[number], fmtp=fmtp[number])
    return codecs, tuple(feedback)


def _read_medium(rest: str, lines: tuple[str, ...]) -> Medium:
    protocol, *formats = _BLANK.split(rest) if "  " in rest or "\t" in rest else rest.split(" ")
    known, feedback = _read_formats(lines)
    codecs: dict[int, Codec] = {}
    if "RTP/" in protocol.upper():
        for text in formats:
            number = _PAYLOAD_TYPES.get(text)
            if number is not None and (codec := known.get(number)) is not None:
                codecs[number] = codec
    return protocol, tuple(formats), tuple(codecs.values()), feedback


_remembered_medium: Final = lru_cache(REMEMBERED)(_read_medium)


def read_medium(rest: str, lines: tuple[str, ...]) -> Medium:
    """Read what an m-line says behind its port, and the a=rtpmap, a=fmtp and a=rtcp-fb lines (of those kinds alone) of its section."""
    short = len(rest) + sum(map(len, lines)) <= REMEMBERED_LENGTH
    return _remembered_medium(rest, lines) if short else _read_medium(rest, lines)


def read_line(line: str) -> tuple[int, Any]:
    """Return what a line is and what it says; None where it says nothing that can be. Raises SipError(400)."""
    key, value = line[0], line[2:].strip(" \t")
    if line[1:2] != "=" or key not in _LETTERS:
        raise SipError(400, "Malformed Line In SDP")
    if key == "a":
        name, colon, rest = value.partition(":")
        if name not in _MEANT:
            return PLAIN, (name, rest if colon else None)
        return _read_attribute(name, colon, rest)
    match key:
        case "m":
            return MEDIA, value
        case "b":
            return BANDWIDTH, value
        case "c":
            found = _ADDRESS.fullmatch(value)
            return CONNECTION, None if found is None else found[1]
        case "o":
            return ORIGIN, _origin(value)
        case "s":
            return NAME, value
    return OTHER, (key, value)


remembered_line: Final = lru_cache(REMEMBERED_LINES)(read_line)
"""`read_line` for descriptions of at most `REMEMBERED_TEXT` characters."""


def _read_attribute(name: str, colon: str, rest: str) -> tuple[int, Any]:
    """Read an attribute that means something to us; what it says wrong is kept as it is."""
    if not colon and name in _DIRECTIONS:
        return WAY, _DIRECTIONS[name]
    value = rest.strip(" \t")
    match name:
        case "rtpmap" if (codec := parse_rtpmap(value)) is not None:
            return RTPMAP, codec
        case "fmtp" if (found := _FMTP.fullmatch(value)) is not None:
            return FORMAT, (int(found[1]), found[2])
        case "rtcp-fb" if (found := _RTCP_FB.fullmatch(value)) is not None:
            words = _BLANK.sub(" ", found[2])
            number = None if found[1] == "*" else int(found[1])
            return FEEDBACK, Feedback(number, words.lower() if words.isascii() else words)
        case "rtcp" if (found := _PORT_AND_HOST.fullmatch(value)) is not None and 0 < int(found[1]) <= 65535:
            return RTCP, (int(found[1]), found[2])
        case "ptime" if (wished := milliseconds(value)) is not None:
            return PTIME, wished
    return PLAIN, (name, rest if colon else None)


def _origin(value: str) -> Origin | None:
    found = _ORIGIN_LINE.fullmatch(value)
    return None if found is None else Origin(found[1], int(found[2]), int(found[3]), found[4])


def milliseconds(value: str | None) -> int | None:
    """Read a packet time (RFC 8866 §6.4, §6.5); None when it can't be one."""
    if value is None or _MILLISECONDS.fullmatch(value) is None:
        return None
    return int(value) if 0 < int(value) <= MAX_PTIME else None
