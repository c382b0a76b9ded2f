"""What a REFER was told: 202, then NOTIFYs that say how far it got (RFC 3515 §2.4.4, RFC 6665 §4.2).

in → out: an accepted REFER, its outcome → NOTIFYs with a `message/sipfrag` body; a SUBSCRIBE that refreshes or ends that. A
referral ends with its outcome and every verb has one, so nothing here waits for a time of its own.

In a call's dialog the subscription shares it, as phones expect (RFC 7647 §4 forbids it only to those who have GRUUs); a REFER
that opens a dialog has that for its NOTIFYs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pbx.call.effects import Item, Respond, SendRequest
from pbx.call.leg import State
from pbx.sip import grammar
from pbx.sip.dialog import Dialog, request_key
from pbx.sip.errors import SipError
from pbx.sip.flow import Flow, restore_flow
from pbx.sip.message import Request

if TYPE_CHECKING:
    from pbx.call.exchange import Exchange


LEAST_SECONDS: Final = 60
"""Shorter wishes of a refresh are refused, as of any subscription (`packages.table.MIN_EXPIRES`)."""
SECONDS: Final = 180
"""What a NOTIFY says the subscription has left: longer than any outcome takes to come."""
GRACE_SECONDS: Final = 10.0
"""A phone that was told of its success hangs up within that time (RFC 5589 §6.1 has the transferor send BYE)."""
SIPFRAG: Final = "message/sipfrag;version=2.0"
REASONS: Final = {100: "Trying", 200: "OK", 480: "Temporarily Unavailable", 487: "Request Terminated"}


@dataclass(slots=True)
class Referral:
    """One accepted REFER whose sender wants to know."""

    id: str
    desk: str
    event: str
    """Value of the Event header: `refer` with the CSeq number of the REFER as id."""
    leg: str | None
    """The leg whose dialog it came in, or None: it has one of its own."""
    dialog: Dialog | None
    flow: Flow

    def snapshot(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "id": self.id,
            "desk": self.desk,
            "event": self.event,
            "leg": self.leg,
            "dialog": None if self.dialog is None else self.dialog.snapshot(),
            "flow": self.flow.snapshot(),
        }

    @classmethod
    def restore(cls, data: dict[str, Any]) -> Referral:
        """Make the referral that `snapshot` described."""
        dialog = None if data["dialog"] is None else Dialog.restore(data["dialog"])
        return cls(data["id"], data["desk"], data["event"], data["leg"], dialog, restore_flow(data["flow"]))


def begin(exchange: Exchange, made: Referral) -> list[Item]:
    """Send the first NOTIFY."""
    # RFC 6665 §4.2.1.2: a NOTIFY follows at once. RFC 3515 §2.4.5: its body begins with a SIP Response Status-Line.
    exchange.hands.referrals[made.id] = made
    return _notify(exchange, made, 100, f"active;expires={SECONDS}")


def finish(exchange: Exchange, referral: str | None, status: int, now: float) -> list[Item]:
    """Tell the outcome, if somebody wants to know, and end the subscription."""
    made = exchange.hands.referrals.pop(referral or "", None)
    if made is None:
        return []
    if status == 200 and made.leg is not None:
        exchange.hands.referred[made.desk] = now + GRACE_SECONDS
    # RFC 3515 §2.4.7: when the outcome is known the subscription ends, with the reason "noresource".
    return _notify(exchange, made, status, "terminated;reason=noresource")


def forget(exchange: Exchange, leg: str) -> None:
    """Hear that the dialog of a leg is over: nobody listens any more."""
    for made in [one for one in exchange.hands.referrals.values() if one.leg == leg]:
        del exchange.hands.referrals[made.id]


def _notify(exchange: Exchange, made: Referral, status: int, state: str) -> list[Item]:
    headers = (("Event", made.event), ("Subscription-State", state))
    body = f"SIP/2.0 {status} {REASONS[status]}\r\n".encode()
    if made.dialog is not None:
        request = made.dialog.request("NOTIFY", headers=headers, body=body, content_type=SIPFRAG)
        return [SendRequest(f"{made.id}/refer/{request.cseq.number}", request, made.flow)]
    leg = exchange.legs.get(made.leg or "")
    if leg is None or leg.dialog is None or leg.state is not State.CONFIRMED:
        return []
    return [leg.ask("refer", "NOTIFY", headers, body, SIPFRAG)]


# --- SUBSCRIBE ----------------------------------------------------------------------------------------------------------


def in_own_dialog(exchange: Exchange, request: Request) -> Referral | None:
    """Return the referral whose dialog of its own a request is in."""
    if request.method != "SUBSCRIBE":
        return None
    key = request_key(request)
    own = (one for one in exchange.hands.referrals.values() if one.dialog is not None)
    return next((one for one in own if one.dialog is not None and one.dialog.key == key), None)


def subscribed(exchange: Exchange, made: Referral, transaction: str, request: Request) -> list[Item]:
    """Refresh or end a referral's subscription (RFC 3515 §2.4.4, RFC 6665 §4.1.2.2). Raises SipError 423, 481 or 500."""
    if made.dialog is not None:
        made.dialog.receive(request)
    if _event(request) not in {"refer", made.event}:
        raise SipError(481)
    asked = SECONDS if request.expires is None else request.expires
    # RFC 6665 §4.2.1.1: a duration above zero and below the notifier's minimum may be answered with 423.
    if 0 < asked < LEAST_SECONDS:
        raise SipError(423, headers=(("Min-Expires", str(LEAST_SECONDS)),))
    granted = min(asked, SECONDS)
    # RFC 6665 §8.2.1 lists Contact as mandatory in a 2xx to SUBSCRIBE; it refreshes the target as a re-INVITE does.
    leg = exchange.legs.get(made.leg or "")
    contact = made.dialog.contact if made.dialog is not None else leg.contact if leg is not None else None
    target = () if contact is None else (("Contact", str(contact)),)
    accepted = request.response(200, headers=(("Expires", str(granted)), *target))
    if granted == 0:
        # What was asked for goes on; nobody wants to know.
        del exchange.hands.referrals[made.id]
        return [Respond(transaction, accepted), *_notify(exchange, made, 100, "terminated;reason=timeout")]
    # RFC 6665 §4.2.1.2: the current state follows at once.
    return [Respond(transaction, accepted), *_notify(exchange, made, 100, f"active;expires={granted}")]


def of_leg(exchange: Exchange, leg: str, request: Request) -> Referral:
    """Return the referral a SUBSCRIBE in a leg's dialog means. Raises SipError 481 or 489."""
    event = _event(request)
    if event.partition(";")[0] != "refer":
        raise SipError(489, headers=(("Allow-Events", "refer"),))
    mine = [one for one in exchange.hands.referrals.values() if one.leg == leg]
    # RFC 3515 §2.4.6: the first REFER of a dialog may be meant without its id.
    found = next((one for one in mine if event in {one.event, "refer"}), None)
    if found is None:
        raise SipError(481)
    return found


def _event(request: Request) -> str:
    """The Event header, as `Referral.event` writes it."""
    word, *params = (request.headers.get("Event") or "").split(";")
    event = grammar.lower(word.strip(" \t"))
    for param in params:
        name, _, text = param.partition("=")
        if grammar.lower(name.strip(" \t")) == "id":
            number = text.strip(" \t")
            event = f"{event};id={number}"
    return event
