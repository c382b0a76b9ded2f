"""A whole shift at random: four desks, a supervisor among them, people who are called in, callers who dial again, and every order
a dispatcher can give, in any order. `Life` is callers and desks that only take calls; this is what hands do to them.
"""

from typing import get_args

from pbx.call import hands, seats
from pbx.call.callbacks import Callbacks
from pbx.call.effects import SendCancel, SendRequest
from pbx.call.hands import Verb
from pbx.call.hangup import hang_up
from pbx.call.impossible import Impossible
from pbx.call.leg import State as LegState
from pbx.sip.digest import authorize
from pbx.sip.effects import ResponseArrived
from pbx.sip.parser import parse
from rtp.control import Dtmf
from tests.kit.life import Life
from tests.kit.world import HOST, World, sdp

SEATS = ("d1", "d2", "d3", "d4")
CALLED_IN = ("d5", "d6")
"""Dispatchers who have a phone and never sign in: they are called."""
CITIZENS = ("alice", "amy")
VERBS = get_args(Verb)
SUPERVISES = ("listen", "whisper", "barge")
TARGETS = (
    *SEATS,
    *CALLED_IN,
    *CITIZENS,
    "queue",
    "queue:default",
    "queue:sea",
    "",
    "on",
    "off",
    "still",
    "nobody",
    "119",
)
WALL = 1_800_000_000.0


class Book(World):
    """A world whose notes also reach the tasks to call somebody back."""

    def __init__(self, **how):
        self.book = Callbacks()
        self.booked = 0  # notes it has heard
        super().__init__(**how)

    def run(self, effects):
        super().run(effects)
        while self.booked < len(self.notes):
            self.booked += 1
            self.book.noted(self.notes[self.booked - 1], WALL + self.now)
        self.check_book()

    def check_book(self):
        """Nobody is to be called back who is there."""
        there = {
            call.incident for call in self.exchange.calls.values() if call.state in {"waiting", "talking"}
        }
        assert not there & {task["incident"] for task in self.book.tasks()}


