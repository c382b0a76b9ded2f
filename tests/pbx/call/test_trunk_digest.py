"""Digest over a trunk: who asks for credentials, and may have them, gets them once, in every kind of request (RFC 3261 §22).

Through the whole pure exchange; that credentials go nowhere else is the business of `tests/pbx/trunks/test_account.py` too.
"""

import pytest

from pbx.call import modify
from pbx.call.hangup import hang_up
from pbx.sip.flow import Flow
from pbx.trunks.line import Line
from tests.kit.trunks import PEERS, REALM, SECRET, TrunkWorld
from tests.kit.world import sdp
from tests.pbx.call.test_trunk_calls import ended


@pytest.mark.parametrize(("status", "name"), [(401, "Authorization"), (407, "Proxy-Authorization")])
def test_a_challenged_invite_is_sent_again_to_the_same_peer(status, name):
    world = TrunkWorld()
    world.place()
    world.challenge(world.out("INVITE")[0], status=status)
    first, second = world.out("INVITE")
    assert second[2] == first[2]
    assert second[1].cseq.number == 2
    token = second[1].headers.get(name)
    assert 'username="at110"' in token
    assert f'realm="{REALM}"' in token
    assert SECRET not in str(world.sent)
    world.accept(second)
    # RFC 3261 §13.2.2.4: "The ACK MUST contain the same credentials as the INVITE."
    assert world.acks()[-1].headers.get(name) == token
    assert world.acks()[-1].cseq.number == 2


def test_credentials_that_are_refused_are_not_tried_again():
    world = TrunkWorld()
    world.place()
    world.challenge(world.out("INVITE")[0])
    world.challenge(world.out("INVITE")[1], nonce="n2")
    assert len(world.out("INVITE")) == 2
    assert ended(world)["status"] == 407


def test_a_stale_nonce_is_renewed():
    world = TrunkWorld()
    world.place()
    world.challenge(world.out("INVITE")[0])
    world.challenge(world.out("INVITE")[1], nonce="n2", stale=True)
    assert 'nonce="n2"' in world.out("INVITE")[2][1].headers.get("Proxy-Authorization")


def test_another_realm_gets_nothing():
    world = TrunkWorld()
    world.place()
    world.challenge(world.out("INVITE")[0], realm="evil.example")
    assert len(world.out("INVITE")) == 1


def test_credentials_stay_behind_when_the_next_peer_is_tried():
    world = TrunkWorld()
    world.place()
    world.challenge(world.out("INVITE")[0])
    world.respond(world.out("INVITE")[1], 503)
    third = world.out("INVITE")[2]
    assert third[2].host == PEERS[1]
    assert third[1].headers.get("Proxy-Authorization") is None
    world.challenge(third, nonce="n3")
    assert 'nonce="n3"' in world.out("INVITE")[3][1].headers.get("Proxy-Authorization")


def test_a_challenged_bye_is_sent_again_over_the_leg():
    world = TrunkWorld()
    leg = world.place()
    world.accept(world.out("INVITE")[0])
    world.run(world.exchange.run(hang_up(world.exchange.legs[leg]), world.now, leg))
    world.challenge(world.out("BYE")[0])
    first, second = world.out("BYE")
    assert second[1].cseq.number == first[1].cseq.number + 1
    assert second[1].headers.get("Proxy-Authorization")
    world.respond(second, 200)
    assert leg not in world.exchange.legs


def test_a_challenged_prack_is_sent_again_in_the_early_dialog():
    world = TrunkWorld()
    world.place()
    rings = (("Require", "100rel"), ("RSeq", "7"), ("Contact", "<sip:far@203.0.113.1:5060>"))
    world.respond(world.out("INVITE")[0], 183, headers=rings)
    [first] = world.out("PRACK")
    world.challenge(first)
    _, second = world.out("PRACK")
    assert second[1].headers.get("RAck") == first[1].headers.get("RAck") == "7 1 INVITE"
    assert (first[1].cseq.number, second[1].cseq.number) == (2, 3)
    assert 'nonce="n1"' in second[1].headers.get("Proxy-Authorization")
    world.challenge(second, nonce="n2")
    assert len(world.out("PRACK")) == 2, "refused credentials are not tried again"


def test_the_ack_of_a_challenged_reinvite_has_its_credentials_each_time():
    """RFC 3261 §13.2.2.4."""
    world = TrunkWorld()
    placed = world.place()
    world.accept(world.out("INVITE")[0])
    leg = world.exchange.legs[placed]
    world.run(world.exchange.run([modify.reinvite(leg, leg.negotiation.again(), "refresh")], world.now))
    world.challenge(world.out("INVITE")[1])
    third = world.out("INVITE")[2]
    token = third[1].headers.get("Proxy-Authorization")
    assert token
    leg.line = Line.restore(leg.line.snapshot())
    for _ in range(2):
        world.accept(third)
        assert (world.acks()[-1].cseq.number, world.acks()[-1].headers.get("Proxy-Authorization")) == (
            3,
            token,
        )
    assert not leg.renegotiating
    world.run(world.exchange.run([modify.reinvite(leg, leg.negotiation.again(), "refresh")], world.now))
    world.accept(world.out("INVITE")[3])
    assert world.acks()[-1].headers.get("Proxy-Authorization") is None, "this one was not asked"


def test_a_dialog_that_leads_elsewhere_gets_no_credentials():
    world = TrunkWorld()
    leg = world.place()
    stranger = Flow("udp", ("192.0.2.1", 5060), ("203.0.113.9", 5060))
    world.respond(world.out("INVITE")[0], 200, body=sdp(video=None), flow=stranger)
    assert world.acks()[-1].headers.get("Proxy-Authorization") is None
    world.run(world.exchange.run(hang_up(world.exchange.legs[leg]), world.now, leg))
    world.challenge(world.out("BYE")[0])
    assert len(world.out("BYE")) == 1
