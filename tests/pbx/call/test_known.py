"""What is known of a caller reaches the dispatcher, in the order it matters, and never touches whether or when a call is served."""

from dataclasses import replace

import pytest

from pbx.call import known
from pbx.call.call_events import FactsTold
from pbx.call.effects import AskFacts, SendRequest
from pbx.call.exchange import Exchange
from tests.kit.trunks import TrunkWorld
from tests.kit.world import World
from tests.test_snapshots import through_bytes

HISTORY = {"calls": 7, "recent": 2, "last": 1.8e9, "marks": {"hoax": 5}}
SUBSCRIBER = {"name": "王丽", "address": "滨海路1号", "by": "operator.example", "at": 1.8e9}


class Curious(TrunkWorld):
    """A world that keeps what was asked about callers."""

    def __init__(self, **how):
        self.asked_facts = []
        super().__init__(**how)

    def run(self, effects):
        effects = list(effects)
        self.asked_facts += [one for one in effects if isinstance(one, AskFacts)]
        super().run(effects)

    def tells(self, call, source, found=None, why=None):
        answer = FactsTold(source, dict(found or {}), why)
        self.run(self.exchange.run(known.told(self.exchange, call, answer, self.now), self.now))

    def written_to(self, desk):
        leg = self.exchange.room(desk).leg
        return [
            one.request.body.decode()
            for one in self.sent
            if isinstance(one, SendRequest)
            and one.request.method == "MESSAGE"
            and one.ref.split("/")[0] == leg
        ]


def with_needs(world, user="alice", **facts):
    world.accounts[user] = replace(world.accounts[user], **facts)
    world.register(user)


# --- who is asked about ---------------------------------------------------------------------------------------------------


def test_a_number_is_asked_about_when_a_trunk_vouches_for_it():
    world = Curious()
    world.comes("19900001111")
    (asked,) = world.asked_facts
    assert (asked.account, asked.number, asked.trunk) == (None, "+8619900001111", "t1")


def test_a_proven_account_is_asked_about_and_no_stranger():
    world = Curious()
    world.register("alice")
    world.invite("alice")
    world.invite("13900000000")
    assert [(one.account, one.trunk) for one in world.asked_facts] == [("alice", None)]


def test_a_withheld_number_is_nobodys():
    world = Curious()
    world.comes("anonymous")
    assert world.asked_facts == []


# --- what comes of it -----------------------------------------------------------------------------------------------------


def test_the_call_is_answered_and_put_through_before_anybody_answers_about_it():
    world = Curious(desks=("d1",))
    world.sign_in("d1")
    world.comes("19900001111")
    call = next(iter(world.exchange.calls.values()))
    assert world.last_answer("19900001111").status == 200
    assert call.desk == "d1"
    world.tells(call.id, "subscriber", SUBSCRIBER)
    (late,) = [text for text in world.written_to("d1") if "王丽" in text]
    assert "operator.example" in late
    assert world.noted("caller_facts")[-1].fields == {"source": "subscriber", "found": SUBSCRIBER}


def test_what_came_while_the_caller_waited_is_read_with_the_call():
    world = Curious(desks=("d1",))
    world.register("alice")
    world.invite("alice")
    world.ack("alice")
    world.tells(world.call("alice").id, "history", HISTORY)
    world.sign_in("d1")
    (told,) = [text for text in world.written_to("d1") if "110" in text]
    assert "7 earlier calls" in told
    assert len([text for text in world.written_to("d1") if "earlier" in text]) == 1, "and once only"


def test_an_answer_that_fails_is_stated_and_nothing_else():
    world = Curious()
    world.comes("19900001111")
    call = next(iter(world.exchange.calls))
    world.tells(call, "subscriber", why="no answer within 0.3 s")
    assert world.noted("caller_facts")[-1].fields == {"source": "subscriber", "why": "no answer within 0.3 s"}
    assert known.advice(world.exchange.calls[call]) == []


def test_an_answer_after_the_call_is_nobodys():
    world = Curious()
    world.tells("gone", "history", HISTORY)
    assert world.noted("caller_facts") == []


def test_a_party_outside_reads_none_of_it():
    from tests.kit.hands import order, party, talking

    world = talking(kind=Curious)
    order(world, "d1", "transfer", "119")
    world.accept(world.out("INVITE")[-1], headers=(("Allow", "MESSAGE"),))
    call = world.call("bob")
    assert call.desk == party(world).desk
    world.tells(call.id, "history", HISTORY)
    assert world.written_to(call.desk) == []


