"""A leg as plain data, and back: for the journal and after a restart."""

from operator import attrgetter
from typing import Any, Final

from pbx.call.leg import Leg, LegSetup, State
from pbx.call.negotiation import Negotiation
from pbx.call.unacked import Unacked
from pbx.sip.dialog import Dialog
from pbx.sip.flow import restore_flow
from pbx.sip.reliable import Reliable
from pbx.sip.session_timer import SessionTimer
from pbx.sip.uri import parse_name_addr
from pbx.trunks.line import Line, pack, unpack

_PLAIN: Final = (
    "local_tag", "transaction", "count", "probe_deadline", "ring_deadline", "evidence", "patience", "missed",
    "renegotiating", "emergency", "vouched", "ringing_at", "early_answer", "progress", "asked_after",
)  # fmt: skip
_PLAIN_OF: Final = attrgetter(*_PLAIN)


def snapshot(leg: Leg) -> dict[str, Any]:
    """Return plain data."""
    return {**light(leg), "negotiation": leg.negotiation.snapshot(), "invite": invite(leg)}


def invite(leg: Leg) -> dict[str, Any] | None:
    """Return the INVITE as plain data."""
    return None if leg.invite is None else pack(leg.invite)


def light(leg: Leg) -> dict[str, Any]:
    """Return everything but what changes rarely and is large: INVITE and negotiation."""
    waiting = leg.waiting
    dialog, contact = None, None
    if leg.dialog is not None:
        dialog = leg.dialog.snapshot()
        contact = dialog["contact"] if leg.dialog.contact is leg.contact else None
    return {
        **dict(zip(_PLAIN, _PLAIN_OF(leg), strict=True)),
        "leg": leg.id,
        "flow": leg.flow.snapshot(),
        "state": str(leg.state),
        "dialog": dialog,
        "early": [[early.snapshot(), rseq] for early, rseq in leg.early.values()],
        "contact": contact or str(leg.contact),
        "unacked": None if leg.unacked is None else leg.unacked.snapshot(),
        "reliable": None if leg.reliable is None else leg.reliable.snapshot(),
        "session": leg.session.snapshot(),
        "waiting": None if waiting is None else [waiting[0], pack(waiting[1])],
        "allow": sorted(leg.allow),
        "losses": dict(leg.losses),
        "asked": list(leg.asked),
        "again": None if leg.again is None else list(leg.again),
        "goodbye": [list(header) for header in leg.goodbye],
        "line": None if leg.line is None else leg.line.snapshot(),
    }


def restore(data: dict[str, Any], setup: LegSetup) -> Leg:
    """Make the leg that `snapshot` described."""
    negotiation = Negotiation.restore(
        data["negotiation"], setup.capabilities, loopback_ok=setup.loopback_ok, own=setup.own
    )
    contact = parse_name_addr(data["contact"])
    flow, tag = restore_flow(data["flow"]), data["local_tag"]
    leg = Leg(data["leg"], flow, contact=contact, local_tag=tag, negotiation=negotiation, setup=setup)
    for name in _PLAIN:
        setattr(leg, name, data[name])
    leg.state = State(data["state"])
    leg.losses = dict(data["losses"])
    leg.dialog = None if data["dialog"] is None else Dialog.restore(data["dialog"])
    early = [(Dialog.restore(packed), rseq) for packed, rseq in data["early"]]
    leg.early = {dialog.remote_tag: (dialog, rseq) for dialog, rseq in early}
    leg.invite = None if data["invite"] is None else unpack(data["invite"])
    leg.unacked = None if data["unacked"] is None else Unacked.restore(data["unacked"])
    leg.reliable = None if data["reliable"] is None else Reliable.restore(data["reliable"])
    leg.session = SessionTimer.restore(data["session"], setup.session)
    leg.waiting = None if data["waiting"] is None else (data["waiting"][0], unpack(data["waiting"][1]))
    leg.allow = frozenset(data["allow"])
    leg.asked = tuple(data["asked"])
    leg.again = None if data["again"] is None else (data["again"][0], data["again"][1])
    leg.goodbye = tuple((name, value) for name, value in data["goodbye"])
    leg.line = None if data["line"] is None else Line.restore(data["line"])
    return leg
