"""What one caller lives through, from the first INVITE to the closed evidence.

in → out: what happened to the caller's leg, the queue's decisions, the dispatcher's acts → commands to the leg, the
queue and the media process, and notes for evidence and database.

    ARRIVING ─ports and capture are open─▶ WAITING ◀─lost desk─ TALKING
                                             └─put through─────▶
    any ─leg ended─▶ CLOSING ─capture closed─▶ ENDED

An event that a state does not expect is ignored: hang-ups race with everything.
"""

from collections.abc import Mapping
from operator import attrgetter
from typing import Any, Final, Self

from pbx.call import gates, known, texts, waiting
from pbx.call.call_events import (
    AnswerLeg,
    BelongsTo,
    CallCommand,
    CallEvent,
    CaptureClosed,
    CaptureOpened,
    Confirmed,
    DeskLost,
    EndLeg,
    FactsTold,
    GivenTo,
    HeldByHost,
    HostEnds,
    LegGone,
    LegOver,
    Opened,
    PlaceTold,
    ProgressLeg,
    RefuseLeg,
    Say,
    ShowHost,
    SignOfLife,
    SilentOffAsked,
    SilentOffConfirmed,
    SilentOn,
    ToAcd,
)
from pbx.call.call_state import State
from pbx.call.caller import Caller
from pbx.call.effects import CallFinished, Effect, Note, Reason, ToMedia
from pbx.call.entry import Entry
from pbx.call.site import Policy
from pbx.call.waiting import PLACE_SECONDS, Listener, Waits
from pbx.sip.wakeups import earliest
from routing.acd import CallEnds
from rtp.control import CloseEvidence, Join, Leave, OpenEvidence, StopPlay

__all__ = ["CONFIRM_SECONDS", "PLACE_SECONDS", "Call", "State"]

ARRIVING_SECONDS = 10.0
"""How long ports may take; a media process that died is back in one second."""
CAPTURE_SECONDS = 2.0
"""How long a caller who could be answered waits for the capture. It takes milliseconds, unless the disk hangs; packets are kept."""
GOODBYE_SECONDS = 2.0
"""How long the capture stays open for the answer to our BYE."""
CLOSING_SECONDS = 10.0
"""How long the capture may take to close before that is stated, and asked for again: an answer may be lost."""
GIVE_UP_SECONDS = 120.0
"""How long altogether before it is left to the recorder, which waits for the file alone. A disk that comes back does so earlier."""
CONFIRM_SECONDS = 10.0
"""Within this time the second act must follow the first when silent mode is switched off."""


_PLAIN: Final = (
    "silent", "desk", "position", "held", "arrived", "fault", "recorded", "_opened", "_captured", "_confirmed", "off_until", "_deadline", "capture_closing", "overdue", "early", "incident", "expected", "_sent_off",
    "diverted", "host_picture", "facts",
)  # fmt: skip
"""What a snapshot takes as it is."""
_NAMES: Final = tuple(name.lstrip("_") for name in _PLAIN)
_PLAIN_OF: Final = attrgetter(*_PLAIN)


