"""How a caller enters the queue: which one, in which class, with which needs, and as whom. Pure.

in → out: who calls and what the INVITE says → `Entry`, and the event that tells the queue.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, Final, Self

from pbx.sdp.description import heard
from pbx.sip import grammar
from pbx.sip.body import find_part
from pbx.sip.errors import SipError
from pbx.sip.message import Request
from routing.acd import DEFAULT, CallWaits, Priority

NO_LANGUAGE: Final = frozenset({"und", "mul", "zxx", "mis"})
"""Tags that name no language (ISO 639-2, BCP 47 §4.1)."""
SIGNED: Final = "sgn"
"""Prefix of sign languages in BCP 47, as in sgn-CSL; a video language is a signed one too (RFC 8373 §5.2)."""

ESNET: Final = frozenset(f"esnet.{level}" for level in range(5))
"""RFC 7135 §2: "…namespace "esnet" … has 5 priority-values"; which of them is best is left to the site: none is."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What the queue is told of a caller."""

    queue: str = DEFAULT
    priority: Priority = Priority.NORMAL
    needs: frozenset[str] = frozenset()
    identity: str | None = None
    """Only what is proven: two strangers behind one telephone number are two people."""
    origin: str = ""

    def waits(self, call: str) -> CallWaits:
        """Return the event for the queue."""
        return CallWaits(call, self.queue, self.priority, self.needs, self.identity, self.origin)

    def pack(self) -> dict[str, Any]:
        """Return plain data."""
        data = dict(zip(_NAMES, _VALUES(self), strict=True))
        data["priority"], data["needs"] = int(self.priority), sorted(self.needs)
        return data

    @classmethod
    def unpack(cls, data: Mapping[str, Any]) -> Self:
        """Make what `pack` described."""
        return cls(**{**data, "priority": Priority(data["priority"]), "needs": frozenset(data["needs"])})


_NAMES: Final = tuple(field.name for field in fields(Entry))
_VALUES: Final = attrgetter(*_NAMES)


def entry(
    request: Request,
    claims: Mapping[str, Any],
    *,
    silent: bool,
    identity: str | None,
    number: str | None,
    trusted: bool,
    queue: str = DEFAULT,
) -> Entry:
    """Return how the sender of an emergency INVITE enters the queue.

    `claims`: as `pbx.call.claims` gives them; `identity`: who it is, if proven; `number`: what it says it is; `trusted`:
    the request came from a peer whose word counts; `queue`: where its callers go unless their place says otherwise.
    """
    priority = Priority.DANGER if silent else Priority.NORMAL
    if trusted and not silent and has_authority(request):
        priority = Priority.AUTHORITY
    wanted = needs(claims, silent=silent, media=_media(request))
    return Entry(
        queue=queue, priority=priority, needs=wanted, identity=identity, origin=identity or number or ""
    )


def has_authority(request: Request) -> bool:
    """Say whether the request carries an emergency namespace of RFC 4412 and RFC 7135: `esnet.0` … `esnet.4`."""
    values = (v for line in request.headers.lines("Resource-Priority") for v in line.split(","))
    words = (grammar.lower(value.strip(" \t")) for value in values)
    return any(word in ESNET for word in words)


def _media(request: Request) -> list[str]:
    try:
        body = find_part(request, "application/sdp")
        return [] if body is None else [media.kind for media in heard(body).media if media.port]
    except SipError:
        return []


def needs(claims: Mapping[str, Any], *, silent: bool, media: Iterable[str]) -> frozenset[str]:
    """Return the skills a caller needs: `silent`, `video`, `text` (no sound at all), `sign`, and languages (`zh`, `en` …).

    `claims`: as `pbx.call.claims` gives them; `media`: what the offer has a port for, empty when there was none.
    """
    offered = frozenset(media)
    found = {"silent"} if silent else set()
    found |= offered & {"video"}
    if "text" in offered and "audio" not in offered:
        found.add("text")
    for wish in claims.get("languages", ()):
        tags = [*wish["speaks"][:1]] or [*wish["understands"][:1]]
        for tag in tags:
            primary = str(tag).partition("-")[0].lower()
            signed = primary == SIGNED or wish["medium"] == "video"
            if signed:
                found.add("sign")
            elif primary and primary not in NO_LANGUAGE:
                found.add(primary)
    return frozenset(found)