# --- advice -----------------------------------------------------------------------------------------------------------------


def test_how_to_talk_comes_first_and_what_others_thought_last():
    world = Curious()
    with_needs(world, needs=("deaf",))
    world.invite("alice")
    call = world.call("alice")
    for source, found in (("history", HISTORY), ("subscriber", {**SUBSCRIBER, "needs": ["deaf", "speech"]})):
        world.tells(call.id, source, found)
    lines = known.advice(call)
    words = [
        "deaf",
        "can't speak",
        "call number 3 within an hour",
        "subscriber by",
        "7 earlier",
        "5 marked as hoaxes",
    ]
    assert len(lines) == len(words)
    assert all(word in line for word, line in zip(words, lines, strict=True)), lines


def test_what_is_not_known_is_not_said():
    world = Curious()
    world.register("alice")
    world.invite("alice")
    world.tells(world.call("alice").id, "history", {"calls": 0, "recent": 0, "last": None, "marks": {}})
    assert known.advice(world.call("alice")) == []


def test_who_marked_last_and_when():
    world = Curious()
    world.register("alice")
    world.invite("alice")
    marked = {"hoax": {"by": "8001", "at": 1795352400.0, "note": "laughed"}}
    world.tells(
        world.call("alice").id, "history", {"calls": 3, "marks": {"hoax": 2, "nuisance": 1}, "marked": marked}
    )
    assert known.advice(world.call("alice"))[1:] == [
        "其中2次被标记为虚假报警（最近：8001，2026-11-22 13:00 UTC） 2 marked as hoaxes by dispatchers (last: 8001, 2026-11-22 13:00 UTC)",
        "其中1次被标记为骚扰 1 marked as nuisance by dispatchers",
    ]


@pytest.mark.parametrize("marks", [{"hoax": 50}, {"nuisance": 50, "hoax": 50}])
def test_a_caller_of_fifty_hoaxes_is_answered_and_stands_where_anybody_would(marks):
    """History orders advice; it refuses nobody, and delays nobody."""
    world = Curious()
    world.register("alice")
    for name in ("alice", "bob"):
        world.invite(name)
        world.ack(name)
    before = world.exchange.acd.snapshot()
    world.tells(world.call("alice").id, "history", {"calls": 50, "recent": 50, "last": 1.8e9, "marks": marks})
    assert world.exchange.acd.snapshot() == before
    world.sign_in("d1")
    assert world.call("alice").desk == "d1"


# --- needs ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "wanted"),
    [
        ({"needs": ("deaf",)}, {"sign"}),
        ({"needs": ("speech", "deaf")}, {"sign", "text"}),
        ({"language": "ug-CN"}, {"ug"}),
        ({}, set()),
    ],
)
def test_what_a_person_needs_is_what_the_queue_looks_for(facts, wanted):
    world = Curious()
    with_needs(world, **facts)
    world.invite("alice")
    (place,) = world.exchange.acd.queue
    assert place.needs == {*wanted, "video"}


def test_what_the_phone_says_of_languages_goes_before_the_account():
    world = Curious()
    with_needs(world, language="ug")
    offer = (
        b"v=0\r\no=- 1 1 IN IP4 192.0.2.77\r\ns=-\r\nc=IN IP4 192.0.2.77\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n"
        b"a=hlang-send:zh\r\na=hlang-recv:zh\r\n"
    )
    world.invite("alice", body=offer)
    assert world.exchange.acd.queue[0].needs == {"zh"}


def test_who_only_claims_to_be_somebody_has_nobodys_needs():
    world = Curious()
    world.accounts["alice"] = replace(world.accounts["alice"], needs=("deaf",))
    world.invite("alice")
    assert world.exchange.acd.queue[0].needs == {"video"}
    assert world.call("alice").facts == {}


def test_facts_survive_a_restart():
    world = World()
    world.accounts["alice"] = replace(world.accounts["alice"], needs=("deaf",), language="zh")
    world.register("alice")
    world.invite("alice")
    before = world.call("alice").facts
    again = Exchange.restore(
        through_bytes(world.exchange.snapshot()), world.exchange.site, world.exchange.mint
    )
    (call,) = again.calls.values()
    assert call.facts == before == {"account": {"language": "zh", "needs": ["deaf"]}}
