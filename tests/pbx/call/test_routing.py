"""The queue's decisions carried out: one person one place, mute desks, seats that can't stick, what callers are told."""

import gc
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from pbx.call import hearing, seats
from pbx.call.call import State
from pbx.call.callbacks import Callbacks
from pbx.call.effects import Note, SendRequest
from pbx.call.entry import has_authority, needs
from pbx.call.reconcile import reconcile
from pbx.call.routing_service import decisions, queues_view
from pbx.call.seat_facts import seat
from pbx.sip.digest import authorize
from routing.acd import DEFAULT, Priority, Profile, QueueRule, Rules, Seize, ToHead
from rtp.control import LegReport, MediaLost, Play, StreamReport
from tests.kit.life import Life
from tests.kit.world import World, sdp


def place(world, name):
    """Have a proven caller dial: challenged first. Returns the name its call goes by."""
    user, _, _ = name.partition("/")
    aor = f"sip:{user}@at110"
    uri = "sip:110@192.0.2.1"
    if not world.registrar.lookup(aor, world.now):
        world.register(user)
    request = world.request("INVITE", uri, user, body=sdp(), content_type="application/sdp", call_id=name)
    nonce = next(
        c
        for c in world.answers[world.arrive(challenge(world, user), user)][-1].headers.all("WWW-Authenticate")
        if "SHA-256" in c
    )
    token = authorize(nonce, user=user, password=f"pw-{user}", method="INVITE", uri=uri, cnonce="c", nc=1)
    request.headers.set("Authorization", token)
    world.arrive(request, user)
    call = list(world.exchange.calls.values())[-1]
    assert call.caller.user == user
    return call.id


def challenge(world, user):
    request = world.request(
        "REGISTER", "sip:at110", user, cseq=9000 + len(world.answers), call_id=f"q-{user}"
    )
    request.headers.set("To", f"<sip:{user}@at110>")
    return request


def hang_up(world, call):
    from pbx.call.hangup import hang_up as verb

    leg = world.exchange.leg(world.exchange.calls[call].leg)
    world.run(world.exchange.run(verb(leg), world.now, leg.id))
    world.media()


def test_a_caller_who_drops_and_redials_gets_the_place_back():
    world = World()
    first = place(world, "alice")
    world.invite("bob")
    world.ack("bob")
    hang_up(world, first)
    world.wait(100.0)
    again = place(world, "alice/2")
    assert [p.call for p in world.exchange.acd.queue] == [again, world.call("bob").id]
    assert world.exchange.calls[again].incident == first
    assert world.noted("same_incident")[0].fields == {"incident": first, "why": "redialled"}


def test_a_caller_who_drops_and_redials_gets_the_dispatcher_back():
    world = World(wrap_up=30.0)
    world.sign_in("d1")
    first = place(world, "alice")
    world.sign_in("d2")
    hang_up(world, first)
    again = place(world, "alice/2")
    assert world.exchange.calls[again].desk == "d1"


def test_a_dead_call_of_the_same_person_makes_room_for_the_new_one():
    """The phone lost its network without a word; the person dials again from elsewhere."""
    world = World()
    world.sign_in("d1")
    first = place(world, "alice")
    second = place(world, "alice/2")
    assert world.exchange.acd.attached == {second: first}
    world.says(MediaLost(world.exchange.calls[first].leg, "audio", 5.0))
    assert world.exchange.calls[second].desk == "d1"
    assert world.noted("call_superseded")[0].call == first
    world.says(MediaLost(world.exchange.calls[second].leg, "audio", 5.0))
    third = place(world, "alice/3")
    assert world.exchange.calls[third].desk == "d1"


def test_strangers_are_never_taken_for_one_person():
    world = World()
    world.invite("bob")
    world.invite("bob2", uri="sip:110@x")
    assert len(world.exchange.acd.queue) == 2
    assert not world.exchange.acd.attached


# --- decisions ----------------------------------------------------------------------------------------------------


def test_every_decision_is_noted_with_its_candidates():
    world = World()
    world.sign_in("d1")
    world.sign_in("d2")
    world.invite("bob")
    first = world.noted("routed")[0]
    assert (first.fields["desk"], first.fields["rule"], first.fields["class"]) == (
        "d1",
        "longest-idle",
        "normal",
    )
    assert [c["desk"] for c in first.fields["candidates"]] == ["d1", "d2"]
    world.invite("carol")
    world.invite("dave", uri="sip:110-silent@x")
    waits = world.noted("routed")[-1].fields
    assert (waits["desk"], waits["rule"], waits["class"], waits["others"]) == (
        None,
        "waits",
        "danger",
        {"busy": 2},
    )
    events = [{"event": n.event, **n.fields} for n in world.notes if n.call == world.call("dave").id]
    assert [e["event"] for e in decisions(events)] == ["call_arrived", "routed"]
    assert queues_view(world.exchange) == [
        {"queue": "default", "waiting": 1, "staffed": 2, "strategy": "longest-idle", "overflow_to": [],
         "trunk": None, "full": False}
    ]  # fmt: skip


