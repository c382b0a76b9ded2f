"""Random lives of a `World`: one function that does one thing, chosen by the random source it is given."""

import random

from pbx.call import seats, silence
from pbx.call.leg import State as LegState
from pbx.call.seats import Impossible
from rtp.control import Dtmf, Holdings, MediaLost, MediaStarted
from tests.kit.world import World, sdp

CALLERS = ("bob", "carol", "dave")


class Life:
    """Callers and dispatchers of one world; the same seed gives the same life."""

    def __init__(self, seed, *, wrap_up=2.0):
        self.world = World(desks=("d1", "d2"), wrap_up=wrap_up)
        self.chance = random.Random(seed)
        self.live = {}
        self.number = 0

    def step(self):
        """Do one thing."""
        actions = (
            self._call,
            self._call,
            self._caller,
            self._caller,
            self._desk,
            self._desk,
            self._silent,
            self._media,
            self._phone,
        )
        self.chance.choice((*actions, self._time))()

    def _call(self):
        caller = self.chance.choice(CALLERS)
        if caller in self.live and self.world.call(self.live[caller]) is not None:
            return
        self.number += 1
        name = self.live[caller] = f"{caller}{self.number}"
        self.world.media_answers = self.chance.random() < 0.8
        self.world.invite(
            name, uri=self.chance.choice(["sip:110@x", "sip:110-silent@x", "tel:110"]), headers=self._early()
        )

    def _caller(self):
        name = self.live.get(self.chance.choice(CALLERS))
        if name is None:
            return
        what = self.chance.choice(["ack", "ack", "bye", "cancel", "hold", "update", "text", "prack"])
        answer = self.world.last_answer(name)
        self.number += 1
        if what == "cancel":
            self.world.cancel(name)
        elif answer is None or answer.status != 200:
            return
        elif what == "ack":
            self.world.ack(name)
        elif what == "bye":
            self.world.bye(name)
        else:
            method, body, kind = {
                "hold": ("INVITE", sdp(direction="sendonly"), "application/sdp"),
                "update": ("UPDATE", self.chance.choice([b"", sdp()]), "application/sdp"),
                "text": ("MESSAGE", b"hi", "text/plain"),
                "prack": ("PRACK", b"", None),
            }[what]
            headers = (*self._timer(), ("RAck", "1 1 INVITE"))
            self.world.in_dialog(
                name,
                method,
                cseq=self.number + 60,
                body=body,
                content_type=kind if body else None,
                headers=headers,
            )

    def _early(self):
        """What the INVITE says of extensions."""
        update = (("Allow", "UPDATE"),) if self.chance.random() < 0.5 else ()
        require = (("Require", "100rel"),) if self.chance.random() < 0.3 else ()
        return (*self._timer(), *update, *require)

    def _timer(self):
        """What a phone says of session timers, if it says anything."""
        wish = self.chance.choice(["", "60", "120;refresher=uas", "200;refresher=uac"])
        return (("Supported", "timer"), ("Session-Expires", wish)) if wish else ()

    def _phone(self):
        """A phone answers the newest thing it was asked, or leaves it unanswered."""
        method = self.chance.choice(["INVITE", "UPDATE", "BYE", "MESSAGE"])
        asked = self.world.asked(method)
        if asked is None or asked.request.to.tag is None:
            return
        if self.chance.random() < 0.3:
            self.world.fails(method, self.chance.choice(["timeout", "transport"]))
            return
        status = self.chance.choice([200, 200, 200, 491, 405, 422, 500])
        body = sdp() if status == 200 and method == "INVITE" else b""
        headers = (*self._timer(), ("Min-SE", "150"))
        self.world.reply(method, status, headers=headers, body=body)

    def _desk(self):
        desk = self.chance.choice(("d1", "d2"))
        leg = self.world.desk_leg(desk)
        what = self.chance.choice(["in", "in", "pause", "resume", "end", "out", "bye", "vanish", "keys"])
        if leg is None:
            self.world.media_answers = True
            self.world.media()
            self.world.sign_in(desk, answer=self.chance.random() < 0.8)
        elif leg.state is LegState.CALLING:
            self.world.pick_up(desk, self.chance.choice([200, 486]))
        elif leg.state is LegState.CONFIRMED and what in {"bye", "vanish", "keys"}:
            match what:
                case "bye":
                    self.world.desk_request(desk, "BYE")
                case "vanish":
                    self.world.desk_vanishes(desk)
                case "keys":
                    for digit in "*13":
                        self.world.says(Dtmf(leg.id, digit))
        else:
            verbs = {
                "pause": seats.pause,
                "resume": seats.resume,
                "end": seats.end_call,
                "out": seats.sign_out,
            }
            self._try(lambda: verbs.get(what, seats.resume)(self.world.exchange, desk, self.world.now))

    def _silent(self):
        calls = list(self.world.exchange.calls)
        verb = self.chance.choice([silence.silent_on, silence.ask_silent_off, silence.confirm_silent_off])
        if calls:
            call = self.chance.choice(calls)
            self._try(lambda: verb(self.world.exchange, call, "x", self.world.now))

    def _media(self):
        what = self.chance.choice(["answers", "answers", "lost", "started", "restart"])
        legs = list(self.world.exchange.legs)
        if what == "answers":
            self.world.media_answers = True
            self.world.media()
        elif what == "restart" and self.world.media_answers:
            self.world.commands.clear()
            self.world.rooms.clear()
            self.world.legs.clear()
            self.world.says(Holdings("", (), ()))
        elif legs:
            leg = self.chance.choice(legs)
            self.world.says(
                MediaStarted(leg, "audio", 1) if what == "started" else MediaLost(leg, "audio", 5.0)
            )

    def _time(self):
        self.world.wait(self.chance.choice([0.1, 1.0, 4.1, 16.0, 40.0]))

    def _try(self, verb):
        try:
            effects = verb()
        except Impossible:
            return
        self.world.run(effects)
