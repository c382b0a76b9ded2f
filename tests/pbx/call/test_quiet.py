"""Silent mode and parties outside: they are told, whenever they come and whenever it changes; nothing of theirs reaches the caller."""

import pytest

from pbx.call import quiet, silence
from pbx.call.effects import SendRequest
from routing.queues import QueueRule, Rules
from rtp.control import Play, SetGates
from tests.kit.hands import order, party, talking
from tests.kit.trunks import PEERS, TrunkWorld, trunk
from tests.kit.world import HOST

WRITES = (("Allow", "MESSAGE"),)
"""What a peer says that takes texts."""


class Heard(TrunkWorld):
    """A world that keeps what the media process was told."""

    def __init__(self, *settings, **how):
        self.told = []
        super().__init__(*(settings or (trunk(user=None, realm=None, password_env=None),)), **how)

    def _media(self, command):
        self.told.append(command)
        super()._media(command)

    def plays(self, leg):
        """Return what was played to a leg, the tone that a guest is there left out."""
        every = [one for one in self.told if isinstance(one, Play) and one.leg == leg]
        return [one.items for one in every if not one.play.startswith("room-")]

    def texts(self, leg):
        """Return what was written in the dialog of a leg."""
        return [
            one.request.body.decode()
            for one in self.sent
            if isinstance(one, SendRequest)
            and one.request.method == "MESSAGE"
            and one.ref.split("/")[0] == leg
        ]

    def audible_to(self, name):
        """Return what could make the phone of a caller sound, since it was forgotten last."""
        leg = self.call(name).leg
        return [*self.plays(leg), *self.texts(leg)]

    def forget(self):
        self.told.clear()
        self.sent.clear()


def on_the_trunk(*, uri="sip:110@192.0.2.1", answered=True):
    """Return a world where bob, whom nobody here could take, is a guest of the other 110."""
    rules = Rules(queues={"default": QueueRule("default", trunk="t1")})
    world = Heard(routing=rules)
    world.invite("bob", uri=uri)
    world.ack("bob")
    if answered:
        world.accept(world.out("INVITE")[0], headers=WRITES)
        assert world.call("bob").state == "talking"
    return world


def silent(world, name="bob"):
    world.run(silence.silent_on(world.exchange, world.call(name).id, "api", world.now))


def audible(world, name="bob"):
    call = world.call(name).id
    world.run(silence.ask_silent_off(world.exchange, call, "api", world.now))
    world.run(silence.confirm_silent_off(world.exchange, call, "api", world.now))


def test_silent_mode_that_comes_later_is_told_to_the_trunk_that_talks():
    world = on_the_trunk()
    leg = party(world).leg
    assert world.plays(leg) == []
    world.forget()
    silent(world)
    assert [one.silent for one in world.told if isinstance(one, SetGates)] == [True]
    assert isinstance(world.told[0], SetGates), "the caller is silent before anybody is told of it"
    assert world.plays(leg) == [("en/silent-caller",)]
    assert world.texts(leg) == [quiet.ON]
    assert world.audible_to("bob") == []
    assert world.noted("silence_told")[-1].fields == {"who": party(world).desk, "silent": True}


def test_once_is_enough():
    world = on_the_trunk()
    silent(world)
    silent(world)
    assert len(world.noted("silence_told")) == 1


def test_while_the_trunk_rings_it_is_told_when_it_answers():
    world = on_the_trunk(answered=False)
    silent(world)
    assert world.noted("silence_told") == []
    world.accept(world.out("INVITE")[0], headers=WRITES)
    leg = party(world).leg
    assert world.plays(leg) == [("en/silent-caller",)]
    assert world.texts(leg) == [quiet.ON]
    assert world.call("bob").gates().command.silent


def test_the_end_of_silence_is_told_too():
    world = on_the_trunk(uri="sip:110-silent@192.0.2.1")
    leg = party(world).leg
    audible(world)
    assert world.plays(leg) == [("en/silent-caller",), ("tone:zip",)]
    assert world.texts(leg) == [quiet.ON, quiet.OFF]


def test_the_first_act_of_two_tells_nobody():
    world = on_the_trunk(uri="sip:110-silent@192.0.2.1")
    world.forget()
    world.run(silence.ask_silent_off(world.exchange, world.call("bob").id, "api", world.now))
    assert world.texts(party(world).leg) == []


def brigade(world, verb="add", **more):
    """Have d1 call the fire brigade for its guest; returns its leg."""
    order(world, "d1", verb, "119", **more)
    sent = world.out("INVITE")[-1]
    assert sent[2].host == PEERS[0]
    world.accept(sent, headers=WRITES)
    return party(world).leg