class Call:
    """See the module."""

    def __init__(
        self, call: str, leg: str, caller: Caller, policy: Policy, *, silent: bool, now: float
    ) -> None:
        """Use `arrive`."""
        self.id = call
        self.early = False
        """The caller hears us before it is answered, and is answered when a dispatcher takes the call."""
        self.leg = leg
        self.caller = caller
        self.silent = silent
        self.state = State.ARRIVING
        self.desk: str | None = None
        self.position = 0
        self.held = False
        """The dispatcher put the caller on hold."""
        self.host_picture: gates.HostPicture | None = None
        """What this call is shown in the host's place, other than by the site's rule."""
        self.arrived = now
        self.diverted: list[dict[str, Any]] = []
        """Over which stations the call came, as it claims (`diverted.stations`)."""
        self.facts: dict[str, dict[str, Any]] = {}
        """What is known of the caller beside who it is, by source (`known`)."""
        self._policy = policy
        self._opened = False
        self._captured = False
        self.fault: str | None = None
        self.recorded = True  # the disk takes what is written
        self._confirmed = False
        self.waits = Waits(now - PLACE_SECONDS)
        self.off_until: float | None = None
        self._deadline: float | None = now + ARRIVING_SECONDS
        self.capture_closing = False
        """The call is over, and the media process has been asked to close the capture …"""
        self.overdue = False
        """… for so long that it was stated."""
        self.entry = Entry()
        self.incident = call
        """The call this emergency began with: another one when a person dialled again, or twice."""
        self.expected: float | None = None
        self.greeting: tuple[tuple[str, str], ...] = ()
        """Further headers of our answer."""
        self._sent_off = False  # the dispatcher ended the call: no place is kept
        self._packed: tuple[Caller, Entry, dict[str, Any], dict[str, Any]] | None = None  # of `snapshot`

    @classmethod
    def arrive(
        cls,
        call: str,
        leg: str,
        caller: Caller,
        policy: Policy,
        *,
        silent: bool,
        now: float,
        target: str,
        claims: Mapping[str, Any],
        early: bool = False,
        entry: Entry | None = None,
    ) -> tuple[Self, list[Effect | CallCommand]]:
        """Begin: the capture is opened before the leg's ports, so that evidence precedes the first packet.

        `claims`: what the INVITE says of its sender and nobody vouches for; noted, and used for nothing. `entry`: what
        the queue is told.
        """
        self = cls(call, leg, caller, policy, silent=silent, now=now)
        self.early = early
        self.entry = entry or Entry()
        self.diverted = list(claims.get("diverted", ()))
        where = {"silent": silent, "target": target, "queue": self.entry.queue}
        noted = {**caller.pack(), **where, **claims}
        return self, [
            Note("call_arrived", call, noted),
            ToMedia(OpenEvidence(call, f"{policy.folder}/{call}")),
            self.gates(),
        ]

    # --- the machine ------------------------------------------------------------------------------------------

    def receive(self, event: CallEvent, now: float) -> list[Effect | CallCommand]:
        """Take one event; return what must happen."""
        match event:
            case Opened():
                self._opened = True
                if self.state is State.ARRIVING:
                    self._deadline = now + CAPTURE_SECONDS
                return self._answer_when_open()
            case CaptureOpened(fault):
                return self._capture_opened(fault)
            case LegOver(cause, status, reason):
                return self._leg_over(cause, status, reason, now)
            case LegGone():
                return self._close_capture(now)
            case CaptureClosed(packets, size, fault):
                return self._capture_closed(packets, size, fault)
            case FactsTold():
                return known.kept(self, event)
        if self.state not in {State.WAITING, State.TALKING}:
            return []
        match event:
            case Confirmed():
                self._confirmed = True
                return [Note("call_confirmed", self.id), *self._write_place()]
            case PlaceTold(position, expected):
                self.position, self.expected = position, expected
                return self._tell_soon(now)
            case BelongsTo(incident):
                self.incident = incident
                return []
            case GivenTo():
                return self._given_to(event)
            case DeskLost(desk, why):
                return self._desk_lost(desk, why, now)
            case HeldByHost(on, by):
                return self._held_by_host(on=on, by=by)
            case HostEnds(desk):
                self._sent_off = True
                return [Note("ended_by_host", self.id, {"desk": desk}), EndLeg(self.leg)]
            case ShowHost(mode, by):
                return [*gates.show(self, self._policy, gates.host_picture(mode), by)]
            case SilentOn(by):
                return [*gates.silent_on(self, self._policy, by)]
            case SignOfLife(by):
                waits = self.state is State.WAITING and not self.silent
                return waiting.answered(self.waits, self._listener, by) if waits else []
            case SilentOffAsked(by):
                self.off_until = now + CONFIRM_SECONDS
                return [Note("silent_off_asked", self.id, {"by": by})]
            case SilentOffConfirmed(by):
                return [*gates.silent_off(self, self._policy, by, now)]

    @property
    def next_due(self) -> float | None:
        """When `expire` wants to be called."""
        return earliest(self._deadline, self.waits.tell_at)

    def expire(self, now: float) -> list[Effect | CallCommand]:
        """Give up waiting for a media process that does not answer."""
        if self.waits.tell_at is not None and now >= self.waits.tell_at:
            return self._tell_soon(now)
        if self._deadline is None or now < self._deadline:
            return []
        self._deadline = None
        if self.state is State.CLOSING and not self.capture_closing:
            return self._close_capture(now)
        if self.state is State.CLOSING:
            return self._overdue(now)
        if self.state is State.ARRIVING and self._opened:
            return self._capture_opened("capture_not_opened")
        if self.state is State.ARRIVING:
            return [RefuseLeg(self.leg, 503)]
        return []

    # --- one event each ---------------------------------------------------------------------------------------

    def _capture_opened(self, fault: str | None) -> list[Effect | CallCommand]:
        """Always answered: a disk that refuses, at once or in mid-call, is stated, and when it takes what is written again."""
        self._captured = True
        told: list[Effect | CallCommand] = []
        if fault is not None and self.recorded:
            self.fault, told = fault, [Note("not_recorded", self.id, {"reason": fault})]
        elif fault is None and not self.recorded:
            told = [Note("recorded_again", self.id)]
        self.recorded = fault is None
        return [*told, *self._answer_when_open()]

    def _answer_when_open(self) -> list[Effect | CallCommand]:
        if self.state is not State.ARRIVING or not (self._opened and self._captured):
            return []
        self.state = State.WAITING
        self._deadline = None
        return [*self._answer(), ToAcd(self.entry.waits(self.id))]

    def _answer(self) -> list[Effect | CallCommand]:
        header = (("X-At110-Evidence", self.id), *self.greeting)
        if self.early:
            return [Note("early_media", self.id), ProgressLeg(self.leg, header)]
        return [Note("call_answered", self.id), AnswerLeg(self.leg, header)]

    def _given_to(self, event: GivenTo) -> list[Effect | CallCommand]:
        if self.state is not State.WAITING:
            return []
        self.state = State.TALKING
        self.desk = event.desk
        self.position = 0
        self.waits.returned = False
        noted = {"desk": event.desk, "room": event.room, "waited_ms": round(event.waited * 1000)}
        noted |= {"agent": event.agent} if event.agent else {}
        early, self.early = self.early, False
        return [
            *(self._answer() if early else ()),
            ToMedia(Join(event.room, self.leg, "guest")),
            ToMedia(StopPlay(self.leg)),
            Note("put_through", self.id, noted),
        ]

    def _desk_lost(self, desk: str, why: str, now: float) -> list[Effect | CallCommand]:
        if self.state is not State.TALKING:
            return []
        self.state = State.WAITING
        self.desk = None
        self.waits.returned = why in {"desk_lost", "no_sound"}
        sent_on = why == "transferred"
        if sent_on:
            self.waits.told_at = now - PLACE_SECONDS
        held, self.held = self.held, False
        out: list[Effect | CallCommand] = [
            ToMedia(Leave(self.leg)),
            *([self.gates()] if held else []),
            Note("desk_lost", self.id, {"desk": desk, "why": why}),
        ]
        if (self.waits.returned or sent_on) and self._confirmed and not self.silent:
            said = texts.HANDED if sent_on else texts.LOST
            out.append(Say(self.leg, texts.say(said, self.languages)))
        return out

    def _held_by_host(self, *, on: bool, by: str) -> list[Effect | CallCommand]:
        if self.state is not State.TALKING or self.held is on:
            return []
        self.held = on
        return [self.gates(), Note("host_hold", self.id, {"desk": self.desk, "held": on, "by": by})]

    def _leg_over(
        self, cause: str, status: int | None, reason: tuple[Reason, ...], now: float
    ) -> list[Effect | CallCommand]:
        if self.state in {State.CLOSING, State.ENDED}:
            return []
        before = self.state
        self.state = State.CLOSING
        self.desk = None
        self.position = 0
        self._deadline = now + GOODBYE_SECONDS
        noted: dict[str, Any] = {"cause": cause, "status": status, "while": str(before)}
        noted["seconds"] = round(now - self.arrived, 3)
        if reason:
            noted["reason"] = list(reason)
        return [
            Note("call_ended", self.id, noted),
            ToAcd(CallEnds(self.id, returns=not self._sent_off)),
        ]

    def _close_capture(self, now: float) -> list[Effect | CallCommand]:
        if self.state is not State.CLOSING or self.capture_closing:
            return []
        self.capture_closing = True
        self._deadline = now + CLOSING_SECONDS
        return [ToMedia(CloseEvidence(self.id))]

    def _overdue(self, now: float) -> list[Effect | CallCommand]:
        """Its disk hangs, or its answer is lost. What is written yet must not follow the seal: the recorder waits until nobody writes."""
        if self.overdue:
            return self._capture_closed(0, 0, "capture_given_up")
        self.overdue, self._deadline = True, now + GIVE_UP_SECONDS - CLOSING_SECONDS
        noted = Note("capture_not_closed", self.id, {"seconds": CLOSING_SECONDS})
        return [noted, ToMedia(CloseEvidence(self.id))]

    def _capture_closed(self, packets: int, size: int, fault: str | None) -> list[Effect | CallCommand]:
        if self.state is not State.CLOSING:
            return []
        self.state = State.ENDED
        self._deadline = None
        noted = {"packets": packets, "bytes": size, "fault": fault or self.fault}
        return [Note("capture_closed", self.id, noted), CallFinished(self.id)]

    # --- small pieces -----------------------------------------------------------------------------------------

    def gates(self) -> Effect:
        """State the gates of the caller's leg."""
        return ToMedia(gates.set_gates(self, self._policy))

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages the caller is spoken to in: those the phone asks for, else those of the site."""
        named = tuple(one for one in self._policy.languages if one in self.entry.needs)
        return named or self._policy.languages

    @property
    def _listener(self) -> Listener:
        return Listener(
            self.id, self.leg, self.languages, self.position, self.expected, reads=self._confirmed
        )

    def _tell_soon(self, now: float) -> list[Effect | CallCommand]:
        """Tell the present place. A silent caller's phone must not even beep for a message."""
        if self.state is not State.WAITING:
            self.waits.tell_at = None
            return []
        if not self.silent and waiting.later(self.waits, now):
            return []
        if not self.silent:
            return waiting.place(self.waits, self._listener, now, stay=self._policy.stay_seconds)
        self.waits.told_at, self.waits.tell_at, self.waits.returned = now, None, False
        return [Note("position", self.id, {"position": self.position})]

    def _write_place(self) -> list[CallCommand]:
        tells = self.state is State.WAITING and not self.silent and self.position > 0
        return waiting.written(self._listener) if tells else []

    def wait_sound(self) -> list[Effect]:
        """Play what a waiting caller hears; nothing in silent mode or at a desk."""
        if self.state is not State.WAITING or self.silent or self.position == 0:
            return []
        return waiting.sound(self.waits, self._listener)

    def snapshot(self) -> dict[str, Any]:
        """Return plain data."""
        if self._packed is None or self._packed[0] is not self.caller or self._packed[1] is not self.entry:
            self._packed = (self.caller, self.entry, self.caller.pack(), self.entry.pack())
        data = dict(zip(_NAMES, _PLAIN_OF(self), strict=True))
        data["id"], data["leg"], data["state"] = self.id, self.leg, str(self.state)
        _, _, data["caller"], data["entry"] = self._packed
        data["waits"] = self.waits.pack()
        data["greeting"] = [list(header) for header in self.greeting]
        return data

    @classmethod
    def restore(cls, data: dict[str, Any], policy: Policy) -> Self:
        """Make the call that `snapshot` described."""
        caller = Caller(**data["caller"])
        self = cls(data["id"], data["leg"], caller, policy, silent=data["silent"], now=data["arrived"])
        self.state = State(data["state"])
        for name in _PLAIN:
            setattr(self, name, data[name.lstrip("_")])
        self.waits = Waits(**data["waits"])
        self.entry = Entry.unpack(data["entry"])
        self.greeting = tuple((name, value) for name, value in data["greeting"])
        return self
