"""Watching seats and rooms on the pure exchange: lamps, conferences, presence, phones (RFC 6665, 4235, 4575, 3863, 3680)."""

import random
from collections import Counter
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbx.call import lamps, seats
from pbx.call.effects import SendRequest
from pbx.call.seats import Impossible
from pbx.call.supervision import set_roles
from rtp.control import Dtmf
from tests.kit.life import Life
from tests.kit.watcher import Told, WatchedWorld
from tests.kit.world import HOST, sdp

SEATS = ("d1", "d2")


# --- who may ask for what ------------------------------------------------------------------------------------------


def test_a_lamp_burns_while_a_caller_is_in_front():
    world = WatchedWorld()
    lamp = world.watch("d2", "dialog", f"sip:d1@{HOST}")
    assert world.told[lamp].lit == set()
    assert world.state_of(lamp) == "active;expires=600"
    world.sign_in("d1")
    assert world.told[lamp].lit == set(), "the permanent leg is no call"
    world.invite("bob")
    world.wait(1.0)
    assert len(world.told[lamp].lit) == 1
    assert world.call("bob").id not in str(world.last(lamp).body), "a call's id opens its evidence"
    world.ack("bob")
    world.bye("bob")
    world.wait(1.0)
    assert world.told[lamp].lit == set()
    assert world.told[lamp].states == ["full", "partial", "partial"]


def test_a_room_shows_host_and_guest_and_who_is_on_hold():
    world = WatchedWorld()
    room = world.watch("d2", "conference", f"sip:room-d1@{HOST}:5060")
    told = world.told[room]
    assert (told.count, told.active, told.users) == (0, "false", {})
    assert world.last(room).contact.has_param("isfocus")
    assert world.last(room).contact.uri.user == "room-d1"
    world.sign_in("d1")
    world.wait(1.0)
    assert told.users == {"sip:d1@at110": ("d1", "host", "connected")}
    assert told.active == "true"
    world.invite("bob")
    world.ack("bob")
    world.wait(1.0)
    assert told.users["sip:bob@at110"] == ("bob (未核实 unverified)", "guest", "connected")
    assert told.media["sip:bob@at110"] == [("audio", "sendrecv"), ("video", "sendrecv")]
    world.in_dialog("bob", "INVITE", cseq=3, body=sdp(direction="sendonly"), content_type="application/sdp")
    world.wait(1.0)
    assert told.users["sip:bob@at110"][2] == "on-hold"
    assert told.media["sip:bob@at110"][0] == ("audio", "sendonly"), "as the caller's phone has it"
    world.bye("bob")
    world.wait(1.0)
    assert list(told.users) == ["sip:d1@at110"]
    assert told.states[0] == "full"
    assert set(told.states[1:]) == {"partial"}


def test_the_desks_legs_say_that_they_are_a_focus():
    world = WatchedWorld()
    world.sign_in("d1")
    contact = world.desk_invite("d1").request.contact
    assert contact.has_param("isfocus")
    world.watch("d1", "conference", str(contact.uri))
    world.invite("bob")
    assert not world.last_answer("bob").contact.has_param("isfocus")


def test_a_hostile_name_stays_text():
    world = WatchedWorld()
    room = world.watch("d2", "conference", f"sip:room-d1@{HOST}")
    world.sign_in("d1")
    name = b'"/>&lt;!DOCTYPE\x00\xff\r\nX:y'
    request = world.request("INVITE", "sip:110@192.0.2.1", "eve", body=sdp(), content_type="application/sdp")
    request.headers.set("From", f"<sip:{quote(name, safe='')}@h>;tag=e")
    world.arrive(world._again(request), "eve")
    world.wait(1.0)
    guests = [(entity, who[0]) for entity, who in world.told[room].users.items() if who[1] == "guest"]
    text = '"/>&lt;!DOCTYPE\ufffd\ufffd\nX:y (未核实 unverified)'
    assert guests == [(f"sip:{quote(name, safe='')}@at110", text)]


