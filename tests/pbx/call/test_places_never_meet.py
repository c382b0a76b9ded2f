"""What phones are sent never contains another person's location: not in a header, an SDP, a text, a NOTIFY or a multipart, over any
life. Every caller says where it is in every way a phone can; each place is one nobody else has, and is looked for in every byte.
"""

import random
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pbx.call import hands
from pbx.call.effects import AnswerOnce, Respond, SendAck, SendElsewhere, SendRequest
from pbx.call.seats import Impossible
from pbx.location import writing
from routing.gcj02 import to_gcj02
from tests.kit import places
from tests.kit.life import CALLERS, Life
from tests.kit.marked import Marked
from tests.kit.watcher import WatchedWorld
from tests.kit.world import HOST, sdp

CIVIC = """<?xml version="1.0"?>
<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:gp="urn:ietf:params:xml:ns:pidf:geopriv10"
 xmlns:ca="urn:ietf:params:xml:ns:pidf:geopriv10:civicAddr" entity="pres:mp{n:05d}z@phone"><tuple id="t"><status><gp:geopriv>
<gp:location-info><ca:civicAddress xml:lang="zh"><ca:country>CN</ca:country><ca:A1>山东省</ca:A1><ca:RD>路mr{n:05d}z</ca:RD>
<ca:HNO>mh{n:05d}z</ca:HNO></ca:civicAddress></gp:location-info><gp:usage-rules/></gp:geopriv></status></tuple></presence>"""
SPOKEN = re.compile(rb"m[prhg](\d{5})z")
"""Entity, road, house number and reference of a place; other marks of `tests.kit.marked` are of the person."""
DIGITS = re.compile(rb"\d+\.\d{4,}")
SEATS = ("d1", "d2")


def position(number):
    """Degrees that are a caller's alone to the fourth decimal, in WGS 84 and on Chinese maps."""
    return 36.0 + number * 0.00737, 120.0 + number * 0.01319


def key(degrees):
    """The digits a place is known by: those that stand however many more are written."""
    return f"{degrees:.7f}".encode()[:-3]


class Located(Marked, WatchedWorld):
    """Every caller says in every request where it is; `looked` counts what was looked at, by method."""

    def __init__(self, **how):
        self.degrees = {}  # digits of a place → the caller's mark
        self.looked = {}
        super().__init__(**how)
        self.exchange.whereabouts.districts = places.districts()

    def request(self, method, uri, name, *, body=b"", content_type=None, headers=(), **how):
        number = self.numbers.get(name)
        if number is not None and method in {"INVITE", "UPDATE", "INFO", "MESSAGE"}:
            self._stands(number)
            said = writing.pidf_lo(
                writing.Circle(*position(number), 25.0),
                entity=f"pres:mp{number:05d}z@phone",
                timestamp="2026-11-22T08:00:00Z",
            )
            if number % 3 == 0:
                said = CIVIC.format(n=number).encode()
            if content_type == "application/sdp":
                content_type, body = writing.multipart(body, said, content_id="p@phone", boundary="b1")
            elif not body:
                content_type, body = "application/pidf+xml", said
            reference = f"<sip:mg{number:05d}z@{'phone' if number % 2 else 'presence.example'}>"
            headers = (
                *headers,
                ("Geolocation", f"<cid:p@phone>, {reference}"),
                ("Geolocation-Routing", "yes"),
            )
        return super().request(
            method, uri, name, body=body, content_type=content_type, headers=headers, **how
        )

    def _stands(self, number):
        wgs = position(number)
        for degrees in (*wgs, *to_gcj02(wgs)):
            assert self.degrees.setdefault(key(degrees), number) == number, "a place is one caller's"

    def places(self, data):
        """Marks of the callers whose places are in some bytes."""
        found = {int(number) for number in SPOKEN.findall(data)}
        return found | {
            self.degrees[cut]
            for digits in DIGITS.findall(data)
            if (cut := digits[: digits.index(b".") + 5]) in self.degrees
        }

    def scan(self, effect):
        super().scan(effect)
        match effect:
            case Respond(transaction, message) | AnswerOnce(transaction, message):
                own, kind = self.numbers.get(self.to.get(transaction)), message.cseq.method
            case SendRequest(request=message, flow=flow) | SendAck(message, flow):
                own, kind = self.numbers.get(self._whose(flow)), message.method
            case SendElsewhere(request=message):
                # A server of places is asked with the reference of the caller it is about, and by no other.
                own, kind = next(iter(self.places(str(message.uri).encode())), None), message.method
            case _:
                return
        self.looked[kind] = self.looked.get(kind, 0) + 1
        data = message.encode()
        assert self.places(data) <= {own}, (own, data)

    def _whose(self, flow):
        return next((name for name in self.numbers if self.flow(name).remote == flow.remote), None)


