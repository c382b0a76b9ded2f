"""Verb: take a leg over a trunk: to the next peer when one fails, with credentials where they are wanted.

in → out: responses, failures, time → the INVITE again elsewhere, a request again with credentials, or None: the outcome is
for `leg_events`, as of any other leg. Which peers there are was decided when the call was placed (`trunk_calls`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from msgspec import structs

from pbx.call import modify, place
from pbx.call.effects import Effect, LegEvent, Note, Reason, SendAck, SendCancel, SendRequest
from pbx.call.leg import Leg, State
from pbx.sip import reason
from pbx.sip.flow import Flow
from pbx.sip.message import CSeq, Request, Response
from pbx.sip.uri import NameAddr, Uri
from pbx.trunks import causes
from pbx.trunks.account import HEADERS, bare
from pbx.trunks.line import MAX_REDIRECTS, Line, Target

NEXT: Final = frozenset({408, 500, 502, 503, 504})
"""Answers after which another peer may take the call: this one did not get it through (RFC 3261 §21.5: "a server itself
has erred"). Whatever else is final is the answer of the one who was called."""
REDIRECTS: Final = frozenset({301, 302, 305})
GIVEN_UP: Final = reason.header("SIP", 408, "No answer from this peer")


@dataclass(frozen=True, slots=True)
class PeerSaid:
    """How a peer took a call; `response` None: not at all."""

    trunk: str
    peer: str
    response: Response | None


@dataclass(frozen=True, slots=True)
class Counted:
    """A call went on to the next peer of its trunk, or nobody took it."""

    trunk: str
    what: Literal["failed", "failovers"]


Item = Effect | LegEvent | PeerSaid | Counted
Answer = Callable[[Request, Response, int], Request | None]
"""Gives a request credentials: request, the response that wants them, CSeq number (`Trunk.credentials`)."""
Redirected = Callable[[Uri, str], Target | None]
"""Tells where a 302 leads (`Trunk.redirected`)."""


def response(
    leg: Leg,
    ref: str,
    response: Response,
    flow: Flow,
    now: float,
    *,
    line: Line,
    answer: Answer,
    redirected: Redirected,
    acknowledged: bool,
) -> list[Item] | None:
    """Take a response to a request of ours on this leg.

    `acknowledged`: credentials may go where the response came from, in its ACK.
    """
    kind = ref.split("/")[1]
    asked = None if response.status < 200 else line.asked.pop(ref, None)
    if kind in modify.KINDS and 200 <= response.status < 300:
        return _taken(leg, asked, response, flow, now, line=line, ref=ref, acknowledged=acknowledged)
    if kind != "invite":
        return _in_dialog(leg, asked, ref, response, answer)
    if ref != leg.invite_ref:
        # Of a peer that was given up. It may have got through after all: its 2xx gets the ACK it waits for, and a BYE.
        late = 200 <= response.status < 300
        return list(place.late(response, flow, leg.contact)) if late else []
    target = line.target
    if target is None or leg.invite is None:
        return None
    heard: list[Item] = [PeerSaid(line.trunk, target.peer, response)]
    if response.status < 200:
        if leg.state is State.CALLING:
            # Trying may be all that a dying peer ever says; ringing, or an early answer, is somebody.
            line.deadline = None if response.status > 100 else now + line.progress
        if line.deadline is None:
            line.rest = ()
        return _go_on(leg, heard, response, flow, now)
    line.deadline = None
    if response.status < 300:
        invite, items = leg.invite, _go_on(leg, heard, response, flow, now)
        return [_with_credentials(item, invite) for item in items] if acknowledged else items
    if leg.state is not State.CALLING:
        return _go_on(leg, heard, response, flow, now)
    if response.status in HEADERS:
        again = answer(leg.invite, response, leg.invite.cseq.number + 1)
        if again is not None:
            leg.invite = again
            leg.early.clear()
            leg.early_answer = None
            return [*heard, place.send(leg, now)]
    elif response.status in REDIRECTS:
        target = _redirected(line, response, redirected)
        if target is not None:
            return [*heard, _to(leg, line, target, now)]
    elif response.status in NEXT and line.rest:
        return [*heard, *_next(leg, line, now, str(response.status))]
    elif response.status == 422:
        return _go_on(leg, heard, response, flow, now)  # RFC 4028: asked again at the same peer
    reasons = tuple(reason.read(response))
    failed = _told(leg, line, response.status, reasons)
    return [*heard, Counted(line.trunk, "failed"), failed, *leg.end("refused", response.status, reasons)]


def _go_on(leg: Leg, heard: list[Item], response: Response, flow: Flow, now: float) -> list[Item]:
    return [*heard, *place.answered(leg, response, flow, now)]


def _with_credentials(item: Item, invite: Request) -> Item:
    """Give the ACK of a 2xx the credentials of its INVITE."""
    # RFC 3261 §13.2.2.4: "The ACK MUST contain the same credentials as the INVITE."
    held = [(name, value) for _, name in HEADERS.values() for value in invite.headers.lines(name)]
    if not isinstance(item, SendAck) or not held:
        return item
    request = item.request.copy()
    for name, value in held:
        request.headers.add(name, value)
    return structs.replace(item, request=request)


def _taken(
    leg: Leg,
    asked: Request | None,
    response: Response,
    flow: Flow,
    now: float,
    *,
    line: Line,
    ref: str,
    acknowledged: bool,
) -> list[Item] | None:
    """Take the 2xx to a re-INVITE or UPDATE of ours, again where its ACK was lost; None: it had no credentials."""
    if asked is not None and any(name in asked.headers for _, name in HEADERS.values()):
        line.accepted = asked
    held = line.accepted
    if held is None or held.cseq != response.cseq or not acknowledged:
        return None
    return [_with_credentials(item, held) for item in modify.answered(leg, ref, response, flow, now, draw=0)]


def _in_dialog(
    leg: Leg, asked: Request | None, ref: str, response: Response, answer: Answer
) -> list[Item] | None:
    # A PRACK is asked for its credentials before there is more than an early dialog.
    early = leg.early.get(response.to.tag or "")
    dialog = early[0] if leg.dialog is None and early is not None else leg.dialog
    if asked is None or dialog is None or response.status not in HEADERS or leg.state is State.TERMINATED:
        return None
    again = answer(asked, response, dialog.local_seq + 1)
    if again is None:
        return None
    dialog.local_seq += 1
    return [SendRequest(ref, again, leg.flow)]


def failed(leg: Leg, line: Line, ref: str, why: str, now: float) -> list[Item] | None:
    """Hear that a request of ours got no answer, or could not be sent."""
    line.asked.pop(ref, None)
    if ref.split("/")[1] != "invite":
        return None
    if ref != leg.invite_ref:
        return []
    if leg.state is not State.CALLING or line.target is None:
        return None
    silent: list[Item] = [PeerSaid(line.trunk, line.target.peer, None)]
    if line.rest:
        return [*silent, *_next(leg, line, now, why)]
    line.deadline = None
    return [*silent, *_unreached(leg, line, why)]


def _unreached(leg: Leg, line: Line, why: str) -> list[Item]:
    status, cause = (408, "no_answer") if why == "timeout" else (503, "unreachable")
    return [Counted(line.trunk, "failed"), _told(leg, line, status), *leg.end(cause, status)]


def _told(leg: Leg, line: Line, status: int, reasons: tuple[Reason, ...] = ()) -> Note:
    peer = None if line.target is None else line.target.peer
    fields = {"trunk": line.trunk, "peer": peer, "status": status, **causes.told(status, reasons)}
    return Note("trunk_call_failed", leg.evidence, fields)


def expire(leg: Leg, line: Line, now: float) -> list[Item]:
    """Give up a peer that says nothing."""
    if line.deadline is None or now < line.deadline:
        return []
    line.deadline = None
    if leg.state is not State.CALLING or line.target is None:
        return []
    out: list[Item] = [
        PeerSaid(line.trunk, line.target.peer, None),
        SendCancel(leg.invite_ref, (GIVEN_UP,)),
    ]
    if line.rest:
        return [*out, *_next(leg, line, now, "timeout")]
    # The CANCEL's outcome comes under the INVITE's ref; by then the leg is over, and a 2xx finds `place.late`.
    return [*out, *_unreached(leg, line, "timeout")]


def _next(leg: Leg, line: Line, now: float, why: str) -> list[Item]:
    target, *rest = line.rest
    line.rest = tuple(rest)
    given_up = None if line.target is None else line.target.peer
    told = {"trunk": line.trunk, "from": given_up, "to": target.peer, "why": why}
    return [
        Note("trunk_failover", leg.evidence, told),
        Counted(line.trunk, "failovers"),
        _to(leg, line, target, now),
    ]


def _to(leg: Leg, line: Line, target: Target, now: float) -> Effect:
    """Send the INVITE to another place: next CSeq number, so that whatever still comes of the last one is told apart, and
    without the credentials that were made for it.
    """
    assert leg.invite is not None, "an outgoing leg has its INVITE"
    line.target = target
    request = bare(leg.invite)
    request.headers.set("CSeq", str(CSeq(leg.invite.cseq.number + 1, "INVITE")))
    request.headers.set("To", str(NameAddr(None, target.uri)))
    leg.invite = Request("INVITE", target.uri, request.headers, request.body)
    leg.early.clear()
    leg.early_answer = None
    return place.send(leg, now)


def _redirected(line: Line, response: Response, redirected: Redirected) -> Target | None:
    line.redirects += 1
    if line.redirects > MAX_REDIRECTS:
        return None
    for contact in sorted(response.contacts, key=lambda one: -one.q):
        target = redirected(contact.uri, line.number)
        if target is not None:
            return target
    return None


def fit(leg: Leg, contact: NameAddr, flow: Flow) -> None:
    """Make our Contact that of the flow the INVITE really took, now that the trunk's name is resolved."""
    leg.flow = flow
    leg.contact = structs.replace(leg.contact, uri=contact.uri)
    if leg.invite is not None:
        leg.invite = leg.invite.copy()
        leg.invite.headers.set("Contact", str(leg.contact))


def key(leg: Leg, digit: str) -> list[Item]:
    """Send a key by INFO, where the trunk wants it so; nothing happens where it hears keys in the sound."""
    line = leg.line
    if line is None or line.dtmf != "info" or leg.state is not State.CONFIRMED:
        return []
    body = f"Signal={digit}\r\nDuration=160\r\n".encode()
    return [leg.ask("key", "INFO", (), body, "application/dtmf-relay")]