def test_presence_follows_the_seat():
    world = WatchedWorld(wrap_up=3.0)
    key = world.watch("d2", "presence", f"sip:d1@{HOST}")
    told = world.told[key]
    assert told.presence == ("closed", None, ("未签入", "Signed out"))
    world.sign_in("d1")
    world.wait(1.0)
    assert told.presence == ("open", None, ("空闲", "Free"))
    world.invite("bob")
    world.wait(1.0)
    assert told.presence[:2] == ("open", "on-the-phone")
    world.ack("bob")
    world.bye("bob")
    world.wait(1.0)
    assert told.presence[:2] == ("open", "busy")
    world.wait(5.0)
    assert told.presence[:2] == ("open", None)
    world.run(seats.pause(world.exchange, "d1", world.now))
    world.wait(1.0)
    assert told.presence[:2] == ("open", "away")
    world.run(seats.sign_out(world.exchange, "d1", world.now))
    world.wait(1.0)
    assert told.presence[0] == "closed"


def test_ones_own_phones_are_told_by_reg():
    world = WatchedWorld()
    key = world.watch("d1", "reg")
    assert world.told[key].phones == []
    world.register("d1")
    world.wait(1.0)
    assert world.told[key].phones == ["sip:d1@192.0.2.77:5000"]
    world.register("d2")
    assert len(world.notified[key]) == 2, "the phones of others are no news"
    for cseq in (2, 4, 6, 8, 10):
        world.wait(500)
        assert world.again("d1", key, cseq=cseq, expires=3600).status == 200
    world.wait(3700)
    assert world.told[key].phones == [], "the registration ended by itself"


def administrators(world, *users):
    world.run(
        set_roles(world.exchange, world.answering.watching, {"admin": users, "supervisor": ()}.get, world.now)
    )


def test_an_administrator_sees_the_phones_of_every_account():
    """RFC 3680 §4.6."""
    world = WatchedWorld()
    administrators(world, "d2")
    desks, callers = (world.watch("d2", "reg", f"sip:{name}@{HOST}") for name in ("d1", "alice"))
    world.register("alice")
    world.wait(1.0)
    assert world.told[callers].phones == ["sip:alice@192.0.2.77:5000"]
    assert world.told[desks].phones == []
    assert world.again("d2", callers, cseq=9, expires=600).status == 200
    # What is no account has no phones, and a caller's seat can't be watched by anybody.
    assert world.ask("d2", "reg", f"sip:nobody@{HOST}", call_id="x").status == 403
    assert world.ask("d2", "dialog", f"sip:alice@{HOST}", call_id="y").status == 403


def test_who_is_no_administrator_any_more_sees_only_the_own_phones():
    world = WatchedWorld()
    administrators(world, "d2")
    others, own = world.watch("d2", "reg", f"sip:d1@{HOST}"), world.watch("d2", "reg")
    lamp = world.watch("d2", "dialog", f"sip:d1@{HOST}")
    administrators(world)
    assert world.state_of(others) == "terminated;reason=rejected"
    assert all(world.state_of(key).startswith("active") for key in (own, lamp))
    assert world.ask("d2", "reg", f"sip:d1@{HOST}", call_id="x").status == 403
    assert len(world.notifier) == 2


@pytest.mark.parametrize(
    ("name", "event", "uri", "status"),
    [
        ("d1", "dialog", f"sip:d1@{HOST}", 200),
        ("d1", "DIALOG;id=7", f"sip:d2@{HOST}", 200),
        ("d1", "conference", f"sip:d2@{HOST}", 200),
        ("d1", "conference", f"sip:room-d2@{HOST}", 200),
        ("d1", "dialog", f"sip:room-d2@{HOST}", 404),
        ("d1", "presence", f"sip:alice@{HOST}", 403),
        ("d1", "presence", f"sip:nobody@{HOST}", 403),
        ("d1", "conference", f"sip:room-alice@{HOST}", 403),
        ("d1", "reg", f"sip:d1@{HOST}", 200),
        ("d1", "reg", f"sip:d2@{HOST}", 403),
        ("d1", "presence", f"sip:110@{HOST}", 403),
        ("d1", "presence", "tel:110", 403),
        ("d1", "presence", "nobody:knows", 416),
        ("alice", "dialog", f"sip:d1@{HOST}", 403),
        ("alice", "presence", f"sip:alice@{HOST}", 403),
        ("alice", "reg", f"sip:alice@{HOST}", 403),
        ("alice", "conference", f"sip:room-d1@{HOST}", 403),
        ("alice", "message-summary", f"sip:alice@{HOST}", 489),
        ("d1", "message-summary", f"sip:d1@{HOST}", 489),
        ("d1", "dialog.winfo", f"sip:d1@{HOST}", 489),
        ("d1", "refer", f"sip:d1@{HOST}", 489),
        ("d1", None, f"sip:d1@{HOST}", 489),
        ("d1", "dialog;id=a b", f"sip:d1@{HOST}", 400),
    ],
)
def test_who_may_watch_what(name, event, uri, status):
    world = WatchedWorld()
    answer = world.ask(name, event, uri, call_id="x")
    assert answer.status == status
    assert len(world.notifier) == (status == 200)
    if status == 489:
        # RFC 6665 §8.3.2: the refusal lists what would be understood.
        assert answer.headers.all("Allow-Events") == ["dialog", "conference", "presence", "reg"]


