"""What dispatchers do with calls where it leads to queues, over trunks, and how it shows as states of seats."""

from dataclasses import replace

import pytest

from pbx.call import seat_facts, seats
from pbx.call.call import State
from pbx.call.call_events import ToAcd
from pbx.call.impossible import Impossible
from pbx.call.keeping import LOG_FOLDER, Keeping
from pbx.call.ledger import read
from pbx.call.reconcile import reconcile
from pbx.hands_settings import HandsSettings
from routing.acd import DeskState, Profile, QueueRule, Rules
from routing.moves import DeskVisits
from tests.kit import places
from tests.kit.hands import keys, order, party, seat, talking
from tests.kit.trunks import PEERS, TrunkWorld

# --- queues -----------------------------------------------------------------------------------------------------------------


def test_blind_to_the_queue_waits_for_others_who_sit_there():
    world = talking(signed_in=("d1", "d2"))
    world.invite("dora")
    world.ack("dora")
    assert world.call("dora").desk == "d2"
    order(world, "d1", "transfer", "queue")
    assert world.call("bob").state is State.WAITING
    assert world.exchange.acd.desk("d1").state is DeskState.IDLE
    world.sign_in("d3")
    assert seat(world, "bob") == ("room-d3", "guest")
    assert world.noted("transfer_arrived")[-1].fields["desk"] == "d3"


def test_a_guest_for_the_queue_whom_nobody_else_serves_comes_back():
    world = talking(signed_in=("d1",))
    order(world, "d1", "transfer", "queue")
    assert seat(world, "bob") == ("room-d1", "guest")
    assert world.noted("transfer_failed")[-1].fields["desk"] == "d1"


def test_blind_to_a_named_queue():
    rules = Rules(
        queues={"traffic": QueueRule("traffic")},
        profiles={
            "d1": Profile({"default": 1}),
            "d2": Profile({"default": 1}),
            "d3": Profile({"traffic": 1}),
        },
    )
    world = talking(routing=rules)
    with pytest.raises(Impossible, match="queue"):
        order(world, "d1", "transfer", "queue:sea")
    order(world, "d1", "transfer", "queue:traffic")
    assert seat(world, "bob") == ("room-d3", "guest")
    order(world, "d3", "transfer", "queue:default")
    assert seat(world, "bob")[0] in {"room-d1", "room-d2"}


def test_blind_to_a_queue_that_only_a_profile_names():
    rules = Rules(profiles={"d1": Profile({"default": 1}), "d3": Profile({"sea": 1})})
    world = talking(routing=rules, signed_in=("d1", "d3"))
    order(world, "d1", "transfer", "queue:sea")
    assert seat(world, "bob") == ("room-d3", "guest")


def test_blind_to_a_district_is_to_whoever_serves_it():
    profiles = {
        "d1": Profile({"q-east": 1, "default": 1}),
        "d2": Profile({"default": 1}),
        "d3": Profile({"q-west": 1}),
    }
    world = talking(routing=Rules(profiles=profiles))
    world.exchange.whereabouts.districts = places.districts()
    with pytest.raises(Impossible) as caught:
        order(world, "d1", "transfer", "district:north")
    assert (caught.value.code, all(caught.value.texts)) == ("unknown_district", True)
    order(world, "d1", "transfer", "district:west")
    assert seat(world, "bob") == ("room-d3", "guest")
    order(world, "d3", "transfer", "district:east")
    assert seat(world, "bob") == ("room-d1", "guest")


def test_a_district_whose_queue_nobody_serves_is_served_by_the_default_one():
    profiles = {"d1": Profile({"q-west": 1}), "d2": Profile({"default": 1})}
    world = TrunkWorld(desks=("d1", "d2"), routing=Rules(profiles=profiles))
    world.exchange.whereabouts.districts = places.districts()
    assert world.exchange.whereabouts.queue_of("east") == "default"
    assert world.exchange.whereabouts.queue_of("west") == "q-west"


def test_refer_to_a_district_is_the_same():
    profiles = {"d1": Profile({"default": 1}), "d3": Profile({"q-west": 1})}
    world = talking(routing=Rules(profiles=profiles), signed_in=("d1", "d3"))
    world.exchange.whereabouts.districts = places.districts()
    target = ("Refer-To", "<sip:district%3Awest@192.0.2.1>")
    assert world.answers[world.desk_request("d1", "REFER", headers=(target,))][-1].status == 202
    assert seat(world, "bob") == ("room-d3", "guest")


def test_a_short_number_stands_for_a_district_however_it_is_given():
    profiles = {"d1": Profile({"q-east": 1, "default": 1}), "d3": Profile({"q-west": 1})}
    world = talking(routing=Rules(profiles=profiles), signed_in=("d1", "d3"))
    world.exchange.whereabouts.districts = places.districts()
    short = {"71": "district:west", "72": "district:east", "73": "queue:nowhere"}
    world.exchange.site = replace(world.exchange.site, hands=HandsSettings(short_numbers=short))
    keys(world, "d1", "*1571#")
    assert seat(world, "bob") == ("room-d3", "guest"), "typed"
    order(world, "d3", "transfer", "72")
    assert seat(world, "bob") == ("room-d1", "guest"), "by the API"
    target = ("Refer-To", "<sip:71@192.0.2.1>")
    assert world.answers[world.desk_request("d1", "REFER", headers=(target,))][-1].status == 202
    assert seat(world, "bob") == ("room-d3", "guest"), "dialled on the phone's transfer button"
    with pytest.raises(Impossible) as caught:
        order(world, "d3", "transfer", "73")
    assert caught.value.code == "unknown_queue"


