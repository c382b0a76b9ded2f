"""What waiting callers hear and read, and what comes of no answer."""

from dataclasses import replace

import pytest

from pbx.call import silence, texts
from pbx.call.call import Call
from rtp.control import Dtmf, Play
from rtp.prompts import Prompts, required
from tests.kit.world import World, sdp
from tests.test_snapshots import through_bytes


class Heard(World):
    """Keeps every `Play` of every leg."""

    def __init__(self, **how):
        self.plays = []
        super().__init__(**how)

    def _media(self, command):
        if isinstance(command, Play):
            self.plays.append(command)
        super()._media(command)

    def heard(self, name):
        return [play.items for play in self.plays if play.leg == self.call(name).leg]


def wait(name="bob", *, stay=60.0, **more):
    world = Heard(stay=stay, desks=("d1",))
    world.invite(name, **more)
    world.ack(name)
    return world


LANGUAGES = ("zh", "en")


def asking(items):
    return any(item.endswith("/stay") for item in items)


def test_every_language_says_place_and_wait_with_prompts_that_exist():
    items = texts.sounds(LANGUAGES, 3, 130.0, first=True, lost=False)
    assert items[-1] == "tone:waiting"
    assert items[:9] == (
        "zh/welcome", "zh/please-wait", "zh/you-are-number", "zh/3", "zh/in-the-queue", "zh/expected-wait", "zh/2",
        "zh/minutes", "en/welcome",
    )  # fmt: skip
    prompts = Prompts()
    known = {*prompts.names, "tone:waiting"}
    for place in (1, 19, 115, 999, 5000):
        for expected in (None, 0.0, 45.0, 600.0, 1e6):
            assert set(texts.sounds(LANGUAGES, place, expected, first=True, lost=False, asks=True)) <= known
    assert {name for lang in LANGUAGES for name in required(lang)} <= known


@pytest.mark.parametrize(
    ("seconds", "said"), [(5.0, "en/minute"), (60.0, "en/minute"), (100.0, "en/minutes")]
)
def test_a_minute_is_one(seconds, said):
    assert said in texts.sounds(("en",), 1, seconds, first=False, lost=False)


def test_a_desk_that_is_there_makes_the_wait_known_and_heard():
    world = Heard(desks=("d1",))
    world.sign_in("d1")
    world.invite("alice")
    world.ack("alice")
    world.invite("bob")
    world.ack("bob")
    (items,) = world.heard("bob")
    assert "en/expected-wait" in items
    assert "en/welcome" in items


def test_the_caller_is_asked_to_stay_each_time_nothing_has_changed_for_so_long():
    world = wait(stay=60.0)
    assert not asking(world.heard("bob")[-1])
    world.wait(59.9)
    assert len(world.heard("bob")) == 1
    world.wait(0.2)
    assert len(world.heard("bob")) == 2
    assert asking(world.heard("bob")[-1])


def test_any_key_says_that_the_caller_is_there_and_is_heard_to_arrive():
    world = wait(stay=60.0)
    world.wait(130.0)
    assert world.call("bob").waits.asked == 2
    world.says(Dtmf(world.call("bob").leg, "5"))
    assert world.noted("caller_stays")[0].fields == {"by": "key", "asked": 2}
    assert world.heard("bob")[-1] == ("tone:zip", "tone:waiting")
    assert world.call("bob").waits.asked == 0
    world.says(Dtmf(world.call("bob").leg, "6"))
    assert len(world.noted("caller_stays")) == 1, "nobody asked"


def test_a_text_is_a_sign_of_life_too():
    world = wait(stay=60.0)
    world.wait(61.0)
    world.in_dialog("bob", "MESSAGE", body=b"here", content_type="text/plain")
    assert world.noted("caller_stays")[0].fields["by"] == "text"


def test_who_does_not_answer_is_never_dropped_and_never_moved():
    world = wait(stay=60.0)
    world.invite("carol")
    world.ack("carol")
    world.wait(3600.0)
    assert [p.call for p in world.exchange.acd.queue] == [world.call("bob").id, world.call("carol").id]
    assert [n.fields for n in world.noted("no_sign_of_life")] == [{"asked": 3}] * 2, "said once for each"
    world.sign_in("d1")
    assert world.call("bob").desk == "d1"


def test_a_silent_caller_hears_and_reads_nothing_and_is_asked_nothing():
    world = wait(uri="sip:110-silent@192.0.2.1")
    sent = len(world.sent)
    world.wait(600.0)
    assert world.heard("bob") == []
    assert world.call("bob").waits.asked == 0
    assert [
        e for e in world.sent[sent:] if getattr(getattr(e, "request", None), "method", "") == "MESSAGE"
    ] == []


def test_silent_mode_switched_on_while_waiting_ends_every_announcement():
    world = wait(stay=60.0)
    world.run(silence.silent_on(world.exchange, world.call("bob").id, "api", world.now))
    before = len(world.heard("bob"))
    world.wait(600.0)
    assert len(world.heard("bob")) == before


@pytest.mark.parametrize(("wants", "spoken"), [("zh", ["zh"]), ("en-GB", ["en"]), ("fr", ["zh", "en"])])
def test_the_callers_language_is_spoken_if_it_is_one_of_ours(wants, spoken):
    """RFC 8373: what the phone asks for."""
    world = Heard(desks=())
    site = world.exchange.site
    world.exchange.site = replace(site, policy=replace(site.policy, languages=("zh", "en")))
    body = (
        sdp()
        if wants is None
        else sdp(video=None) + f"a=hlang-send:{wants}\r\na=hlang-recv:{wants}\r\n".encode()
    )
    world.invite("bob", body=body)
    world.ack("bob")
    said = [item.split("/")[0] for item in world.heard("bob")[0] if "/" in item]
    assert list(dict.fromkeys(said)) == spoken


def test_what_was_told_survives_a_restart():
    world = wait(stay=60.0)
    world.wait(61.0)
    call = world.call("bob")
    again = Call.restore(through_bytes(call.snapshot()), world.exchange.site.policy)
    assert again.waits == call.waits
    assert again.next_due == call.next_due