def test_a_stranger_is_challenged_and_leaves_nothing():
    world = WatchedWorld()
    for number in range(20):
        assert world.ask("eve", "dialog", f"sip:d1@{HOST}", call_id=f"x{number}", tries=1).status == 401
    assert len(world.notifier) == 0
    assert world.notified == {}


@pytest.mark.parametrize(
    ("headers", "status", "named"),
    [
        ((("Expires", "59"),), 423, ("Min-Expires", "60")),
        ((("Expires", "60"),), 200, ("Expires", "60")),
        ((("Expires", "99999"),), 200, ("Expires", "3600")),
        ((), 200, ("Expires", "3600")),
        ((("Accept", "application/sdp"),), 406, ("Accept", "application/dialog-info+xml")),
        ((("Accept", "text/plain, application/Dialog-Info+XML;q=0.5"),), 200, ("Expires", "3600")),
        ((("Accept", "*/*"),), 200, ("Expires", "3600")),
        ((("Require", "eventlist"),), 420, ("Unsupported", "eventlist")),
    ],
)
def test_what_a_subscribe_may_wish(headers, status, named):
    answer = WatchedWorld().ask("d1", "dialog", f"sip:d1@{HOST}", call_id="x", headers=headers)
    assert answer.status == status
    assert answer.headers.get(named[0]) == named[1]


@pytest.mark.parametrize("contact", [None, "<tel:110>", "*"])
def test_a_watcher_says_where_it_is(contact):
    world = WatchedWorld()
    again = world._again

    def without(request):
        request.headers.remove("Contact")
        if contact is not None:
            request.headers.add("Contact", contact)
        return again(request)

    arrive = world.arrive
    world.arrive = lambda request, name: arrive(without(request), name)
    assert world.ask("d1", "dialog", f"sip:d1@{HOST}", call_id="x").status == 400
    assert len(world.notifier) == 0


def test_options_tells_what_can_be_watched():
    world = WatchedWorld()
    answer = world.answers[world.arrive(world.request("OPTIONS", "sip:192.0.2.1", "bob"), "bob")][-1]
    assert "SUBSCRIBE" in answer.headers.get("Allow")
    assert "dialog" in answer.headers.get("Allow-Events")


# --- life of a subscription -------------------------------------------------------------------------------------------


def test_a_calls_dialog_holds_no_subscription():
    world = WatchedWorld()
    world.sign_in("d1")
    answer = world.answers[world.desk_request("d1", "SUBSCRIBE", headers=(("Event", "conference"),))][-1]
    assert answer.status == 405
    assert "SUBSCRIBE" not in answer.headers.get("Allow")
    assert len(world.notifier) == 0


def test_a_notify_nobody_asked_for_is_refused():
    world = WatchedWorld()
    request = world.request("NOTIFY", f"sip:110@{HOST}", "eve", to_tag="x", headers=(("Event", "dialog"),))
    assert world.answers[world.arrive(request, "eve")][-1].status == 481


def test_asking_once():
    world = WatchedWorld()
    key = world.watch("d1", "dialog", f"sip:d2@{HOST}", expires=0)
    assert world.state_of(key) == "terminated;reason=timeout"
    assert world.told[key].states == ["full"]
    assert len(world.notifier) == 0


