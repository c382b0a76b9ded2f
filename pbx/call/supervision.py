"""Who may supervise, as it changes while calls run.

in → out: the users who are supervisors now → nothing, or the end of what somebody may no longer do.
"""

from collections.abc import Collection

from pbx.call import visits
from pbx.call.effects import Effect, Item, Note
from pbx.call.exchange import Exchange


def set_supervisors(exchange: Exchange, users: Collection[str], now: float) -> list[Effect]:
    """Take who may supervise from now on; whoever may not is sent out of the room in the same moment."""
    exchange.supervisors = frozenset(users)
    out: list[Item] = []
    for visit in list(exchange.hands.visits.values()):
        if visit.purpose == "supervise" and visit.visitor not in exchange.supervisors:
            out.append(Note("supervision_revoked", None, {"desk": visit.host, "who": visit.who}))
            out += visits.end(exchange, visit.visitor, "role_revoked", now)
    return exchange.run(out, now)
