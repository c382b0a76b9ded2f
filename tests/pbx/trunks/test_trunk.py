"""One trunk: who is asked, who is up, where calls go, with which words of ours."""

import random
from collections import Counter

import pytest

from pbx.sip.flow import Flow
from pbx.sip.uri import parse_uri
from pbx.trunks import peers as peering
from pbx.trunks.peers import Peer
from pbx.trunks.settings import PeerSettings
from pbx.trunks.views import state, trunk_view
from tests.kit.trunks import PEERS, REALM, TrunkWorld, trunk
from tests.kit.world import HOST


def asking(**more):
    world = TrunkWorld(trunk(options_seconds=10.0, **more))
    world.start()
    return world


def questions(world):
    return world.out("OPTIONS")


def test_every_peer_is_asked_again_and_again():
    world = asking()
    world.wait(0.6)
    assert [sent[2].host for sent in questions(world)] == list(PEERS)
    for sent in questions(world):
        world.respond(sent, 200)
    world.wait(10.0)
    assert len(questions(world)) == 4
    assert all(sent[1].max_forwards == 70 for sent in questions(world))


@pytest.mark.parametrize("status", [200, 403, 404, 405, 481, 500])
def test_any_answer_is_a_sign_of_life(status):
    world = asking()
    for _ in range(4):
        world.wait(10.0)
        for sent in questions(world)[-2:]:
            world.respond(sent, status)
    assert [peer.up for peer in world.trunk.peers] == [True, True]


@pytest.mark.parametrize("how", ["silence", "503", "transport"])
def test_two_missing_answers_and_it_is_down_until_it_answers(how):
    world = asking()
    first = world.trunk.peers[0]

    def round_of_questions():
        world.wait(1.0)
        mine, other = questions(world)[-2:]
        world.respond(other, 200)
        if how == "503":
            world.respond(mine, 503)
        elif how == "transport":
            world.fails(mine, "transport")
        world.wait(9.0)

    round_of_questions()
    assert first.up, "one may be lost"
    round_of_questions()
    assert not first.up
    assert [n.event for n in world.notes if n.fields.get("peer") == PEERS[0]] == ["trunk_peer_down"]
    world.place()
    assert world.out("INVITE")[0][2].host == PEERS[1], "the one that is up is tried first"
    world.wait(1.0)
    world.respond(questions(world)[-2], 200)
    assert first.up
    assert world.noted("trunk_peer_up")


def test_all_down_is_tried_all_the_same():
    world = asking()
    for peer in world.trunk.peers:
        peer.up = False
    world.place()
    assert world.out("INVITE")[0][2].host == PEERS[0]
    assert state(world.trunk) == "down"


def test_retry_after_is_obeyed():
    world = TrunkWorld()
    world.place()
    world.respond(world.out("INVITE")[0], 503, headers=(("Retry-After", "30 (busy);duration=5"),))
    world.place()
    assert world.out("INVITE")[-1][2].host == PEERS[1]
    world.wait(31.0)
    world.place()
    assert world.out("INVITE")[-1][2].host == PEERS[0]


def test_weights_share_the_calls():
    chance = random.Random(1)
    made = [
        Peer(PeerSettings(host="a", weight=30)),
        Peer(PeerSettings(host="b", weight=10)),
        Peer(PeerSettings(host="c", priority=2)),
    ]
    first = Counter(peering.order(made, 0.0, chance.random)[0].name for _ in range(4000))
    assert 2850 < first["a"] < 3150
    assert first["c"] == 0
    assert {peer.name for peer in peering.order(made, 0.0, chance.random)} == {"a", "b", "c"}


