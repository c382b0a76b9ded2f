"""Calls over a trunk: fail-over, digest, redirects, early media and causes, through the whole pure exchange."""

from dataclasses import replace

import pytest

from pbx.call import trunk_outcomes
from pbx.call.encrypting import EncryptionRules
from pbx.call.hangup import hang_up
from pbx.call.seats import Impossible
from rtp.control import Holdings, OpenLeg, Refused
from tests.kit.trunks import PEERS, TrunkWorld, trunk
from tests.kit.world import sdp


def ended(world):
    return world.noted("trunk_call_failed")[-1].fields


def test_an_invite_leaves_for_the_preferred_peer_with_a_law_first():
    world = TrunkWorld(trunk(dial=[{"match": r"\+86(1[3-9][0-9]{9})", "give": r"0\1"}]))
    world.place("13800138000", shown="05351100")
    ((_, invite, target),) = world.out("INVITE")
    assert str(target) == f"sip:{PEERS[0]}"
    assert str(invite.uri) == f"sip:013800138000@{PEERS[0]};user=phone"
    assert invite.from_.uri.user == "05351100"
    assert invite.headers.get("P-Asserted-Identity") == "<sip:05351100@192.0.2.1>"
    lines = invite.body.decode().split("\r\n")
    assert [line for line in lines if line.startswith("m=")] == ["m=audio 20000 RTP/AVP 8 0 101"]
    assert invite.headers.get("Resource-Priority") is None


@pytest.mark.parametrize(
    ("rules", "transports", "profile", "keys"),
    [
        (EncryptionRules("off", {"t1": "mandatory"}), ("tls", "tls"), "RTP/SAVP", True),
        (EncryptionRules("off", {"t1": "opportunistic"}), ("tls", "tls"), "RTP/AVP", True),
        (EncryptionRules("mandatory", {"t1": "off"}), ("tls", "tls"), "RTP/AVP", False),
        (EncryptionRules("mandatory"), ("tls", "tls"), "RTP/SAVP", True),
        # Whoever takes over from the first peer is sent the same description.
        (EncryptionRules("off", {"t1": "mandatory"}), ("tls", "udp"), "UDP/TLS/RTP/SAVP", False),
        (EncryptionRules("off", {"t1": "opportunistic"}), ("tls", "udp"), "RTP/AVP", False),
        (EncryptionRules("off", {"t1": "mandatory"}, sdes_in_clear=True), ("udp", "udp"), "RTP/SAVP", True),
    ],
)
def test_a_call_of_ours_is_encrypted_by_the_rule_of_its_trunk(rules, transports, profile, keys):
    peers = [
        {"host": host, "priority": n, "transport": transport}
        for n, (host, transport) in enumerate(zip(PEERS, transports, strict=True), 1)
    ]
    world = TrunkWorld(trunk(peers=peers))
    world.exchange.site = replace(world.exchange.site, encryption=rules, asymmetric=frozenset({"t1"}))
    leg = world.place()
    body = world.out("INVITE")[0][1].body.decode()
    assert f"m=audio 20000 {profile} " in body
    assert ("a=crypto:" in body) is keys
    assert world.exchange.legs[leg].negotiation._asymmetric


def test_an_urgent_call_is_marked():
    world = TrunkWorld()
    world.place("110", urgent=True)
    assert world.out("INVITE")[0][1].headers.get("Resource-Priority") == "esnet.0"


def test_the_leg_is_up_and_hung_up_as_any_other():
    world = TrunkWorld()
    leg = world.place()
    invite = world.out("INVITE")[0]
    world.respond(invite, 180)
    world.accept(invite)
    assert world.exchange.legs[leg].negotiation.streams[0].remote == (PEERS[0], 4000)
    assert len(world.acks()) == 1
    assert world.noted("trunk_call_failed") == []


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_the_next_peer_is_tried_after_a_failure(status):
    world = TrunkWorld()
    world.place()
    first = world.out("INVITE")[0]
    world.respond(first, status)
    second = world.out("INVITE")[1]
    assert second[2].host == PEERS[1]
    assert second[1].uri.host == PEERS[1]
    assert second[1].to.uri.host == PEERS[1]
    assert second[1].cseq.number == 2
    assert second[1].call_id == first[1].call_id
    assert world.trunk.counts.failovers == 1
    world.accept(second)
    assert world.acks()[-1].cseq.number == 2
    assert world.noted("trunk_failover")[0].fields["to"] == PEERS[1]


