"""What every connection has, TCP, TLS or WebSocket: a number, a flow, limits of patience, and fairness.

in → out: whole messages, parse errors and pings of one peer → its owner, in order, a few at a time; the clock →
`overdue`. How bytes travel is the business of `stream` and `websocket`.
"""

import asyncio
import sys
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from pbx.sip.flow import Flow
from pbx.sip.message import Request, Response
from pbx.sip.parser import ParseError, Ping
from pbx.transport.turns import Turns

AT_ONCE: Final = 4
"""Messages of one connection handled before others have their turn: 2 ms of the loop, so that a hundred of them leave it to
anybody else five times a second (bars GI3, L10). The rest of what was read, at most one read of 256 KiB, waits, and nothing more is
read meanwhile."""

Item = Request | Response | ParseError


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """How much a peer may take of us over TCP, TLS or WebSocket. Seconds and bytes."""

    handshake: float = 5.0
    """TLS stands by then; an honest phone needs two round trips (bars F19)."""
    first_message: float = 10.0
    """A new connection has sent one whole well-formed message by then; honest phones send it at once (bars F19)."""
    message: float = 30.0
    """A message that has begun is whole by then; after 64*T1 = 32 s nobody waits for its answer (bars F20)."""
    idle: float = 7200.0
    """Silence of a connection that has shown itself: twice the longest registration we grant."""
    unread: float = 10.0
    """The peer reads something of what we wrote by then (bars L10)."""
    high_water: int = 64 * 1024
    """Bytes a peer may leave unread before `unread` runs, and nothing more is read from it (bars L10)."""
    max_unsent: int = 1024 * 1024
    """Bytes a peer may leave unread at all."""
    connect: float = 10.0
    """Time to open a connection of ours; the INVITE's timer B runs for 32 s meanwhile."""
    max_unproven_per_host: int = 50
    """Connections of one address that have sent no message yet (bars F19)."""
    max_unproven: int = 2000
    """The same for all addresses; beyond, the oldest makes room: an honest phone speaks at once, a hoarder does not."""
    max_connections: int = 12_000
    """All together: 10,000 registered phones (bars L11) and their successors while old ones die."""
    highest_file: int = sys.maxsize
    """Descriptor above which a connection that comes in is refused (`files`): calls need what is left."""


class Owner(Protocol):
    """What a connection tells; `Connections` is one."""

    def connected(self, link: "Link") -> None:
        """The connection stands; its `flow` is known."""

    def arrived(self, link: "Link", item: Item) -> None:
        """A message or parse error came; pings are answered already."""

    def lost(self, link: "Link", *, failed: bool) -> None:
        """The connection is gone; `failed`: something we wrote may not have arrived."""


