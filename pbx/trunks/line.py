"""What a leg over a trunk remembers of it: where its INVITE went, where it may go next, what waits for an answer.

in → out: plain data; the verbs are in `pbx.call.over_trunk`.
"""

from dataclasses import dataclass, field
from typing import Any, Final, Self

from pbx.sip.headers import Headers
from pbx.sip.message import Request
from pbx.sip.uri import Uri, parse_uri

MAX_ASKED: Final = 16
"""Requests of one leg that wait for an answer and could be sent again with credentials."""
MAX_REDIRECTS: Final = 5
"""302s followed for one call: RFC 3261 leaves the number to us, and a longer chain is a loop."""


@dataclass(frozen=True, slots=True)
class Target:
    """One peer as the next place for an INVITE."""

    peer: str
    """Its name in views: `host:port`."""
    hop: Uri
    """Where the request is sent (RFC 3263)."""
    uri: Uri
    """Its Request-URI there."""


@dataclass(slots=True)
class Line:
    """One leg's side of a trunk."""

    trunk: str
    number: str = ""
    """What was dialled; empty for calls that came in."""
    dtmf: str = "rfc4733"
    attempt: float = 4.0
    """Seconds a peer may stay silent."""
    progress: float = 12.0
    """Seconds a peer may say nothing but 100."""
    target: Target | None = None
    """Where the INVITE is now; None for calls that came in."""
    rest: tuple[Target, ...] = ()
    """Where it may go next, best first."""
    deadline: float | None = None
    """When the present peer is given up."""
    redirects: int = 0
    asked: dict[str, Request] = field(default_factory=dict)
    """ref → request in the dialog without final response."""
    location: bytes | None = None
    """PIDF-LO that goes beside the offer."""
    accepted: Request | None = None
    """The re-INVITE with credentials that was taken last: each ACK of its 2xx has them too."""

    @property
    def outgoing(self) -> bool:
        """Whether we called."""
        return self.target is not None

    def sent(self, ref: str, request: Request) -> None:
        """Remember a request, in case its peer wants to know who sends it."""
        self.asked[ref] = request
        while len(self.asked) > MAX_ASKED:
            del self.asked[next(iter(self.asked))]

    def snapshot(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "trunk": self.trunk,
            "number": self.number,
            "dtmf": self.dtmf,
            "attempt": self.attempt,
            "progress": self.progress,
            "target": None if self.target is None else _pack_target(self.target),
            "rest": [_pack_target(target) for target in self.rest],
            "deadline": self.deadline,
            "redirects": self.redirects,
            "location": self.location,
            "asked": [[ref, pack(request)] for ref, request in self.asked.items()],
            "accepted": None if self.accepted is None else pack(self.accepted),
        }

    @classmethod
    def restore(cls, data: dict[str, Any]) -> Self:
        """Undo `snapshot`."""
        return cls(
            data["trunk"],
            data["number"],
            data["dtmf"],
            data["attempt"],
            data["progress"],
            None if data["target"] is None else _unpack_target(data["target"]),
            tuple(_unpack_target(target) for target in data["rest"]),
            data["deadline"],
            data["redirects"],
            {ref: unpack(request) for ref, request in data["asked"]},
            data["location"],
            None if data["accepted"] is None else unpack(data["accepted"]),
        )


def pack(request: Request) -> dict[str, Any]:
    """Keep a request of ours as plain data: before it is sent it has no Via, so the parser would not take its bytes."""
    return {
        "method": request.method,
        "uri": str(request.uri),
        "headers": [list(item) for item in request.headers.items()],
        "body": request.body,
    }


def unpack(data: dict[str, Any]) -> Request:
    """Undo `pack`."""
    headers = Headers((name, value) for name, value in data["headers"])
    return Request(data["method"], parse_uri(data["uri"]), headers, data["body"])


def _pack_target(target: Target) -> list[str]:
    return [target.peer, str(target.hop), str(target.uri)]


def _unpack_target(data: list[str]) -> Target:
    peer, hop, uri = data
    return Target(peer, parse_uri(hop), parse_uri(uri))
