"""Calls for help that have arrived and whose turn it is not yet: a moment, unless more come than can be served.

    INVITE ─▶ 100 Trying, its place in line ─▶ nothing else to do ─▶ its turn: the call begins
                        │ CANCEL: it makes way for everybody, and is taken down as a call that was given up afterwards
                        └ all else (ACK, BYE, media, what desks ask) is done as it comes, before the next turn

in → out: an INVITE that asks for help → its place; a CANCEL → it is the last; a question → whose turn it is. Pure.

Why: a call costs ten times and more what hearing its INVITE costs. Who begins calls as INVITEs come lets the hang-ups of
those it has begun wait behind INVITEs it can't serve, until nobody is served at all. So a new call begins only when those
that stand have had what they asked for. Its phone hears 100 at once and repeats nothing (RFC 3261 §17.1.1.2), and the oldest goes
first, but the sources take turns, so that who sends a hundred waits behind itself.

Who may wait: whoever would begin within `patience` at the present pace. A phone that heard 100 sits still without a ring and
tries nothing else; one that hears 503 tries again or another way, and its owner sees that nobody has heard. So who would wait
longer than phones repeat an INVITE that nobody answers is told 503 at once, by the guard: a port that can't be reached in that
time is not free to this caller. The pace is what this machine does now (`pace`), so that no number has to be guessed for it. What
stands in front of a call is counted with the turns that sources take: others are heard though one of them fills the line.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from msgspec import structs

from pbx.call.pace import Pace
from pbx.sip.effects import Cancelled, RequestArrived
from pbx.sip.errors import SipError
from pbx.sip.flow import Flow, restore_flow
from pbx.sip.message import Request
from pbx.sip.parser import parse

PATIENCE: Final = 32.0
"""Seconds after which a phone that heard nothing gives its INVITE up (RFC 3261 timer B, 64·T1)."""
MAX_GIVEN_UP: Final = 1000
"""Calls that were given up and are still to be taken down; more than that no watch can call back (`callbacks.MAX_TASKS`)."""
WORST_WAIT: Final = 20.0
"""Seconds the oldest waits that count as a strain of 1. The guard sheds others from a tenth of it on (`load.TARGET_BACKLOG`):
nobody's registration is worth two seconds of a call for help."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One call for help that has not begun."""

    event: RequestArrived
    source: str
    """Where it comes from, as limits count it: an IP address."""
    since: float
    """Monotonic seconds."""
    cancelled: Cancelled | None = None
    """Its phone gave up."""


