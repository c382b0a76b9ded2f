"""Callers whose phones have agreed to send nothing (hold) are asked whether they live: no media stops when they vanish (bar F15).

in → out: time → OPTIONS in the dialog every few seconds; no answer → a note, and the call counts as one whose sound was lost, so
that whoever dials again gets its place; no answer for long → the leg is over (`probe`).

Everybody else's media tell (`one_way`). What is kept here follows from the legs and needs no journal.
"""

from collections.abc import Iterator

from pbx.call import half_open, probe
from pbx.call.effects import Effect, Item, Note
from pbx.call.exchange import Exchange
from pbx.call.leg import Leg, State

BEAT_SECONDS = 4.0
"""Between two questions; with the four seconds an answer may take, a phone that is gone is known to be within ten."""


class Heartbeat:
    """See the module. `look` is called every second."""

    def __init__(self) -> None:
        self._asked: dict[str, float] = {}
        self._missing: set[str] = set()

    def look(self, exchange: Exchange, now: float) -> list[Effect]:
        """Ask whom it is time to ask; say who does not answer."""
        quiet = [leg for leg in exchange.legs.values() if _sends_nothing(exchange, leg)]
        known = {leg.id for leg in quiet}
        self._asked = {leg: at for leg, at in self._asked.items() if leg in known}
        self._missing &= known
        out: list[Effect] = []
        for leg in quiet:
            out += exchange.run(list(self._of(exchange, leg, now)), now, leg.id)
        return out

    def _of(self, exchange: Exchange, leg: Leg, now: float) -> Iterator[Item]:
        call = exchange.owners[leg.id].id
        media = exchange.media.get(call)
        if leg.missed and leg.id not in self._missing:
            self._missing.add(leg.id)
            if media is not None:
                media.lost.add("audio")
            yield Note("phone_missing", call, {"leg": "caller", "unanswered": leg.missed})
            yield from half_open.replaced(exchange, call)
        elif not leg.missed and leg.id in self._missing:
            self._missing.discard(leg.id)
            if media is not None:
                media.lost.discard("audio")
            yield Note("phone_back", call, {"leg": "caller"})
        # Who holds since a moment ago has just said so.
        if now - self._asked.setdefault(leg.id, now) >= BEAT_SECONDS and leg.probe_deadline is None:
            self._asked[leg.id] = now
            yield from probe.probe(leg, now)


def _sends_nothing(exchange: Exchange, leg: Leg) -> bool:
    """Whether it is a caller's dialog in which no sound is to be expected."""
    if leg.state is not State.CONFIRMED or exchange.owners[leg.id].kind != "call":
        return False
    return not any(stream.medium == "audio" and stream.receiving for stream in leg.negotiation.streams)