# --- trunks -----------------------------------------------------------------------------------------------------------------


def test_the_fire_brigade_is_added_over_a_trunk():
    world = talking(kind=TrunkWorld)
    order(world, "d1", "add", "119", role="fire")
    invite = world.out("INVITE")[-1]
    assert (str(invite[1].uri), invite[2].host) == (f"sip:119@{PEERS[0]};user=phone", PEERS[0])
    world.respond(invite, 503)
    second = world.out("INVITE")[-1]
    assert second[2].host == PEERS[1], "the next peer of the trunk has it"
    world.accept(second)
    assert world.rooms[party(world).leg] == ("room-d1", "staff")
    order(world, "d1", "remove")
    assert world.out("BYE")[-1][1].call_id == invite[1].call_id


def test_blind_over_a_trunk():
    world = talking(kind=TrunkWorld)
    order(world, "d1", "transfer", "119")
    assert seat(world, "bob") == ("room-d1", "guest"), "it stays until the other end picks up"
    world.accept(world.out("INVITE")[-1])
    room = party(world)
    assert seat(world, "bob") == (room.id, "guest")
    assert world.exchange.acd.desk("d1").state is DeskState.IDLE
    world.bye("bob")
    assert world.out("BYE")[-1][1].uri.host == PEERS[0]


def test_a_number_that_does_not_answer_leaves_the_guest_where_it_is():
    world = talking(kind=TrunkWorld)
    order(world, "d1", "transfer", "119")
    world.respond(world.out("INVITE")[-1], 486)
    assert seat(world, "bob") == ("room-d1", "guest")
    assert not [room for room in world.exchange.rooms.values() if room.outside]
    assert not world.exchange.hands.visits


def test_a_number_is_called_back_over_a_trunk():
    world = talking(kind=TrunkWorld)
    order(world, "d2", "call", "13800138000", first="call-1")
    invite = world.out("INVITE")[-1]
    # RFC 7090 §5: the callback says what it is.
    assert invite[1].headers.get("Priority") == "psap-callback"
    assert seat_facts.seat(world.exchange, "d2") == ("calling_out", "")
    call = world.exchange.calls[world.exchange.acd.desk("d2").call]
    assert (call.caller.number, call.caller.verified) == ("13800138000", False)
    assert reconcile(world.exchange, world.now) == [], "a desk that calls is as it should be"
    world.accept(invite)
    assert call.state is State.TALKING
    assert world.rooms[call.leg] == ("room-d2", "guest")
    assert world.noted("call_arrived")[-1].fields["first_call"] == "call-1"
    assert call.incident == "call-1"
    assert world.noted("same_incident")[-1].fields == {"incident": "call-1", "why": "called_back"}


def test_a_callback_nobody_takes_frees_the_desk():
    world = talking(kind=TrunkWorld)
    order(world, "d2", "call", "13800138000")
    world.respond(world.out("INVITE")[-1], 486)
    assert world.exchange.acd.desk("d2").state is DeskState.IDLE


def test_a_callback_that_is_picked_up_closes_its_task_and_is_nobody_who_waited(tmp_path, scribe):
    world = TrunkWorld()
    keeping = Keeping(tmp_path, world.exchange, scribe)
    keeping.started(1_800_000_000.0)
    seen = 0

    def tell():
        nonlocal seen
        for note in world.notes[seen:]:
            keeping.noted(note, 1_800_000_000.0 + world.now)
        seen = len(world.notes)

    world.invite("bob")
    world.ack("bob")
    world.bye("bob")
    tell()
    (task,) = keeping.callbacks.tasks()
    assert keeping.incident(task["call"]) == task["incident"]
    assert keeping.incident("nobody knows") is None
    world.sign_in("d1")
    for status in (486, 200):
        order(world, "d1", "call", "13800138000", first=task["call"], incident="earlier still")
        ours = world.exchange.acd.desk("d1").call
        assert keeping.incident(ours) == world.exchange.calls[ours].incident == "earlier still"
        assert len(keeping.callbacks.tasks()) == 1
        invite = world.out("INVITE")[-1]
        if status == 200:
            world.accept(invite)
        else:
            world.respond(invite, status)
        tell()
    assert keeping.callbacks.tasks() == []
    world.run(seats.end_call(world.exchange, "d1", world.now))
    tell()
    keeping.close()
    events = [e.what for e in read(tmp_path / LOG_FOLDER, 1_800_000_000.0, 1_800_001_000.0)]
    assert [what for what in events if what not in {"desk", "district"}] == ["start", "arrived", "ended"]


def test_where_a_desk_is_is_a_state_of_its_seat():
    world = talking()
    order(world, "d1", "consult", "d2")
    facts = [seat_facts.seat(world.exchange, desk)[0] for desk in ("d1", "d2", "d3")]
    assert facts == ["consulting", "visiting", "ready"]
    assert reconcile(world.exchange, world.now) == [], "nothing of it is mended"
    world.run(world.exchange.run([ToAcd(DeskVisits("d3"))], world.now))
    world.run(reconcile(world.exchange, world.now))
    assert world.noted("reconciled")[-1].fields == {"what": "visits_nobody", "desk": "d3"}
    assert seat_facts.seat(world.exchange, "d3")[0] == "ready"
