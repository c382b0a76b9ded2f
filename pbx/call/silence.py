"""Verbs of what reaches a caller: silent mode, on at once, off only by two separate acts; the host's picture.

in → out: (exchange, call, who, now) → effects. Raises `Impossible`.
"""

from typing import get_args

from pbx.call import call as calls
from pbx.call import call_events as events
from pbx.call import quiet
from pbx.call.call import Call
from pbx.call.effects import Effect
from pbx.call.exchange import Exchange
from pbx.call.gates import HostPicture
from pbx.call.seats import Impossible


def silent_on(exchange: Exchange, call: str, by: str, now: float) -> list[Effect]:
    """From now on no sound reaches the caller; parties outside who are with the caller are told."""
    was = _live(exchange, call).silent
    effects = _tell(exchange, call, events.SilentOn(by), now)
    return effects if was else [*effects, *exchange.run(quiet.changed(exchange, call), now)]


def ask_silent_off(exchange: Exchange, call: str, by: str, now: float) -> list[Effect]:
    """First act: open the ten seconds in which the second may follow."""
    if not _live(exchange, call).silent:
        raise Impossible("not_silent")
    return _tell(exchange, call, events.SilentOffAsked(by), now)


def confirm_silent_off(exchange: Exchange, call: str, by: str, now: float) -> list[Effect]:
    """Second act: the caller may hear again."""
    if not _live(exchange, call).silent:
        raise Impossible("not_silent")
    effects = _tell(exchange, call, events.SilentOffConfirmed(by), now)
    if _live(exchange, call).silent:
        raise Impossible("not_asked")
    return [*effects, *exchange.run(quiet.changed(exchange, call), now)]


def show_host(exchange: Exchange, call: str, mode: str, by: str, now: float) -> list[Effect]:
    """Show the caller the host (`on`), nobody (`off`) or the site's still image (`still`)."""
    if mode not in get_args(HostPicture):
        raise Impossible("bad_picture")
    return _tell(exchange, call, events.ShowHost(mode, by), now)


def _live(exchange: Exchange, call: str) -> Call:
    found = exchange.calls.get(call)
    if found is None or found.state not in {calls.State.WAITING, calls.State.TALKING}:
        raise Impossible("unknown_call")
    return found


def _tell(exchange: Exchange, call: str, event: events.CallEvent, now: float) -> list[Effect]:
    _live(exchange, call)
    return exchange.run(exchange.to_call(call, event, now), now)
