"""Default deny (bars S7): every method, asked by everybody, of every kind of target; through the whole pure exchange.

The table says the status of the final answer; a row that is not told here is refused by the test itself, because the
product of methods, roles and targets is complete. A trunk may call for help; for all else it is asked like a stranger, but
told at once when it dials a number nobody has.
"""

import itertools

import pytest

from pbx.sip.digest import authorize
from pbx.sip.effects import AckArrived, RequestArrived, Transmit
from pbx.sip.parser import parse
from pbx.sip.transactions import TransactionLayer
from tests.kit.trunks import TrunkWorld, trunk
from tests.kit.world import HOST, REALM, World, sdp

METHODS = (
    "INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REGISTER", "MESSAGE",
    "INFO", "UPDATE", "PRACK", "SUBSCRIBE", "NOTIFY", "REFER", "PUBLISH",
)  # fmt: skip
ROLES = {"anonymous": None, "caller": "alice", "dispatcher": "d1", "trunk": None}
TARGETS = {
    "own": "sip:{user}@at110",
    "other": "sip:d2@at110",
    "room": "sip:room-d2@at110",
    "emergency": "sip:110@at110",
}

GONE = dict.fromkeys(ROLES, 481)
"""Means something only inside a dialog."""
CLOSED = dict.fromkeys(ROLES, 405)
"""A method nobody may use here."""
OPEN = dict.fromkeys(ROLES, 200)
SILENCE = dict.fromkeys(ROLES)
STRANGER_IS_ASKED = {"anonymous": 401, "caller": 403, "dispatcher": 403, "trunk": 401}
NOBODY_THERE = {**STRANGER_IS_ASKED, "trunk": 404}

POLICY = {
    "INVITE": {
        "own": NOBODY_THERE,
        "other": {
            "anonymous": 401,
            "caller": 403,
            "dispatcher": 480,
            "trunk": 404,
        },  # allowed, but nobody is signed in there
        "room": NOBODY_THERE,
        "emergency": OPEN,
    },
    "OPTIONS": dict.fromkeys(TARGETS, OPEN),
    "REGISTER": {
        "own": {"anonymous": 401, "caller": 200, "dispatcher": 200, "trunk": 401},
        "other": STRANGER_IS_ASKED,
        "room": STRANGER_IS_ASKED,
        "emergency": STRANGER_IS_ASKED,
    },
    "MESSAGE": {
        "own": STRANGER_IS_ASKED,
        "other": STRANGER_IS_ASKED,
        "room": STRANGER_IS_ASKED,
        "emergency": {
            "anonymous": 401,
            "caller": 480,
            "dispatcher": 480,
            "trunk": 401,
        },  # allowed, but there is no call to give it to
    },
    "ACK": dict.fromkeys(TARGETS, SILENCE),
    **{
        method: dict.fromkeys(TARGETS, GONE)
        for method in ("BYE", "CANCEL", "INFO", "UPDATE", "PRACK", "NOTIFY")
    },
    "SUBSCRIBE": {
        "own": {"anonymous": 401, "caller": 403, "dispatcher": 200, "trunk": 401},
        "other": {"anonymous": 401, "caller": 403, "dispatcher": 200, "trunk": 401},
        "room": {"anonymous": 401, "caller": 403, "dispatcher": 200, "trunk": 401},
        "emergency": {"anonymous": 401, "caller": 403, "dispatcher": 403, "trunk": 401},
    },
    # To the own room it is allowed (tests/pbx/call/test_refer.py); this is another's.
    "REFER": dict.fromkeys(TARGETS, STRANGER_IS_ASKED),
    "PUBLISH": dict.fromkeys(TARGETS, CLOSED),
}
"""Method → target → role → status; None: silence."""


