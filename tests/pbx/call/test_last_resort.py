"""Overflow to the 110 trunk: the caller keeps waiting until the trunk has answered, and whenever it fails."""

import pytest

from pbx.call import hands, last_resort
from pbx.call.exchange import Exchange
from pbx.call.hands import Order
from pbx.location import writing
from pbx.location.pidf import read
from pbx.sip.body import parse_body
from pbx.sip.message import Request
from routing.queues import QueueRule, Rules
from rtp.control import Play
from tests.kit import places
from tests.kit.trunks import PEERS, TrunkWorld, trunk
from tests.kit.world import sdp
from tests.test_snapshots import through_bytes

CIRCLE = places.document(37.5, 121.4, 25.0)


def world(*, after=None, desks=("d1", "d2"), signed_in=(), **settings):
    """Return a world whose default queue goes to the trunk when nobody is there, or after so many seconds."""
    rules = Rules(queues={"default": QueueRule("default", trunk="t1", trunk_after=after)}, redial=120.0)
    made = TrunkWorld(trunk(user=None, realm=None, password_env=None, **settings), routing=rules, desks=desks)
    for desk in signed_in:
        made.sign_in(desk)
    return made


def waiting(made, name="bob", **more):
    made.invite(name, **more)
    made.ack(name)
    assert made.call(name).state == "waiting"
    return made.call(name)


def far(made, status, number=-1, **more):
    made.respond(made.out("INVITE")[number], status, **more)


def trunk_hangs_up(made, *, reason=None):
    """Send the BYE of the trunk's side."""
    (leg,) = [leg for leg in made.exchange.legs.values() if leg.line is not None and leg.dialog is not None]
    dialog = leg.dialog
    headers = () if reason is None else (("Reason", reason),)
    request = made.request(
        "BYE", "sip:110@192.0.2.1", "far", cseq=9, to_tag=dialog.local_tag, headers=headers
    )
    request.headers.set("From", f"<sip:far@{PEERS[0]}>;tag={dialog.remote_tag}")
    request.headers.set("Call-ID", dialog.call_id)
    made.arrive(Request("BYE", request.uri, request.headers, b""), "far")


def test_a_caller_nobody_is_there_for_is_connected_over_the_trunk():
    made = world()
    call = waiting(made)
    ((_, invite, target),) = made.out("INVITE")
    assert (str(invite.uri.user), target.host) == ("110", PEERS[0])
    assert invite.headers.get("Resource-Priority") == "esnet.0"
    assert invite.headers.get("Subject") is None
    assert invite.headers.get("P-Asserted-Identity") == "<sip:110@192.0.2.1>", (
        "nothing of the caller is told by itself"
    )
    far(made, 180)
    assert call.state == "waiting"
    assert made.exchange.acd.queue[0].call == call.id, "keeps the place until the trunk answers"
    made.accept(made.out("INVITE")[0])
    assert call.state == "talking"
    assert call.desk.startswith("110.")
    assert made.rooms[call.leg] == (f"room-{call.desk}", "guest")
    (answered,) = made.noted("overflow_answered")
    assert answered.call == call.id
    placed = made.exchange.legs[made.exchange.room(call.desk).leg]
    assert placed.evidence == call.id, "recorded with the caller's call"


@pytest.mark.parametrize("status", [486, 480, 500, 503, 603, 404])
def test_a_trunk_that_fails_is_tried_again_with_back_off(status):
    made = world(peers=[{"host": PEERS[0]}])
    call = waiting(made)
    waits, attempts = [], 1
    for expected in (5.0, 10.0, 20.0, 40.0, 60.0, 60.0):
        far(made, status)
        assert call.state == "waiting"
        assert made.exchange.acd.place(call.id) is not None
        made.wait(expected - 0.1)
        assert len(made.out("INVITE")) == attempts
        made.wait(0.2)
        attempts += 1
        assert len(made.out("INVITE")) == attempts
        waits.append(made.noted("overflow_failed")[-1].fields["again"])
    assert waits == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]
    made.accept(made.out("INVITE")[-1])
    assert call.state == "talking"


def test_silence_of_every_peer_is_a_failure_too():
    made = world(attempt_seconds=2.0)
    call = waiting(made)
    made.wait(4.5)
    assert len(made.out("INVITE")) == 2, "each peer once"
    assert made.noted("overflow_failed")[0].fields["why"] == "no_answer"
    assert call.state == "waiting"
    made.wait(5.0)
    assert len(made.out("INVITE")) == 3


