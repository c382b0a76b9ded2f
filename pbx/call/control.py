"""The shell around the exchange: runs effects, nothing else.

in → out: messages of the endpoint, events of the media process, verbs of the API → the pure machines; their effects →
transactions and transport, media process, evidence, and whoever watches.

Both clocks are read here and nowhere below.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

import structlog
from msgspec import structs

from pbx.call import known, trunk_outcomes
from pbx.call.answering import Answering
from pbx.call.beginning import Beginning
from pbx.call.call_events import FactsTold
from pbx.call.effects import (
    AnswerOnce,
    AskDistrict,
    AskFacts,
    CallFinished,
    Effect,
    FetchLocation,
    MoveFlow,
    Note,
    Respond,
    SendAck,
    SendCancel,
    SendElsewhere,
    SendRequest,
    ToMedia,
)
from pbx.call.exchange import Exchange
from pbx.call.hangup import hang_up
from pbx.call.media_events import media_said
from pbx.call.reception import Reception
from pbx.call.rim import Rim
from pbx.call.sip_notes import SipNotes
from pbx.location.lost import Mapping
from pbx.location.pidf import Located
from pbx.notifier import REF
from pbx.randomness import Randomness
from pbx.sip import effects as sip
from pbx.sip.flow import Flow
from pbx.sip.grammar import Params
from pbx.sip.locate import Ask, Question, Records
from pbx.sip.message import Request, Response
from pbx.sip.outgoing import Effect as Step
from pbx.sip.outgoing import GiveUp, Outgoing, Try
from pbx.sip.transactions import TransactionLayer
from pbx.sip.wakeups import earliest
from pbx.trunks import overload
from rtp.control import CloseEvidence, Event

_RANDOM: Final = Randomness()

log = structlog.get_logger("signalling")


def mint(what: str) -> str:
    """Give a fresh id nobody can guess: 128 bits, so that evidence can't be found by trying (bars S13)."""
    if what in {"session", "draw"}:
        return str(int(_RANDOM.hex(8), 16) >> 2)
    if what == "call":
        return time.strftime("%Y%m%d-%H%M%S-", time.gmtime()) + _RANDOM.hex(16)
    if what == "secret":
        return _RANDOM.hex(32)
    if what == "leg":
        return f"leg-{_RANDOM.hex(8)}"
    return _RANDOM.hex(12)


