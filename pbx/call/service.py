"""The exchange as the API sees it: views and verbs (`pbx.api.exchange.Exchange`).

in → out: what a dispatcher asks → a verb run by `control`, or an `ExchangeError` in both languages.
"""

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from pbx.api.exchange import ExchangeError, View
from pbx.call import hands, seats, silence
from pbx.call.call import CONFIRM_SECONDS
from pbx.call.control import Control
from pbx.call.effects import Effect
from pbx.call.seats import REASONS, Impossible
from pbx.call.watch import Watch
from pbx.identity import Account

Find = Callable[[str, float], tuple[Any, ...]]


class Accounts(Protocol):
    """Who has a desk."""

    def account(self, user: str) -> Account | None: ...
    def desks(self) -> Sequence[str]: ...


class Service:
    """See the module. Every verb is one act of one person; it is noted with the call it concerns."""

    def __init__(
        self,
        control: Control,
        watch: Watch,
        accounts: Accounts,
        *,
        bindings: Find,
        health: Callable[[], Mapping[str, object]],
        subscribe: Callable[[], AsyncIterator[View]],
        incident: Callable[[str], str | None] = lambda _call: None,
    ) -> None:
        """`incident`: what a call belongs to that may be over, None when nobody knows."""
        self._control = control
        self._watch = watch
        self._accounts = accounts
        self._bindings = bindings
        self._health = health
        self._subscribe = subscribe
        self._incident = incident

    # --- views ----------------------------------------------------------------------------------------------------

    def calls(self) -> Sequence[View]:
        """Give the live calls, oldest first."""
        return self._watch.calls()

    def queue(self) -> Sequence[View]:
        """Give the waiting calls, the next first."""
        return self._watch.queue()

    def desks(self) -> Sequence[View]:
        """Give every dispatcher's desk."""
        return [self._watch.desk(desk) for desk in self._accounts.desks()]

    def health(self) -> View:
        """Say what works."""
        return self._health()

    def subscribe(self) -> AsyncIterator[View]:
        """Give the events of the live feed."""
        return self._subscribe()

    # --- verbs ----------------------------------------------------------------------------------------------------

    async def sign_in(self, desk: str, user: str) -> None:
        """Call the desk's phone; returns when the call is under way."""
        account = self._accounts.account(user)
        if account is None or desk not in self._accounts.desks():
            raise _error(Impossible("unknown_desk"))
        exchange = self._control.exchange
        self._act(lambda now: seats.sign_in(exchange, desk, self._bindings(user, now), now, user))

    async def sign_out(self, desk: str) -> None:
        """Hang up the permanent leg."""
        self._at_desk(desk, seats.sign_out)

    async def pause(self, desk: str, reason: str = "") -> None:
        """Give the desk no further caller."""
        self._at_desk(desk, partial(seats.pause, reason=reason))

    async def resume(self, desk: str) -> None:
        """Give the desk callers again."""
        self._at_desk(desk, seats.resume)

    async def end_call(self, desk: str) -> None:
        """End the desk's present call."""
        self._at_desk(desk, seats.end_call)

    async def hand(self, desk: str, verb: str, target: str, role: str, first: str | None) -> None:
        """Do with a call what dispatchers do (`pbx.call.hands`)."""
        incident = None if first is None else self._incident(first)
        order = hands.Order(desk, hands.verb(verb), target, role=role, first=first, incident=incident)
        self._at_desk(desk, lambda exchange, _, now: hands.act(exchange, order, now))

    async def silent_on(self, call: str) -> None:
        """Let no sound reach the caller."""
        self._act(lambda now: silence.silent_on(self._control.exchange, call, "api", now))

    async def silent_off_request(self, call: str) -> float:
        """Open the ten seconds for the second act; gives their end (wall seconds)."""
        self._act(lambda now: silence.ask_silent_off(self._control.exchange, call, "api", now))
        return time.time() + CONFIRM_SECONDS

    async def silent_off_confirm(self, call: str) -> None:
        """Let the caller hear again."""
        self._act(lambda now: silence.confirm_silent_off(self._control.exchange, call, "api", now))

    def _at_desk(self, desk: str, verb: Callable[..., list[Effect]]) -> None:
        if desk not in self._accounts.desks():
            raise _error(Impossible("unknown_desk"))
        self._act(lambda now: verb(self._control.exchange, desk, now))

    def _act(self, verb: Callable[[float], list[Effect]]) -> None:
        try:
            self._control.act(verb)
        except Impossible as error:
            raise _error(error) from error


def _error(error: Impossible) -> ExchangeError:
    zh, en = REASONS[error.code]
    return ExchangeError(404 if error.code.startswith("unknown") else 409, error.code, zh, en)
