"""Verb: let a trunk's caller hear us before the call is answered (183, RFC 3261 §13.3.1.1, RFC 3960).

in → out: an INVITE with an offer → 183 with our answer to it, media both ways, and its repetition every minute; the 200 that
follows repeats the same description. Only for callers that hear early media and don't insist on 100rel: the others are answered.
"""

from pbx.call import indialog
from pbx.call.effects import Effect, LegEvent, Respond
from pbx.call.leg import SDP, Leg, State
from pbx.sip import reliable
from pbx.sip.body import find_part
from pbx.sip.dialog import Dialog
from pbx.sip.errors import SipError
from pbx.sip.grammar import lower
from pbx.sip.message import Request

REPEAT_SECONDS = 60.0
"""RFC 3261 §13.3.1.1: "the UAS MUST send a non-100 provisional response at every minute, to handle the possibility of lost
provisional responses", for a proxy may cancel after three minutes of silence."""


def possible(invite: Request) -> bool:
    """Whether a caller can be let hear us before it is answered.

    A caller that requires 100rel would have to be answered only after its PRACK (RFC 3262 §3): it is answered at once instead.
    """
    required = {lower(tag) for tag in invite.headers.all("Require")}
    try:
        return reliable.TAG not in required and find_part(invite, SDP) is not None
    except SipError:
        return False


def begin(leg: Leg, now: float, headers: tuple[tuple[str, str], ...] = ()) -> list[Effect | LegEvent]:
    """Send the 183; ask `possible` first. An offer that can't be taken is left for the answer to refuse."""
    if leg.state is not State.READY or leg.invite is None or leg.transaction is None:
        return []
    try:
        leg.progress = leg.negotiation.answer(find_part(leg.invite, SDP) or b"")
    except SipError:
        return []
    leg.dialog = leg.dialog or Dialog.uas(leg.invite, local_tag=leg.local_tag, contact=leg.contact)
    return [*leg.configure(), *_say(leg, now, headers)]


def repeat(leg: Leg, now: float) -> list[Effect | LegEvent]:
    """Send it again."""
    return _say(leg, now) if leg.state is State.READY else []


def _say(leg: Leg, now: float, headers: tuple[tuple[str, str], ...] = ()) -> list[Effect | LegEvent]:
    assert leg.invite is not None, "a leg is made of its INVITE"
    assert leg.transaction is not None, "an incoming leg has its transaction"
    response = leg.invite.response(
        183,
        to_tag=leg.local_tag,
        headers=(("Contact", str(leg.contact)), indialog.ALLOW, *headers),
        body=leg.progress or b"",
        content_type=SDP,
    )
    leg.ringing_at = now + REPEAT_SECONDS
    return [Respond(leg.transaction, response)]
