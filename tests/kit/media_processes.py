"""Fake media processes and the signalling that commands them, on a wire that may lose any of them."""

from collections import deque

from rtp import control as c
from rtp.moving import LegsMoved, MoveLegs
from rtp.placed import Gone, Said, To, Up
from rtp.placement import Placement
from rtp.room import Entered, RefusedEntry, Rooms


class Process:
    """What a media process does with commands, and nothing of what it does with packets."""

    def __init__(self, number, net):
        self.number, self.net = number, net
        self.alive = False
        self.start()

    def start(self):
        self.legs, self.captures, self.rooms = {}, set(), Rooms()
        self.inbox, self.outbox, self.arrivals = deque(), deque(), deque()
        self.busy = set()

    def take_arrivals(self):
        while self.arrivals:
            legs, captures, places = self.arrivals.popleft()
            self.legs |= legs
            self.captures |= captures
            for leg, (room, role) in places.items():
                self.rooms.receive(c.Join(room, leg, role), 0)
            self.outbox.append(LegsMoved(tuple(sorted(legs))))

    def holdings(self, ref=""):
        self.take_arrivals()
        legs = tuple(
            c.LegHolding(leg, call, *(self.rooms.place(leg) or (None, None)), ())
            for leg, call in self.legs.items()
        )
        return c.Holdings(ref, legs, tuple(self.captures))

    def do(self, command):
        match command:
            case c.OpenEvidence(call):
                self.captures.add(call)
                self.outbox.append(c.EvidenceOpened(call))
            case c.CloseEvidence(call) | c.NoteSip(call):
                assert call in self.captures, f"{command} went to {self.number}"
                if isinstance(command, c.CloseEvidence):
                    self.captures.discard(call)
                    self.outbox.append(c.EvidenceClosed(call, 0, 0))
            case c.OpenLeg(leg, evidence=call):
                self.take_arrivals()
                assert call is None or call in self.captures, "a leg is where its capture is"
                self.legs[leg] = call
                self.outbox.append(c.LegOpened(leg, ()))
            case c.Query(ref):
                self.outbox.append(self.holdings(ref))
            case MoveLegs(legs, captures, target):
                self.move(legs, captures, self.net.processes[target])
            case _:
                assert command.leg in self.legs, f"{command} went to {self.number}"
                if isinstance(command, c.CloseLeg):
                    del self.legs[command.leg]
                if isinstance(command, c.Join | c.Leave | c.CloseLeg):
                    for effect in self.rooms.receive(command, 0):
                        if isinstance(effect, Entered):
                            self.outbox.append(c.Joined(effect.room, effect.leg))
                        elif isinstance(effect, RefusedEntry):
                            self.outbox.append(c.Refused("Join", effect.leg, effect.reason))
                self.net.done.append((self.number, command))

    def move(self, legs, captures, target):
        if not target.alive or self.busy & set(legs):
            self.outbox.append(c.Refused("MoveLegs", legs[0], "unreachable"))
            return
        places = {leg: place for leg in legs if (place := self.rooms.place(leg))}
        gone = {leg: self.legs.pop(leg) for leg in legs}
        for leg in legs:
            self.rooms.receive(c.CloseLeg(leg), 0)
        taken = self.captures & set(captures)
        self.captures -= taken
        target.arrivals.append((gone, taken, places))


