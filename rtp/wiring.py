"""Who may hear and see whom: the one place where edges between legs come from (design §6, bar F30). Pure.

members, gates, modes ─▶ wiring ─▶ every edge of a room with what opens or closes it ─▶ roads ─▶ what is relayed, mixed, shown

No input gives an edge from a guest to a guest: a room has at most one guest, and no edge leaves it. What a staff mode
(listen, whisper, barge), silent mode, hold and the host's picture mean is said here and nowhere else.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from rtp.control import Medium, Role, StaffMode

Gate = Literal["open", "silent", "held", "no_picture", "listen", "whisper"]
"""Why packets of an edge flow or not."""


@dataclass(frozen=True, slots=True)
class Gates:
    """The gates of a leg, of effect while it is a guest; sound and picture flow until signalling says otherwise."""

    silent: bool = False
    host_picture: bool = True
    still: bool = False
    """In its place the site's still image is sent (`badge`)."""
    held: bool = False


UNSET: Final = Gates()
"""Of a leg for which none were set."""


@dataclass(frozen=True, slots=True)
class Edge:
    """Packets of one medium may go from `source` to `destination` when `gate` is open."""

    source: str
    destination: str
    medium: Medium
    gate: Gate


def wiring(
    members: Mapping[str, Role], gates: Mapping[str, Gates], modes: Mapping[str, StaffMode] | None = None
) -> frozenset[Edge]:
    """All edges of one room. `members`: leg → role, `gates` and `modes`: of those legs that have any.

    A room whose members break the rule (two hosts, two guests) has no edges at all: nobody hears anybody.
    """
    roles = list(members.values())
    if roles.count("host") > 1 or roles.count("guest") > 1:
        return frozenset()
    modes = modes or {}
    return frozenset(
        edge
        for source, role in members.items()
        for destination, other in members.items()
        if source != destination
        for edge in _between(source, role, destination, other, gates, modes.get(source, "listen"))
    )


def _between(  # noqa: PLR0917  # one edge's whole case
    source: str, role: Role, destination: str, other: Role, gates: Mapping[str, Gates], mode: StaffMode
) -> Iterable[Edge]:
    """The edges from one leg to another. `mode`: what the source may do while it is staff."""
    if role == "guest":
        held: Gate = "held" if gates.get(source, UNSET).held else "open"
        yield Edge(source, destination, "audio", held)
        yield Edge(source, destination, "video", held)
        return
    gate = gates.get(destination, UNSET) if other == "guest" else UNSET
    sound: Gate = "silent" if gate.silent else "held" if gate.held else "open"
    if role == "staff" and sound == "open":
        heard = mode == "barge" or (mode == "whisper" and other == "host")
        sound = "open" if heard else "listen" if mode == "listen" else "whisper"
    yield Edge(source, destination, "audio", sound)
    if role == "host" and other == "guest":
        picture: Gate = "held" if gate.held else "open"
        yield Edge(source, destination, "video", picture if gate.host_picture else "no_picture")


@dataclass(frozen=True, slots=True)
class Roads:
    """How the open edges of one room are travelled."""

    relay: Mapping[tuple[str, Medium], str]
    """(source, medium) → the one destination that gets its packets as they are."""
    mix: Mapping[str, tuple[str, ...]]
    """Destination → the voices it hears, sorted: who hears several, or hears one that is relayed to another."""
    show: Mapping[str, tuple[str, ...]]
    """Source of a picture → who sees it beside the one it is relayed to, sorted."""


def roads(members: Mapping[str, Role], edges: Iterable[Edge]) -> Roads:
    """Say what is relayed untouched, what is mixed, and to whom a picture is copied.

    Host and guest who hear nobody but each other are relayed, whoever listens in: they are not delayed by it.
    """
    heard: dict[str, list[str]] = {}
    seen: dict[str, list[str]] = {}
    for edge in edges:
        if edge.gate != "open":
            continue
        if edge.medium == "audio":
            heard.setdefault(edge.destination, []).append(edge.source)
        else:
            seen.setdefault(edge.source, []).append(edge.destination)
    relay: dict[tuple[str, Medium], str] = {}
    mix: dict[str, tuple[str, ...]] = {}
    for destination, sources in heard.items():
        alone = len(members) == 2 or "staff" not in {members[destination], *(members[leg] for leg in sources)}
        if len(sources) == 1 and alone:
            relay[sources[0], "audio"] = destination
        else:
            mix[destination] = tuple(sorted(sources))
    show: dict[str, tuple[str, ...]] = {}
    for source, viewers in seen.items():
        first, *others = sorted(viewers, key=lambda leg: (members[leg] == "staff", leg))
        relay[source, "video"] = first
        if others:
            show[source] = tuple(others)
    return Roads(relay, mix, show)