def test_a_service_in_the_room_is_told():
    world = talking(kind=Heard)
    leg = brigade(world, role="fire")
    assert world.plays(leg) == []
    silent(world)
    assert world.plays(leg) == [("en/silent-caller",)]
    assert world.texts(leg) == [quiet.ON]
    assert world.plays(world.exchange.room("d1").leg) == [], "a desk sees it"


@pytest.mark.parametrize("verb", ["add", "consult", "transfer"])
def test_who_is_called_for_a_silent_caller_is_told_before_it_answers_and_then(verb):
    world = talking(kind=Heard)
    silent(world)
    leg = brigade(world, verb)
    assert world.out("INVITE")[-1][1].headers.get("Subject") == quiet.SUBJECT[1]
    assert world.plays(leg) == [("en/silent-caller",)]
    assert world.texts(leg) == [quiet.ON]


def test_a_service_that_still_rings_is_told_when_it_comes():
    world = talking(kind=Heard)
    order(world, "d1", "add", "119")
    sent = world.out("INVITE")[-1]
    assert sent[1].headers.get("Subject") is None
    silent(world)
    assert world.noted("silence_told") == []
    world.accept(sent, headers=WRITES)
    assert world.plays(party(world).leg) == [("en/silent-caller",)]


def test_a_phone_that_takes_no_texts_hears_it():
    world = on_the_trunk(answered=False)
    world.accept(world.out("INVITE")[0])
    silent(world)
    assert world.texts(party(world).leg) == []
    assert world.plays(party(world).leg) == [("en/silent-caller",)]


def test_who_is_with_somebody_else_is_told_nothing():
    world = talking(kind=Heard)
    brigade(world)
    world.invite("carol")
    world.ack("carol")
    assert world.call("carol").desk == "d2"
    silent(world, "carol")
    assert world.noted("silence_told") == []


# --- what a party sends -------------------------------------------------------------------------------------------------


def party_writes(world, text):
    """Have the party outside write in its dialog; returns its leg."""
    leg = world.exchange.legs[party(world).leg]
    request = world.request(
        "MESSAGE", f"sip:110@{HOST}", "far", cseq=9, to_tag=leg.dialog.local_tag, body=text.encode(),
        content_type="text/plain",
    )  # fmt: skip
    request.headers.set("From", f"<sip:far@{PEERS[0]}>;tag={leg.dialog.remote_tag}")
    request.headers.set("Call-ID", leg.dialog.call_id)
    world.arrive(world._again(request), "far")
    return leg.id


def test_what_a_party_writes_stays_in_evidence_while_the_caller_is_silent():
    world = on_the_trunk()
    silent(world)
    world.forget()
    leg = party_writes(world, "are you there?")
    assert world.audible_to("bob") == []
    noted = world.noted("text")[-1].fields
    assert (noted["text"], noted["withheld"]) == ("are you there?", "silent")
    assert world.texts(leg) == [quiet.WITHHELD], "and who wrote it knows"


def test_and_is_passed_on_when_it_is_not():
    world = on_the_trunk()
    party_writes(world, "are you there?")
    assert world.texts(world.call("bob").leg)[-1] == "are you there?"


def test_a_dispatcher_writes_to_a_silent_caller_on_purpose():
    world = talking(kind=Heard)
    silent(world)
    world.desk_request("d1", "MESSAGE", body=b"we are coming", content_type="text/plain")
    assert world.texts(world.call("bob").leg)[-1] == "we are coming"


@pytest.mark.parametrize(("on", "sent"), [(False, 1), (True, 0)])
def test_keys_by_message_make_no_tone_at_a_silent_caller(on, sent):
    """The caller's gateway turns an INFO into a tone."""
    world = Heard(trunk(user=None, realm=None, password_env=None, dtmf="info"), desks=("d1",))
    world.sign_in("d1")
    world.comes("19900001111")
    call = next(iter(world.exchange.calls.values()))
    world.in_dialog("19900001111", "ACK", cseq=1)
    assert call.desk == "d1"
    if on:
        world.run(silence.silent_on(world.exchange, call.id, "api", world.now))
    world.desk_request(
        "d1", "INFO", body=b"Signal=5\r\nDuration=100\r\n", content_type="application/dtmf-relay"
    )
    keys = [one for one in world.out("INFO") if one[1].body.startswith(b"Signal=5")]
    assert len(keys) == sent


def test_nobody_learns_over_a_trunk_who_calls():
    world = talking(kind=Heard)
    leg = brigade(world, "transfer")
    assert world.call("bob").desk == party(world).desk
    assert not [text for text in world.texts(leg) if "bob" in text]
