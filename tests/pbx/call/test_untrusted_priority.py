"""A hundred untrusted calls that claim to be more urgent, or somebody else, than they are (bars L5, RFC 4412 §4.6.2, RFC 3325 §9.1):
the claim is stripped and stated, and gives no place before those who came earlier.
"""

from itertools import product

import pytest

from pbx.call.call import State
from pbx.call.effects import AnswerOnce, Respond, SendAck, SendElsewhere, SendRequest
from pbx.call.watch import QUIET, shown
from pbx.sip.flow import Flow
from routing.acd import Priority
from tests.kit.trunks import PEERS, TrunkWorld, trunk
from tests.kit.world import HOST

MARK = "wang-8f3a"
POLICE = f'"{MARK}" <sip:{MARK}@police.example>'
CLAIMED = (
    *((("Resource-Priority", f"esnet.{level}"),) for level in range(5)),
    (("Resource-Priority", "ESNET.4"),),
    (("Resource-Priority", "wps.0, esnet.4"),),
    (("Resource-Priority", "wps.0"), ("Resource-Priority", "esnet.4")),
    (("Resource-Priority", "ets.0"),),
    (("Resource-Priority", "q735.0"),),
    (("Resource-Priority", "dsn.flash-override"),),
    (("resource-PRIORITY", "esnet.0"),),
    (("Priority", "emergency"),),
    (("Priority", "urgent"),),
    (("Priority", "psap-callback"),),
    (("P-Asserted-Identity", POLICE),),
    (("P-Asserted-Identity", "<tel:110>"),),
    (("P-Asserted-Identity", f'{POLICE}, <tel:+8613900000000;x="{MARK}">'),),
    (("P-Preferred-Identity", POLICE),),
    (("Remote-Party-ID", f"{POLICE};party=calling;screen=yes;privacy=off"),),
    (("P-Asserted-Service", "urn:urn-7:3gpp-service.ims.icsi.mcptt"),),
    (("Identity", f'"{MARK}";info=<https://{MARK}.example/cert>;alg=ES256;ppt="rph"'),),
    (("X-Verified-Name", MARK),),
    (("Resource-Priority", "esnet.4"), ("Priority", "emergency"), ("P-Asserted-Identity", POLICE)),
    (("P-Asserted-Identity", POLICE), ("Privacy", "none"), ("Resource-Priority", "esnet.1")),
)
SOURCES = (
    Flow("udp", (HOST, 5060), ("203.0.113.9", 5060)),  # anybody
    Flow("udp", (HOST, 5060), ("198.51.101.1", 5060)),  # the address next to those of the trunk
    Flow("tls", (HOST, 5061), ("203.0.113.9", 40000), 7),  # a certificate, of somebody else
    Flow("tcp", (HOST, 5060), ("2001:db8::1", 5060), 8),  # another family of addresses
)
CASES = list(product(range(len(CLAIMED)), range(len(SOURCES))))


def test_there_are_a_hundred_cases():
    assert len(CASES) == 100
    assert len(set(CLAIMED)) == 25


def world_with_a_line():
    """Nobody is at a desk; one citizen waits already."""
    proven = {
        7: ("other.example",),
        8: ("sbc.carrier.example",),
    }  # what TCP says has no certificate behind it
    world = TrunkWorld(
        trunk(certificates=["sbc.carrier.example"]), names=lambda flow: proven.get(flow.id, ()), desks=("d1",)
    )
    world.invite("first")
    world.ack("first")
    return world


def said(world):
    """All bytes that left."""
    for effect in world.sent:
        match effect:
            case Respond(response=message) | AnswerOnce(response=message):
                yield message.encode()
            case SendRequest(request=message) | SendElsewhere(request=message) | SendAck(request=message):
                yield message.encode()


@pytest.mark.parametrize(("claimed", "source"), CASES)
def test_an_untrusted_claim_is_stripped_stated_and_gives_no_advantage(claimed, source):
    headers, flow = CLAIMED[claimed], SOURCES[source]
    world = world_with_a_line()
    world.comes("13911112222", headers=headers, flow=flow)
    assert world.last_answer("13911112222").status == 200, "it is a call for help all the same"
    world.ack("13911112222")
    pushy = world.call("13911112222")
    world.invite("last")
    world.ack("last")

    places = world.exchange.acd.queue
    assert [place.priority for place in places] == [Priority.NORMAL] * 3
    assert [place.call for place in places] == [world.call("first").id, pushy.id, world.call("last").id]
    assert (pushy.caller.verified, pushy.caller.name, pushy.caller.trunk) == (False, None, None)

    (note,) = world.noted("claims_ignored")
    assert note.call == pushy.id
    names = {name.lower() for name, _ in headers} - {"privacy"}
    assert set(note.fields["headers"]) == names
    assert note.event not in QUIET, "it is a line of the log"
    assert set(shown(note)["headers"]) == names
    arrived = next(note.fields for note in world.noted("call_arrived") if note.call == pushy.id)
    assert not {"asserted_by", "resource_priority"} & set(arrived)

    served = []
    world.sign_in("d1")
    for _ in places:
        (talking,) = [call for call in world.exchange.calls.values() if call.state is State.TALKING]
        served.append(talking.id)
        world.bye(next(name for name in ("first", "13911112222", "last") if world.call(name) is talking))
    assert served == [place.call for place in places], "strictly in the order they came"
    assert all(MARK.encode() not in data for data in said(world)), "nothing of it reaches anybody"


@pytest.mark.parametrize("level", range(5))
def test_the_same_claim_of_a_trusted_peer_counts(level):
    """What the hundred are measured against: they would be seen to gain if they did."""
    world = world_with_a_line()
    world.comes("13911112222", headers=CLAIMED[level], host=PEERS[0])
    world.ack("13911112222")
    ahead = world.exchange.acd.queue[0]
    assert ahead.priority is Priority.AUTHORITY
    assert world.exchange.calls[ahead.call].caller.trunk == "t1"
    assert world.noted("claims_ignored") == []
