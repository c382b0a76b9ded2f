"""The shell's way with calls for help: they hear 100 when they come, and begin when the loop has nothing else to do.

in → out: new requests, and those of `reception` whose turn it is → what the machines want done; CANCELs of those that wait.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

import structlog

from pbx.call.answering import Answering
from pbx.call.effects import Effect, Respond
from pbx.call.exchange import Exchange
from pbx.call.reception import Reception, Waiting
from pbx.call.sip_notes import SipNotes
from pbx.guard.guard import MAX_RETRY_AFTER
from pbx.sip import effects as sip
from pbx.sip.message import Response
from pbx.sip.transactions import TransactionLayer

BEGIN_SECONDS: Final = 0.004
"""How long new calls are begun before the loop looks what else came: one call at least, two on a good machine. Whoever calls
meanwhile hears 100 that much later, and one call's work more (bars Q3: 10 ms)."""
UNHEARD: Final = 0.01
"""Share of the socket's buffer from which on hearing goes before beginning: some 60 datagrams, two reads of the loop. Who is not
heard within half a second says it again, and what does not fit is lost, hang-ups with it."""
AT_LEAST: Final = 0.05
"""Seconds after which one call begins all the same."""
HEARING: Final = 2.0
"""Times as long as that call took, at least, is heard before the next: on a machine on which beginning one takes 30 ms, one each 50 ms
would leave less than half of the time for hearing, and phones that are not heard repeat."""
FEW: Final = 8
"""Calls that may wait with what was read of their requests: so few begin in a moment, and it would be read again."""
AGAIN_SECONDS: Final = "5"
"""Retry-After for those that did not begin because the exchange is being stopped."""

Wish = Effect | sip.Effect

log = structlog.get_logger("signalling")


class Beginning:
    """See the module."""

    def __init__(
        self,
        reception: Reception,
        exchange: Exchange,
        *,
        answering: Answering,
        layer: TransactionLayer,
        notes: SipNotes,
        turn: Callable[[str, Callable[[], None]], None],
        end: Callable[[], None],
        run: Callable[[Iterable[Wish], float], None],
    ) -> None:
        """`turn` runs work under a name and keeps its faults from others, `end` ends the turn; `run` carries out effects."""
        self._reception = reception
        self._exchange = exchange
        self._answering = answering
        self._layer = layer
        self._notes = notes
        self._turn = turn
        self._end = end
        self._run = run
        self._soon: asyncio.Handle | None = None
        self._ends = False
        self._begun = 0.0
        """When a call began last, monotonic seconds."""
        self._took = 0.0
        """Seconds that took."""
        self.wire(lambda: 0.0, lambda: None)

    def wire(self, backlog: Callable[[], float], turned_away: Callable[[], None]) -> None:
        """`backlog` tells which share 0…1 of the socket's buffer has not been heard yet; `turned_away` hears of each call that would
        not have begun in time: of one behind a proxy, whose own address is known only here.
        """
        self._backlog, self._turned_away = backlog, turned_away

    def arrived(self, event: sip.RequestArrived, now: float) -> Iterable[Wish]:
        """Answer a new request; a call for help waits its turn."""
        source = self._answering.help_from(event)
        if source is not None and self._ends:
            return [Respond(event.transaction, self._come_again(event))]
        if source is None or self._exchange.draining:
            return self._answering.request(event, now, time.time())
        if self._reception.late(source, now):
            self._turned_away()
            again = (("Retry-After", str(1 + int(self._exchange.mint("draw")) % MAX_RETRY_AFTER)),)
            # Its transaction stays for those it sends again: taken in a moment later they would begin for a phone that gave up.
            refusal = event.request.response(503, to_tag=self._exchange.mint("tag"), headers=again)
            return [Respond(event.transaction, refusal)]
        self._reception.arrive(event, source, now)
        self.go_on()
        effects = self._layer.trying(event.transaction, now)
        if len(self._reception) > FEW:
            event.request.headers.forget()  # it may wait for half a minute, and thousands with it
        return effects

    def given_up(self, one: Waiting, forgotten: Waiting | None) -> list[Wish]:
        """Answer the INVITE of a call that was cancelled before it began."""
        if forgotten is not None:
            request = forgotten.event.request
            self._notes.forget(request.call_id)
            log.error("given_up_and_forgotten", number=request.from_.uri.user_text, address=forgotten.source)
        assert one.cancelled is not None, "somebody gave up"
        response = one.event.request.response(487, to_tag=self._exchange.mint("tag"))
        one.event.request.headers.forget()  # it is taken down when nobody else waits any more
        one.cancelled.request.headers.forget()
        return [Respond(one.event.transaction, response)]

    def resume(self) -> None:
        """Go on with the calls that a dead process left waiting."""
        for one in self._reception:
            request = one.event.request
            self._notes.came(request.call_id, request.encode(), one.event.flow)
        self._notes.flush()
        self.go_on()

    def go_on(self) -> None:
        """Begin those that wait once the loop has heard what else there is."""
        if self._soon is None and not self._reception.empty:
            self._soon = asyncio.get_running_loop().call_soon(self.begin)

    def begin(self) -> None:
        """Begin calls for `BEGIN_SECONDS`; only one now and then while much is to be heard."""
        self._soon = None
        now = time.monotonic()
        until = now + BEGIN_SECONDS
        if self._backlog() > UNHEARD:
            if now < self._begun + max(AT_LEAST, (1.0 + HEARING) * self._took):
                self.go_on()
                return
            until = now
        self._begun = now
        while (one := self._reception.next()) is not None:
            if one.cancelled is None:
                self._reception.began(time.monotonic())
            self._turn("sip", partial(self._begin, one))
            self._end()  # what the journal takes is a part of what a call costs, and what goes out too
            if time.monotonic() >= until:
                break
        self._took = time.monotonic() - now
        self.go_on()

    def _begin(self, one: Waiting) -> None:
        now, event = time.monotonic(), one.event
        self._notes.begins(event.request.call_id)
        try:
            effects = self._answering.request(event, now, time.time())
        except Exception:
            # It has heard 100 and would wait for ever.
            response = event.request.response(500, to_tag=self._exchange.mint("tag"))
            self._run([Respond(event.transaction, response)], now)
            raise
        self._run(effects, now)
        if one.cancelled is not None:
            self._run(self._exchange.sip(one.cancelled, now), now)

    def stop(self, now: float) -> None:
        """Turn away those that wait: the exchange is being stopped. Those that gave up are taken down."""
        while (one := self._reception.next()) is not None:
            if one.cancelled is not None:
                self._begin(one)
                continue
            self._run([Respond(one.event.transaction, self._come_again(one.event))], now)

    def refuse(self) -> None:
        """Take no call from here on: nobody would be there to end it, and its phone would go on with an exchange that is gone."""
        self._ends = True

    def _come_again(self, event: sip.RequestArrived) -> Response:
        request, again = event.request, (("Retry-After", AGAIN_SECONDS),)
        log.warning("not_begun", number=request.from_.uri.user_text, address=event.flow.remote[0])
        return request.response(503, to_tag=self._exchange.mint("tag"), headers=again)

    def close(self) -> None:
        """Begin nothing more."""
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