class Shift(Life):
    """See the module; the same seed gives the same shift."""

    def __init__(self, seed, *, kind=Book, wrap_up=2.0):
        super().__init__(seed, wrap_up=wrap_up)
        self.world = kind(desks=(*SEATS, *CALLED_IN), callers=CITIZENS, supervisors=("d4",), wrap_up=wrap_up)
        for name in (*CALLED_IN, *CITIZENS):
            self.world.register(name)
        for desk in SEATS:
            self.world.sign_in(desk)
        self.seen = 0  # of what was sent
        self.done = {}  # verb → how often it was carried out

    def step(self):
        """Do one thing."""
        plain = (super().step,) * 3
        orders = (self._order,) * 3
        phones = (
            self._redial,
            self._called_in,
            self._called_in,
            self._goes,
            self._types,
            self._comes,
            self._comes,
        )
        self.chance.choice((*plain, *orders, *phones))()
        self._byes()

    def _comes(self):
        """A desk that is signed out signs in, and its phone picks up."""
        gone = [desk for desk in SEATS if self.world.exchange.room(desk).leg is None]
        if gone and self.world.media_answers:
            self.world.sign_in(self.chance.choice(gone))

    def _byes(self):
        """Each phone we hang up on says 200, each that rings no more 487."""
        world = self.world
        while self.seen < len(world.sent):
            sent = world.sent[self.seen]
            self.seen += 1
            if isinstance(sent, SendCancel):
                rung = next(
                    one for one in self.world.sent if isinstance(one, SendRequest) and one.ref == sent.ref
                )
                world._desk_answers(rung, rung.request.to.uri.user, 487, b"")
            if isinstance(sent, SendRequest) and sent.request.method == "BYE":
                response = sent.request.response(200)
                response.headers.prepend("Via", "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKbye")
                world.concluded(ResponseArrived(sent.ref, parse(response.encode()), sent.flow))

    def _order(self):
        self.number += 1
        world = self.world
        busy = [desk for desk in SEATS if world.exchange.room(desk).guest is not None]
        # Mostly who talks, to whom there is: most of what is wholly at random is impossible.
        desk = self.chance.choice(busy if busy and self.chance.random() < 0.6 else SEATS)
        verb, target = (
            self.chance.choice(VERBS),
            self.chance.choice(SEATS if self.chance.random() < 0.5 else TARGETS),
        )
        if verb in SUPERVISES and self.chance.random() < 0.8:
            desk, target = "d4", self.chance.choice(busy or SEATS)
        try:
            effects = hands.act(self.world.exchange, hands.Order(desk, verb, target), self.world.now)
        except Impossible:
            return
        self.done[verb] = self.done.get(verb, 0) + 1
        self.world.run(effects)

    def _redial(self):
        """A citizen with an account dials, whether or not a call of its stands."""
        user = self.chance.choice(CITIZENS)
        self.number += 1
        uri = self.chance.choice(["sip:110@192.0.2.1", "sip:110-silent@192.0.2.1"])
        world = self.world
        question = world.request("REGISTER", "sip:at110", user, cseq=9000 + self.number, call_id=f"q-{user}")
        question.headers.set("To", f"<sip:{user}@at110>")
        answer = world.answers[world.arrive(question, user)][-1]
        challenge = next(c for c in answer.headers.all("WWW-Authenticate") if "SHA-256" in c)
        token = authorize(
            challenge, user=user, password=f"pw-{user}", method="INVITE", uri=uri, cnonce="c", nc=1
        )
        request = world.request(
            "INVITE",
            uri,
            user,
            body=sdp(),
            content_type="application/sdp",
            call_id=f"{user}/{self.number}",
            headers=(("Authorization", token),),
        )
        world.arrive(request, user)

    def _called_in(self):
        """Somebody whose phone rings picks up, or does not."""
        ringing = [
            leg
            for leg in self.world.exchange.legs.values()
            if leg.state is LegState.CALLING and self._asked(leg) is not None
        ]
        if ringing:
            leg = self.chance.choice(ringing)
            sent = self._asked(leg)
            self.world._desk_answers(
                sent,
                sent.request.to.uri.user,
                self.chance.choice([200, 200, 200, 486, 603]),
                sdp(address="192.0.2.99"),
            )

    def _asked(self, leg):
        """The newest INVITE of a leg."""
        return next(
            (
                sent
                for sent in reversed(self.world.sent)
                if getattr(sent, "request", None) is not None
                and sent.request.method == "INVITE"
                and leg.dialog is None
                and leg.invite is not None
                and sent.request.headers.get("Call-ID") == leg.invite.headers.get("Call-ID")
            ),
            None,
        )

    def _goes(self):
        """Any phone hangs up, or its network dies."""
        legs = [leg for leg in self.world.exchange.legs.values() if leg.state is LegState.CONFIRMED]
        if not legs:
            return
        leg = self.chance.choice(legs)
        if self.world.exchange.owners[leg.id].id in SEATS and self.chance.random() < 0.7:
            return
        if self.chance.random() < 0.5:
            self._bye(leg)
        else:
            self.world.run(self.world.exchange.run(hang_up(leg), self.world.now, leg.id))

    def _bye(self, leg):
        dialog, world = leg.dialog, self.world
        request = world.request(
            "BYE", f"sip:x@{HOST}", "x", cseq=(dialog.remote_seq or 0) + 1, to_tag=dialog.local_tag
        )
        request.headers.set("From", f"<sip:x@{HOST}>;tag={dialog.remote_tag}")
        request.headers.set("Call-ID", dialog.call_id)
        world.arrive(world._again(request), "x")

    def _types(self):
        leg = self.world.desk_leg(self.chance.choice(SEATS))
        if leg is not None and leg.state is LegState.CONFIRMED:
            for key in self.chance.choice(
                ["*0", "*1", "*2", "*3", "*4", "*5", "*6", "*7", "*8", "*9", "*20#", "*2d2#", "**", "#"]
            ):
                self.world.says(Dtmf(leg.id, key))

    def end(self):
        """Everybody hangs up and every desk signs out."""
        world = self.world
        world.media_answers = True
        world.media()
        for _ in range(3):
            for call in list(world.exchange.calls.values()):
                leg = world.exchange.leg(call.leg)
                if leg is not None:
                    world.run(world.exchange.run(hang_up(leg), world.now, leg.id))
            for desk in SEATS:
                self._try(lambda desk=desk: seats.sign_out(world.exchange, desk, world.now))
            self._byes()
            world.wait(60.0)
            self._byes()
