"""Which media process holds what, when there are several: between signalling's commands and the processes. Pure.

Command, Said(process, event), Came, Gone ─▶ Placement.receive ─▶ [To(process, command) | Up(event)]

Nothing here needs a journal: whoever connects is first told what a process holds. Three rules: a call's legs live where its
capture is; a room lives where its legs are; whoever joins a room that lives elsewhere is moved there, with everybody who
shares its capture, and commands for it wait until it has arrived.
"""

from collections import Counter
from typing import Any, Final

from rtp.control import (
    CloseEvidence,
    CloseLeg,
    Command,
    Event,
    EvidenceClosed,
    Holdings,
    Join,
    Joined,
    Leave,
    LegHolding,
    LegOpened,
    NoteSip,
    OpenEvidence,
    OpenLeg,
    Query,
    RecordTalk,
    Refused,
)
from rtp.moving import DrainPorts, LegsMoved, MoveLegs
from rtp.placed import Effect, Gone, Move, Placed, Said, To, Up

RETRY_SECONDS: Final = 0.2
"""Between two attempts to bring a leg to its room: its process is being started again, or the leg shakes hands (DTLS)."""
START_SECONDS: Final = 5.0
"""How long the others are waited for after the first has told what it holds: what they hold must not be opened twice."""


class Placement:
    """What is where."""

    def __init__(self, processes: int) -> None:
        """`processes`: how many there are; their numbers count from 0."""
        self._processes = range(processes)
        self.late: frozenset[int] = frozenset()
        """Processes that are there and say nothing: who arrives goes to another, if there is one."""
        self._up: set[int] = set()
        self._told: set[int] = set()
        self._started = False
        self._start_by: float | None = None
        self._legs: dict[str, Placed] = {}
        self._captures: dict[str, int] = {}
        self._moves: list[Move] = []
        self._joins: dict[str, Join] = {}  # that could not be carried out yet
        self._replay: list[NoteSip] = []  # what was said about legs that were lost on their way
        self._retry_at: float | None = None
        self._questions = 0

    @property
    def next_due(self) -> float | None:
        """When `expire` wants to be called."""
        return min((due for due in (self._start_by, self._retry_at) if due is not None), default=None)

    @property
    def started(self) -> bool:
        """Whether it is known what is held where."""
        return self._started

    def where(self, leg: str) -> int | None:
        """The process a leg is in, or was when it was heard of last."""
        found = self._legs.get(leg)
        return None if found is None else found.process

    def receive(self, event: Command | Said | Gone, now: float) -> list[Effect]:
        """Take a command of signalling, or what a process said; `now`: monotonic seconds."""
        match event:
            case Said(process, Holdings() as held):
                out = self._holdings(process, held, now)
            case Said(process, said):
                out = self._said(process, said, now)
            case Gone(process):
                out = self._gone(process)
            case _:
                out = self._command(event, now)
        return self._reachable(out)

    def _reachable(self, effects: list[Effect]) -> list[Effect]:
        """Leave out what is for a process that is away: when it tells what it holds, signalling sees what it missed."""
        return [e for e in effects if not isinstance(e, To) or e.process in self._up]

    def expire(self, now: float) -> list[Effect]:
        """Begin without a process that does not come; try again to bring legs to their rooms."""
        out: list[Effect] = []
        if self._start_by is not None and now >= self._start_by:
            self._start_by, self._started = None, True
            out.append(Up(self._all("")))
        if self._retry_at is not None and now >= self._retry_at:
            out += self._again(now)
        return self._reachable(out)

    # --- commands --------------------------------------------------------------------------------------------------

    def _command(self, command: Command, now: float) -> list[Effect]:
        if (move := self._move_of(command)) is not None:
            move.waiting.append(command)
            if isinstance(command, OpenLeg):
                move.behind.add(command.leg)
            return []
        match command:
            case OpenEvidence(call, near=near):
                if call not in self._captures:
                    legs = (p.process for n, p in self._legs.items() if n == near or p.evidence == call)
                    process = next(legs, None)
                    self._captures[call] = self._idlest() if process is None else process
                return [To(self._captures[call], command)]
            case NoteSip(call) | CloseEvidence(call):
                if call not in self._captures:
                    return [Up(Refused(type(command).__name__, call, "unknown_call"))]
                return [To(self._captures[call], command)]
            case DrainPorts():  # whose range it is not in leaves it
                return [To(process, command) for process in self._processes]
            case Query() | MoveLegs():
                raise AssertionError("what is held and who is moved is asked and decided here")
            case OpenLeg(leg, evidence=evidence):
                return [To(self._place(leg, evidence), command)]
        found = self._legs.get(command.leg)
        if found is None:
            return [Up(Refused(type(command).__name__, command.leg, "unknown_leg"))]
        match command:
            case Join():
                return self._join(command, found, now)
            case RecordTalk(call=talk):
                found.talk = talk
            case Leave(leg):
                self._joins.pop(leg, None)
                found.room = found.role = None
                found.before = (None, None)
            case CloseLeg(leg):
                self._joins.pop(leg, None)
                del self._legs[leg]
        return [To(found.process, command)]

    def _move_of(self, command: Command) -> Move | None:
        """The move a command has to wait for."""
        match command:
            case OpenLeg(leg, evidence=evidence):
                return self._moving(leg, evidence)
            case OpenEvidence(call, near=near):
                return self._moving(near, call)
            case NoteSip(call) | CloseEvidence(call):
                return self._moving(None, call)
            case Query() | MoveLegs() | DrainPorts():
                return None
            case Join(room, leg):
                others = [name for name, one in self._legs.items() if one.room == room]
                return next((m for name in (leg, *others) if (m := self._moving(name, None))), None)
        return self._moving(command.leg, None)

    def _moving(self, leg: str | None, call: str | None) -> Move | None:
        return next((m for m in self._moves if leg in m.legs or leg in m.behind or call in m.captures), None)

    def _place(self, leg: str, evidence: str | None) -> int:
        found = self._legs.get(leg)
        if found is None or not found.held:
            before = self._idlest() if found is None else found.process
            found = self._legs[leg] = Placed(self._captures.get(evidence or "", before), evidence)
        found.evidence = evidence
        return found.process

    def _idlest(self) -> int:
        """The process with the fewest legs, of those that are there and not late."""
        legs = Counter(placed.process for placed in self._legs.values())
        calls = Counter(self._captures.values())
        among = self._up - self.late or self._up or self._processes
        return min(among, key=lambda process: (legs[process] + calls[process], process))

    # --- joining and moving ----------------------------------------------------------------------------------------

    def _join(self, join: Join, found: Placed, now: float) -> list[Effect]:
        self._joins.pop(join.leg, None)
        target = self._home(join.room, join.leg)
        if target is None or target == found.process:
            found.before = (found.room, found.role)
            found.room, found.role = join.room, join.role
            found.joins += 1
            return [To(found.process, join)]
        out: list[Effect] = [To(found.process, Leave(join.leg))] if found.room is not None else []
        found.room = found.role = None
        if not {found.process, target} <= self._up:
            return [*out, *self._later(join, now)]
        legs = self._together(join.leg)
        if (other := next((m for m in self._moves if legs & m.legs), None)) is not None:
            other.waiting.append(join)
            return out
        captures = (
            frozenset(call for leg in legs for call in self._legs[leg].captures) & self._captures.keys()
        )
        # Commands for it wait from here on, this one first.
        self._moves.append(Move(found.process, target, legs, captures, [join]))
        moving = MoveLegs(tuple(sorted(legs)), tuple(sorted(captures)), target)
        return [*out, To(found.process, moving)]

    def _home(self, room: str, leg: str) -> int | None:
        """The process a room lives in; None while nobody else is in it."""
        return next((p.process for name, p in self._legs.items() if p.room == room and name != leg), None)

    def _together(self, leg: str) -> frozenset[str]:
        """A leg that is in no room, with all that must be in one process with it: captures and rooms are never torn."""
        found, added = set[str](), {leg}
        while added:
            found |= added
            calls = {call for name in added for call in self._legs[name].captures}
            rooms = {self._legs[name].room for name in added} - {None}
            near = {n for n, p in self._legs.items() if p.held and (p.captures & calls or p.room in rooms)}
            added = near - found
        return frozenset(found)

    def _later(self, join: Join, now: float) -> list[Effect]:
        self._joins[join.leg] = join
        if self._retry_at is None:
            self._retry_at = now + RETRY_SECONDS
        return []

    def _again(self, now: float) -> list[Effect]:
        self._retry_at = None
        todo: list[Command] = [note for note in self._replay if note.call in self._captures]
        todo += self._joins.values()
        self._replay, self._joins = [], {}
        return [effect for command in todo for effect in self._command(command, now)]

    def _end(self, move: Move, process: int, now: float) -> list[Effect]:
        """The legs are in `process` now: give it what was said meanwhile."""
        self._moves.remove(move)
        for leg in move.legs & self._legs.keys():
            self._legs[leg].process, self._legs[leg].held = process, True
        self._captures |= dict.fromkeys(move.captures & self._captures.keys(), process)
        return [effect for command in move.waiting for effect in self._command(command, now)]

    # --- what processes say ------------------------------------------------------------------------------------------

    def _said(self, process: int, event: Event, now: float) -> list[Effect]:
        match event:
            case LegsMoved(legs):
                move = next((m for m in self._moves if m.target == process and m.legs & set(legs)), None)
                return [] if move is None else self._end(move, process, now)
            case Refused("MoveLegs", leg, reason):
                move = self._moving(leg, None)
                if move is not None and move.target == process:  # it could not go on with them
                    move.left = True
                    return [self._ask(move, process)]
                if move is None or move.source != process:
                    return []
                join = move.waiting.pop(0)
                assert isinstance(join, Join), "a move begins with the Join that asked for it"
                if reason == "unknown_leg":
                    return [Up(Refused("Join", join.leg, reason)), *self._end(move, process, now)]
                return [*self._later(join, now), *self._end(move, process, now)]
            case Refused("OpenLeg", leg) if self._moving(leg, None) is None:
                self._legs.pop(leg, None)
            case Joined(_, leg) | Refused("Join", leg) if (found := self._legs.get(leg)) is not None:
                found.joins -= 1
                if found.joins == 0 and isinstance(event, Refused):
                    found.room, found.role = found.before
            case LegOpened(leg, ports) if (found := self._legs.get(leg)) is not None:
                found.ports = ports
            case EvidenceClosed(call):
                self._captures.pop(call, None)
        return [Up(event)]

    def _gone(self, process: int) -> list[Effect]:
        self._up.discard(process)
        moves = [move for move in self._moves if process in {move.source, move.target}]
        return [self._ask(m, m.target if process == m.source else m.source) for m in moves]

    def _ask(self, move: Move, process: int) -> To:
        """Ask what a process holds, behind all that it was told about these legs."""
        self._questions += 1
        move.doubt = f"doubt-{self._questions}"
        return To(process, Query(move.doubt))

    def _holdings(self, process: int, held: Holdings, now: float) -> list[Effect]:
        """Take what a process holds; signalling is told what all hold together."""
        reported = {holding.leg for holding in held.legs}
        if held.ref:  # how a move ended, no more: commands are under way that it does not know of
            out = self._settle(process, reported, now, held.ref)
            self._retry_at = now if self._replay or self._joins else None
            return [*out, Up(self._all(held.ref))]
        self._up.add(process)
        self._told.add(process)
        out = self._settle(process, reported, now)
        for holding in held.legs:
            out += self._take(process, holding)
        for leg, placed in self._legs.items():
            if placed.process == process and leg not in reported and self._moving(leg, None) is None:
                placed.room = placed.role = None
                placed.held = False
        gone = [call for call, owner in self._captures.items() if owner == process]
        for call in {*gone, *held.evidence}:
            out += self._take_capture(process, call, held=call in held.evidence)
        self._started = self._started or self._told >= set(self._processes)
        if not self._started:
            self._start_by = self._start_by or now + START_SECONDS
            return out
        self._start_by = None
        if self._joins or self._replay:
            self._retry_at = now  # signalling says first what is to be opened again
        return [*out, Up(self._all(held.ref))]

    def _take(self, process: int, holding: LegHolding) -> list[Effect]:
        if self._moving(holding.leg, None) is not None:
            return []
        found = self._legs.setdefault(holding.leg, Placed(process, holding.evidence))
        if found.process != process and found.held and found.process in self._told:
            return [To(process, CloseLeg(holding.leg))]  # it was opened elsewhere while this one was away
        found.process, found.held, found.ports = process, True, holding.ports
        found.evidence, found.room, found.role = holding.evidence, holding.room, holding.role
        return []

    def _take_capture(self, process: int, call: str, *, held: bool) -> list[Effect]:
        if self._moving(None, call) is not None:
            return []
        if not held:
            del self._captures[call]
        elif self._captures.setdefault(call, process) != process:
            return [To(process, CloseEvidence(call))]
        return []

    def _settle(self, process: int, reported: set[str], now: float, ref: str = "") -> list[Effect]:
        """End the moves that were in doubt, if what this process holds tells how; no `ref`: it has begun anew."""
        out: list[Effect] = []
        for move in [m for m in self._moves if m.doubt and process in {m.source, m.target}]:
            if ref and ref != move.doubt:
                continue
            legs = move.legs & self._legs.keys()
            if legs <= reported:
                out += self._end(move, process, now)
                continue
            # Not here. When they have left the source, only the target's answer after that counts.
            if process == move.source:
                move.left = True
                out.append(self._ask(move, move.target))
            elif not move.left:
                out.append(self._ask(move, move.source))
            else:
                # They were lost on their way: signalling opens them again, where their room is.
                self._replay += [command for command in move.waiting if isinstance(command, NoteSip)]
                closed = {command.leg for command in move.waiting if isinstance(command, CloseLeg)}
                move.waiting = []
                out += self._end(move, move.target, now)
                for leg in legs:
                    self._legs[leg].held = False
                    self._legs[leg].room = self._legs[leg].role = None
                for leg in closed:
                    self._legs.pop(leg, None)
                for call in move.captures:
                    self._captures.pop(call, None)
        return out

    def _all(self, ref: str) -> Holdings:
        """What all processes hold together."""
        legs = tuple(
            LegHolding(leg, placed.evidence, placed.room, placed.role, placed.ports)
            for leg, placed in self._legs.items()
            if placed.held and placed.process in self._told
        )
        return Holdings(ref, legs, tuple(c for c, owner in self._captures.items() if owner in self._told))

    def snapshot(self) -> dict[str, Any]:
        """Give who is where as plain data."""
        return {
            "legs": {leg: [p.process, p.room, p.role, p.evidence] for leg, p in self._legs.items()},
            "captures": dict(self._captures),
            "moving": [[sorted(move.legs), move.source, move.target] for move in self._moves],
        }
