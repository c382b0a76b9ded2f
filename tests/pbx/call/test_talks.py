"""Talks of desks without a caller are recorded: evidence of their own, from the first word to the last."""

from pbx.call import talks, views
from pbx.call.call import GIVE_UP_SECONDS
from pbx.call.exchange import Exchange
from pbx.call.reconcile import reconcile
from rtp.control import (
    CloseEvidence,
    Holdings,
    OpenEvidence,
    RecordTalk,
    Refused,
)
from tests.kit.hands import order
from tests.kit.world import World


class Listening(World):
    """A world that keeps what the media process was told of talks."""

    def __init__(self, **how):
        self.told = []
        super().__init__(**how)

    def _media(self, command):
        if isinstance(command, RecordTalk):
            self.told.append(command)
            return
        if isinstance(command, OpenEvidence | CloseEvidence):
            self.told.append(command)
        super()._media(command)


def talking(*desks):
    world = Listening(desks=("d1", "d2", "d3"))
    for desk in ("d1", "d2", "d3"):
        world.sign_in(desk)
    for desk in desks:
        order(world, "d1", "call", desk)
    return world


def leg(world, desk):
    return world.exchange.room(desk).leg


def test_a_talk_has_evidence_of_its_own():
    world = talking("d2")
    (began,) = world.noted("talk_began")
    talk = began.call
    assert began.fields == {"desk": "d1", "who": "d2", "user": "d1"}
    assert [type(one) for one in world.told] == [OpenEvidence, RecordTalk, RecordTalk]
    assert world.told[0].folder.endswith(talk)
    assert world.told[1:] == [RecordTalk(leg(world, "d1"), talk), RecordTalk(leg(world, "d2"), talk)]
    stated = [note.fields["leg"] for note in world.noted("media_negotiated") if note.call == talk]
    assert stated == ["desk:d1", "staff:d2"]
    assert views.desk_view(world.exchange, "d1", since=0.0, registered=True)["talk"] == talk
    assert views.desk_view(world.exchange, "d3", since=0.0, registered=True)["talk"] is None

    world.told.clear()
    order(world, "d2", "leave")
    assert world.told == [
        RecordTalk(leg(world, "d1"), None), RecordTalk(leg(world, "d2"), None), CloseEvidence(talk),
    ]  # fmt: skip
    assert [note.fields["why"] for note in world.noted("talk_ended")] == ["left"]
    # The world's media process has said that the capture is closed.
    assert [note.call for note in world.noted("capture_closed")] == [talk]
    assert world.finished == [talk]
    assert world.exchange.hands.talks == {}


def test_a_third_one_joins_the_same_talk_which_ends_with_the_last():
    world = talking("d2", "d3")
    (began,) = world.noted("talk_began")
    assert [note.fields["who"] for note in world.noted("talk_joined")] == ["d2", "d3"]
    order(world, "d2", "leave")
    assert world.noted("talk_ended") == []
    order(world, "d3", "leave")
    assert [note.call for note in world.noted("talk_ended")] == [began.call]


def test_a_guest_ends_the_talk_and_what_is_said_from_then_on_is_the_guests():
    world = talking("d2")
    (began,) = world.noted("talk_began")
    world.desk_vanishes("d3")
    world.invite("bob")
    world.ack("bob")
    assert world.call("bob").desk == "d1"
    assert [note.call for note in world.noted("talk_ended")] == [began.call]
    assert {one.call for one in world.told if isinstance(one, RecordTalk)} == {began.call, None}


def test_the_host_is_lost():
    world = talking("d2")
    world.desk_vanishes("d1")
    assert len(world.noted("talk_ended")) == 1


def test_a_disk_that_is_full_is_stated():
    world = talking("d2")
    (began,) = world.noted("talk_began")
    world.says(Refused("OpenEvidence", began.call, "disk"))
    assert [(note.call, note.fields) for note in world.noted("not_recorded")] == [
        (began.call, {"reason": "disk"})
    ]
    order(world, "d2", "leave")
    world.says(Refused("CloseEvidence", began.call, "unknown_call"))
    assert world.finished == [began.call]


def test_a_media_process_that_was_away_goes_on_with_the_talk():
    world = talking("d2")
    (began,) = world.noted("talk_began")
    world.told.clear()
    world.says(Holdings("", (), (began.call,)))
    assert CloseEvidence(began.call) not in world.told, "it is nobody's orphan"
    world.told.clear()
    world.says(Holdings("", (), ()))
    assert isinstance(world.told[0], OpenEvidence)
    assert {one.leg for one in world.told if isinstance(one, RecordTalk)} == {
        leg(world, "d1"),
        leg(world, "d2"),
    }
    order(world, "d2", "leave")
    world.says(Holdings("", (), ()))
    assert world.finished == [began.call], "what nobody holds any more is handed on"


def test_a_talk_survives_a_restart_of_signalling():
    world = talking("d2")
    again = Exchange.restore(world.exchange.snapshot(), world.exchange.site, world.exchange.mint)
    assert again.hands.talks == world.exchange.hands.talks
    assert talks.of_desk(again, "d1") == world.noted("talk_began")[0].call


def test_a_talk_whose_capture_never_closes_is_left_to_the_recorder():
    world = talking("d2")
    (began,) = world.noted("talk_began")
    world.media_answers = False
    order(world, "d2", "leave")
    world.run(reconcile(world.exchange, world.now))
    world.run(reconcile(world.exchange, world.now + GIVE_UP_SECONDS - 1))
    assert world.finished == []
    world.run(reconcile(world.exchange, world.now + GIVE_UP_SECONDS))
    assert world.finished == [began.call]
    assert world.noted("capture_closed")[-1].fields["fault"] == "capture_given_up"
    assert world.exchange.hands.talks == {}