class Net:
    """N fake processes and a signalling that knows what should be."""

    def __init__(self, count=2, *, start=True):
        self.placement = Placement(count)
        self.processes = [Process(number, self) for number in range(count)]
        self.now, self.done, self.up = 0.0, [], []
        self.legs, self.calls, self.rooms = {}, set(), {}  # what signalling wants
        self.closing = set()
        self.todo = deque()
        self.running = False
        if start:
            for process in self.processes:
                self.connect(process.number)

    def connect(self, number):
        process = self.processes[number]
        process.alive = True
        process.inbox.clear()
        process.outbox.clear()
        process.outbox.append(process.holdings())

    def send(self, *commands):
        for command in commands:
            self.run(self.placement.receive(command, self.now))

    def run(self, effects):
        self.todo.extend(effects)
        if self.running:
            return
        self.running = True
        while self.todo:
            match self.todo.popleft():
                case To(number, command):
                    if self.processes[number].alive:
                        self.processes[number].inbox.append(command)
                case Up(event):
                    self.up.append(event)
                    if isinstance(event, c.Holdings):
                        self.repeat(event)
                    elif isinstance(event, c.EvidenceClosed):
                        self.closing.discard(event.call)
        self.running = False

    def repeat(self, held):
        """As signalling's `reconcile` does."""
        kept = {holding.leg for holding in held.legs}
        assert len(kept) == len(held.legs)
        self.send(*[c.CloseLeg(leg) for leg in kept - self.legs.keys()])
        self.send(*[c.CloseEvidence(call) for call in set(held.evidence) - self.calls - self.closing])
        self.send(*[c.OpenEvidence(call, "") for call in sorted(self.calls - set(held.evidence))])
        for leg, call in self.legs.items():
            if leg not in kept:
                self.send(c.OpenLeg(leg, ("audio",), "", call))
                if leg in self.rooms:
                    self.send(c.Join(self.rooms[leg][0], leg, self.rooms[leg][1]))

    def step(self, number):
        """One process carries out one command, or one thing it said arrives."""
        process = self.processes[number]
        if not process.alive:
            return
        if process.arrivals:
            process.take_arrivals()
        elif process.inbox:
            process.do(process.inbox.popleft())
        elif process.outbox:
            self.run(self.placement.receive(Said(number, process.outbox.popleft()), self.now))

    def kill(self, number):
        if self.processes[number].alive:
            self.processes[number].alive = False
            self.processes[number].start()
            self.run(self.placement.receive(Gone(number), self.now))

    def expire(self):
        if self.placement.next_due is not None:
            self.now = max(self.now, self.placement.next_due)
            self.run(self.placement.expire(self.now))

    def settle(self):
        for process in self.processes:
            process.busy.clear()
            if not process.alive:
                self.connect(process.number)
        for _ in range(60):
            for number in range(len(self.processes)):
                for _ in range(80):
                    self.step(number)
            self.expire()

    # --- what signalling does ---

    def open(self, leg, call=None):
        if call is not None and call not in self.calls:
            self.calls.add(call)
            self.send(c.OpenEvidence(call, ""))
        self.legs[leg] = call
        self.send(c.OpenLeg(leg, ("audio",), "", call))

    def join(self, leg, room, role):
        self.rooms[leg] = (room, role)
        self.send(c.Join(room, leg, role))

    def leave(self, leg):
        self.rooms.pop(leg, None)
        self.send(c.Leave(leg))

    def close(self, leg):
        self.rooms.pop(leg, None)
        call = self.legs.pop(leg)
        self.send(c.CloseLeg(leg))
        if call is not None and call not in self.legs.values():
            self.calls.discard(call)
            self.closing.add(call)
            self.send(c.CloseEvidence(call))

    def check(self):
        """What is wanted is so, once everything has come to rest."""
        where = {leg: p.number for p in self.processes for leg in p.legs}
        assert where.keys() == self.legs.keys()
        assert sum(len(p.legs) for p in self.processes) == len(where), "a leg is in one process"
        captures = {call: p.number for p in self.processes for call in p.captures}
        assert captures.keys() == self.calls
        assert all(call is None or captures[call] == where[leg] for leg, call in self.legs.items())
        for leg in self.legs:
            assert self.processes[where[leg]].rooms.place(leg) == self.rooms.get(leg), leg
        for room in {room for room, _ in self.rooms.values()}:
            assert len({where[leg] for leg, (inside, _) in self.rooms.items() if inside == room}) == 1, room
        snapshot = self.placement.snapshot()
        assert {leg: row[0] for leg, row in snapshot["legs"].items()} == where
        assert not snapshot["moving"]
