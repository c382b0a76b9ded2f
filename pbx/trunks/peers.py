"""The peers of one trunk: which one next, and whether each lives.

in → out: settings, what came of requests, time → targets in the order to try; OPTIONS to send; up and down.

A peer is up until it is known to be down: a call must not wait for a first question. Two questions without an answer, or one
broken transport under a call, and it is down until it answers again. Down means last, not never: when all are down, all are
tried.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pbx.sip.locate import Srv, ordered
from pbx.sip.uri import Uri
from pbx.sip.wakeups import earliest
from pbx.trunks.overload import Overload
from pbx.trunks.settings import PeerSettings

DOWN_AFTER: Final = 2
"""Questions in a row without answer: one may be lost on the way, in each direction, with all its repetitions."""
ANSWER_SECONDS: Final = 4.0
"""An OPTIONS that has no answer by then has none: five datagrams were sent."""
QUIET_SECONDS: Final = 30.0
"""A peer that fails under a call, and is never asked, is tried last for so long."""
MAX_RETRY_AFTER: Final = 3600.0
"""Seconds a peer's Retry-After counts at most."""


@dataclass(slots=True)
class Peer:
    """One peer."""

    settings: PeerSettings
    up: bool = True
    missed: int = 0
    next_question: float | None = None
    asked: tuple[int, float] | None = None
    """(number of the question, when it has no answer)."""
    count: int = 0
    quiet_until: float = 0.0
    overload: Overload = field(default_factory=Overload)

    @property
    def name(self) -> str:
        """What it is called in views and metrics: `host`, `host:port` or `host:port/tcp`."""
        stated = self.settings
        name = stated.host if stated.port is None else f"{stated.host}:{stated.port}"
        return name if stated.transport in (None, "udp") else f"{name}/{stated.transport}"

    def uri(self, user: str | None = None) -> Uri:
        """Return a URI at this peer."""
        stated = self.settings
        params = () if stated.transport in (None, "udp") else (("transport", stated.transport),)
        return Uri("sip", user, None, stated.host.strip("[]"), stated.port, params)

    @property
    def hop(self) -> Uri:
        """Where requests are sent: with the transport written out where the settings name one."""
        stated = self.settings
        params = () if stated.transport is None else (("transport", stated.transport),)
        return Uri("sip", None, None, stated.host.strip("[]"), stated.port, params)


def order(peers: Sequence[Peer], now: float, draw: Callable[[], float]) -> list[Peer]:
    """Put peers in the order to try (RFC 2782): those that are up, then the others."""

    def arranged(some: Sequence[Peer]) -> list[Peer]:
        numbered = {str(index): peer for index, peer in enumerate(some)}
        records = [
            Srv(peer.settings.priority, peer.settings.weight, 0, index) for index, peer in numbered.items()
        ]
        return [numbered[record.target] for record in ordered(records, draw)]

    fit = [peer for peer in peers if peer.up and now >= peer.quiet_until]
    rest = [peer for peer in peers if not (peer.up and now >= peer.quiet_until)]
    return [*arranged(fit), *arranged(rest)]


class Health:
    """Asks the peers of one trunk whether they live."""

    def __init__(self, peers: Sequence[Peer], interval: float) -> None:
        """`interval`: seconds between two questions; 0: none is asked."""
        self._peers = peers
        self._interval = interval

    def start(self, now: float, draw: Callable[[], float]) -> None:
        """Begin: the first questions are spread over a second, or over the interval if that is shorter."""
        for peer in self._peers:
            peer.next_question = None if self._interval == 0 else now + min(1.0, self._interval) * draw()

    def stop(self) -> None:
        """Ask nobody any more."""
        for peer in self._peers:
            peer.next_question = peer.asked = None

    @property
    def next_due(self) -> float | None:
        """When `expire` wants to be called."""
        dues = [peer.next_question for peer in self._peers]
        dues += [None if peer.asked is None else peer.asked[1] for peer in self._peers]
        return earliest(*dues)

    def expire(self, now: float) -> tuple[list[tuple[Peer, int]], list[Peer]]:
        """Return (peers to ask, each with the number of the question; peers that went down)."""
        ask, down = [], []
        for peer in self._peers:
            if peer.asked is not None and now >= peer.asked[1]:
                peer.asked = None
                if self.missed(peer):
                    down.append(peer)
            if peer.next_question is not None and now >= peer.next_question:
                peer.next_question = now + self._interval
                if peer.asked is None:
                    peer.count += 1
                    peer.asked = (peer.count, now + min(ANSWER_SECONDS, self._interval))
                    ask.append((peer, peer.count))
        return ask, down

    def missed(self, peer: Peer) -> bool:
        """Note a question without answer; True when the peer went down with it."""
        peer.missed += 1
        went = peer.up and peer.missed >= DOWN_AFTER
        peer.up = peer.up and not went
        return went

    def answered(self, peer: Peer, number: int | None = None) -> bool:
        """Note that the peer lives; True when it came up with it. `number`: of the question, None: another request."""
        if number is not None and peer.asked is not None and peer.asked[0] == number:
            peer.asked = None
        peer.missed = 0
        peer.quiet_until = 0.0
        came = not peer.up
        peer.up = True
        return came

    def broke(self, peer: Peer, now: float) -> bool:
        """Note that a call to it failed for want of an answer; True when it went down with it."""
        if peer.next_question is None:
            peer.quiet_until = now + QUIET_SECONDS
            return False
        peer.missed = DOWN_AFTER
        peer.next_question = min(peer.next_question, now + 1.0)  # it may be back before its turn
        went, peer.up = peer.up, False
        return went


def snapshot(peer: Peer) -> dict[str, Any]:
    """Return what is known of a peer as plain data; its settings are elsewhere."""
    overload = peer.overload
    return {
        "peer": peer.name,
        "up": peer.up,
        "missed": peer.missed,
        "next_question": peer.next_question,
        "asked": None if peer.asked is None else list(peer.asked),
        "count": peer.count,
        "quiet_until": peer.quiet_until,
        "overload": [overload.share, overload.until, list(overload.sequence)],
    }


def resume(peer: Peer, data: dict[str, Any]) -> None:
    """Undo `snapshot`."""
    peer.up, peer.missed = data["up"], data["missed"]
    peer.next_question = data["next_question"]
    peer.asked = None if data["asked"] is None else (data["asked"][0], data["asked"][1])
    peer.count, peer.quiet_until = data["count"], data["quiet_until"]
    share, until, sequence = data["overload"]
    peer.overload = Overload(share, until, (sequence[0], sequence[1]))
