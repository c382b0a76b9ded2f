"""Who is meant by a Request-URI: the emergency service, or a feature of this exchange that a dispatcher dials.

Pure and total: any URI gives an answer, none raises.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pbx.sip.errors import SipError
from pbx.sip.grammar import lower
from pbx.sip.uri import Uri, parse_uri

SILENT_SUFFIX: Final = "-silent"
_SERVICE: Final = "service:"
_URN_EXTRAS: Final = re.compile(r"[?#].*", re.DOTALL)  # RFC 8141 r-, q- and f-components say nothing to us
_VISUAL_SEPARATORS: Final = re.compile(r"[-.()]")


class FeatureCode(StrEnum):
    """What a dispatcher dials from the desk's phone."""

    SIGN_IN = "*10"
    PAUSE = "*11"
    RESUME = "*12"
    END_CALL = "*13"


@dataclass(frozen=True, slots=True)
class EmergencySettings:
    """What counts as an emergency target at this site."""

    numbers: tuple[str, ...] = ("110",)
    """User parts of SIP URIs and numbers of tel URIs, compared without regard to ASCII case."""
    services: tuple[str, ...] = ("sos", "sos.police")
    """Services of RFC 5031 answered here; those below one of them fall back to it."""
    uris: tuple[str, ...] = ()
    """The site's own list: whole URIs, compared as addresses-of-record; ValueError when one is no URI."""

    def __post_init__(self) -> None:
        for text in self.uris:
            try:
                parse_uri(text)
            except SipError as error:
                raise ValueError(f"not a URI in the list of emergency targets: {text!r}") from error


@dataclass(frozen=True, slots=True)
class Emergency:
    """What was asked of the emergency service."""

    target: str
    """The entry of the settings that matched: `110`, `sos.police`, `sip:help@police.example`."""
    asked: str
    """What the caller wrote, as text for a person: `110-silent`, `urn:service:sos.police.traffic` …"""
    silent: bool
    """No sound may reach the caller."""


DEFAULT: Final = EmergencySettings()


def is_emergency(uri: Uri, settings: EmergencySettings = DEFAULT) -> Emergency | None:
    """Tell whether `uri` asks for the emergency service: `sip:110@…`, `tel:110`, `urn:service:sos…` or the site's own."""
    silent = lower(uri.param("mode") or "") == "silent"
    if uri.scheme == "urn":
        service = _service(uri.host, settings.services)
        return None if service is None else Emergency(service, f"urn:{uri.host}", silent)
    user = _number(uri)
    if user is not None:
        plain = user.removesuffix(SILENT_SUFFIX)
        wanted = {lower(number): number for number in settings.numbers}
        # A number that ends in "-silent" by itself is the site's business and matches first.
        if (number := wanted.get(user) or wanted.get(plain)) is not None:
            return Emergency(number, user, silent or (user != plain and user not in wanted))
    for text in settings.uris:
        listed = parse_uri(text)
        if _same(uri, listed):
            return Emergency(text, str(uri.bare()), silent)
        if user is not None and user.endswith(SILENT_SUFFIX) and _same(_louder(uri, user), listed):
            return Emergency(text, str(uri.bare()), silent=True)
    return None


def feature_code(uri: Uri) -> FeatureCode | None:
    """Tell which feature code `uri` dials: `sip:*10@…`, `sip:%2A10@…` or `tel:*10`."""
    user = uri.host if uri.scheme == "tel" else uri.user_text
    try:
        return FeatureCode(user or "")
    except ValueError:
        return None


def _number(uri: Uri) -> str | None:
    """Return the dialled text in lower case: the number of a tel URI without its separators, or a SIP user."""
    if uri.scheme == "tel":
        # RFC 3966 §5.1.1: visual separators are for the eye; "-silent" is ours and no number
        number = lower(uri.host)
        plain = number.removesuffix(SILENT_SUFFIX)
        return _VISUAL_SEPARATORS.sub("", plain) + number[len(plain) :]
    if not uri.is_sip or uri.user_text is None:
        return None
    # RFC 3261 §19.1.6: the user part of a SIP URI made of a tel URI carries its parameters (`110;phone-context=…`).
    return lower(uri.user_text.partition(";")[0])


def _service(opaque: str, services: Iterable[str]) -> str | None:
    # RFC 5031 §3, §4.2: labels are case-insensitive, and a sub-service that nobody offers is its parent's.
    text = _URN_EXTRAS.sub("", lower(opaque))
    if not text.startswith(_SERVICE):
        return None
    labels = text.removeprefix(_SERVICE).split(".")
    known = {lower(service): service for service in services}
    for count in range(len(labels), 0, -1):
        service = known.get(".".join(labels[:count]))
        if service is not None:
            return service
    return None


def _same(uri: Uri, listed: Uri) -> bool:
    return lower(uri.aor) == lower(listed.aor)


def _louder(uri: Uri, user: str) -> Uri:
    if uri.scheme == "tel":
        return Uri("tel", None, None, user.removesuffix(SILENT_SUFFIX))
    return Uri(uri.scheme, user.removesuffix(SILENT_SUFFIX), None, uri.host)
