"""A call of ours: what somebody lives through whom a desk calls, a caller who is called back or a number.

in → out: as `call`. It has evidence of its own from before its first packet. Once it is picked up it is a call like any other:
its dispatcher may send it on, and if the desk is lost it waits at the head of the queue.

    ARRIVING ─ports and capture are open─▶ RINGING ─picked up─▶ TALKING ─▶ as in `call`
    ARRIVING, RINGING ─desk lost, given up, refused─▶ CLOSING
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pbx.call.call import Call, State
from pbx.call.call_events import (
    CallCommand,
    CallEvent,
    Confirmed,
    DeskLost,
    EndLeg,
    HostEnds,
    PlaceLeg,
)
from pbx.call.caller import Caller
from pbx.call.effects import Effect, Note, ToMedia
from pbx.call.site import Policy
from pbx.identity import ROOM
from rtp.control import Join, OpenEvidence

if TYPE_CHECKING:
    from pbx.call.reach import Party


class CallOfOurs(Call):
    """See the module."""

    @classmethod
    def begin(
        cls, call: str, leg: str, callee: Caller, policy: Policy, *, desk: str, first: str | None, now: float
    ) -> tuple[CallOfOurs, list[Effect | CallCommand]]:
        """Begin; the effects open the capture, and go out before those that open the leg's ports.

        `first`: the call this one follows, a callback's first call.
        """
        self = cls(call, leg, callee, policy, silent=False, now=now)
        self.desk = desk
        noted = {**asdict(callee), "silent": False, "target": callee.number, "direction": "outgoing"}
        noted |= {"called_by": desk, "first_call": first}
        return self, [
            Note("call_arrived", call, noted),
            ToMedia(OpenEvidence(call, f"{policy.folder}/{call}")),
            self.gates(),
        ]

    def follows(self, incident: str) -> list[Effect]:
        """Belong to the incident of the call this one follows."""
        self.incident = incident
        return [Note("same_incident", self.id, {"incident": incident, "why": "called_back"})]

    def receive(self, event: CallEvent, now: float) -> list[Effect | CallCommand]:
        """Take one event; return what must happen."""
        if self.state not in {State.ARRIVING, State.RINGING}:
            return super().receive(event, now)
        match event:
            case Confirmed() if self.state is State.RINGING:
                return self._picked_up()
            case DeskLost() | HostEnds():
                return [Note("calling_given_up", self.id, {"desk": self.desk}), EndLeg(self.leg)]
        return super().receive(event, now)

    def expire(self, now: float) -> list[Effect | CallCommand]:
        """Give up when no ports came; a capture that can't be opened is stated, and the call goes on."""
        due = self._deadline is not None and now >= self._deadline
        if due and self.state is State.ARRIVING and not self._opened:
            self._deadline = None
            return [EndLeg(self.leg)]
        return super().expire(now)

    def _answer_when_open(self) -> list[Effect | CallCommand]:
        if self.state is not State.ARRIVING or not (self._opened and self._captured):
            return []
        self.state = State.RINGING
        self._deadline = None
        return [PlaceLeg(self.leg)]

    def _picked_up(self) -> list[Effect | CallCommand]:
        assert self.desk is not None, "while it rings it has the desk that calls"
        self.state = State.TALKING
        self._confirmed = True
        room = f"{ROOM}{self.desk}"
        return [
            Note("call_answered", self.id),
            ToMedia(Join(room, self.leg, "guest")),
            Note("put_through", self.id, {"desk": self.desk, "room": room, "waited_ms": 0}),
        ]

    def snapshot(self) -> dict[str, Any]:
        """Return plain data."""
        return {**super().snapshot(), "ours": True}


def restore(data: dict[str, Any], policy: Policy) -> Call:
    """Make the call, ours or not, that `snapshot` described."""
    return (CallOfOurs if data.get("ours") else Call).restore(data, policy)


def callee(party: Party) -> Caller:
    """State who is called: an account's facts, or the number dialled."""
    account = party.account
    remote = None if party.road is None else party.road.flow.remote
    address = "" if remote is None else f"{remote[0]}:{remote[1]}"
    if account is None:
        return Caller(None, None, party.name, verified=False, proof="dialled", address=address)
    return Caller(
        account.user,
        account.verified_name,
        account.phone or account.user,
        verified=account.verified_name is not None,
        proof="registration",
        address=address,
        verified_by=account.verified_by,
        verified_at=account.verified_at,
    )