class LocatedLife(Life):
    """A life in which callers also move, desks hand callers on, and everybody who may watch watches."""

    def __init__(self, seed):
        super().__init__(seed)
        self.world = Located(desks=SEATS, wrap_up=2.0, supervisors=("d2",))
        for seat in SEATS:
            self.world.sign_in(seat)
            for event in ("dialog", "conference", "presence"):
                self.world.watch("d1", event, f"sip:{seat}@{HOST}", expires=3600)

    def step(self):
        self.chance.choice((super().step, super().step, super().step, self._moves, self._handed))()

    def _moves(self):
        name = self.live.get(self.chance.choice(CALLERS))
        answer = None if name is None else self.world.last_answer(name)
        if answer is None or answer.status != 200:
            return
        self.number += 1
        method = self.chance.choice(["INFO", "MESSAGE", "UPDATE", "INVITE"])
        body, kind = (sdp(), "application/sdp") if method in {"UPDATE", "INVITE"} else (b"", None)
        self.world.in_dialog(name, method, cseq=self.number + 60, body=body, content_type=kind)

    def _handed(self):
        verb = self.chance.choice(["transfer", "consult", "complete", "cancel", "take", "listen", "barge"])
        desk, other = self.chance.sample(SEATS, 2)
        order = hands.Order(desk, verb, self.chance.choice([other, "queue"]))
        try:
            self.world.run(hands.act(self.world.exchange, order, self.world.now))
        except Impossible:
            pass


def test_places_are_nobody_elses():
    world = Located()
    for number in range(1, 400):
        world._stands(number)
    for number in range(1, 400):
        data = writing.pidf_lo(writing.Circle(*position(number), 5.0), entity="pres:x", timestamp="")
        assert world.places(data) == {number}
        assert world.places(b"%.7f %.7f" % to_gcj02(position(number))) == {number}
        assert world.places(CIVIC.format(n=number).encode()) == {number}


def two_who_said_where():
    world = Located(desks=("d1",))
    for name in ("bob", "carol"):
        world.invite(name)
        world.ack(name)
    return world


def test_they_are_known_to_the_exchange():
    """A test that looks for what was never taken in could not fail."""
    world = two_who_said_where()
    seen = [world.exchange.whereabouts.place(world.call(name).id) for name in ("bob", "carol")]
    assert [world.places(repr(place).encode()) for place in seen] == [{1}, {2}]


@pytest.mark.parametrize(("of", "to"), [("carol", "bob"), ("bob", "carol"), ("bob", "d1")])
def test_a_place_in_a_message_to_another_is_noticed(of, to):
    world = two_who_said_where()
    world.sign_in("d1")
    where = world.exchange.whereabouts.best(world.call(of).id)
    leg = world.desk_leg("d1") if to == "d1" else world.exchange.legs[world.call(to).leg]
    message = world.request(
        "MESSAGE", "sip:x@phone", "d1", body=writing.passed_on(where), content_type="application/pidf+xml"
    )
    with pytest.raises(AssertionError):
        world.scan(SendRequest("x", message, leg.flow))


LOOKED: dict[str, int] = {}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), steps=st.integers(40, 120))
def _lives(seed, steps):
    life = LocatedLife(seed)
    chance = random.Random(seed)
    for _ in range(steps):
        life.step()
        life.world.wait(chance.choice([0.0, 0.01, 0.1]))
    life.world.wait(40.0)
    for kind, number in life.world.looked.items():
        LOOKED[kind] = LOOKED.get(kind, 0) + number


def test_no_phone_is_sent_where_another_person_is():
    LOOKED.clear()
    _lives()
    for kind in ("INVITE", "MESSAGE", "NOTIFY", "UPDATE", "INFO", "BYE", "ACK"):
        assert LOOKED[kind] >= 20, (kind, LOOKED)