def test_silent_mode_switched_on_while_waiting_puts_the_caller_forward():
    from pbx.call import silence

    world = World()
    world.invite("bob")
    world.invite("carol")
    carol = world.call("carol").id
    world.run(silence.silent_on(world.exchange, carol, "api", world.now))
    assert world.exchange.acd.queue[0].call == carol
    assert world.exchange.acd.queue[0].priority is Priority.DANGER


def test_what_a_caller_needs_and_who_has_authority():
    spoken = {"languages": [{"medium": "audio", "speaks": ["en-GB", "zh"], "understands": []}]}
    assert needs(spoken, silent=False, media=["audio"]) == {"en"}
    signed = {"languages": [{"medium": "video", "speaks": ["sgn-CSL"], "understands": []}]}
    assert needs(signed, silent=True, media=["video", "audio"]) == {"sign", "silent", "video"}
    assert needs({}, silent=False, media=["text"]) == {"text"}
    assert needs({"languages": [{"medium": "audio", "speaks": [], "understands": ["und"]}]}, silent=False, media=[]) == set()  # fmt: skip
    world = World()
    for value, wanted in (("esnet.3", True), ("wps.0, ESNET.0", True), ("esnet.9", False), ("wps.0", False)):
        request = world.request("INVITE", "sip:110@x", "x", headers=(("Resource-Priority", value),))
        assert has_authority(request) is wanted


def test_a_strangers_resource_priority_gives_no_advantage():
    world = World()
    world.invite("bob")
    world.invite("eve", headers=(("Resource-Priority", "esnet.4"),))
    assert [p.priority for p in world.exchange.acd.queue] == [Priority.NORMAL] * 2


# --- what callers are told ----------------------------------------------------------------------------------------


def texts_to(world, since=0):
    return [
        e.request.body.decode()
        for e in world.sent[since:]
        if isinstance(e, SendRequest) and e.request.method == "MESSAGE"
    ]


def test_waiting_callers_are_told_place_and_wait_and_asked_to_stay():
    world = World(stay=60.0)
    world.sign_in("d1")
    for name in ("bob", "carol", "dave"):
        world.invite(name)
        world.ack(name)
    told = texts_to(world)
    assert any("number 2 in the queue" in text and "about 4 more min" in text for text in told)
    world.reply("MESSAGE")
    before = len(world.sent)
    world.wait(61.0)
    assert any("please stay on the line" in text for text in texts_to(world, before))


def test_a_silent_caller_hears_and_reads_nothing_while_waiting():
    world = World(stay=60.0)
    plays = []
    media = world._media
    world._media = lambda command: (plays.append(command), media(command))[1]
    world.invite("bob", uri="sip:110-silent@x")
    world.ack("bob")
    world.wait(200.0)
    assert texts_to(world) == []
    assert not [c for c in plays if isinstance(c, Play)]


# --- hands --------------------------------------------------------------------------------------------------------


def acd_says(world, event):
    world.run(world.exchange.run(world.exchange.acd.receive(event, world.now), world.now))


def test_to_head_and_seize_move_the_caller_between_rooms():
    world = World()
    world.sign_in("d1")
    world.invite("bob")
    world.sign_in("d2")
    bob = world.call("bob")
    acd_says(world, Seize(bob.id, "d2"))
    assert (bob.desk, world.exchange.room("d1").guest, world.exchange.room("d2").guest) == (
        "d2",
        None,
        bob.id,
    )
    acd_says(world, ToHead(bob.id, desk="d1"))
    assert (bob.desk, world.exchange.room("d2").guest) == ("d1", None)
    assert [n.fields["why"] for n in world.noted("desk_lost")] == ["seized", "transferred"]


# --- seats --------------------------------------------------------------------------------------------------------


def report(leg, received, *, quiet=None):
    return LegReport(leg, (StreamReport("audio", received, 0, 0.0, 0, 0, quiet_ms=quiet),))