def test_the_place_in_the_line_stays_the_same():
    made = world(peers=[{"host": PEERS[0]}])
    first, second = waiting(made, "alice"), waiting(made, "bob")
    before = made.exchange.acd.queue
    far(made, 486, 0)
    far(made, 503, 1)
    after = made.exchange.acd.queue
    assert [p.call for p in after] == [first.id, second.id]
    assert [p.key for p in after] == [p.key for p in before]


def test_a_desk_that_becomes_free_first_has_the_caller_and_the_attempt_is_cancelled():
    made = world()
    call = waiting(made)
    far(made, 180)
    made.sign_in("d1")
    assert (call.state, call.desk) == ("talking", "d1")
    assert len(made.cancels()) == 1
    assert made.noted("overflow_cancelled")
    assert not made.exchange.last_resort.attempts
    made.accept(made.out("INVITE")[0])  # its 200 crosses the CANCEL
    assert (call.state, call.desk) == ("talking", "d1")
    assert made.out("BYE")
    assert not [room for room in made.exchange.rooms.values() if room.outside]


def test_a_caller_who_hangs_up_takes_the_attempt_along():
    made = world()
    waiting(made)
    far(made, 180)
    made.bye("bob")
    assert len(made.cancels()) == 1
    assert not made.exchange.last_resort.attempts


def test_by_time_only_when_the_time_has_come_and_desks_are_busy():
    made = world(after=30.0, signed_in=("d1",))
    made.invite("alice")
    made.ack("alice")
    call = waiting(made)
    made.wait(29.9)
    assert made.out("INVITE") == [one for one in made.out("INVITE") if one[1].uri.host not in PEERS]
    made.wait(0.2)
    assert made.out("INVITE")[-1][1].uri.host == PEERS[0]
    assert made.noted("overflow_wanted")[0].fields == {"trunk": "t1", "why": "time"}
    assert call.state == "waiting"


def test_somebody_is_there_again_when_the_back_off_ends():
    made = world(peers=[{"host": PEERS[0]}])
    call = waiting(made)
    far(made, 486)
    made.sign_in("d1")
    assert call.desk == "d1"
    made.wait(100.0)
    assert [one for one in made.out("INVITE") if one[1].uri.host == PEERS[0]] == made.out("INVITE")[:1]


def test_a_trunk_that_can_not_be_used_now_is_tried_again():
    made = world(capacity=1)
    waiting(made, "alice")
    call = waiting(made, "bob")
    assert made.noted("overflow_failed")[0].fields["why"] == "trunk_full"
    made.bye("alice")
    far(made, 487)
    made.wait(5.1)
    made.accept(made.out("INVITE")[-1])
    assert call.state == "talking"


# --- how it ends ----------------------------------------------------------------------------------------------------


def test_their_dispatcher_hangs_up_and_the_call_is_over():
    made = world()
    call = waiting(made)
    made.accept(made.out("INVITE")[0])
    made.wait(11.0)
    trunk_hangs_up(made, reason="Q.850;cause=16")
    assert made.call("bob") is None or made.call("bob").state == "closing"
    assert made.noted("ended_by_host")[0].call == call.id
    assert len(made.out("INVITE")) == 1


@pytest.mark.parametrize(("seconds", "reason"), [(2.0, None), (60.0, "Q.850;cause=41")])
def test_a_trunk_that_drops_the_caller_has_failed(seconds, reason):
    made = world()
    call = waiting(made)
    made.accept(made.out("INVITE")[0])
    made.wait(seconds)
    trunk_hangs_up(made, reason=reason)
    assert call.state == "waiting"
    assert made.exchange.acd.place(call.id).priority == 0, "at the head"
    assert len(made.out("INVITE")) == 1
    made.wait(5.1)
    assert len(made.out("INVITE")) == 2


def test_a_caller_who_hangs_up_ends_the_trunks_leg():
    made = world()
    waiting(made)
    made.accept(made.out("INVITE")[0])
    made.bye("bob")
    assert made.out("BYE")
    assert not made.exchange.last_resort.attempts