def test_registration_with_a_password_and_its_end():
    world = TrunkWorld(trunk(register=True))
    world.start()
    world.wait(0.1)
    first = world.out("REGISTER")[0]
    assert str(first[1].uri) == f"sip:{PEERS[0]}"
    assert first[1].to.uri.user == first[1].from_.uri.user == "at110"
    world.challenge(first, status=401)
    second = world.out("REGISTER")[1]
    assert second[1].headers.get("Authorization")
    assert (second[1].call_id, second[1].cseq.number) == (first[1].call_id, first[1].cseq.number + 1)
    world.respond(second, 200, headers=(("Expires", "100"),))
    assert world.noted("trunk_registered")
    assert trunk_view(world.trunk, 0)["registered"] is True
    world.wait(90.0)
    assert len(world.out("REGISTER")) == 3
    world.respond(world.out("REGISTER")[-1], 200)
    world.run(world.exchange.run(world.exchange.trunks.close(), world.now))
    assert world.out("REGISTER")[-1][1].headers.get("Expires") == "0"
    world.challenge(world.out("REGISTER")[-1], status=401, nonce="n9")
    assert world.out("REGISTER")[-1][1].headers.get("Expires") == "0"


def test_a_refused_registration_goes_to_the_next_peer():
    world = TrunkWorld(trunk(register=True))
    world.start()
    world.wait(0.1)
    world.respond(world.out("REGISTER")[0], 503)
    world.wait(25.0)
    assert world.out("REGISTER")[1][2].host == PEERS[1]
    world.respond(world.out("REGISTER")[1], 403)
    assert trunk_view(world.trunk, 0)["refused"] == 403
    assert state(world.trunk) == "unregistered"


def test_a_wrong_password_is_not_tried_for_ever():
    world = TrunkWorld(trunk(register=True))
    world.start()
    world.wait(0.1)
    for n in range(3):
        world.challenge(world.out("REGISTER")[-1], status=401, nonce=f"n{n}")
    assert len(world.out("REGISTER")) == 2


@pytest.mark.parametrize(
    ("flow", "leads"),
    [
        (Flow("udp", (HOST, 5060), (PEERS[0], 5060)), True),
        (Flow("tcp", (HOST, 5060), (PEERS[0], 5060)), False),
        (Flow("udp", (HOST, 5060), (PEERS[0], 5061)), False),
        (Flow("udp", (HOST, 5060), ("203.0.113.1", 5060)), False),
    ],
)
def test_which_flows_lead_to_a_peer(flow, leads):
    assert TrunkWorld().trunk.leads(flow) is leads


def test_a_name_leads_where_it_was_found():
    made = TrunkWorld(trunk(peers=[{"host": "sip.carrier.example", "transport": "tls"}])).trunk
    flow = Flow("tls", (HOST, 5061), ("203.0.113.1", 5061))
    assert not made.leads(flow)
    made.found(flow)
    assert made.leads(flow)
    for port in range(100):
        made.found(Flow("tls", (HOST, 5061), ("203.0.113.2", 6000 + port)))
    assert not made.leads(flow), "the newest are remembered"
    assert str(made.peers[0].hop) == "sip:sip.carrier.example;transport=tls"


@pytest.mark.parametrize(
    ("uri", "peer"),
    [
        (f"sip:x@{PEERS[1]}", PEERS[1]),
        (f"sip:x@{PEERS[1]}:5060", PEERS[1]),
        (f"sip:x@{PEERS[1]}:5080", None),
        ("sip:x@203.0.113.1", None),
        ("tel:110", None),
    ],
)
def test_where_302_may_lead(uri, peer):
    found = TrunkWorld().trunk.redirected(parse_uri(uri), "110")
    assert (None if found is None else found.peer) == peer


def test_the_view_tells_all_and_no_secret():
    world = TrunkWorld()
    view = trunk_view(world.trunk, 3)
    assert view["calls"] == 3
    assert view["state"] == "up"
    assert view["registered"] is None
    assert REALM not in str(view)
    world.trunk.peers[0].up = False
    assert state(world.trunk) == "partly"
    world.trunk.in_service = False
    assert state(world.trunk) == "out_of_service"
