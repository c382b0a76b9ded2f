"""Whose account is blocked registers nothing and proves nothing; its call for help is taken like anybody's, and the dispatcher reads
who blocked it, when and why."""

from dataclasses import replace

import pytest

from pbx.blocked import Blocked
from pbx.call import known
from pbx.call.caller import Caller
from pbx.call.exchange import Exchange
from pbx.call.views import Times, call_view
from pbx.call.watch import shown
from pbx.sip.digest import authorize
from tests.kit.trunks import TrunkWorld
from tests.kit.world import REALM, World
from tests.test_snapshots import through_bytes

BLOCK = Blocked("8003", 1795352400.0, "forty hoaxes")
FACT = {"account": "alice", "by": "8003", "at": 1795352400.0, "why": "forty hoaxes"}


def block(world, user="alice"):
    """Take the account away from those who may register, as `Directory` does."""
    taken = world.accounts.pop(user)
    world.gate._blocked = {user: BLOCK}.get
    return taken


def credentials(world, name, uri):
    """Return what a phone of the blocked account answers to a challenge: the right password."""
    first = world.request("REGISTER", f"sip:{REALM}", name, cseq=70, call_id="ask")
    answer = world.answers[world.arrive(first, name)][-1]
    challenge = next(c for c in answer.headers.all("WWW-Authenticate") if "SHA-256" in c)
    return authorize(challenge, user=name, password=f"pw-{name}", method="INVITE", uri=uri, cnonce="c", nc=1)


def calls(world, name="alice", headers=()):
    world.invite(name, headers=headers)
    world.ack(name)
    return world.call(name)


def test_it_registers_nothing():
    world = World()
    block(world)
    assert world.register("alice").status == 401


def test_its_call_is_taken_like_anybodys_and_the_dispatcher_reads_of_it():
    world = TrunkWorld(desks=("d1",))
    block(world)
    call = calls(world)
    assert world.last_answer("alice").status == 200
    world.sign_in("d1")
    assert call.desk == "d1"
    view = call_view(world.exchange, call, Times(0.0))
    assert (view["identity"], view["blocked"], view["account"]) == ("unverified", FACT, None)
    (told,) = [r.body.decode() for _, r, _ in world.out("MESSAGE") if "来电" in r.body.decode()]
    assert told.splitlines()[0] == "110 来电 call: alice (未核实 unverified)"
    assert told.splitlines()[-1] == view["advice"][-1]
    assert "is blocked (8003, 2026-11-22 13:00 UTC, forty hoaxes)" in view["advice"][-1]


def test_it_waits_where_anybody_would():
    """A blocked account delays nobody: but for the name, the queue is the same as of a stranger."""
    queues = []
    for blocked in (True, False):
        world = World()
        taken = block(world)
        if not blocked:
            world.gate._blocked = {}.get
        assert taken.kind == "caller"
        for name in ("alice", "bob"):
            calls(world, name)
        queues.append(world.exchange.acd.snapshot())
    assert queues[0] == queues[1]
    world.sign_in("d1")
    assert world.call("alice").desk == "d1"


def test_the_event_of_the_call_states_it_and_no_log_does():
    world = World()
    block(world)
    calls(world)
    (arrived,) = world.noted("call_arrived")
    assert arrived.fields["blocked"] == FACT
    assert "blocked" not in shown(arrived)


@pytest.mark.parametrize("proof", ["none", "registration", "digest"])
def test_nothing_proves_to_be_a_blocked_account(proof):
    """Not its right password, nor a registration that stood when it was blocked."""
    world = World()
    if proof == "registration":
        assert world.register("alice").status == 200
    token = credentials(world, "alice", "sip:110@192.0.2.1") if proof == "digest" else None
    block(world)
    call = calls(world, headers=() if token is None else (("Authorization", token),))
    assert (call.caller.user, call.caller.identity) == (None, "unverified")
    assert call.caller.proof == {"digest": "wrong", "none": "missing", "registration": "missing"}[proof]
    assert call.caller.blocked == FACT
    assert call.facts == {}


def test_who_proves_another_account_has_nothing_to_do_with_it():
    world = World(callers=("alice", "carol"))
    block(world, "carol")
    token = credentials(world, "alice", "sip:110@192.0.2.1")
    request = world.request("INVITE", "sip:110@192.0.2.1", "alice", headers=(("Authorization", token),))
    request.headers.set("From", f"<sip:carol@{REALM}>;tag=x")
    world.arrive(request, "alice")
    (call,) = world.exchange.calls.values()
    assert (call.caller.user, call.caller.identity, call.caller.blocked) == ("alice", "verified", None)
    stranger = calls(world, "bob")
    assert stranger.caller.blocked is None


def test_a_blocked_account_is_known_also_while_the_database_is_away():
    world = World()
    world.gate._complete = lambda: False
    block(world)
    assert calls(world).caller.identity == "unverified", "that it is blocked is known; it is not looked for"
    assert calls(world, "bob").caller.identity == "unavailable"


def test_the_fact_survives_a_restart_and_an_older_snapshot_has_none():
    world = World()
    block(world)
    calls(world)
    data = through_bytes(world.exchange.snapshot())
    again = Exchange.restore(data, world.exchange.site, world.exchange.mint)
    (call,) = again.calls.values()
    assert call.caller.blocked == FACT
    assert any("is blocked" in line for line in known.advice(call))
    packed = call.caller.pack()
    del packed["blocked"]
    assert Caller(**packed) == replace(call.caller, blocked=None)
