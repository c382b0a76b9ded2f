"""Verb: hang up, by us or by the peer, in the way the leg's state asks for (RFC 3261 §15).

in → out: a wish or a BYE → BYE, CANCEL or a refusal, and `LegEnded` for the owner.
"""

from collections.abc import Iterable

from pbx.call.effects import Effect, LegEnded, LegEvent, LegGone, Respond, SendCancel, ToMedia
from pbx.call.leg import Leg, State
from pbx.sip.message import Request
from rtp.control import CloseLeg


def hang_up(leg: Leg, headers: Iterable[tuple[str, str]] = ()) -> list[Effect | LegEvent]:
    """End the leg in the way its state asks for; its owner is done with it at once."""
    if leg.state in {State.LEAVING, State.TERMINATED}:
        return []
    before = leg.state
    out: list[Effect | LegEvent] = []
    if before is State.CONFIRMED:
        out += bye(leg, headers)
    elif before is State.ANSWERED:
        # RFC 3261 §15: "the callee's UA MUST NOT send a BYE on a confirmed dialog until it has received an ACK
        # for its 2xx response or until the server transaction times out."
        leg.state = State.LEAVING
    elif before is State.CALLING:
        # The layer holds the CANCEL back until a provisional came (RFC 3261 §9.1).
        leg.state = State.LEAVING
        out.append(SendCancel(leg.invite_ref))
    else:
        out += leg.reject(480, headers)
        leg.state = State.TERMINATED
    gone = [LegGone(leg.id)] if leg.state is State.TERMINATED else []
    return [*out, ToMedia(CloseLeg(leg.id)), LegEnded(leg.id, "hung_up"), *gone]


def bye(leg: Leg, headers: Iterable[tuple[str, str]]) -> list[Effect | LegEvent]:
    """Send BYE and wait for its answer."""
    leg.state = State.LEAVING
    return [leg.ask("bye", "BYE", headers)]


def bye_received(leg: Leg, transaction: str, request: Request) -> list[Effect | LegEvent]:
    """Take the peer's BYE."""
    out: list[Effect | LegEvent] = [Respond(transaction, request.response(200))]
    if leg.waiting is not None:
        # RFC 3261 §15.1.2: pending requests of the dialog are answered 487.
        pending, reinvite = leg.waiting
        leg.waiting = None
        out.append(Respond(pending, reinvite.response(487)))
    return [*out, *leg.end("bye")]