def ask(method, role, target):
    """Let `role` send `method` to `target`, with its password if it has one; returns world, status of the last answer."""
    world = TrunkWorld(trunk(sources=["192.0.2.77"])) if role == "trunk" else World()
    name = ROLES[role] or "eve"
    uri = TARGETS[target].format(user=name)
    content = {"body": sdp(), "content_type": "application/sdp"} if method == "INVITE" else {}
    headers = ()
    if ROLES[role] is not None:
        world.register(name)
        challenge = world.answers[
            world.arrive(world.request("REGISTER", f"sip:{REALM}", name, cseq=90), name)
        ][-1]
        value = challenge.headers.all("WWW-Authenticate")[0]
        asked = f"sip:{REALM}" if method == "REGISTER" else uri
        token = authorize(value, user=name, password=f"pw-{name}", method=method, uri=asked, cnonce="c", nc=1)
        headers = (("Authorization", token),)
    request_uri = f"sip:{REALM}" if method == "REGISTER" else uri
    if method == "SUBSCRIBE":
        package = "conference" if target == "room" else "dialog"
        headers = (*headers, ("Event", package), ("Expires", "600"))
    request = world.request(method, request_uri, name, headers=headers, cseq=99, **content)
    if method == "REGISTER":
        request.headers.set("To", f"<{uri}>")
    before = len(world.sent)
    return world, through(world, world._again(request), name), world.sent[before:]


def through(world, request, name):
    """Let a request pass the transaction layer, as it does in life; returns the answers to it."""
    answers = []
    for effect in TransactionLayer().receive(request, world.flow(name), world.now):
        match effect:
            case RequestArrived(transaction):
                world.run(world.answering.request(effect, world.now, 1.8e9))
                answers += world.answers.get(transaction, [])
            case AckArrived():
                world.run(world.exchange.sip(effect, world.now))
            case Transmit(data):
                answers.append(parse(data))
    return answers


@pytest.mark.parametrize(("method", "role", "target"), list(itertools.product(METHODS, ROLES, TARGETS)))
def test_policy(method, role, target):
    world, answers, sent = ask(method, role, target)
    wanted = POLICY[method][target][role]
    assert [a.status for a in answers if a.status >= 200] == ([] if wanted is None else [wanted])
    called = target == "emergency" and method == "INVITE"
    assert bool(world.exchange.calls) is called, "only an INVITE for help makes a call"
    # A subscription that is granted begins with a NOTIFY to the subscriber itself (RFC 6665 §4.2.1.2).
    others = [e for e in sent if getattr(e, "request", None) is None or e.request.method != "NOTIFY"]
    assert len(others) <= len(answers), "nothing is sent to anybody else"
    if called:
        (call,) = world.exchange.calls.values()
        assert call.caller.verified is (role == "caller"), (
            "only an account with a proved name is shown as verified"
        )
    if wanted == 405:
        assert answers[-1].headers.get("Allow")


def test_the_table_is_whole():
    assert set(POLICY) == set(METHODS)
    for method, targets in POLICY.items():
        assert set(targets) == set(TARGETS), method
        assert all(set(roles) == set(ROLES) for roles in targets.values()), method
    assert len(METHODS) * len(ROLES) * len(TARGETS) == 224


@pytest.mark.parametrize("method", ["FOO", "invite", "BREW", "INVITES"])
def test_unknown_methods_are_501_for_everybody(method):
    for role in ROLES:
        world, answers, _ = ask(method, role, "emergency")
        assert answers[-1].status == 501
        assert "INVITE" in answers[-1].headers.get("Allow")
        assert not world.exchange.calls


def test_a_feature_is_for_dispatchers():
    for role, name in (("caller", "alice"), ("dispatcher", "d1")):
        world = World()
        world.register(name)
        uri = f"sip:*10@{HOST}"
        challenge = world.answers[
            world.arrive(world.request("REGISTER", f"sip:{REALM}", name, cseq=9), name)
        ][-1]
        value = challenge.headers.all("WWW-Authenticate")[0]
        token = authorize(value, user=name, password=f"pw-{name}", method="INVITE", uri=uri, cnonce="c", nc=1)
        request = world.request(
            "INVITE",
            uri,
            name,
            body=sdp(),
            content_type="application/sdp",
            headers=(("Authorization", token),),
        )
        status = world.answers[world.arrive(world._again(request), name)][-1].status
        assert (status == 403) is (role == "caller")
