"""Verbs of the desks: sign in, sign out, pause, resume, end the present call.

in → out: (exchange, desk, now) → effects. A verb that can't be done raises `Impossible`.
"""

from dataclasses import dataclass
from typing import Final

from pbx.binding import Binding
from pbx.call import room as rooms
from pbx.call.call_events import ToAcd
from pbx.call.effects import Effect, Item, Note
from pbx.call.exchange import DESK_PATIENCE, Exchange, Owner
from pbx.call.leg import Leg
from pbx.sip.flow import Flow
from pbx.sip.message import Request
from pbx.sip.uri import NameAddr, Uri
from routing.acd import DeskPauses, DeskState


@dataclass
class Impossible(Exception):  # noqa: N818 - the word that fits; it is no bug of anybody
    """A verb can't be done now. `code` names the reason: see `REASONS`."""

    code: str

    def __str__(self) -> str:
        return REASONS[self.code][1]


REASONS: Final = {
    "not_registered": ("该坐席的电话没有注册", "The desk's phone is not registered"),
    "signed_out": ("该坐席没有签入", "The desk is not signed in"),
    "signed_in": ("该坐席已经签入", "The desk is signed in already"),
    "no_call": ("该坐席没有通话", "The desk has no caller"),
    "unknown_call": ("没有这个呼叫", "There is no such call"),
    "unknown_desk": ("没有这个坐席", "There is no such desk"),
    "unknown_trunk": ("没有这个中继", "There is no such trunk"),
    "no_trunk": ("没有可用的中继", "No trunk takes this number now"),
    "trunk_full": ("中继已满", "The trunk has no free line"),
    "trunk_busy": ("对方交换机过载", "The other exchange is overloaded"),
    "bad_number": ("号码无效", "This is no number that can be called"),
    "not_silent": ("该呼叫不在静默模式", "The call is not in silent mode"),
    "not_asked": (
        "需先申请关闭静默，并在10秒内确认",
        "Ask to switch silent mode off first, then confirm within 10 s",
    ),
}

AUTO_ANSWER: Final = (
    ("Alert-Info", "<http://localhost/>;info=alert-autoanswer;delay=0"),
    ("Answer-Mode", "Auto"),
)
"""What makes desk phones pick up by themselves: Alert-Info as many phones read it, Answer-Mode as in RFC 5373 §3."""


def sign_in(
    exchange: Exchange, desk: str, bindings: tuple[Binding, ...], now: float, agent: str | None = None
) -> list[Effect]:
    """Call the desk's phone, once; its leg stays for the shift.

    `bindings`: the phones registered for the desk, the newest first; `agent`: who sits there. Raises `Impossible`.
    """
    room = exchange.room(desk)
    if room.state is not rooms.State.ABSENT:
        raise Impossible("signed_in")
    if not bindings:
        raise Impossible("not_registered")
    leg_id, tag = exchange.mint("leg"), exchange.mint("tag")
    flow = bindings[0].flow
    contact = exchange.focus(room.id, flow, secure=bindings[0].target.scheme == "sips")
    site = exchange.site
    us = NameAddr("110", Uri("sip", "110", None, site.host, site.port)).with_tag(tag)
    aor = Uri("sip", desk, None, site.host)
    invite = Request.build(
        "INVITE",
        bindings[0].target,
        from_=us,
        to=NameAddr(None, aor),
        call_id=exchange.mint("sip_call"),
        cseq=1,
        contact=contact,
        routes=bindings[0].path,
        headers=(("Call-Info", f"<sip:{site.host}>;answer-after=0"), *AUTO_ANSWER),
    )
    leg, effects = Leg.outgoing(
        leg_id, invite, flow, session=exchange.session(), contact=contact, setup=exchange.setup(flow, desk)
    )
    exchange.add_leg(leg, Owner("desk", desk), None)
    return exchange.run([*room.receive(rooms.SignsIn(leg_id, agent)), *effects], now)


def dial_in(
    exchange: Exchange, desk: str, transaction: str, request: Request, flow: Flow, *, now: float
) -> list[Item]:
    """Take the call of a desk's phone to `*10` as its permanent leg. Raises `SipError`."""
    room = exchange.room(desk)
    leg, effects = Leg.incoming(
        exchange.mint("leg"),
        request,
        flow,
        transaction,
        local_tag=exchange.mint("tag"),
        session=exchange.session(),
        contact=exchange.focus(room.id, flow, secure=request.uri.scheme == "sips"),
        setup=exchange.setup(flow, desk),
        evidence=None,
        now=now,
        patience=DESK_PATIENCE,
    )
    exchange.add_leg(leg, Owner("desk", desk), transaction)
    return [*room.receive(rooms.SignsIn(leg.id)), *effects]


def sign_out(exchange: Exchange, desk: str, now: float) -> list[Effect]:
    """Hang up the permanent leg; a caller in front goes to the head of the queue. Raises `Impossible`."""
    if exchange.room(desk).state is rooms.State.ABSENT:
        raise Impossible("signed_out")
    return exchange.run(exchange.room(desk).receive(rooms.Feature("sign_out")), now)


def pause(exchange: Exchange, desk: str, now: float, reason: str = "") -> list[Effect]:
    """Give the desk no further caller, for this reason. Raises `Impossible`."""
    if not exchange.room(desk).present:
        raise Impossible("signed_out")
    noted = Note("desk_pauses", None, {"desk": desk, "reason": reason})
    return exchange.run([noted, ToAcd(DeskPauses(desk, reason))], now)


def resume(exchange: Exchange, desk: str, now: float) -> list[Effect]:
    """Give the desk callers again. Raises `Impossible`."""
    return _signed_in(exchange, desk, "*12", now)


def end_call(exchange: Exchange, desk: str, now: float) -> list[Effect]:
    """End the desk's present call. Raises `Impossible`."""
    if exchange.room(desk).guest is None:
        raise Impossible("no_call")
    return _signed_in(exchange, desk, "*13", now)


def _signed_in(exchange: Exchange, desk: str, code: str, now: float) -> list[Effect]:
    if not exchange.room(desk).present:
        raise Impossible("signed_out")
    return exchange.run(exchange.room(desk).receive(rooms.Feature(code)), now)


def seat_state(exchange: Exchange, desk: str) -> str:
    """Return what a desk is, derived from its room and the queue: `signed_out`, `calling`, `free` and so on."""
    room = exchange.rooms.get(desk)
    if room is None or room.state is rooms.State.ABSENT:
        return "signed_out"
    if room.state is rooms.State.JOINING:
        return "calling"
    found = exchange.acd.desk(desk)
    if found is None:
        return "signed_out"
    return {DeskState.IDLE: "free", DeskState.TALKING: "busy"}.get(found.state, str(found.state))
