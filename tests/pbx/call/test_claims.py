"""What a stranger says of itself stays what it is: a claim (bars S8)."""

import itertools

import pytest

from pbx.call.claims import MAX_LENGTH, MAX_VALUES, claims, privacy
from pbx.call.effects import Note, SendRequest
from pbx.call.watch import shown
from pbx.claims import NAMES
from tests.kit.world import World

VALUES = (
    "<sip:chief@police.example>",
    '"Chief of Police" <sip:110@127.0.0.1>;verified=yes',
    "<tel:+8611012345678>, <sip:admin@at110>",
    "esnet.0",
    "emergency",
    "<sip:ua@x.example>;index=1, <sip:ub@x.example>;index=1.1;rc=1",
    '"\udcff\udcfe" <sip:x@y>',
    "x" * 3000,
)


@pytest.mark.parametrize(("name", "value"), list(itertools.product(NAMES, VALUES)))
def test_claims_are_kept_and_believed_by_nobody(name, value):
    world = World()
    world.sign_in("d1")
    world.invite("mallory", headers=((name, value),))
    world.ack("mallory")
    call = world.call("mallory")
    assert not call.caller.verified
    assert (call.caller.user, call.caller.name, call.caller.number) == (None, None, "mallory")
    fields = world.noted("call_arrived")[0].fields
    assert fields["verified"] is False
    kept = fields["claims"][name]
    assert 1 <= len(kept) <= MAX_VALUES
    assert all(len(one) <= MAX_LENGTH for one in kept)
    # Nothing of it goes on to the desk, nor anywhere else.
    said = [e.request.encode() for e in world.sent if isinstance(e, SendRequest)]
    assert not any(value.encode("utf-8", "surrogateescape")[:12] in one for one in said if b"MESSAGE" in one)
    assert not any(name.encode() in one for one in said)


def test_no_claims_no_fields():
    world = World()
    assert claims(world.request("INVITE", "sip:110@x", "bob")) == {}


@pytest.mark.parametrize(
    ("value", "wishes"),
    [
        ("id", {"id"}),
        ("id;critical", {"id", "critical"}),
        ("Header; user", {"header", "user"}),
        ("none", set()),
        ("", set()),
        (";;", set()),
    ],
)
def test_privacy(value, wishes):
    request = World().request("INVITE", "sip:110@x", "bob", headers=(("Privacy", value),))
    assert privacy(request) == wishes


def test_privacy_keeps_identity_out_of_the_log_and_not_from_the_dispatcher():
    world = World()
    world.sign_in("d1")
    world.invite("bob", headers=(("Privacy", "id"), ("P-Asserted-Identity", "<sip:bob@home.example>")))
    world.ack("bob")
    assert world.last_answer("bob").status == 200
    note = world.noted("call_arrived")[0]
    assert note.fields["number"] == "bob"
    assert note.fields["privacy"] == ["id"]
    logged = shown(note)
    assert not {"user", "name", "number", "address", "claims"} & logged.keys()
    assert logged["target"] == note.fields["target"]
    texts = [
        e.request.body for e in world.sent if isinstance(e, SendRequest) and e.request.method == "MESSAGE"
    ]
    assert any(b"bob" in text for text in texts), "the dispatcher sees who calls"


def test_without_privacy_the_log_says_who():
    assert shown(Note("call_arrived", "c", {"number": "1", "claims": {}})) == {"number": "1"}


def test_critical_privacy_does_not_refuse_an_emergency():
    world = World()
    world.invite("bob", headers=(("Privacy", "session;critical"),))
    assert world.last_answer("bob").status == 200


def test_reasons_of_the_peer_are_noted():
    world = World(media_answers=False)
    world.invite("bob")
    cancel = world.request("CANCEL", "sip:110@x", "bob", headers=(("Reason", "SIP;cause=600"),))
    from pbx.sip.effects import Cancelled

    world.run(world.exchange.sip(Cancelled(world.transactions["bob"], cancel, world.flow("bob")), world.now))
    assert world.noted("call_ended")[0].fields["reason"] == [{"protocol": "SIP", "cause": 600, "text": None}]
    world = World()
    world.sign_in("d1")
    world.desk_request("d1", "BYE", headers=(("Reason", "Q.850;cause=31"),))
    assert world.noted("desk_signed_out")[0].fields["reason"][0]["cause"] == 31


def test_bye_of_ours_says_why():
    world = World()
    world.invite("bob")
    world.ack("bob")
    from pbx.call.hangup import hang_up

    leg = world.exchange.legs[world.call("bob").leg]
    world.run(world.exchange.run(hang_up(leg), world.now, leg.id))
    assert world.asked("BYE").request.headers.get("Reason") == 'Q.850;cause=16;text="Normal call clearing"'


def test_missing_ack_is_told_before_the_call_is_given_up():
    world = World()
    world.invite("bob")
    world.wait(7.9)
    assert not world.noted("ack_missing")
    world.wait(0.2)
    assert world.noted("ack_missing")[0].fields["seconds"] == 8.0
    world.wait(24.0)
    assert world.noted("call_ended")[0].fields["cause"] == "no_ack"
    assert len(world.noted("ack_missing")) == 1
    assert world.asked("BYE").request.headers.get("Reason") == 'SIP;cause=408;text="ACK not received"'
