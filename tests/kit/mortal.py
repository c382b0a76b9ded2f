"""A stand that dies at a chosen moment and comes back from its journal, with a media process that lives on.

As in the real shell one turn (an event and all it causes) ends in two steps: what changed goes into the journal, then the
world hears of it. `die_at` names the turn and the step: `before` the journal is written, `after` it but before anything
leaves, or `later`, when everything has left.
"""

from collections import deque

from pbx.call import resync
from pbx.call.answering import Answering, Registrations
from pbx.call.effects import Note, Respond, ToMedia
from pbx.call.exchange import Exchange
from pbx.call.live_state import LiveState
from pbx.call.media_events import media_said
from pbx.call.reception import Reception
from pbx.live.frames import packed, unpacked
from pbx.live.journal import Journal
from pbx.live.outward import HeldMedia, Outward
from pbx.sip import effects as sip
from pbx.sip.kept_transactions import KeptLayer
from rtp.control import (
    CloseEvidence,
    EvidenceClosed,
    EvidenceOpened,
    Holdings,
    LegHolding,
    LegOpened,
    OpenEvidence,
    OpenLeg,
    PortPair,
    Refused,
)
from tests.kit.stand import Stand

KEY = bytes(range(32))
BOOT = "a boot of the test"
GRACE = 8.0


class Killed(Exception):  # noqa: N818 - it is no fault
    """The process is dead."""


class Commands:
    """What the media process is sent."""

    def __init__(self):
        self.sent = []

    def send(self, command):
        self.sent.append(command)


class Mortal(Stand):
    """See the module."""

    def __init__(self, folder, *, die_at=None, **how):
        super().__init__(**how)
        self.folder, self.die_at = folder, die_at
        self.turns = 0
        self.deaths = 0
        self.dead = False
        self.evidence = {}  # call -> whether it is open
        self.pairs = {}  # leg -> its ports
        self.arrived = []  # calls that came into the books, for good
        self.layer = KeptLayer()
        self.reception = Reception()
        self.busy = False  # no call begins meanwhile
        self._open({})

    def _open(self, records):
        self.live = LiveState(self.exchange)
        self.media_commands = Commands()
        self.held_media = HeldMedia(Outward(), self.media_commands)
        self.journal = Journal(self.folder, KEY, BOOT)
        assert self.journal.begin(records, [], mono=self.now, wall=0, base=0)

    # --- one turn ---

    def run(self, effects):
        """Run one event and all it causes, then end the turn."""
        packets, notes = len(self.packets), len(self.notes)
        done = len(self.finished)
        todo = deque(effects)
        while todo:
            todo.extendleft(reversed(self._carry(todo.popleft())))
        try:
            self._end_turn()
        except Killed as killed:
            step = str(killed)
            if step == "before":  # what was decided and not written never happened
                del self.notes[notes:], self.finished[done:]
            if step != "later":  # and what was written never left; files and rows are done again (`outward`)
                del self.packets[packets:]
            self.come_back()
            return
        self.check()
        self.begin()

    def begin(self):
        """Begin the calls that wait, each in a turn of its own, as the shell does when nothing else is to be done."""
        while not (self.busy or self.dead) and (one := self.reception.next()) is not None:
            effects = list(self.answering.request(one.event, self.now, 1.8e9))
            if one.cancelled is not None:
                effects += self.exchange.sip(one.cancelled, self.now)
            self.run(effects)

    def _carry(self, effect):
        match effect:
            case sip.RequestArrived() if (source := self.answering.help_from(effect)) is not None:
                self.reception.arrive(effect, source, self.now)
                return self.layer.trying(effect.transaction, self.now)
            case sip.Cancelled(transaction) if (gone := self.reception.cancel(effect)) is not None:
                return [Respond(transaction, gone[0].event.request.response(487, to_tag="gone"))]
            case ToMedia(command):
                self.held_media.send(command)
                return []
            case Note("call_arrived", call):
                self.arrived.append((call, self.turns + 1))
        return super()._carry(effect)

    def _dies(self, step):
        if self.die_at == (self.turns, step):
            self.die_at = None
            if step == "before":
                self.arrived = [one for one in self.arrived if one[1] != self.turns]
            raise Killed(step)

    def _end_turn(self):
        self.turns += 1
        self._dies("before")
        changes = []
        sources = {"exchange": self.live, "sip": self.layer, "plays": self.held_media}
        for name, source in {**sources, "reception": self.reception}.items():
            for record, data in source.changes():
                changes.append((f"{name}:{record}", None if data is None else packed(data)))
        assert self.journal.append(changes, [], mono=self.now, wall=0, base=0)
        self._dies("after")
        commands, self.media_commands.sent = self.media_commands.sent, []
        replies = [reply for command in commands for reply in self._obeyed(command)]
        self._dies("later")
        for reply in replies:
            self.run(media_said(self.exchange, reply, self.now))

    def _obeyed(self, command):
        """Have the media process carry a command out; return what it says."""
        match command:
            case OpenLeg(leg, media, ports=before):
                if leg not in self.pairs or leg not in self.legs:
                    known = {pair.medium: pair for pair in before}
                    self.pairs[leg] = tuple(
                        known.get(m) or PortPair(m, p := next(self._ports), p + 1) for m in media
                    )
                    self.legs.add(leg)
                return [LegOpened(leg, self.pairs[leg])]
            case OpenEvidence(call):
                self.evidence[call] = True
                return [EvidenceOpened(call)]
            case CloseEvidence(call):
                if call not in self.evidence:
                    return [Refused("CloseEvidence", call, "unknown_call")]
                self.evidence[call] = False
                return [EvidenceClosed(call, 10, 1000)]
        self._media(command)
        return []

    # --- back ---

    def come_back(self):
        """Make everything of the journal again, as a new process does, and tell the media process."""
        self.deaths, self.dead = self.deaths + 1, True
        found = Journal(self.folder, KEY, BOOT).read()
        assert (found.why, found.cut) == (None, 0)
        state = {"exchange": {}, "sip": {}, "plays": {}, "reception": {}}
        for name, data in found.records.items():
            source, _, record = name.partition(":")
            state[source][record] = unpacked(data)
        self.exchange = Exchange(self.exchange.site, self.exchange.mint)
        phones = self.answering._phones
        self.answering = Answering(
            self.exchange, Registrations(phones.registrar, phones.gate, phones.jitter, phones.changed)
        )
        self.layer, self.reception = KeptLayer(), Reception()
        self._open(found.records)
        assert self.live.resume(state["exchange"], self.now, GRACE) == []
        assert self.layer.resume(state["sip"], self.now, GRACE) == []
        assert self.reception.resume(state["reception"], self.layer.asked) == []
        self.held_media.resume(state["plays"])
        legs = tuple(
            LegHolding(leg, None, *self.rooms.get(leg, (None, None)), self.pairs[leg])
            for leg in sorted(self.legs)
        )
        held = Holdings("", legs, tuple(call for call, there in self.evidence.items() if there))
        told = list(
            media_said(self.exchange, held, self.now)
        )  # what the media process says to that comes after both
        self.run([*told, *resync.resync(self.exchange, held, self.held_media.plays, self.now)])
        holds = {ref: self.layer.holds(ref) for ref in resync.calling(self.exchange)}
        self.run(resync.unsent(self.exchange, holds, self.now))
        self.dead = False
        self.check()
        self.begin()

    def check(self):
        """Compare the books only when nothing is on its way to the media process."""
        if not (self.dead or self.media_commands.sent):
            super().check()
