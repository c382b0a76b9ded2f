"""Texts of desks, inside and outside the dialog, and what their senders are told of them (RFC 3428)."""

import pytest

from pbx.sip.digest import authorize
from tests.kit import hands
from tests.kit.world import HOST, REALM, World

QUIET = "请保持安静".encode()
PLAIN = {"content_type": "text/plain"}


def talking():
    world = World()
    world.sign_in("d1")
    world.invite("bob")
    world.ack("bob")
    world.sent.clear()
    return world


def texts(world):
    """Return (who was sent, what) of every text that left, oldest first."""
    found = [
        e for e in world.sent if getattr(e, "request", None) is not None and e.request.method == "MESSAGE"
    ]
    return [("d1" if e.flow == world.flow("d1") else "bob", e.request.body.decode()) for e in found]


def outside(world, name, uri, body=QUIET, *, kind="text/plain"):
    """Send a MESSAGE outside any dialog, with the password of `name`; returns the status."""
    challenge = world.answers[world.arrive(world.request("REGISTER", f"sip:{REALM}", name, cseq=70), name)][
        -1
    ]
    value = challenge.headers.all("WWW-Authenticate")[0]
    token = authorize(
        value, user=name, password=f"pw-{name}", method="MESSAGE", uri=uri, cnonce="c", nc=1, body=body
    )
    request = world.request(
        "MESSAGE", uri, name, body=body, content_type=kind, headers=(("Authorization", token),), cseq=71
    )
    return world.answers[world.arrive(world._again(request), name)][-1].status


@pytest.mark.parametrize("user", ["110", "room-d1", "*10"])
def test_a_desks_text_outside_the_dialog_reaches_its_caller(user):
    world = talking()
    assert outside(world, "d1", f"sip:{user}@{HOST}") == 200
    assert texts(world) == [("bob", "请保持安静")]
    assert world.noted("text")[-1].fields == {"from": "d1", "text": "请保持安静"}
    world.reply("MESSAGE", 200)
    assert world.noted("text_delivered")[-1].fields == {"delivered": True}


def test_it_reaches_nobody_elses_caller():
    world = talking()
    world.sign_in("d2")
    world.sent.clear()
    assert outside(world, "d2", f"sip:room-d1@{HOST}") == 403
    assert outside(world, "d2", f"sip:110@{HOST}") == 480
    assert outside(world, "alice", f"sip:room-d1@{HOST}") == 403
    assert texts(world) == []


def test_a_text_that_can_not_arrive_is_refused():
    world = World()
    world.sign_in("d1")
    assert outside(world, "d1", f"sip:110@{HOST}") == 480
    world.invite("bob")
    world.ack("bob")
    world.exchange.legs[world.call("bob").leg].allow = frozenset({"INVITE", "ACK", "BYE"})
    assert outside(world, "d1", f"sip:110@{HOST}") == 480
    assert outside(world, "d1", f"sip:110@{HOST}", b"x" * 9000) == 413
    assert outside(world, "d1", f"sip:110@{HOST}", b"<x/>", kind="application/xml") == 415


def test_a_dispatcher_in_need_is_a_caller():
    world = talking()
    world.register("d2")
    world.invite("d2")
    world.ack("d2")
    world.sent.clear()
    assert outside(world, "d2", f"sip:110@{HOST}") == 200
    assert world.noted("text")[-1].fields["from"] == "caller"


def test_a_desk_without_caller_is_told_that_nobody_reads():
    world = World()
    world.sign_in("d1")
    world.sent.clear()
    transaction = world.desk_request("d1", "MESSAGE", body=b"hello", **PLAIN)
    assert world.answers[transaction][-1].status == 200
    ((to, said),) = texts(world)
    assert to == "d1"
    assert "没有来电者" in said
    assert "no caller" in said


def test_a_desk_is_told_when_the_callers_phone_takes_no_texts():
    world = talking()
    world.exchange.legs[world.call("bob").leg].allow = frozenset({"INVITE", "ACK", "BYE"})
    world.desk_request("d1", "MESSAGE", body=b"hello", **PLAIN)
    ((to, said),) = texts(world)
    assert to == "d1"
    assert "takes no texts" in said
    assert world.noted("text")[-1].fields["text"] == "hello", "what was written is kept all the same"
    assert world.noted("text_delivered")[-1].fields == {"delivered": False}


@pytest.mark.parametrize("how", ["refused", "silence"])
def test_a_desk_is_told_when_a_text_was_lost(how):
    world = talking()
    world.desk_request("d1", "MESSAGE", body=b"where are you", **PLAIN)
    assert texts(world) == [("bob", "where are you")]
    world.reply("MESSAGE", 480) if how == "refused" else world.fails("MESSAGE")
    assert world.noted("text_delivered")[-1].fields == {"delivered": False}
    to, said = texts(world)[-1]
    assert to == "d1"
    assert "未送达" in said
    # That this text is lost too says nothing of the caller's.
    world.reply("MESSAGE", 480) if how == "refused" else world.fails("MESSAGE")
    assert len(texts(world)) == 2


@pytest.mark.parametrize(("mode", "heard"), [("barge", True), ("whisper", False), ("listen", False)])
def test_only_a_visitor_who_speaks_with_the_caller_writes_to_it(mode, heard):
    world = hands.talking(supervisors=("d2",), kind=World)
    hands.order(world, "d2", mode, "d1")
    world.sent.clear()
    assert outside(world, "d2", f"sip:110@{HOST}", b"from the visitor") == (200 if heard else 480)
    assert texts(world) == [("bob", "from the visitor")] * heard