def test_refresh_end_and_what_comes_after():
    world = WatchedWorld()
    key = world.watch("d1", "dialog;id=lamp", f"sip:d2@{HOST}", expires=100)
    assert world.last(key).headers.get("Event") == "dialog;id=lamp"
    world.wait(90)
    assert world.again("d1", key, cseq=5, expires=600).headers.get("Expires") == "600"
    assert world.state_of(key) == "active;expires=600"
    assert world.told[key].states == ["full", "full"]
    world.wait(400)
    assert len(world.notifier) == 1
    assert world.again("d1", key, cseq=3, expires=600).status == 500  # RFC 3261 §12.2.2: out of order
    assert world.again("d1", key, cseq=8, expires=30).status == 423
    assert len(world.notifier) == 1, "a refused refresh leaves the subscription as it was"
    assert world.again("d1", key, cseq=12, expires=600, event="presence").status == 403
    assert world.again("d2", key, cseq=14, expires=0).status == 481, "another's From tag is another dialog"
    assert world.again("d1", key, cseq=16, expires=0).status == 200
    assert world.state_of(key) == "terminated;reason=timeout"
    assert world.again("d1", key, cseq=20, expires=600).status == 481
    assert world.notifier.next_due is None


def test_a_refresh_needs_the_password_too():
    world = WatchedWorld()
    key = world.watch("d1", "dialog", f"sip:d2@{HOST}")
    tag = world.notified[key][0].from_.tag
    answer = world.ask(
        "d1", "dialog", f"sip:d2@{HOST}", call_id=key.removesuffix("@phone"), cseq=5, to_tag=tag, tries=1
    )
    assert answer.status == 401
    assert len(world.notified[key]) == 1


def test_what_is_not_refreshed_ends():
    world = WatchedWorld()
    key = world.watch("d1", "presence", f"sip:d2@{HOST}", expires=60)
    world.wait(59.9)
    assert len(world.notified[key]) == 1
    world.wait(0.2)
    assert world.state_of(key) == "terminated;reason=timeout"
    assert len(world.notifier) == 0


@pytest.mark.parametrize(
    ("answer", "headers", "lives"),
    [
        (481, (), False),
        (489, (), False),
        (401, (("WWW-Authenticate", 'Digest realm="at110", nonce="x"'),), False),
        (407, (("Retry-After", "1"),), False),
        (503, (), False),
        (503, (("Retry-After", "soon"),), False),
        (503, (("Retry-After", "20 (busy);duration=9"),), True),
        (302, (), False),
        ("timeout", (), False),
        ("transport", (), False),
    ],
)
def test_a_notify_that_fails_ends_the_subscription_unless_it_says_when_to_come_back(answer, headers, lives):
    world = WatchedWorld()
    world.replies = lambda request: None
    key = world.watch("d1", "dialog", f"sip:d2@{HOST}")
    sent = world.sent[-1]
    assert isinstance(sent, SendRequest)
    world.outcome(sent, answer, headers)
    assert (len(world.notifier) == 1) is lives
    world.sign_in("d2")
    world.invite("bob")
    world.wait(19.0)
    assert len(world.notified[key]) == 1
    world.wait(2.0)
    if lives:
        assert world.told[key].states == ["full", "full"], "nobody knows what the watcher took in"
        assert len(world.told[key].lit) == 1
    assert not any("Authorization" in e.request.headers for e in world.sent if isinstance(e, SendRequest))


def test_notifies_take_the_road_the_subscribe_came():
    world = WatchedWorld()
    answer = world.ask(
        "d1", "dialog", f"sip:d2@{HOST}", call_id="x", headers=(("Record-Route", "<sip:192.0.2.66;lr>"),)
    )
    assert answer.record_routes
    sent = world.sent[-1]
    assert sent.flow == world.flow("d1")
    assert [str(route.uri) for route in sent.request.routes] == ["sip:192.0.2.66;lr"]
    assert str(sent.request.uri) == "sip:d1@192.0.2.77:5000"


def test_a_blocked_account_is_told_nothing_more():
    world = WatchedWorld()
    key = world.watch("d2", "dialog", f"sip:d1@{HOST}")
    other = world.watch("d2", "presence", f"sip:d2@{HOST}")
    del world.accounts["d2"]
    world.sign_in("d1")
    assert world.state_of(key) == "terminated;reason=rejected"
    assert world.state_of(other) == "terminated;reason=rejected"
    assert len(world.notifier) == 0


def test_a_seat_that_is_taken_away_ends_its_lamps():
    world = WatchedWorld()
    world.sign_in("d1")
    key = world.watch("d2", "dialog", f"sip:d1@{HOST}")
    del world.accounts["d1"]
    world.desk_request("d1", "BYE")
    assert world.state_of(key) == "terminated;reason=noresource"


