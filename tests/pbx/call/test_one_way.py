"""Media that comes from one side only (bars F14), on simulated time."""

import random

import pytest

from pbx.call.call import State
from pbx.call.effects import SendRequest
from pbx.call.one_way import AGAIN_SECONDS, REINVITE_SECONDS
from pbx.sip.effects import TransactionFailed
from rtp.control import ConfigureLeg, LegReport, MediaLost, MediaStarted, StreamReport
from tests.kit.world import World, sdp

LOSS = 2.5
"""`media.loss_seconds` as shipped."""
CASES = 200


def talking(*, register=True):
    world = World()
    world.sign_in("d1")
    if register:
        world.register("alice")
    name = "alice" if register else "bob"
    world.invite(name)
    world.ack(name)
    assert world.call(name).state is State.TALKING
    return world, world.call(name)


class Silence:
    """A direction in which nothing comes any more, as the media process tells it."""

    def __init__(self, world, leg, medium="audio"):
        self.world, self.leg, self.medium = world, leg, medium
        self.began = world.now
        self._told = 0

    def last(self, seconds, phone=lambda: None):
        """Let it last that long in all; `phone` answers what it was sent."""
        while self.world.now - self.began < seconds:
            self.world.wait(0.5)
            silence = self.world.now - self.began
            if silence >= (self._told + 1) * LOSS:
                self._told += 1
                self.world.says(MediaLost(self.leg, self.medium, silence))
            phone()

    def end(self):
        self.world.says(MediaStarted(self.leg, self.medium, 1))


def texts(world):
    return [
        e.request.body.decode()
        for e in world.sent
        if isinstance(e, SendRequest) and e.request.method == "MESSAGE" and e.request.to.uri.user == "d1"
    ]


def asked(world, method, leg):
    return [
        e for e in world.sent
        if isinstance(e, SendRequest) and e.request.method == method and e.ref.startswith(f"{leg}/")
    ]  # fmt: skip


def test_the_dispatcher_is_told_within_three_seconds_and_told_that_it_is_over():
    world, call = talking()
    silence = Silence(world, call.leg)
    silence.last(3.0)
    (lost,) = world.noted("media_lost")
    assert (lost.call, lost.fields["leg"], lost.fields["medium"]) == (call.id, "caller", "audio")
    assert "audio" in world.exchange.media[call.id].lost, "what the console shows as an alarm"
    assert "没有声音 no sound for 2.5 s" in texts(world)[-1]
    silence.last(8.0)
    silence.end()
    (back,) = world.noted("media_back")
    assert back.fields == {"leg": "caller", "medium": "audio", "seconds": 8.0}
    assert "恢复声音 sound is back after 8 s" in texts(world)[-1]
    assert len(world.noted("media_lost")) == 1
    assert not asked(world, "INVITE", call.leg)


def test_after_ten_seconds_the_phone_is_asked_where_it_is_and_believed_there():
    world, call = talking()
    commands = watch_media(world)
    silence = Silence(world, call.leg)
    silence.last(9.5)
    assert not asked(world, "INVITE", call.leg)
    silence.last(REINVITE_SECONDS)
    (invite,) = asked(world, "INVITE", call.leg)
    before = world.last_answer("alice").body
    assert invite.request.body == before, "it changes nothing"
    world.answer_reinvite("alice", sdp(address="192.0.2.99", port=6000))
    told = [command for command in commands if isinstance(command, ConfigureLeg)][-1]
    assert told.streams[0].remote == ("192.0.2.99", 6000)
    assert "192.0.2.99" in told.sources
    silence.end()
    assert call.state is State.TALKING


def watch_media(world):
    commands, take = [], world._media

    def both(command):
        commands.append(command)
        take(command)

    world._media = both
    return commands


def test_the_question_is_repeated_while_the_silence_lasts():
    world, call = talking()
    silence = Silence(world, call.leg)

    def phone():
        _answer_probe(world, call.leg, 200)
        pending = asked(world, "INVITE", call.leg)
        if pending and world.exchange.legs[call.leg].renegotiating:
            world.answer_reinvite("alice", sdp())

    silence.last(REINVITE_SECONDS + 2 * AGAIN_SECONDS + LOSS, phone)
    assert len(asked(world, "INVITE", call.leg)) == 3


