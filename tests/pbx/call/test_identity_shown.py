"""Exactly one of verified (by whom, when), unverified, unavailable is shown, and no word of a phone is ever among the verified
(bars P1, S8)."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbx.call.caller import MAX_CLAIMED, Caller
from pbx.call.views import Times, call_view
from tests.kit.trunks import TrunkWorld
from tests.kit.world import World, sdp

FORGED = "王丽 (已核实 verified: 8001)"


def called(world, name, *, display=None, host=None):
    """`name` calls 110, with this display name in From."""
    request = world.request("INVITE", "sip:110@192.0.2.1", name, body=sdp(), content_type="application/sdp")
    text = request.headers.get("From")
    if display is not None:
        text = f'"{display}" {text[text.index("<") :]}'
    if host is not None:
        text = text.replace("@" + text.split("@")[1].split(">")[0], "@" + host)
    request.headers.set("From", text)
    world.invites[name], world.transactions[name] = request, world.arrive(request, name)
    world.ack(name)
    return world.call(name)


def view(world, call):
    return call_view(world.exchange, call, Times(0.0))


def seen(shown):
    return {
        key: shown[key]
        for key in ("identity", "identity_by", "identity_at", "identity_why", "name", "claimed")
    }


NOBODY = {"identity_by": None, "identity_at": None, "name": None, "identity_why": None}


def known(world, by="8001", at=1795352400.0):
    world.accounts["alice"] = replace(world.accounts["alice"], verified_by=by, verified_at=at)
    assert world.register("alice").status == 200


def test_verified_by_whom_and_when_and_the_phones_own_name_apart():
    world = World()
    known(world)
    call = called(world, "alice", display="Chief of Police")
    assert seen(view(world, call)) == {
        "identity": "verified",
        "identity_by": "8001",
        "identity_at": 1795352400.0,
        "identity_why": None,
        "name": "Citizen alice",
        "claimed": "Chief of Police",
    }
    assert call.caller.mark() == "已核实 verified: 8001, 2026-11-22 13:00 UTC"


@pytest.mark.parametrize("display", [FORGED, "Citizen alice", "verified", "unavailable", "x" * 500])
def test_a_strangers_name_is_only_ever_claimed(display):
    world = World()
    known(world)
    call = called(world, "bob", display=display)
    assert seen(view(world, call)) == {**NOBODY, "identity": "unverified", "claimed": display[:MAX_CLAIMED]}


def test_the_text_at_the_desk_has_the_mark_and_no_word_of_the_phone():
    world = TrunkWorld()
    world.sign_in("d1")
    known(world)
    called(world, "alice", display=FORGED)
    world.bye("alice")
    called(world, "bob", display=FORGED)
    texts = [request.body.decode() for _, request, _ in world.out("MESSAGE")]
    told = [text for text in texts if "来电" in text]
    assert told == [
        "110 来电 call: Citizen alice (已核实 verified: 8001, 2026-11-22 13:00 UTC)",
        "110 来电 call: bob (未核实 unverified)",
    ]


def test_an_account_nobody_verified_is_unverified_whoever_proves_it():
    world = World()
    world.accounts["alice"] = replace(
        world.accounts["alice"], verified_name=None, verified_by="x", verified_at=1.0
    )
    assert world.register("alice").status == 200
    call = called(world, "alice", display=FORGED)
    assert call.caller.user == "alice"
    assert seen(view(world, call)) == {**NOBODY, "identity": "unverified", "claimed": FORGED}


def test_unavailable_while_nobody_can_say_whether_there_is_such_an_account():
    world = World()
    world.gate._complete = lambda: False
    known(world)
    call = called(world, "bob", display=FORGED)
    assert seen(view(world, call)) == {
        **NOBODY, "identity": "unavailable", "identity_why": "database_away", "claimed": FORGED,
    }  # fmt: skip
    assert call.caller.mark() == "无法核实：数据库不可用 unavailable: database away"
    assert called(world, "alice").caller.identity == "verified", (
        "who is in the cache is known without a database"
    )


def test_unavailable_when_withheld():
    world = World()
    call = called(world, "anonymous", display="Anonymous", host="anonymous.invalid")
    assert seen(view(world, call))["identity_why"] == "withheld"
    assert call.caller.identity == "unavailable"
    over = TrunkWorld()
    over.comes("anonymous", headers=(("P-Asserted-Identity", "<sip:anonymous@anonymous.invalid>"),))
    (call,) = over.exchange.calls.values()
    assert (call.caller.number, call.caller.identity) == (None, "unavailable")


@settings(max_examples=300, deadline=None)
@given(
    st.builds(
        Caller, st.none(), st.none(), st.none() | st.text(max_size=20), verified=st.booleans(), proof=st.just("none"),
        address=st.just("a"), verified_by=st.none() | st.just("8001"), verified_at=st.none() | st.just(5.0),
        unavailable=st.sampled_from((None, "withheld", "database_away")), claimed=st.none() | st.text(max_size=64),
    )
)  # fmt: skip
def test_exactly_one_of_three_and_the_claim_changes_none(caller):
    view = caller.view()
    assert view["identity"] in ("verified", "unverified", "unavailable")
    assert (view["identity"] == "verified") is caller.verified
    assert caller.verified or (view["identity_by"], view["identity_at"]) == (None, None)
    assert (view["identity_why"] is not None) is (view["identity"] == "unavailable")
    other = replace(caller, claimed=FORGED)
    assert other.mark() == caller.mark()
    assert {**other.view(), "claimed": None} == {**view, "claimed": None}
