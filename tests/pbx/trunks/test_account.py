"""Credentials leave only to the configured trunk, for its realm, over its transport (bars S6)."""

import random

import pytest

from pbx.call.hangup import hang_up
from pbx.sip import digest
from pbx.sip.flow import Flow
from pbx.sip.message import Request
from pbx.sip.uri import Uri
from pbx.trunks.account import Account, Credentials, bare
from tests.kit.trunks import PEERS, REALM, SECRET, TrunkWorld, trunk
from tests.kit.world import HOST, sdp

CASES = 2000
REALMS = (REALM, "at110", "evil.example", "", REALM.upper(), f"{REALM} ", f'{REALM}"x')
STRANGERS = (
    Flow("udp", (HOST, 5060), ("203.0.113.9", 5060)),
    Flow("udp", (HOST, 5060), (PEERS[0], 5080)),
    Flow("tcp", (HOST, 5060), (PEERS[0], 5060), 3),
    Flow("udp", (HOST, 5060), ("2001:db8::9", 5060)),
    Flow("ws", (HOST, 5060), (PEERS[0], 40000), 4),
)
HEADERS = ("Authorization", "Proxy-Authorization")


def challenged(world, sent, chance, **more):
    realm, status = chance.choice(REALMS), chance.choice((401, 407))
    world.challenge(
        sent, status=status, realm=realm, nonce=f"n{chance.random()}", stale=chance.random() < 0.3, **more
    )
    return realm


def test_digest_never_leaks():
    """Every kind of request of ours, answered 401 or 407 with any realm, from the trunk and from where its dialog was led."""
    chance = random.Random(110)
    told = 0
    for case in range(CASES):
        world = TrunkWorld(trunk(attempt_seconds=1.0, progress_seconds=1.0))
        kind = case % 5
        if kind == 0:  # the INVITE
            world.place()
            for _ in range(3):
                challenged(world, world.out("INVITE")[-1], chance)
        elif kind in (1, 2):  # requests in a dialog that the 200 leads to a trunk's peer, or to a stranger
            leg = world.place()
            flow = chance.choice(STRANGERS) if kind == 2 else world.peer_flow()
            world.respond(world.out("INVITE")[0], 200, body=sdp(video=None), flow=flow)
            found = world.exchange.legs[leg]
            method = chance.choice(("OPTIONS", "INFO", "UPDATE", "REFER"))
            world.run(world.exchange.run([found.ask("probe", method, ())], world.now, leg))
            challenged(world, world.out(method)[-1], chance, flow=flow)
            world.run(world.exchange.run(hang_up(found), world.now, leg))
            challenged(world, world.out("BYE")[-1], chance, flow=flow)
        elif kind == 3:  # a call that came over the trunk, from wherever it came
            flow = chance.choice((*STRANGERS, world.peer_flow()))
            world.comes("13800138000", flow=flow)
            world.ack("13800138000")
            (call,) = world.exchange.calls.values()
            world.run(world.exchange.run(hang_up(world.exchange.legs[call.leg]), world.now, call.leg))
            if world.out("BYE"):
                challenged(world, world.out("BYE")[-1], chance)
        else:  # a desk's phone, which is no trunk's
            world.sign_in("d1")
            sent = world.out("INVITE")[-1]
            world.exchange.room("d1")
            world.run(world.exchange.run(hang_up(world.desk_leg("d1")), world.now, world.desk_leg("d1").id))
            challenged(world, world.out("BYE")[-1], chance, flow=sent[2])
        for _, request, where in world.out():
            values = [value for name in HEADERS for value in request.headers.all(name)]
            if not values:
                continue
            told += 1
            assert all(digest.read_challenge(value)["realm"] == REALM for value in values), case
            if isinstance(where, Flow):
                assert (where.transport, *where.remote) in {("udp", host, 5060) for host in PEERS}, case
            else:
                assert isinstance(where, Uri)
                assert where.host in PEERS, case
        assert SECRET not in repr(world.sent), case
    assert told > CASES / 20, "the test has teeth: the right realm at the right place is answered"


def request(**more):
    world = TrunkWorld()
    made = world.request("INVITE", "sip:110@carrier.example", "x")
    for name, value in more.items():
        made.headers.set(name, value)
    return made


def answer(credentials, status, *values, made=None):
    name = "WWW-Authenticate" if status == 401 else "Proxy-Authenticate"
    made = made or request()
    response = made.response(status, headers=[(name, value) for value in values])
    return credentials.answer(made, response, cseq=5, cnonce="c")


CHALLENGE = f'Digest realm="{REALM}", nonce="n", algorithm=SHA-256, qop="auth"'


def test_the_answer_is_right():
    again = answer(Credentials(Account("at110", REALM, SECRET)), 401, CHALLENGE)
    assert isinstance(again, Request)
    stated = digest.parse_credentials(again.headers.get("Authorization"))
    ha1 = {"SHA-256": digest.ha1("at110", REALM, SECRET, "SHA-256")}
    assert digest.verify(stated, "INVITE", again.body, ha1)
    assert again.cseq.number == 5
    assert again.headers.get("Proxy-Authorization") is None
    assert bare(again).headers.get("Authorization") is None


@pytest.mark.parametrize(
    ("status", "values"),
    [
        (401, ()),
        (403, (CHALLENGE,)),
        (401, ('Basic realm="carrier.example"',)),
        (401, (CHALLENGE.replace(REALM, "x"),)),
        (401, (CHALLENGE.replace("SHA-256", "ROT13"),)),
        (401, (f'Digest realm="{REALM}"',)),
        (401, ("Digest realm=",)),
    ],
)
def test_what_has_no_answer(status, values):
    assert answer(Credentials(Account("at110", REALM, SECRET)), status, *values) is None


def test_ours_is_found_among_others():
    values = ('Digest realm="x", nonce="a"', "Bearer x", CHALLENGE)
    assert answer(Credentials(Account("at110", REALM, SECRET)), 407, *values) is not None


def test_counts_grow_with_a_nonce_and_survive():
    credentials = Credentials(Account("at110", REALM, SECRET))
    tokens = [answer(credentials, 401, CHALLENGE).headers.get("Authorization") for _ in range(3)]
    assert [digest.parse_credentials(token).nc for token in tokens] == [1, 2, 3]
    twin = Credentials(Account("at110", REALM, SECRET))
    twin.resume(credentials.snapshot())
    assert digest.parse_credentials(answer(twin, 401, CHALLENGE).headers.get("Authorization")).nc == 4
    for n in range(100):
        answer(credentials, 401, CHALLENGE.replace('"n"', f'"n{n}"'))
    assert len(credentials.snapshot()) == 64


def test_the_password_is_not_shown():
    assert SECRET not in repr(Account("at110", REALM, SECRET))