def test_a_stop_tells_every_watcher_when_to_come_back():
    world = WatchedWorld()
    keys = [world.watch("d1", "dialog", f"sip:{seat}@{HOST}") for seat in SEATS]
    world.run(world.answering.watching.close(world.now))
    states = [world.state_of(key) for key in keys]
    assert states == [
        "terminated;reason=probation;retry-after=10",
        "terminated;reason=probation;retry-after=11",
    ]
    assert len(world.notifier) == 0


# --- pace ---------------------------------------------------------------------------------------------------------------


def test_quick_changes_are_told_together():
    world = WatchedWorld()
    key = world.watch("d2", "dialog", f"sip:d1@{HOST}")
    world.sign_in("d1")
    world.wait(1.0)
    for name in ("a", "b", "c", "e"):
        world.invite(name)
        world.ack(name)
        world.bye(name)
    assert len(world.notified[key]) == 2, "the first one at once, the rest waits"
    world.wait(0.19)
    assert len(world.notified[key]) == 2
    world.wait(0.02)
    assert len(world.notified[key]) == 3
    assert world.told[key].lit == set()


def test_a_slow_phone_is_told_one_thing_at_a_time_and_never_late():
    world = WatchedWorld()
    world.sign_in("d1")
    key = world.watch("d2", "conference", f"sip:room-d1@{HOST}")
    world.wait(1.0)
    world.replies = lambda request: None
    world.invite("a")
    waiting = next(e for e in reversed(world.sent) if getattr(e, "ref", "").startswith("notify/"))
    world.ack("a")
    world.bye("a")
    world.invite("b")
    world.wait(5.0)
    assert len(world.notified[key]) == 2
    world.replies = lambda request: 200
    world.outcome(waiting, 200)
    assert len(world.notified[key]) == 3
    assert "sip:b@at110" in world.told[key].users
    assert "sip:a@at110" not in world.told[key].users


# --- any life ------------------------------------------------------------------------------------------------------------


class WatchedLife(Life):
    """Callers and dispatchers live at random while everything they do is watched."""

    def __init__(self, seed):
        super().__init__(seed)
        self.world = WatchedWorld(desks=SEATS, wrap_up=2.0)
        self.keys = {
            (event, seat): self.world.watch("d1", event, f"sip:{seat}@{HOST}", expires=3600)
            for event in ("dialog", "conference", "presence")
            for seat in SEATS
        }


def truth(world, event, seat):
    """What a watcher must know, read from the exchange and not from any document."""
    seen = lamps.seat(world.exchange, world.accounts[seat])
    expected = Told()
    if event == "dialog":
        expected.lit = set() if seen.guest is None else {seen.guest.id}
        return expected.lit
    if event == "presence":
        return {"signed_out": "closed"}.get(seen.state, "open")
    hosts = 0 if seen.state == "signed_out" else 1
    return hosts + (seen.guest is not None)


def known(told, event):
    return {"dialog": told.lit, "presence": (told.presence or ("?",))[0], "conference": told.count}[event]


@given(st.integers(0, 2**32), st.integers(10, 60))
@settings(max_examples=40, deadline=None)
def test_watchers_know_the_truth_after_any_life(seed, steps):
    life = WatchedLife(seed)
    world = life.world
    chance = random.Random(seed)
    for _ in range(steps):
        lost = chance.random() < 0.2
        world.replies = (lambda request: None) if lost else (lambda request: 200)
        life.step()
        world.wait(chance.choice([0.0, 0.01, 0.1]))
    world.replies = lambda request: 200
    world.wait(40.0)  # what nobody answered has been given up
    for (event, seat), key in life.keys.items():
        if world.state_of(key).startswith("active"):
            assert known(world.told[key], event) == truth(world, event, seat), (event, seat)
    for key, times in world.times.items():
        # At most five in any second, the first whole one beside.
        for at in times[1:]:
            assert sum(at <= other < at + 0.999 for other in times[1:]) <= 5, key
    assert all(n == 1 for n in Counter(n.cseq.number for n in world.notified[key]).values())


def test_a_call_that_is_ended_from_the_desk_puts_out_the_lamp():
    world = WatchedWorld()
    world.sign_in("d1")
    key = world.watch("d2", "dialog", f"sip:d1@{HOST}")
    world.invite("bob")
    world.ack("bob")
    for digit in "*13":
        world.says(Dtmf(world.exchange.room("d1").leg, digit))
    world.wait(1.0)
    assert world.told[key].lit == set()
    with pytest.raises(Impossible):
        seats.end_call(world.exchange, "d1", world.now)