class Control:
    """See the module. Everything runs on one event loop; nothing here is awaited."""

    def __init__(
        self,
        exchange: Exchange,
        answering: Answering,
        layer: TransactionLayer,
        rim: Rim,
        *,
        outgoing: Outgoing,
    ) -> None:
        self.exchange = exchange
        self._answering = answering
        self._layer = layer
        self._outgoing = outgoing
        self._rim = rim
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._ending: asyncio.Handle | None = None
        self.reception = Reception()
        self._sip_notes = SipNotes(rim.media, exchange, self.reception)
        self.beginning = Beginning(
            self.reception,
            exchange,
            answering=answering,
            layer=layer,
            notes=self._sip_notes,
            turn=self._guarded,
            end=self.end_turn,
            run=self._run,
        )
        self.settled: Callable[[], None] = lambda: None
        """Hears that a turn is over: everything its events caused was decided (`pbx.live`)."""

    # --- in -----------------------------------------------------------------------------------------------------

    def on_message(self, message: Request | Response, flow: Flow, data: bytes) -> None:
        """Take a message of the endpoint; `data` is what stood on the wire."""
        self._sip_notes.came(message.call_id, data, flow)
        now = time.monotonic()
        self._guarded("sip", lambda: self._run(self._layer.receive(message, flow, now), now))

    def on_flow_failed(self, flow: Flow) -> None:
        """Hear that a flow is broken."""
        now = time.monotonic()
        self._guarded(
            "flow",
            lambda: self._run(
                [*self._layer.transport_failed(flow, now), *self._answering.flow_failed(flow, now)], now
            ),
        )

    def on_flow_gone(self, flow: Flow) -> None:
        """Hear that a peer closed its connection in order: nothing was lost, but it can't be reached there any more."""
        now = time.monotonic()
        self._guarded(
            "flow",
            lambda: self._run([*self._layer.closed(flow, now), *self._answering.flow_failed(flow, now)], now),
        )

    def on_media(self, event: Event) -> None:
        """Take an event of the media process."""
        now = time.monotonic()
        self._guarded("media", lambda: self._run(media_said(self.exchange, event, now), now))

    def act(self, verb: Callable[[float], Iterable[Effect]]) -> None:
        """Run a verb of the API: a function of `now` that returns effects; what it raises goes to the caller.

        It is in the journal and out when this returns: whoever asked is answered next.
        """
        now = time.monotonic()
        self._run(verb(now), now)
        self._sip_notes.flush()
        self.end_turn()

    def look(self, what: str, verb: Callable[[float], Iterable[Effect]]) -> None:
        """Run what is done again and again; a bug in it is logged and ends nothing."""
        now = time.monotonic()
        self._guarded(what, lambda: self._run(verb(now), now))

    def _guarded(self, what: str, work: Callable[[], None]) -> None:
        """Keep a bug in one message from ending the others (bars S18): it is logged loudly and counted.

        What the loop brings in one pass is one turn: a frame in the journal costs as much for ten messages as for one, and
        nobody hears of any of them before.
        """
        if self._ending is None:
            self._ending = asyncio.get_running_loop().call_soon(self.end_turn)
        try:
            work()
        except Exception:
            log.exception("event_failed", source=what)
        self._sip_notes.flush()  # before the next event changes whose a message is

    def end_turn(self) -> None:
        """End what was begun: it goes into the journal, then out, and the next wake-up is set."""
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None
        self.settled()
        self._arm()

    # --- out ----------------------------------------------------------------------------------------------------

    def _run(self, effects: Iterable[Effect | sip.Effect], now: float) -> None:
        todo: deque[Effect | sip.Effect] = deque(effects)
        while todo:
            follow = self._carry_out(todo.popleft(), now)
            if follow:
                todo.extendleft(reversed(follow))

    def _carry_out(self, effect: Effect | sip.Effect, now: float) -> list[Effect | sip.Effect]:
        match effect:
            # The first four are nine of ten.
            case Note():
                self._rim.watcher.noted(effect, time.time_ns(), now)
                return list(self._answering.watching.noted(effect, now))
            case ToMedia(command):
                if isinstance(command, CloseEvidence):
                    self._sip_notes.flush()
                self._rim.media.send(command)
            case sip.Transmit(data, flow):
                self._transmit(data, flow)
            case Respond(transaction, response):
                return list(self._layer.respond(transaction, response, now))
            case sip.RequestArrived():
                return list(self.beginning.arrived(effect, now))
            case sip.Cancelled() if (gone := self.reception.cancel(effect)) is not None:
                return list(self.beginning.given_up(*gone))
            case sip.ResponseArrived() | sip.TransactionFailed() if (
                again := self._answering.other_way(effect, now)
            ) is not None:
                return [again]
            case sip.ResponseArrived(ref) | sip.TransactionFailed(ref) if ref.startswith(REF):
                return list(self._answering.watching.outcome(effect, now))
            case sip.ResponseArrived() | sip.TransactionFailed():
                heard = self._outgoing.heard(effect)
                further = self._outgoing.ended(heard, now)
                return list(self.exchange.sip(heard, now)) if further is None else self._steps(further, now)
            case sip.AckArrived() | sip.Cancelled() | sip.StrayResponse() | sip.ServerTimeout():
                return list(self.exchange.sip(effect, now))
            case SendElsewhere(ref, request, target, patience):
                return self._steps(self._outgoing.send(ref, request, now, target, patience=patience), now)
            case AnswerOnce(transaction, response):
                return list(
                    self._layer.answer_once(
                        transaction, response.status, now, reason=response.reason, headers=effect.headers
                    )
                )
            case SendRequest(ref, request, flow):
                return self._request(ref, request, self._answering.leaves(ref, request, flow), now)
            case SendAck(request, flow):
                branch = f"z9hG4bK{_RANDOM.hex(12)}"
                here = self.exchange.site.here(flow)
                host, port = here.public_host, here.public_port
                return list(
                    self._layer.send_ack(request, flow, now, branch=branch, via_host=host, via_port=port)
                )
            case MoveFlow(old, new):
                self.reception.moved(old, new)
                return list(self._layer.moved(old, new))
            case SendCancel(ref, headers):
                self._answering.cancelled(ref)
                given_up = self._steps(self._outgoing.cancel(ref), now)
                return [*given_up, *self._layer.cancel(self._outgoing.name(ref), now, headers=headers)]
            case FetchLocation(call, uri):
                self._rim.places.fetch(uri, partial(self._fetched, call, uri))
            case AskDistrict(call, place):
                self._rim.places.find_service(place, partial(self._mapped, call))
            case AskFacts(call) if self._rim.facts is not None:
                self._rim.facts.ask(effect, partial(self._known, call))
            case CallFinished(call):
                self._rim.watcher.finished(call)
        return []

    def _request(
        self, ref: str, request: Request, flow: Flow, now: float, *, via: Params = ()
    ) -> list[Effect | sip.Effect]:
        branch = f"z9hG4bK{_RANDOM.hex(12)}"
        here = self.exchange.site.here(flow)
        host, port = here.public_host, here.public_port
        return list(
            self._layer.request(
                request, flow, now, ref=ref, branch=branch, via_host=host, via_port=port, via_params=via
            )
        )

    # --- places that others know ------------------------------------------------------------------------------------

    def _fetched(self, call: str, uri: str, found: tuple[Located, ...], fault: str | None) -> None:
        where = self.exchange.whereabouts
        self.look("held", lambda now: self.exchange.run(where.fetched(call, uri, found, fault, now), now))

    def _mapped(self, call: str, mapping: Mapping | None, fault: str | None) -> None:
        where = self.exchange.whereabouts
        self.look("lost", lambda now: self.exchange.run(where.mapped(call, mapping, fault, now), now))

    def _known(self, call: str, source: str, found: dict[str, object] | None, why: str | None) -> None:
        exchange, answer = self.exchange, FactsTold(source, dict(found or {}), why)
        self.look("facts", lambda now: exchange.run(known.told(exchange, call, answer, now), now))

    # --- servers that we look up ----------------------------------------------------------------------------------

    def _steps(self, steps: Iterable[Step], now: float) -> list[Effect | sip.Effect]:
        out: list[Effect | sip.Effect] = []
        for step in steps:
            match step:
                case Ask(question):
                    self._rim.lookup.ask(question, partial(self._looked_up, question))
                case Try():
                    out += self._try(step, now)
                case GiveUp(name):
                    out += self._layer.cancel(name, now)
                case sip.TransactionFailed():
                    out += self.exchange.sip(step, now)
        return out

    def _looked_up(self, question: Question, records: Records | None, ttl: float) -> None:
        now = time.monotonic()

        def work() -> None:
            if records is None:
                steps = self._outgoing.unanswered(question, now)
            else:
                steps = self._outgoing.answered(question, records, ttl, now)
            self._run(self._steps(steps, now), now)

        self._guarded("dns", work)

    def _try(self, step: Try, now: float) -> list[Effect | sip.Effect]:
        site, request, hop = self.exchange.site, step.request, step.hop
        local = site.places.source(hop.transport, hop.address) or (site.legs.bind, 0)
        flow = Flow(hop.transport, local, (hop.address, hop.port))
        self._rim.transport.expect(hop.transport, flow.remote, hop.name)
        trunk_outcomes.found(self.exchange, step.ref, flow, now)
        contact = request.contact
        if contact is not None:
            request = request.copy()
            uri = contact.uri
            fitting = self.exchange.contact(uri.user or "", flow, secure=uri.scheme == "sips")
            request.headers.set("Contact", str(structs.replace(contact, uri=fitting.uri)))
        return self._request(step.name, request, flow, now, via=overload.ASKING)

    def _transmit(self, data: bytes, flow: Flow) -> None:
        self._sip_notes.went(data, flow)
        self._rim.transport.send(data, flow)

    # --- time -----------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        own = self._outgoing.next_due
        due = earliest(self._layer.next_due, own, self.exchange.next_due, self._answering.next_due)
        if self._timer is not None and (due is None or due < self._timer_at or self._timer.cancelled()):
            self._timer.cancel()
            self._timer = None
        if due is not None and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer_at = due
            self._timer = loop.call_later(max(0.0, due - time.monotonic()), self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = time.monotonic()

        def work() -> None:
            self._run(self._layer.expire(now), now)
            # Before the calls: a peer is given up only when none of its hops is left.
            self._run(self._steps(self._outgoing.expire(now), now), now)
            self._run(self.exchange.expire(now), now)
            self._run(self._answering.expire(now), now)

        self._guarded("timer", work)

    def hang_up_all(self) -> None:
        """Say goodbye to everybody: the exchange is being stopped."""
        now = time.monotonic()

        def work() -> None:
            self.exchange.draining = True
            self.beginning.stop(now)
            for leg in list(self.exchange.legs.values()):
                self._run(self.exchange.run(hang_up(leg), now, leg.id), now)
            self._run(self._answering.watching.close(now), now)

        self._guarded("stop", work)

    def turn_away(self) -> None:
        """Say goodbye to who called during the goodbyes, and take nobody any more."""
        self.beginning.refuse()
        self.hang_up_all()

    def close(self) -> None:
        """Say what is left to be said, and stop the timer."""
        self.beginning.close()
        if self._ending is not None:
            self.end_turn()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
