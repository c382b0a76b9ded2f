"""Verb: hang up, by us or by the peer, in the way the leg's state asks for (RFC 3261 §15).

in → out: a wish or a BYE → BYE, CANCEL or a refusal, each with its reason, and `LegEnded` for the owner.
"""

from pbx.call import hold
from pbx.call.effects import Effect, LegEnded, LegEvent, LegGone, Respond, SendCancel, ToMedia
from pbx.call.leg import Leg, State
from pbx.sip import reason
from pbx.sip.message import Request
from rtp.control import CloseLeg


def hang_up(leg: Leg, why: reason.Header = reason.CLEARED) -> list[Effect | LegEvent]:
    """End the leg in the way its state asks for; its owner is done with it at once."""
    if leg.state in {State.LEAVING, State.TERMINATED}:
        return []
    before = leg.state
    out: list[Effect | LegEvent] = hold.put_off(leg, 487)
    leg.goodbye = (why,)
    if before is State.CONFIRMED:
        out += bye(leg)
    elif before is State.ANSWERED:
        # RFC 3261 §15: "the callee's UA MUST NOT send a BYE on a confirmed dialog until it has received an ACK
        # for its 2xx response or until the server transaction times out."
        leg.state = State.LEAVING
    elif before is State.CALLING:
        # The layer holds the CANCEL back until a provisional came (RFC 3261 §9.1).
        leg.state = State.LEAVING
        out.append(SendCancel(leg.invite_ref, (why,)))
    else:
        out += leg.reject(480, (why,))
        leg.state = State.TERMINATED
    gone = [LegGone(leg.id)] if leg.state is State.TERMINATED else []
    return [*out, ToMedia(CloseLeg(leg.id)), LegEnded(leg.id, "hung_up"), *gone]


def refuse(leg: Leg, status: int) -> list[Effect | LegEvent]:
    """Refuse the INVITE of a leg whose media ports did not come in time; if they come yet, nobody wants them any more."""
    out = leg.reject(status, (("Retry-After", "2"),))
    return [*out, ToMedia(CloseLeg(leg.id)), LegEnded(leg.id, "no_media_ports", status), LegGone(leg.id)]


def bye(leg: Leg) -> list[Effect | LegEvent]:
    """Send BYE and wait for its answer."""
    leg.state = State.LEAVING
    return [leg.ask("bye", "BYE", leg.goodbye)]


def give_up(leg: Leg, cause: str, why: reason.Header, status: int | None = None) -> list[Effect | LegEvent]:
    """Say BYE because the leg can't go on."""
    leg.goodbye = (why,)
    out = [*hold.put_off(leg, 487), *bye(leg)]
    return [*out, ToMedia(CloseLeg(leg.id)), LegEnded(leg.id, cause, status)]


def bye_received(leg: Leg, transaction: str, request: Request) -> list[Effect | LegEvent]:
    """Take the peer's BYE."""
    # RFC 3261 §15.1.2: "The UAS MUST still respond to any pending requests received for that dialog. It is RECOMMENDED
    # that a 487 (Request Terminated) response be generated to those pending requests."
    out: list[Effect | LegEvent] = [Respond(transaction, request.response(200)), *hold.put_off(leg, 487)]
    said = tuple(reason.read(request))
    if leg.state in {State.OPENING, State.READY}:
        refused = leg.reject(487)
        return [
            *out,
            *refused,
            ToMedia(CloseLeg(leg.id)),
            LegEnded(leg.id, "bye", 487, said),
            LegGone(leg.id),
        ]
    return [*out, *leg.end("bye", reason=said)]