def test_the_same_person_on_a_newer_call_is_called_for_again():
    made = world()
    made.register("alice")
    first = waiting(made, "alice")
    request = made.request(
        "INVITE", "sip:110@192.0.2.1", "alice", body=sdp(), content_type="application/sdp", call_id="two"
    )
    made.arrive(request, "alice")
    assert len(made.cancels()) == 1
    (place,) = made.exchange.acd.queue
    assert place.call != first.id
    assert set(made.exchange.last_resort.attempts) == {place.call}


# --- what the other side is told ------------------------------------------------------------------------------------


def test_a_silent_caller_stays_silent_and_the_trunk_is_told():
    made = world()
    call = waiting(made, uri="sip:110-silent@192.0.2.1")
    invite = made.out("INVITE")[0][1]
    assert "静默报警" in invite.headers.get("Subject")
    heard = []
    media, made._media = made._media, lambda command: (heard.append(command), media(command))
    made.accept(made.out("INVITE")[0])
    made._media = media
    assert call.silent
    assert call.gates().command.silent
    plays = [command for command in heard if isinstance(command, Play)]
    assert {play.leg for play in plays} == {made.exchange.room(call.desk).leg}, "nothing to the caller"
    assert plays[-1].items == ("en/silent-caller",)


def test_number_and_place_are_passed_where_the_trunk_may_know_them():
    made = world(tells=["number", "location"])
    made.accounts["alice"] = type(made.accounts["alice"])(
        **{
            name: getattr(made.accounts["alice"], name)
            for name in ("user", "realm", "ha1", "kind", "verified_name")
        },
        phone="13800000001",
    )
    made.register("alice")
    content_type, body = writing.multipart(sdp(), CIRCLE, content_id="here@phone", boundary="b1")
    request = made.request("INVITE", "sip:110@192.0.2.1", "alice", body=body, content_type=content_type)
    request.headers.add("Geolocation", "<cid:here@phone>")
    made.invites["alice"] = request
    made.transactions["alice"] = made.arrive(request, "alice")
    made.ack("alice")
    invite = made.out("INVITE")[0][1]
    assert invite.headers.get("P-Asserted-Identity") == "<sip:13800000001@192.0.2.1>"
    parts = [part for part in parse_body(invite).walk() if part.kind == "application/pidf+xml"]
    (located,) = read(parts[0].body)
    assert (located.shape.at, located.shape.radius) == ((37.5, 121.4), 25.0)
    assert b"alice" not in parts[0].body
    assert invite.headers.get("Geolocation") == f"<cid:{parts[0].content_id}>"


@pytest.mark.parametrize(
    ("where", "shown", "header", "value"),
    [
        (
            "p-asserted-identity",
            '"Anonymous" <sip:anonymous@anonymous.invalid>',
            "P-Asserted-Identity",
            "<sip:+8613800138000@192.0.2.1>",
        ),
        (
            "remote-party-id",
            '"Anonymous" <sip:anonymous@anonymous.invalid>',
            "Remote-Party-ID",
            "<sip:+8613800138000@192.0.2.1>;party=calling;screen=yes;privacy=full",
        ),
        ("from", "<sip:+8613800138000@192.0.2.1>", "P-Asserted-Identity", None),
    ],
)
def test_a_number_that_is_to_be_kept_back_is_shown_to_the_other_centre_alone(where, shown, header, value):
    """RFC 3323, RFC 3325 §9.3: kept from those on the way; whoever is to help sees it."""
    made = world(tells=["number"], caller_id_in=where)
    asserted = ("P-Asserted-Identity", "<tel:+8613800138000>")
    made.comes("13800138000", headers=(("Privacy", "id"), asserted))
    made.ack("13800138000")
    invite = made.out("INVITE")[0][1]
    assert str(invite.from_).partition(";tag=")[0] == shown
    assert invite.headers.get(header) == value
    assert invite.headers.get("Privacy") == "id"
    assert made.arrival()["number"].endswith("13800138000"), "the dispatcher here sees it too"


def test_without_such_a_wish_nothing_is_kept_back():
    made = world(tells=["number"])
    made.comes("13800138000", headers=(("P-Asserted-Identity", "<tel:+8613800138000>"),))
    made.ack("13800138000")
    invite = made.out("INVITE")[0][1]
    assert invite.from_.uri.user == "+8613800138000"
    assert invite.headers.get("Privacy") is None