def test_a_desk_that_is_heard_by_nobody_is_not_asked_and_one_with_a_guest_is():
    world = World()
    world.sign_in("d1")
    desk = world.desk_leg("d1").id
    asked_before = len(asked(world, "INVITE", desk))
    world.says(MediaLost(desk, "audio", 10.0))
    world.reply("OPTIONS")
    assert len(asked(world, "INVITE", desk)) == asked_before
    world.says(MediaStarted(desk, "audio", 1))
    world.invite("bob")
    world.ack("bob")
    world.says(MediaLost(desk, "audio", 10.0))
    assert len(asked(world, "INVITE", desk)) == asked_before + 1
    assert world.noted("media_lost")[-1].fields["leg"] == "desk:d1"
    world.says(MediaStarted(desk, "audio", 1))
    assert world.noted("media_back")[-1].call == world.call("bob").id


def test_a_picture_that_stops_is_shown_and_nobody_is_asked():
    world, call = talking()
    silence = Silence(world, call.leg, "video")
    before = len(texts(world))
    silence.last(30.0)
    assert len(world.noted("media_lost")) == 1
    assert len(texts(world)) == before
    assert not asked(world, "INVITE", call.leg)
    assert not asked(world, "OPTIONS", call.leg)


def test_a_proxys_word_that_the_phone_is_away_does_not_end_a_call_for_help():
    world, call = talking(register=False)
    world.says(MediaLost(call.leg, "audio", 5.0))
    world.reply("OPTIONS", 408)
    assert call.state is State.TALKING
    world.says(MediaLost(call.leg, "audio", 10.0))
    world.reply("OPTIONS", 481)
    assert world.call("bob") is None, "the phone itself knows of no call"


def _answer_probe(world, leg, status):
    if world.exchange.legs[leg].probe_deadline is not None:
        world.reply("OPTIONS", status)


@pytest.mark.parametrize("tenth", range(10))
def test_no_call_is_lost_for_want_of_media_while_its_phone_answers(tenth):
    """200 cases: 5 to 60 s without media, whatever the phone says to OPTIONS and to the re-INVITE."""
    for case in range(tenth * CASES // 10, (tenth + 1) * CASES // 10):
        dice = random.Random(case)
        world, call = talking(register=dice.random() < 0.5)
        name = call.caller.user or "bob"
        silence = Silence(world, call.leg, "audio")
        mood = dice.choice(("accepts", "moved", "491", "488", "500", "mute"))

        def phone(dice=dice, world=world, call=call, name=name, mood=mood):
            leg = world.exchange.legs[call.leg]
            if leg.probe_deadline is not None and dice.random() < 0.8:
                world.reply("OPTIONS", dice.choice((200, 200, 405, 500, 408)))
            if not leg.renegotiating:
                return
            if mood == "mute":
                ref = asked(world, "INVITE", call.leg)[-1].ref
                world.run(world.exchange.sip(TransactionFailed(ref, "timeout"), world.now))
            elif mood in {"accepts", "moved"}:
                address = "192.0.2.77" if mood == "accepts" else "192.0.2.99"
                world.answer_reinvite(name, sdp(address=address))
            else:
                world.answer_reinvite(name, b"", int(mood))

        seconds = dice.randrange(10, 121) / 2
        silence.last(seconds, phone)
        assert call.state is State.TALKING, f"case {case}: lost after {seconds:.0f} s"
        assert world.noted("media_lost")[0].fields["seconds"] <= 3.0
        assert bool(world.noted("media_sought")) == (seconds >= REINVITE_SECONDS)
        silence.end()
        assert world.noted("media_back")[0].fields["seconds"] == pytest.approx(seconds, abs=0.6)
        assert world.asked("BYE") is None


def test_an_hour_without_a_packet():
    world, call = talking()
    silence = Silence(world, call.leg)

    def phone():
        _answer_probe(world, call.leg, 200)
        if world.exchange.legs[call.leg].renegotiating:
            world.answer_reinvite("alice", sdp())

    silence.last(3600.0, phone)
    assert call.state is State.TALKING
    assert world.asked("BYE") is None
    assert len(world.noted("media_lost")) == 1
    assert 55 <= len(world.noted("media_sought")) <= 61


def test_somebody_else_at_the_callers_port_is_noted_each_time_the_count_grows():
    world, call = talking()

    def report(strangers):
        world.says(
            LegReport(call.leg, (StreamReport("audio", 1, 0, 0.0, 1, strangers, strangers=strangers),))
        )

    for strangers in (0, 7, 7, 1000):
        report(strangers)
    noted = [(note.fields["packets"], note.fields["all"]) for note in world.noted("media_rejected")]
    assert noted == [(7, 7), (993, 1000)]
    assert all(note.call == call.id for note in world.noted("media_rejected"))
