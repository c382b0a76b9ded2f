"""Between the notifier and those it tells about: what a SUBSCRIBE asks is looked up here, and what changed is handed on.

in → out: a SUBSCRIBE of a proved account, notes, changed bindings → `pbx.notifier` → responses and NOTIFYs.
"""

from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import quote

from pbx.call import lamps
from pbx.call.effects import Effect, Note
from pbx.call.exchange import Exchange
from pbx.identity import ROOM, Account, Authenticator
from pbx.notifier import Notifier, Watch
from pbx.packages import table
from pbx.packages.reg import Registration
from pbx.registrar import Effect as BindingChange
from pbx.registrar import Registrar
from pbx.sip.effects import RequestArrived, ResponseArrived, TransactionFailed
from pbx.sip.errors import SipError
from pbx.sip.flow import Flow
from pbx.sip.message import Request

REG: Final = "reg"


class Watching:
    """See the module."""

    def __init__(self, exchange: Exchange, registrar: Registrar, gate: Authenticator) -> None:
        self._exchange = exchange
        self._registrar = registrar
        self._gate = gate
        self.notifier = Notifier()

    def holds(self, request: Request) -> bool:
        """Whether a request with a To tag is a SUBSCRIBE in the dialog of a subscription."""
        return request.method == "SUBSCRIBE" and self.notifier.holds(request)

    def subscribe(self, event: RequestArrived, account: Account, now: float) -> list[Effect]:
        """Take a SUBSCRIBE the gate let through. Raises `SipError`."""
        watch = self._watch(event.request, event.flow, account, now)
        if event.request.to.tag is None:
            return [*self.notifier.subscribe(event, watch, now, tag=self._exchange.mint("tag"))]
        return [*self.notifier.refresh(event, watch, now)]

    def _watch(self, request: Request, flow: Flow, account: Account, now: float) -> Watch:
        wish = table.read(request)
        target, desk = self._gate.seat(request.uri)
        if wish.package == REG:
            aor = self._phones_of(desk, account)
            if target == "room":
                raise SipError(404)
            contact = self._exchange.contact(_escaped(desk), flow)
            return Watch(account.user, (REG, aor), wish, self._registration(aor, now), contact)
        if target not in {"seat", "room"}:
            raise SipError(403)  # a caller has nothing else to watch
        owner = self._gate.account(desk)
        if owner is None or (target == "room" and wish.package != "conference"):
            raise SipError(404)
        seen = table.OF_SEATS[wish.package](lamps.seat(self._exchange, owner))
        if wish.package == "conference":
            contact = self._exchange.focus(f"{ROOM}{_escaped(desk)}", flow)
        else:
            contact = self._exchange.contact(_escaped(desk), flow)
        return Watch(account.user, (wish.package, desk), wish, seen, contact)

    def _phones_of(self, user: str, watcher: Account) -> str:
        """Return the address-of-record of an account whose phones somebody may watch. Raises SipError(403)."""
        # RFC 3680 §4.6 wants administrators, and everybody for the own address-of-record, to be let in.
        owner = self._gate.account(user)
        if owner is None or not self._may_see(watcher, owner.aor):
            raise SipError(403)
        return owner.aor

    def _may_see(self, watcher: Account, aor: str) -> bool:
        return watcher.aor == aor or watcher.user in self._exchange.administrators

    def _registration(self, aor: str, now: float) -> Registration:
        return Registration.of(aor, self._registrar.lookup(aor, now))

    # --- changes ----------------------------------------------------------------------------------------------------

    def noted(self, note: Note, now: float) -> list[Effect]:
        """Hear what happened; whoever watches the seat it concerns is told."""
        desk = lamps.concerned(self._exchange, note) if self.notifier.topics else None
        if desk is None:
            return []
        topics = [topic for package in table.OF_SEATS if self.notifier.watched(topic := (package, desk))]
        if not topics:
            return []
        out: list[Effect] = []
        owner = self._gate.account(desk)
        seen = None if owner is None else lamps.seat(self._exchange, owner)
        for topic in topics:
            out += self._forbid(topic, now)
            document = None if seen is None else table.OF_SEATS[topic[0]](seen)
            out += self.notifier.change(topic, document, now)
        return out

    def registered(self, changes: Iterable[BindingChange], now: float) -> list[Effect]:
        """Hear of phones that came and went."""
        out: list[Effect] = []
        for aor in dict.fromkeys(change.binding.aor for change in changes):
            if self.notifier.watched((REG, aor)):
                out += self._forbid((REG, aor), now)
                out += self.notifier.change((REG, aor), self._registration(aor, now), now)
        return out

    def _forbid(self, topic: tuple[str, str], now: float) -> list[Effect]:
        """End what an account watches that is blocked or no dispatcher any more, before it is told anything else."""
        out: list[Effect] = []
        for user in sorted(self.notifier.watchers(topic)):
            account = self._gate.account(user)
            if account is None or account.kind != "dispatcher":
                out += self.notifier.forbid(user, now)
            elif topic[0] == REG and not self._may_see(account, topic[1]):
                out += self.notifier.forbid(user, now, topic)
        return out

    def roles_changed(self, now: float) -> list[Effect]:
        """Hear that the administrators are others now: who is none any more sees nobody else's phones from this moment."""
        watched = [topic for topic in self.notifier.topics if topic[0] == REG]
        return [effect for topic in watched for effect in self._forbid(topic, now)]

    # --- answers and time -------------------------------------------------------------------------------------------

    def outcome(self, event: ResponseArrived | TransactionFailed, now: float) -> Sequence[Effect]:
        """Hear what became of a NOTIFY: a request whose `ref` begins with `pbx.notifier.REF`."""
        return self.notifier.outcome(event, now)

    @property
    def next_due(self) -> float | None:
        """When `expire` wants to be called."""
        return self.notifier.next_due

    def expire(self, now: float) -> Sequence[Effect]:
        """Tell what had to wait, end what was not refreshed."""
        return self.notifier.expire(now)

    def close(self, now: float) -> Sequence[Effect]:
        """Tell every watcher that the exchange is being stopped."""
        return self.notifier.close(now)


def _escaped(user: str) -> str:
    return quote(user, safe="", errors="surrogateescape")
