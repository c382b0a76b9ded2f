"""The notifier alone: order, pace, limits, and going on after a restart (RFC 6665 §4.2)."""

from collections import Counter
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbx import notifier as module
from pbx.call.effects import Respond
from pbx.notifier import BATCH, Notifier
from pbx.sip.effects import RequestArrived, TransactionFailed
from pbx.sip.errors import SipError
from pbx.sip.parser import parse
from pbx.subscription import ANSWER_SECONDS, MIN_INTERVAL
from tests.kit import sip
from tests.kit.notifier import TOPIC, NotifierTwin, answer, arrived, lamp, notifies, watch


class Watchers:
    """A notifier with many phones that answer at once."""

    def __init__(self, count, *, user="u"):
        self.notifier, self.now, self.sent = Notifier(), 100.0, []
        for number in range(count):
            self.take(
                self.notifier.subscribe(arrived(f"c{number}"), watch(user=user), self.now, tag=f"t{number}")
            )

    def take(self, effects):
        for sent in notifies(effects):
            self.sent.append((self.now, sent))
            self.take(self.notifier.outcome(answer(sent), self.now))

    def wait(self, seconds):
        end = self.now + seconds
        while (due := self.notifier.next_due) is not None and due <= end:
            self.now = max(self.now, due)
            self.take(self.notifier.expire(self.now))
        self.now = end


def test_the_answer_leaves_before_the_first_notify():
    effects = Notifier().subscribe(arrived("c"), watch(), 0.0, tag="t")
    accepted, first = effects
    assert isinstance(accepted, Respond)
    response = accepted.response
    assert (response.status, response.to.tag, response.expires) == (200, "t", 600)
    assert str(response.contact) == "<sip:8001@192.0.2.1:5060>"
    request = first.request
    assert (request.method, request.from_.tag, request.to.tag) == ("NOTIFY", "t", "f1")
    assert request.headers.get("Event") == "dialog"
    assert request.content_type == "application/dialog-info+xml"
    assert first.flow == sip.UDP


def test_many_watchers_of_one_seat_are_told_in_steps():
    world = Watchers(300)
    world.wait(1.0)
    world.sent.clear()
    world.take(world.notifier.change(TOPIC, lamp("c1"), world.now))
    assert len(world.sent) == BATCH, "the rest follows, so that a call can come in between"
    start = world.now
    world.wait(0.2)
    assert len(world.sent) == 300
    steps = sorted({at for at, _ in world.sent})
    assert max(sum(at == step for at, _ in world.sent) for step in steps) <= BATCH
    assert steps[-1] - start < 0.1


def test_the_last_in_line_is_not_put_off_for_ever():
    world = Watchers(300)
    world.wait(1.0)
    world.sent.clear()
    for number in range(100):
        world.take(world.notifier.change(TOPIC, lamp(f"c{number}"), world.now))
        world.wait(0.02)
    told = Counter(sent.request.call_id for _, sent in world.sent)
    assert len(told) == 300
    assert min(told.values()) >= 7, "two seconds at five a second, steps and all"


def test_what_changes_back_is_not_told():
    world = Watchers(1)
    world.wait(1.0)
    world.take(world.notifier.change(TOPIC, lamp("c1"), world.now))
    world.take(world.notifier.change(TOPIC, lamp("c1", "c2"), world.now))
    world.take(world.notifier.change(TOPIC, lamp("c1"), world.now))
    world.take(world.notifier.change(TOPIC, lamp("c1"), world.now))
    world.wait(5.0)
    assert len(world.sent) == 2


def test_a_lost_answer_does_not_silence_for_ever():
    notifier = Notifier()
    notifier.subscribe(arrived("c"), watch(), 0.0, tag="t")
    assert notifier.change(TOPIC, lamp("c1"), 1.0) == []
    assert notifier.next_due == ANSWER_SECONDS
    assert len(notifies(notifier.expire(ANSWER_SECONDS))) == 1


def test_provisional_and_foreign_answers_change_nothing():
    notifier = Notifier()
    first = notifies(notifier.subscribe(arrived("c"), watch(), 0.0, tag="t"))[0]
    assert notifier.outcome(answer(first, 100), 0.1) == []
    assert notifier.change(TOPIC, lamp("c1"), 1.0) == []
    strange = answer(first, 200, headers=(("Contact", "<sip:evil@203.0.113.1>"),))
    strange.response.headers.set("To", "<sip:caller@example.net>;tag=other")
    sent = notifies(notifier.outcome(strange, 1.0))
    assert str(sent[0].request.uri) == "sip:caller@192.0.2.9:5062", (
        "another dialog's Contact is not this one's"
    )
    assert notifier.outcome(TransactionFailed("notify/99/1", "timeout"), 1.0) == []