def test_a_mute_desk_is_put_away_and_its_caller_goes_on():
    world = World(routing=Rules(no_sound=20.0))
    world.sign_in("d1")
    world.sign_in("d2")
    world.invite("bob")
    world.ack("bob")
    leg = world.desk_leg("d1").id
    world.says(report(leg, 500))
    assert seat(world.exchange, "d1") == ("offered", "")
    world.says(report(leg, 500))
    world.wait(21.0)
    assert seat(world.exchange, "d1") == ("away", "no_sound")
    assert world.call("bob").desk == "d2"
    assert world.noted("desk_sent_no_sound")[0].fields["put_away"]
    assert world.exchange.away == {}, "whoever signs in again starts afresh"


def test_a_desk_that_sends_sound_keeps_its_caller():
    world = World(routing=Rules(no_sound=20.0))
    world.sign_in("d1")
    world.sign_in("d2")
    world.invite("bob")
    world.ack("bob")
    leg = world.desk_leg("d1").id
    world.says(report(leg, 500))
    world.says(report(leg, 501))
    assert seat(world.exchange, "d1") == ("talking", "")
    world.wait(60.0)
    assert world.call("bob").desk == "d1"
    assert [n.fields for n in world.noted("desk_heard")] == [{"desk": "d1"}]
    assert hearing.started(world.exchange, "d2") == []


def offered(*, before):
    """Return a world where d1 was just given bob, having sent so many packets in the shift, and the leg of d1."""
    world = World(routing=Rules(no_sound=20.0))
    world.sign_in("d1")
    world.sign_in("d2")
    leg = world.desk_leg("d1").id
    world.says(report(leg, before, quiet=100.0))
    world.invite("bob")
    world.ack("bob")
    assert world.call("bob").desk == "d1"
    return world, leg


def test_who_speaks_at_once_and_then_listens_keeps_the_caller():
    """Voice activity detection: two seconds of sound before the first report, and none after it."""
    world, leg = offered(before=500)
    for _ in range(4):
        world.wait(5.0)
        world.says(report(leg, 600, quiet=20_000.0))
    world.wait(60.0)
    assert world.call("bob").desk == "d1"
    assert len(world.noted("desk_heard")) == 1


def test_a_living_phone_is_not_put_away_because_nobody_speaks():
    world, leg = offered(before=500)
    for _ in range(12):
        world.wait(5.0)
        world.says(report(leg, 500, quiet=4_000.0))
    assert world.call("bob").desk == "d1"
    assert seat(world.exchange, "d1") == ("offered", ""), "alive, and not heard"
    world.wait(19.9)
    assert world.call("bob").desk == "d1"
    world.wait(0.2)
    assert world.call("bob").desk == "d2", "and when even that stops, the caller goes on"


@pytest.mark.parametrize(("before", "quiet"), [(0, 1_000.0), (500, None), (500, 15_001.0)])
def test_a_phone_without_a_microphone_or_without_a_sign_of_life_is_put_away(before, quiet):
    world, leg = offered(before=before)
    for _ in range(4):
        world.says(report(leg, before, quiet=quiet))
        world.wait(5.0)
    assert seat(world.exchange, "d1") == ("away", "no_sound")
    assert world.call("bob").desk == "d2"


def test_away_and_its_reason_survive_a_restart_but_not_the_end_of_the_shift():
    world = World()
    world.sign_in("d1")
    world.run(seats.pause(world.exchange, "d1", world.now, "lunch"))
    assert seat(world.exchange, "d1") == ("away", "lunch")
    kept = dict(world.exchange.away)
    fresh = World()
    fresh.exchange.away.update(kept)
    fresh.sign_in("d1")
    assert seat(fresh.exchange, "d1") == ("away", "lunch")
    fresh.run(seats.sign_out(fresh.exchange, "d1", fresh.now))
    assert fresh.exchange.away == {}


def test_an_agent_brings_the_profile_to_any_desk():
    rules = Rules(queues={"north": QueueRule("north")}, profiles={"li": Profile({"north": 1})})
    world = World(routing=rules)
    world.register("d1")
    world.run(seats.sign_in(world.exchange, "d1", world.registrar.lookup(world.accounts["d1"].aor, world.now), world.now, "li"))  # fmt: skip
    world.pick_up("d1")
    world.invite("bob")
    assert world.exchange.acd.desk("d1").agent == "li"
    assert world.call("bob").desk is None, "li takes nobody of the queue " + DEFAULT


def test_an_exchange_without_bugs_has_nothing_to_mend():
    for seed in range(6):
        life = Life(seed)
        for _ in range(120):
            life.step()
            assert reconcile(life.world.exchange, life.world.now) == []