class Reception:
    """See the module."""

    def __init__(self) -> None:
        self.patience = PATIENCE
        """Seconds in which a call is to begin, or better hears 503."""
        self._pace = Pace()
        self.pairs = 0
        """Pairs of media ports that those who wait will ask for."""
        self._waiting: dict[str, Waiting] = {}
        """By transaction, the oldest first."""
        self._lines: OrderedDict[str, dict[str, None]] = OrderedDict()
        """Source → its transactions, the oldest first; the source whose turn is next comes first."""
        self._sources: list[int] = []
        """How many sources have at least one call here, at least two, …"""
        self._given_up: dict[str, Waiting] = {}
        """Those that were cancelled, the oldest first."""
        self._call_ids: Counter[str] = Counter()
        self._changed: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def empty(self) -> bool:
        """Whether nothing is to be done, for those that were given up either."""
        return not (self._waiting or self._given_up)

    def late(self, source: str, now: float) -> bool:
        """Tell whether one more call from this address would not begin in time, at the pace of now."""
        most = self.most(now)
        if len(self._waiting) < most:
            return False
        turns = len(self._lines.get(source, ())) + 1
        # Before the n-th call of a source each other one has n turns, or as many as it has calls.
        return turns > most or sum(self._sources[:turns]) >= most

    def most(self, now: float) -> int:
        """Tell how many begin in time, at the pace of now."""
        return self._pace.within(self.patience, now)

    def began(self, now: float) -> None:
        """Hear that a call that `next` gave began."""
        self._pace.began(now, more=bool(self._waiting))

    def holds(self, call_id: str) -> bool:
        """Tell whether a call with this Call-ID has not begun."""
        return call_id in self._call_ids

    def strain(self, now: float) -> float:
        """Tell how long the oldest waits, as a share 0…1 of `WORST_WAIT`."""
        for oldest in self._waiting.values():
            return min(1.0, max(0.0, now - oldest.since) / WORST_WAIT)
        return 0.0

    # --- the line ---------------------------------------------------------------------------------------------------

    def arrive(self, event: RequestArrived, source: str, now: float) -> None:
        """Give an INVITE its place: behind those of its own source, and behind one call of each other."""
        assert event.transaction not in self._waiting, "the layer tells of a request once"
        self._enter(Waiting(event, source, now))

    def _enter(self, one: Waiting) -> None:
        transaction = one.event.transaction
        if one.cancelled is None:
            self._waiting[transaction] = one
            line = self._lines.setdefault(one.source, {})
            line[transaction] = None
            if len(line) > len(self._sources):
                self._sources.append(0)
            self._sources[len(line) - 1] += 1
            self.pairs += _pairs(one.event.request)
        else:
            self._given_up[transaction] = one
        self._call_ids[one.event.request.call_id] += 1
        self._changed[transaction] = None

    def cancel(self, cancelled: Cancelled) -> tuple[Waiting, Waiting | None] | None:
        """Let a call whose phone gave up make way for all others; returns it, and one that is forgotten for it: there are too
        many. None: no such call waits.
        """
        if cancelled.transaction not in self._waiting:
            return None
        one = replace(self._leave(cancelled.transaction), cancelled=cancelled)
        forgotten = None
        if len(self._given_up) >= MAX_GIVEN_UP:
            forgotten = self._leave(next(iter(self._given_up)))
        self._enter(one)
        return one, forgotten

    def next(self) -> Waiting | None:
        """Take out whose turn it is; None: nobody is here."""
        if not self._lines:
            return self._leave(next(iter(self._given_up))) if self._given_up else None
        source, line = next(iter(self._lines.items()))
        one = self._leave(next(iter(line)))
        if source in self._lines:
            self._lines.move_to_end(source)
        return one

    def _leave(self, transaction: str) -> Waiting:
        one = self._waiting.pop(transaction, None)
        if one is None:
            one = self._given_up.pop(transaction)
        else:
            line = self._lines[one.source]
            self._sources[len(line) - 1] -= 1
            if not self._sources[-1]:
                self._sources.pop()
            self.pairs -= _pairs(one.event.request)
            del line[transaction]
            if not line:
                del self._lines[one.source]
        call_id = one.event.request.call_id
        self._call_ids[call_id] -= 1
        if not self._call_ids[call_id]:
            del self._call_ids[call_id]
        self._changed[transaction] = None
        return one

    def moved(self, old: Flow, new: Flow) -> None:
        """Hear that the phone behind `old` is reached over `new` now (RFC 5626)."""
        for transaction, one in self._waiting.items():
            if one.event.flow == old:
                self._waiting[transaction] = replace(one, event=structs.replace(one.event, flow=new))
                self._changed[transaction] = None

    # --- across a restart -------------------------------------------------------------------------------------------

    def changes(self) -> Iterator[tuple[str, Any]]:
        """Give what changed since this was asked last (`pbx.live`): who has heard 100 must find us knowing of it.

        The INVITE stands in its transaction's record; where that may end before the call begins, here too.
        """
        changed, self._changed = self._changed, {}
        for transaction in changed:
            one = self._waiting.get(transaction) or self._given_up.get(transaction)
            if one is None:
                yield transaction, None
                continue
            given_up = None
            if (cancelled := one.cancelled) is not None:
                given_up = [one.event.request.encode(), cancelled.request.encode(), cancelled.flow.snapshot()]
            yield transaction, [one.source, one.since, one.event.flow.snapshot(), given_up]

    def resume(self, records: Mapping[str, Any], asked: Callable[[str], Request | None]) -> list[str]:
        """Take up what `changes` told; `asked` gives the request of a transaction. Returns the names of what could not be."""
        bad: list[str] = []
        found: list[Waiting] = []
        for transaction, data in records.items():
            try:
                found.append(_restored(transaction, data, asked))
            except (SipError, LookupError, TypeError, ValueError):
                bad.append(transaction)
        for one in sorted(found, key=lambda one: one.since):
            self._enter(one)
        return bad

    def __iter__(self) -> Iterator[Waiting]:
        """Give all that have not begun, those that still wait first, the oldest first."""
        yield from (*self._waiting.values(), *self._given_up.values())


def _restored(transaction: str, data: Any, asked: Callable[[str], Request | None]) -> Waiting:
    source, since, flow, given_up = data
    cancelled = None
    if given_up is None:
        request = asked(transaction)
    else:
        invite, cancel, cancel_flow = given_up
        request = _request(invite)
        cancelled = Cancelled(transaction, _request(cancel), restore_flow(cancel_flow))
    if request is None:
        raise LookupError(transaction)
    event = RequestArrived(transaction, request, restore_flow(flow))
    return Waiting(event, str(source), float(since), cancelled)


def _pairs(request: Request) -> int:
    """Pairs of ports a call will ask for, by a look at its offer: one for sound, one more for a picture."""
    body = request.body
    return 1 + (b"\nm=video " in body and b"\nm=video 0 " not in body)


def _request(data: bytes) -> Request:
    request = parse(data)
    if not isinstance(request, Request):
        raise ValueError("a response asks for nothing")  # noqa: TRY004 - what a record holds, not its type
    return request