class Link(ABC):
    """One connection, theirs or ours. Subclasses carry the bytes."""

    def __init__(
        self,
        number: int,
        owner: Owner,
        limits: StreamLimits,
        clock: Callable[[], float],
        *,
        ours: bool,
        transport: str = "tcp",
        turns: Turns | None = None,
    ) -> None:
        """`number` becomes `Flow.id`; `ours`: we opened it, so the peer owes us nothing. `turns`: where it waits for the loop among
        all connections; None: it is the only one.
        """
        self.number = number
        self.flow = Flow(transport, ("", 0), ("", 0), number)
        self.ours = ours
        self.proven = ours
        """One well-formed message came, or we opened it."""
        self.file = -1
        """The descriptor of a connection of our own listeners; −1: it has none, or it is not known."""
        self.shaking = False
        """The TLS handshake is not done."""
        self._owner = owner
        self._limits = limits
        self._clock = clock
        self._turns = turns
        self._opened = self._heard = clock()
        self._began: float | None = None
        """Since when an unfinished message is coming in."""
        self._stuck: float | None = None
        """Since when the peer has not read enough."""
        self._waiting: deque[Item | Ping | bytes] = deque()
        self._scheduled = False
        """The next turn is asked for."""
        self._reading = True

    # --- what subclasses do -------------------------------------------------------------------------------------------

    @property
    def names(self) -> frozenset[str]:
        """The hosts a certificate proved the peer to be; empty without one."""
        return frozenset()

    @property
    @abstractmethod
    def open(self) -> bool:
        """Whether it stands and nobody has begun to close it."""

    @abstractmethod
    def fed(self, data: bytes) -> None:
        """Take bytes that were read: it is this connection's turn."""

    @abstractmethod
    def send(self, data: bytes) -> bool:
        """Write one message. False: the connection is closing, or is closed now because the peer does not read."""

    @abstractmethod
    def pong(self) -> None:
        """Answer a keep-alive (RFC 5626 §4.4.1: a double CRLF is answered with a single one)."""

    @abstractmethod
    def close(self) -> None:
        """Write what is left, then close."""

    @abstractmethod
    def abort(self) -> None:
        """Close now; what the peer has not read is lost."""

    @abstractmethod
    def read(self, *, on: bool) -> None:
        """Go on reading from the peer, or stop."""

    @abstractmethod
    def handled(self) -> None:
        """Hear that everything given to `take` is handled."""

    def parsed(self, content: bytes) -> Item | Ping:
        """Parse what was given to `take` as bytes: only when its turn has come."""
        raise AssertionError(f"this connection gives messages, not {len(content)} bytes")

    @property
    def backlog(self) -> bool:
        """Whether there is more that was read and is not handled."""
        return bool(self._waiting)

    # --- what they share ----------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Take bytes that were read, now or when others have had their turn; nothing more is read until then."""
        if self._turns is None or self._turns.free():
            self.fed(data)
        else:
            self._turns.later(partial(self._fed_late, data))
            self.read(on=False)

    def _fed_late(self, data: bytes) -> None:
        if not self.open:
            return  # closed meanwhile: whoever closed it wants no more of it
        if self._reading:
            self.read(on=True)
        try:
            self.fed(data)
        except Exception:
            self.abort()  # as the loop does when what it calls itself fails
            raise

    def take(self, items: Iterable[Item | Ping | bytes]) -> None:
        """Hand what came to the owner: some now, the rest when others had their turn."""
        idle = not self._waiting
        self._waiting.extend(items)
        if idle:
            self._work()

    def _work(self) -> None:
        for _ in range(min(AT_ONCE, len(self._waiting))):
            item = self._waiting.popleft()
            if isinstance(item, bytes):
                item = self.parsed(item)
            if isinstance(item, Ping):
                self.pong()
                continue
            self.proven |= not isinstance(item, ParseError)
            self._owner.arrived(self, item)
        if not self._waiting:
            self.handled()
        self._control()
        self._go_on()

    def _go_on(self) -> None:
        """Ask for the next turn, unless the peer has to read first: what it would be answered is not made meanwhile."""
        if self.backlog and self._stuck is None and not self._scheduled:
            self._scheduled = True
            if self._turns is None:
                asyncio.get_running_loop().call_soon(self._turn)
            else:
                self._turns.later(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        self._work()

    def stuck(self, *, yes: bool) -> None:
        """Hear that the peer does not read, or reads again."""
        # Back pressure: who does not read our answers is not read either (bars L10).
        if yes != (self._stuck is not None):
            self._stuck = self._clock() if yes else None
        self._control()
        self._go_on()

    def _control(self) -> None:
        wanted = self._stuck is None and not self.backlog
        if wanted != self._reading:
            self._reading = wanted
            self.read(on=wanted)

    def forget(self) -> None:
        """Drop what was read but not handled: the peer is gone."""
        self._waiting.clear()

    def gone(self, *, failed: bool) -> None:
        """Tell the owner that the connection is lost. What it kept is given back later when thousands are lost at once: with TLS that
        takes longer than to forget it.
        """
        self._owner.lost(self, failed=failed)
        if self._turns is not None and not self._turns.free():
            self._turns.later(self.forget)

    def overdue(self, now: float) -> bool:
        """Whether a limit of time has passed."""
        limits = self._limits
        return (
            (self.shaking and now - self._opened >= limits.handshake)
            or (not self.proven and now - self._opened >= limits.first_message)
            or (self._began is not None and now - self._began >= limits.message)
            or (self._stuck is not None and now - self._stuck >= limits.unread)
            or now - self._heard >= limits.idle
        )