BREAKS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3)), min_size=1, max_size=4)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 10_000), BREAKS)
def test_a_stuck_seat_is_impossible(seed, breaks):
    """Whatever is made of seats, rooms and calls behind their backs: one look later all fit again, and it was said."""
    life = Life(seed)
    for _ in range(40):
        life.step()
    world = life.world
    world.media_answers = True
    world.media()
    before = broken_parts(world)
    for what, which in breaks:
        break_one(world, what, which)
    broken = broken_parts(world) != before
    world.run(reconcile(world.exchange, world.now))  # `run` checks the whole world at its end
    assert reconcile(world.exchange, world.now) == []
    if broken:
        assert world.noted("reconciled") or broken_parts(world) == before
    for room in world.exchange.rooms.values():
        found = world.exchange.acd.desk(room.desk)
        assert (found is not None) == room.present
        assert room.guest == (None if found is None else found.call)


def broken_parts(world):
    exchange = world.exchange
    return (
        sorted(place.call for place in exchange.acd.queue),
        {desk.desk: desk.call for desk in exchange.acd.desks},
        {room.desk: (room.guest, room.state) for room in exchange.rooms.values()},
        {call.id: (call.state, call.desk) for call in exchange.calls.values()},
    )


def break_one(world, what, which):
    exchange = world.exchange
    floor = exchange.acd._floor
    rooms = list(exchange.rooms.values())
    room = rooms[which % len(rooms)] if rooms else None
    match what:
        case 0 if room is not None:
            room.guest = None
        case 1 if room is not None and room.present and floor.desks.get(room.desk) is not None:
            floor.desks.remove(room.desk)
        case 2 if len(floor.line):
            floor.line.remove(next(iter(floor.line)).call)
        case 3 if room is not None:
            room.guest = "ghost"
        case 4:
            from routing.acd import CallWaits

            exchange.acd.receive(CallWaits(f"ghost-{which}"), world.now)
        case 5:
            for desk in list(floor.desks):
                if desk.place is not None:
                    floor.desks.set(structs.replace(desk, place=None, state=type(desk.state)("idle")))
                    break
        case 6:
            for call in exchange.calls.values():
                if call.state is State.TALKING:
                    call.state, call.desk = State.WAITING, None
                    world.rooms.pop(call.leg, None)
                    break


# --- callbacks ----------------------------------------------------------------------------------------------------


def test_abandoned_calls_become_tasks_until_the_person_is_there_again():
    book = Callbacks()
    world = World()
    first = place(world, "alice")
    for note in world.notes:
        book.noted(note, 100.0)
    book.noted(Note("text", first, {"from": "caller", "text": "help"}), 101.0)
    book.noted(Note("location_sent", first, {"geolocation": "<cid:x>"}), 101.0)
    book.noted(Note("media_started", first, {"leg": "caller", "medium": "video"}), 101.0)
    book.noted(Note("call_ended", first, {"while": "waiting", "cause": "bye"}), 102.0)
    (task,) = book.tasks()
    wanted = {"call": first, "account": "alice", "texts": [{"at": 101.0, "text": "help"}], "places": ["<cid:x>"],
              "picture": True, "abandoned": 102.0, "evidence": first, "silent": False}  # fmt: skip
    assert {k: task[k] for k in wanted} == wanted
    assert Callbacks(book.tasks()).find(first) == task
    book.noted(Note("call_arrived", "again", {"user": "alice"}), 110.0)
    book.noted(Note("same_incident", "again", {"incident": first, "why": "redialled"}), 110.0)
    assert book.tasks() == []


@pytest.mark.parametrize("served", [True, False])
def test_only_who_was_never_served_is_called_back(served):
    book = Callbacks()
    book.noted(Note("call_arrived", "a", {}), 1.0)
    if served:
        book.noted(Note("put_through", "a", {"desk": "d1"}), 2.0)
    book.noted(Note("call_ended", "a", {"while": "waiting"}), 3.0)
    assert bool(book.tasks()) is not served
    assert book.done("a") is not served
    assert not book.done("a")


def test_two_hundred_waiting_callers_are_told_their_places_and_cost_little():
    """Bars L6: at most 64 KiB for each waiting call, media not counted; and there is no full queue."""
    world = World()
    world.invite("first")
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(200):
        world.invite(f"caller{number}")
        world.ack(f"caller{number}")
    for book in (world.sent, world.notes, world.invites, world.answers):
        book.clear()  # what the test keeps for itself
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(world.exchange.acd.queue) == 201
    assert [p.told for p in world.exchange.acd.queue] == list(range(1, 202))
    assert (after - before) / 200 <= 64 * 1024
