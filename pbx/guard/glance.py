"""What the first bytes of a message tell: how much it matters, without parsing it.

in → out: bytes → method, whether an INVITE asks for help, the Call-ID. Any bytes give an answer, none raises. What is said of
the target is exactly what `pbx.targets.is_emergency` says of the parsed Request-URI, for the parser never sees what is
refused here.
"""

import re
from enum import IntEnum
from typing import Final

from pbx.sip.errors import SipError
from pbx.sip.uri import parse_uri
from pbx.targets import SILENT_SUFFIX, EmergencySettings, is_emergency

MAX_START: Final = 8 * 1024
"""Bytes of a start line looked at: what the parser takes (`pbx.sip.parser.MAX_START_LINE`)."""

MAX_LOOK: Final = 4 * 1024
"""Bytes looked at for a Call-ID; honest phones write it within the first kilobyte."""

_CALL_ID: Final = re.compile(rb"\r\n(?:call-id|i)[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE)
_USUAL: Final = b"\r\nCall-ID:"
_BRANCH: Final = re.compile(rb";[ \t]*branch[ \t]*=[ \t]*([^;, \t\r\n]*)", re.IGNORECASE)
_TO_TAG: Final = re.compile(rb"\r\n(?:to|t)[ \t]*:[^\r\n]*;[ \t]*tag[ \t]*=", re.IGNORECASE)
_PLAIN_TARGET: Final = re.compile(
    rb"sips?:([A-Za-z0-9_.+*-]{1,64})(?:;[A-Za-z0-9_.+*-]+(?:=[A-Za-z0-9_.+*-]+)?)*+@[^@]*", re.IGNORECASE
)
"""What nearly every phone writes; anything else is parsed."""
_METHOD: Final = re.compile(rb"[A-Z]{3,9}(?= )")


class Rank(IntEnum):
    """How much a message matters; the highest number is shed first."""

    DIALOG = 1
    """Of a live call, or an answer to what we asked."""
    EMERGENCY = 2
    """An INVITE to an emergency target."""
    OWNER = 3
    """REGISTER from where a live call is, and INVITEs that are no calls for help from where
    somebody is registered or in a call: dispatchers who come on duty."""
    REGISTER = 4
    OTHER = 5


class Emergencies:
    """Tells emergency INVITEs by their first bytes."""

    def __init__(self, settings: EmergencySettings) -> None:
        self._settings = settings
        plain = {number.lower().encode() for number in settings.numbers}
        self._plain = plain | {number + SILENT_SUFFIX.encode() for number in plain}
        self._any_host = not settings.uris
        """No whole URI is listed, so the user part decides."""

    def asked(self, data: bytes) -> bool:
        """Tell whether `data`, whose method is INVITE, asks for help."""
        end = data.find(b"\r\n", 0, MAX_START + 2)
        if end < 0:
            return False  # the parser refuses it
        words = data[:end].rstrip(b" ").split(b" ")
        if len(words) != 3:
            return False
        found = _PLAIN_TARGET.fullmatch(words[1])
        if found is not None and (found[1].lower() in self._plain or self._any_host):
            return found[1].lower() in self._plain
        try:
            uri = parse_uri(words[1].decode("utf-8", "surrogateescape"))
        except SipError:
            return False
        return is_emergency(uri, self._settings) is not None


def method(data: bytes) -> bytes:
    """Return the method of a request, `SIP` for a response, empty for anything else."""
    if data[:4].upper() == b"SIP/":
        return b"SIP"
    found = _METHOD.match(data)
    return b"" if found is None else found[0]


def call_id(data: bytes) -> str:
    """Return the Call-ID as it stands in the first kilobytes, empty when there is none."""
    # What stands in a body is no header: somebody else's Call-ID may.
    end_of_head = data.find(b"\r\n\r\n", 0, MAX_LOOK)
    at = data.find(_USUAL, 0, end_of_head if end_of_head >= 0 else MAX_LOOK)
    if at >= 0:
        # As nearly every phone writes it, and in a twentieth of the time. A message with two of them is refused by the parser.
        at += len(_USUAL)
        end = data.find(b"\r", at, MAX_LOOK)
        value = data[at : end if end >= 0 else MAX_LOOK].partition(b"\n")[0]
        return value.strip(b" \t").decode("utf-8", "surrogateescape")
    found = _CALL_ID.search(data, 0, MAX_LOOK)
    return "" if found is None else found[1].strip(b" \t").decode("utf-8", "surrogateescape")


def opens(data: bytes) -> bool:
    """Tell whether a request is of no dialog yet: its To has no tag."""
    return _TO_TAG.search(data, 0, MAX_LOOK) is None


def branch(data: bytes) -> bytes:
    """Return the branch of the topmost Via that has one, empty when there is none (RFC 2543)."""
    found = _BRANCH.search(data, 0, MAX_LOOK)
    return b"" if found is None else found[1]