def test_a_watcher_that_moves_is_followed():
    notifier = Notifier()
    first = notifies(notifier.subscribe(arrived("c"), watch(), 0.0, tag="t"))[0]
    notifier.outcome(answer(first, 200, headers=(("Contact", "<sip:caller@192.0.2.9:7000>"),)), 0.1)
    request = sip.request(
        "SUBSCRIBE", uri="sip:8001@192.0.2.1", call_id="c", cseq=2, to_tag="t",
        extra="Contact: <sip:caller@192.0.2.9:8000>\r\n", flow=sip.TCP,
    )  # fmt: skip
    moved = notifies(notifier.change(TOPIC, lamp("c1"), 1.0))[0]
    assert str(moved.request.uri) == "sip:caller@192.0.2.9:7000"
    again = notifies(notifier.refresh(RequestArrived("t2", request, sip.TCP), watch(lamp("c1")), 2.0))[0]
    assert again.flow == sip.TCP
    assert str(again.request.uri) == "sip:caller@192.0.2.9:8000"


def test_the_oldest_of_too_many_gives_way(monkeypatch):
    monkeypatch.setattr(module, "MAX_PER_USER", 3)
    world = Watchers(3)
    effects = world.notifier.subscribe(arrived("new"), watch(), world.now, tag="new")
    last = notifies(effects)[0].request
    assert last.call_id == "c0"
    assert last.headers.get("Subscription-State") == "terminated;reason=rejected"
    assert len(world.notifier) == 3
    world.notifier.subscribe(arrived("other"), watch(user="v"), world.now, tag="other")
    assert len(world.notifier) == 4, "what one account has takes nothing from another"


def test_a_full_house_says_when_to_come_back(monkeypatch):
    monkeypatch.setattr(module, "MAX_SUBSCRIPTIONS", 2)
    world = Watchers(2)
    with pytest.raises(SipError) as refused:
        world.notifier.subscribe(arrived("new"), watch(), world.now, tag="new")
    assert refused.value.status == 503
    assert refused.value.headers == (("Retry-After", "60"),)


def test_a_refresh_by_another_account_changes_nothing():
    notifier = Notifier()
    notifier.subscribe(arrived("c"), watch(), 0.0, tag="t")
    before = notifier.snapshot()
    for wrong in (watch(user="v"), watch(topic=("dialog", "8002"))):
        with pytest.raises(SipError) as refused:
            notifier.refresh(arrived("c", cseq=2, to_tag="t"), wrong, 1.0)
        assert refused.value.status == 403
    assert notifier.snapshot() == before


def test_nothing_is_left_when_all_has_ended():
    world = Watchers(5)
    assert world.notifier.watchers(TOPIC) == {"u"}
    world.take(world.notifier.forbid("u", world.now))
    assert world.notifier.watchers(TOPIC) == frozenset()
    for left in (world.notifier._dialogs, world.notifier._topics, world.notifier._users):
        assert not left
    assert world.notifier.next_due is None


@given(st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_versions_and_numbers_go_up_by_one(seed):
    twin = NotifierTwin(seed)
    for _ in range(120):
        twin.step()
        if twin.chance.random() < 0.1:
            twin.restart()
    seen = {}
    for data in twin.said:
        if not isinstance(data, bytes) or not data.startswith(b"NOTIFY"):
            continue
        request = parse(data.replace(b"\r\n", b"\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\n", 1))
        number, version, over = seen.get(request.call_id, (0, -1, False))
        root = ET.fromstring(request.body)
        assert not over, "nothing is said after the last word"
        assert request.cseq.number == number + 1
        # RFC 4235 §4.1: each document is numbered one higher; a watcher that sees a gap must ask for all again.
        assert int(root.get("version")) == version + 1
        state = request.headers.get("Subscription-State")
        assert root.get("state") == "full" or (version >= 0 and state.startswith("active"))
        seen[request.call_id] = (request.cseq.number, version + 1, state.startswith("terminated"))
    assert len(twin.notifier) == sum(not over for _, _, over in seen.values()) - gave_up(twin, seen)


def gave_up(twin, seen):
    """Subscriptions that ended without a word: their phones refused or were gone."""
    alive = {found.dialog.call_id for found in twin.notifier._subscriptions.values()}
    return sum(not over and call_id not in alive for call_id, (_, _, over) in seen.items())


def test_pace_is_five_a_second():
    world = Watchers(1)
    world.wait(1.0)
    world.sent.clear()
    for number in range(1000):
        world.take(world.notifier.change(TOPIC, lamp(f"c{number}"), world.now))
        world.wait(0.01)
    assert 49 <= len(world.sent) <= 51
    gaps = [b - a for (a, _), (b, _) in pairwise(world.sent)]
    assert min(gaps) >= MIN_INTERVAL - 1e-9
