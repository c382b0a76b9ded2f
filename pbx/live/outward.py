"""What a turn of the exchange does to the outside, held back until its state is in the journal.

in → out: bytes for phones, commands for the media process, rows, lines of event logs → the same, in the same order, after
`release`. So nobody ever hears of something that a restart would not know.

What goes to files and database may be lost between journal and disk; the journal holds it too (`outs`), and after a restart
it is looked for and done again (`again`).
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol

import msgspec
import structlog

from pbx.live.frames import packed, unpacked
from pbx.sip.flow import Flow
from pbx.storage.plain import plain
from rtp.control import CloseLeg, Command, Play, StopPlay

log = structlog.get_logger("signalling")

ROW: Final = "row"
LINE: Final = "line"
FILE: Final = "file"
FINISH: Final = "finish"


class Transport(Protocol):
    """What sends to phones."""

    def send(self, data: bytes, flow: Flow) -> None: ...
    def expect(self, transport: str, remote: tuple[str, int], name: str) -> None: ...


class MediaLink(Protocol):
    """What sends to the media process."""

    def send(self, command: Command) -> None: ...


class Rows(Protocol):
    """What takes rows for the database."""

    def append(self, kind: str, record: Mapping[str, Any]) -> None: ...


class Outward:
    """See the module. Until `hold`, and after `let_go`, everything is done at once."""

    def __init__(self) -> None:
        self._held: deque[Callable[[], object]] = deque()
        self._outs: list[Sequence[Any]] = []
        self._rows = 0
        self._holding = False

    @property
    def waiting(self) -> bool:
        """Whether the turn did anything."""
        return bool(self._held)

    def hold(self) -> None:
        """Begin to hold back."""
        self._holding = True

    def let_go(self) -> None:
        """Hold nothing back any more."""
        self._holding = False
        self.release()

    def do(self, work: Callable[[], object], out: Sequence[Any] | None = None) -> None:
        """Do `work` when its turn is in the journal; `out`: what the journal keeps of it, its kind first."""
        if not self._holding:
            work()
            return
        self._held.append(work)
        if out is not None:
            self._rows += out[0] == ROW
            self._outs.append(
                out
            )  # nobody changes it any more: it is on its way to the thread that writes it

    def taken(self) -> tuple[list[bytes], int]:
        """Return what the journal keeps of this turn, as `opened` reads it, and how many of it are rows."""
        outs, rows, self._outs, self._rows = self._outs, self._rows, [], 0
        return _packed_together(outs) if outs else [], rows

    def release(self) -> None:
        """Do what was held back."""
        while self._held:
            work = self._held.popleft()
            try:
                work()
            except Exception:
                log.exception("event_failed", source="outward")


def _packed_together(outs: Sequence[Sequence[Any]]) -> list[bytes]:
    try:
        return [packed(outs)]
    except (TypeError, OverflowError):  # somewhere there is a value that no journal knows
        return [_plainly(out) for out in outs]


def _plainly(out: Sequence[Any]) -> bytes:
    try:
        return packed([out])
    except (TypeError, OverflowError):  # JSON would write its text too
        return packed([plain(list(out))])


def opened(data: bytes) -> Sequence[Sequence[Any]]:
    """Return what one of `Outward.taken` holds; its first item each says what it is."""
    outs: list[Sequence[Any]] = unpacked(data)
    return outs


class HeldTransport:
    """The endpoint, behind an `Outward`; before `open` what is sent waits for the sockets."""

    def __init__(self, outward: Outward, transport: Transport) -> None:
        self._outward = outward
        self._transport = transport
        self._early: list[tuple[bytes, Flow]] | None = []

    def send(self, data: bytes, flow: Flow) -> None:
        """Send one message."""
        self._outward.do(partial(self._send, data, flow))

    def expect(self, transport: str, remote: tuple[str, int], name: str) -> None:
        """Remember under which name a server is called."""
        self._transport.expect(transport, remote, name)

    def open(self) -> None:
        """Hear that the sockets are bound."""
        early, self._early = self._early, None
        for data, flow in early or ():
            self._transport.send(data, flow)

    def _send(self, data: bytes, flow: Flow) -> None:
        if self._early is None:
            self._transport.send(data, flow)
        else:
            self._early.append((data, flow))


class HeldMedia:
    """The media process, behind an `Outward`; it remembers what each leg is being played for ever."""

    def __init__(self, outward: Outward, media: MediaLink) -> None:
        self._outward = outward
        self._media = media
        self._changed: set[str] = set()
        self.plays: dict[str, Play] = {}
        """Leg → what loops there."""

    def send(self, command: Command) -> None:
        """Send one command."""
        match command:
            case Play(leg=leg, loop=True):
                self.plays[leg] = command
                self._changed.add(leg)
            case Play(leg=leg) | StopPlay(leg=leg) | CloseLeg(leg=leg) if leg in self.plays:
                del self.plays[leg]
                self._changed.add(leg)
        self._outward.do(partial(self._media.send, command))

    def changes(self) -> Iterator[tuple[str, Any]]:
        """Give what changed since this was asked last."""
        if not self._changed:
            return
        changed, self._changed = self._changed, set()
        for leg in changed:
            play = self.plays.get(leg)
            yield leg, None if play is None else msgspec.to_builtins(play)

    def resume(self, records: Mapping[str, Any]) -> list[str]:
        """Take up what `changes` told; returns the names of records that could not be read."""
        for leg, data in records.items():
            self.plays[leg] = msgspec.convert(data, Play)
        return []


class HeldRows:
    """The outbox, behind an `Outward`."""

    def __init__(self, outward: Outward, rows: Rows) -> None:
        self._outward = outward
        self._rows = rows

    def append(self, kind: str, record: Mapping[str, Any]) -> None:
        """Take one row."""
        self._outward.do(partial(self._rows.append, kind, record), (ROW, kind, record))