@pytest.mark.parametrize("status", [403, 404, 480, 486, 488, 501, 600, 603])
def test_the_answer_of_who_was_called_ends_it(status):
    world = TrunkWorld()
    world.place()
    world.respond(world.out("INVITE")[0], status, headers=(("Reason", 'Q.850;cause=17;text="busy"'),))
    assert len(world.out("INVITE")) == 1
    assert ended(world)["cause"] == 17
    assert ended(world)["zh"] == "对方忙"
    assert world.trunk.counts.failed == 1


def test_a_silent_peer_is_given_up_soon():
    world = TrunkWorld(trunk(attempt_seconds=2.0))
    world.place()
    world.wait(1.9)
    assert len(world.out("INVITE")) == 1
    world.wait(0.2)
    first, second = world.out("INVITE")
    assert world.cancels() == [first[0]]
    assert second[2].host == PEERS[1]
    # RFC 3261 §13.2.2.4: the first peer got through after all: it gets its ACK, and a BYE.
    world.accept(first, tag="late")
    assert world.acks()[-1].to.tag == "late"
    assert world.out("BYE")[-1][1].to.tag == "late"
    world.accept(second)
    assert world.acks()[-1].to.tag == "far"


def test_each_server_of_a_peer_has_its_time_to_answer():
    """RFC 3263 §4.3: a peer is given up when the last of the servers its name leads to was silent."""
    world = TrunkWorld()
    leg = world.exchange.legs[world.place()]
    world.wait(3.9)
    trunk_outcomes.found(world.exchange, leg.invite_ref, world.peer_flow("198.51.100.8"), world.now)
    world.wait(3.9)
    assert len(world.out("INVITE")) == 1
    world.wait(0.2)
    assert len(world.out("INVITE")) == 2, "the next peer"
    world.respond(world.out("INVITE")[1], 180)
    trunk_outcomes.found(world.exchange, leg.invite_ref, world.peer_flow("198.51.100.8"), world.now)
    world.wait(30.0)
    assert len(world.out("INVITE")) == 2, "who rings has no such time"


def test_a_peer_that_dies_after_100_is_given_up():
    world = TrunkWorld(trunk(attempt_seconds=2.0, progress_seconds=5.0))
    world.place()
    world.respond(world.out("INVITE")[0], 100)
    world.wait(4.9)
    assert len(world.out("INVITE")) == 1
    world.wait(0.2)
    assert world.out("INVITE")[1][2].host == PEERS[1]


def test_ringing_is_somebody():
    world = TrunkWorld(trunk(attempt_seconds=2.0, progress_seconds=5.0))
    world.place()
    world.respond(world.out("INVITE")[0], 180)
    world.wait(60.0)
    assert len(world.out("INVITE")) == 1
    assert world.noted("trunk_call_failed") == []


def test_broken_transports_lead_on_and_then_nowhere():
    world = TrunkWorld()
    leg = world.place()
    world.fails(world.out("INVITE")[0], "transport")
    world.fails(world.out("INVITE")[1], "transport")
    assert ended(world)["status"] == 503
    assert leg not in world.exchange.legs
    assert leg in world.closed


def test_peers_that_all_stay_silent_end_it():
    world = TrunkWorld(trunk(attempt_seconds=1.0, progress_seconds=1.0))
    leg = world.place()
    world.wait(2.5)
    assert ended(world)["status"] == 408
    assert leg in world.closed


def test_a_call_that_is_hung_up_while_calling_tries_nobody_else():
    world = TrunkWorld()
    leg = world.place()
    world.run(world.exchange.run(hang_up(world.exchange.legs[leg]), world.now, leg))
    world.respond(world.out("INVITE")[0], 503)
    assert len(world.out("INVITE")) == 1


# --- redirects --------------------------------------------------------------------------------------------------------


