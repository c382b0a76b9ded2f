"""Who may supervise and administrate, as it changes while calls run.

in → out: the users who are supervisors or administrators now → nothing, or the end of what somebody may no longer do.
"""

from collections.abc import Callable, Collection

from pbx.call import visits
from pbx.call.effects import Effect, Item, Note
from pbx.call.exchange import Exchange
from pbx.call.watching import Watching


def set_supervisors(exchange: Exchange, users: Collection[str], now: float) -> list[Effect]:
    """Take who may supervise from now on; whoever may not is sent out of the room in the same moment."""
    exchange.supervisors = frozenset(users)
    out: list[Item] = []
    for visit in list(exchange.hands.visits.values()):
        if visit.purpose == "supervise" and visit.visitor not in exchange.supervisors:
            out.append(Note("supervision_revoked", None, {"desk": visit.host, "who": visit.who}))
            out += visits.end(exchange, visit.visitor, "role_revoked", now)
    return exchange.run(out, now)


def set_roles(
    exchange: Exchange, watching: Watching, holders: Callable[[str], Collection[str]], now: float
) -> list[Effect]:
    """Take who holds the roles from now on. `holders`: role → users. Who is no administrator any more sees nobody else's phones."""
    exchange.administrators = frozenset(holders("admin"))
    return [*set_supervisors(exchange, holders("supervisor"), now), *watching.roles_changed(now)]