# --- exchanges that send on to each other -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stated", "sent"), [("70", "69"), ("12", "11"), ("2", "1"), ("255", "69"), (None, "70"), ("x", "70")]
)
def test_what_goes_on_has_one_hop_less_to_go(stated, sent):
    made = world()
    request = made.request("INVITE", "sip:110@192.0.2.1", "bob", body=sdp(), content_type="application/sdp")
    request.headers.set("Max-Forwards", stated) if stated else request.headers.remove("Max-Forwards")
    made.invites["bob"], made.transactions["bob"] = request, made.arrive(request, "bob")
    made.ack("bob")
    assert made.out("INVITE")[0][1].headers.lines("Max-Forwards") == [sent]


@pytest.mark.parametrize("stated", ["1", "0"])
def test_a_call_that_has_come_a_long_way_waits_here_and_is_not_lost(stated):
    made = world()
    request = made.request("INVITE", "sip:110@192.0.2.1", "bob", body=sdp(), content_type="application/sdp")
    request.headers.set("Max-Forwards", stated)
    made.invites["bob"], made.transactions["bob"] = request, made.arrive(request, "bob")
    assert made.last_answer("bob").status == 200
    made.ack("bob")
    assert made.out("INVITE") == []
    assert made.noted("overflow_failed")[-1].fields["why"] == "too_many_hops"
    assert made.call("bob").state == "waiting"
    made.sign_in("d1")
    assert made.call("bob").desk == "d1"


def test_two_exchanges_that_send_on_to_each_other_come_to_an_end():
    """RFC 5393, bars S9: seventy hops in all, however long nobody is there on either side."""
    hops, calls, left = 70, 0, True
    while left:
        made = world()
        request = made.request(
            "INVITE", "sip:110@192.0.2.1", "bob", body=sdp(), content_type="application/sdp"
        )
        request.headers.set("Max-Forwards", str(hops))
        made.invites["bob"], made.transactions["bob"] = request, made.arrive(request, "bob")
        made.ack("bob")
        sent = made.out("INVITE")
        left = bool(sent)
        if left:
            calls += 1
            hops = sent[0][1].max_forwards
    assert calls == 69


def test_a_claimed_number_is_not_passed_on_as_ours():
    made = world(tells=["number", "location"])
    waiting(made, "13911112222")
    assert made.out("INVITE")[0][1].headers.get("P-Asserted-Identity") == "<sip:110@192.0.2.1>"


# --- beside everything else -------------------------------------------------------------------------------------------


def test_a_desk_can_not_steal_from_the_trunk_but_is_served_first():
    made = world(desks=("d1",))
    call = waiting(made)
    made.accept(made.out("INVITE")[0])
    made.sign_in("d1")
    with pytest.raises(Exception, match="no such desk"):
        hands.act(made.exchange, Order("d1", "take", call.desk), made.now)
    assert call.desk.startswith("110.")


@pytest.mark.parametrize("stage", ["ringing", "failed", "talking"])
def test_a_restart_goes_on(stage):
    made = world(peers=[{"host": PEERS[0]}])
    call = waiting(made)
    match stage:
        case "ringing":
            far(made, 180)
        case "failed":
            far(made, 486)
        case "talking":
            made.accept(made.out("INVITE")[0])
    trunks = made.exchange.trunks
    made.exchange = Exchange.restore(
        through_bytes(made.exchange.snapshot()), made.exchange.site, made.exchange.mint
    )
    made.exchange.trunks = trunks
    made.answering._exchange = made.exchange
    attempt = made.exchange.last_resort.attempts[call.id]
    match stage:
        case "ringing":
            made.accept(made.out("INVITE")[0])
            assert made.exchange.calls[call.id].state == "talking"
        case "failed":
            assert (attempt.party, attempt.failures) == (None, 1)
            made.wait(5.1)
            assert len(made.out("INVITE")) == 2
        case "talking":
            assert attempt.since is not None
            assert made.exchange.calls[call.id].desk == attempt.party


def test_the_longest_wait_is_bounded_however_often_it_fails():
    attempt = last_resort.Attempt("c", "t", failures=10)
    last_resort._failed(attempt, "busy", 0.0)
    assert attempt.until == last_resort.LONGEST_WAIT