def test_302_is_followed_inside_the_trunk():
    world = TrunkWorld()
    world.place()
    moved = f"<sip:0600@{PEERS[1]}>;q=0.5, <sip:0600@203.0.113.9>;q=0.9"
    world.respond(world.out("INVITE")[0], 302, headers=(("Contact", moved),))
    second = world.out("INVITE")[1]
    assert second[2].host == PEERS[1]
    assert second[1].uri.user == "0600"


def test_302_leads_nowhere_else():
    world = TrunkWorld()
    world.place()
    world.respond(
        world.out("INVITE")[0], 302, headers=(("Contact", "<sip:0600@203.0.113.9>"),), host="203.0.113.9"
    )
    assert len(world.out("INVITE")) == 1
    assert ended(world)["status"] == 302


def test_302_for_ever_ends():
    world = TrunkWorld()
    world.place()
    for _ in range(20):
        sent = world.out("INVITE")[-1]
        world.respond(sent, 302, headers=(("Contact", f"<sip:0600@{PEERS[0]}>"),))
    assert len(world.out("INVITE")) == 6


# --- what is heard ----------------------------------------------------------------------------------------------------


def test_an_announcement_before_the_answer_is_heard():
    world = TrunkWorld()
    leg = world.place()
    world.respond(world.out("INVITE")[0], 183, body=sdp(video=None, address=PEERS[0]))
    assert world.exchange.legs[leg].negotiation.streams[0].remote == (PEERS[0], 4000)
    world.accept(world.out("INVITE")[0])
    assert world.acks()


def test_evidence_is_named_for_the_media():
    world = TrunkWorld(media_answers=False)
    leg = world.place(evidence="call-7")
    opened = [c for c in world.commands if isinstance(c, OpenLeg)]
    assert [(c.leg, c.evidence, c.media) for c in opened] == [(leg, "call-7", ("audio",))]
    assert world.noted("trunk_call_placed")[0].call == "call-7"


def test_without_ports_there_is_no_call():
    world = TrunkWorld(media_answers=False)
    leg = world.place()
    world.says(Refused("OpenLeg", leg, "no ports"))
    assert leg not in world.exchange.legs
    assert world.out("INVITE") == []


def test_after_the_media_process_came_back_the_evidence_is_named_again():
    world = TrunkWorld()
    leg = world.place(evidence="call-7")
    world.accept(world.out("INVITE")[0])
    world.media_answers = False
    world.says(Holdings("r", (), ()))
    assert [(c.leg, c.evidence) for c in world.commands if isinstance(c, OpenLeg)] == [(leg, "call-7")]


# --- who can be called --------------------------------------------------------------------------------------------------


def refused(world, number="13800138000", **more):
    with pytest.raises(Impossible) as caught:
        world.place(number, **more)
    return caught.value.code


def test_what_can_not_be_called():
    world = TrunkWorld(trunk(numbers=[r"\+86.*"], capacity=1))
    assert refused(world, trunk="t9") == "unknown_trunk"
    assert refused(world, "abc") == "bad_number"
    assert refused(world, "110") == "no_trunk"
    world.place()
    assert refused(world) == "trunk_full"


def test_the_trunk_that_takes_the_number_is_chosen():
    other = trunk("t2", peers=[{"host": "203.0.113.1"}], numbers=["110"])
    world = TrunkWorld(trunk(numbers=[r"\+86.*"]), other)
    world.place("110")
    assert world.out("INVITE")[0][2].host == "203.0.113.1"


def test_out_of_service_takes_no_call():
    world = TrunkWorld()
    world.run(world.exchange.run(world.trunk.stop(), world.now))
    assert refused(world) == "no_trunk"


def test_an_overloaded_peer_is_sent_less_but_not_less_help():
    """RFC 7339: oc=60 holds back 60 of a hundred new calls; calls for help go on."""
    world = TrunkWorld(trunk(peers=[{"host": PEERS[0]}]))
    world.place()
    world.respond(world.out("INVITE")[0], 486, via=';oc=60;oc-algo="loss";oc-validity=500;oc-seq=7.1')
    world.draw = 0.59
    assert refused(world) == "trunk_busy"
    world.place("110", urgent=True)
    world.draw = 0.61
    world.place()
    world.draw = 0.0
    world.wait(0.6)
    world.place()
    assert len(world.out("INVITE")) == 4
