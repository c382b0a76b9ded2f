"""Calls that come over a trunk: believed what the trunk says, from nobody else (bars S8); early media; keys."""

import pytest

from pbx.call.call import State
from pbx.call.exchange import Exchange
from pbx.sip.flow import Flow
from rtp.control import Dtmf
from tests.kit.trunks import TrunkWorld, trunk
from tests.kit.world import HOST, sdp

ASSERTED = (
    ("P-Asserted-Identity", '"Zhang" <sip:13800138000@gw.example;user=phone>, <tel:+86-138-0013-8000>'),
    ("Privacy", "id"),
    ("Diversion", "<sip:05351234567@gw.example>;reason=unconditional"),
    ("History-Info", "<sip:0535110@gw.example>;index=1"),
    ("Resource-Priority", "esnet.1"),
)


def test_a_trunk_is_believed():
    world = TrunkWorld()
    world.comes(headers=ASSERTED)
    assert world.last_answer("19900001111").status == 200
    (call,) = world.exchange.calls.values()
    assert (call.caller.number, call.caller.trunk, call.caller.proof) == ("+8613800138000", "t1", "trunk")
    assert call.caller.verified is False, "a number is no person"
    arrived = world.arrival()
    assert arrived["asserted_by"] == "t1"
    assert arrived["number_kind"] == "mobile"
    assert arrived["number_from"] == "p-asserted-identity"
    assert arrived["resource_priority"] == "esnet.1"
    assert arrived["display_name"] == "Zhang"
    assert arrived["claims"]["Diversion"]
    assert arrived["claims"]["History-Info"]
    assert arrived["privacy"] == ["id"]
    assert world.noted("claims_ignored") == []
    assert world.trunk.counts.incoming == 1


@pytest.mark.parametrize(
    "flow",
    [
        Flow("udp", (HOST, 5060), ("203.0.113.9", 5060)),
        Flow("tls", (HOST, 5061), ("203.0.113.9", 40000), 7),
        Flow("udp", (HOST, 5060), ("2001:db8::1", 5060)),
    ],
)
def test_a_stranger_is_not(flow):
    world = TrunkWorld()
    world.comes("13911112222", headers=ASSERTED, flow=flow)
    (call,) = world.exchange.calls.values()
    assert call.caller.number == "13911112222", "what it wrote into From, as of anybody"
    assert (call.caller.trunk, call.caller.proof) == (None, "missing")
    arrived = world.arrival()
    assert "asserted_by" not in arrived
    assert "resource_priority" not in arrived
    assert set(world.noted("claims_ignored")[0].fields["headers"]) >= {
        "p-asserted-identity",
        "resource-priority",
    }


def test_a_certificate_makes_a_trunk():
    proven = {7: ("sbc.carrier.example",), 8: ("other.example",)}
    world = TrunkWorld(
        trunk(sources=[], certificates=["SBC.carrier.example"]), names=lambda flow: proven.get(flow.id, ())
    )
    for number, wanted in ((7, "t1"), (8, None), (0, None)):
        flow = Flow("tls", (HOST, 5061), ("203.0.113.9", 40000), number)
        world.comes(f"1390000000{number}", headers=ASSERTED, flow=flow)
        assert world.arrival()["trunk"] == wanted
    world.comes("13900000009", flow=Flow("tcp", (HOST, 5061), ("203.0.113.9", 40000), 7))
    assert world.arrival()["trunk"] is None, "without TLS there is no certificate"


def test_an_account_makes_a_trunk():
    world = TrunkWorld(trunk(sources=[], account="alice"))
    assert world.register("alice").status == 200
    flow = world.flow("alice")
    world.comes("13800138000", flow=flow)
    world.comes("13800138001", flow=flow)
    assert [c.caller.trunk for c in world.exchange.calls.values()] == ["t1", "t1"]
    assert all(c.state is State.WAITING for c in world.exchange.calls.values()), "one account, many callers"


@pytest.mark.parametrize(
    ("headers", "number", "kind", "header"),
    [
        (
            (("P-Asserted-Identity", "<tel:+8653562345678>"),),
            "+8653562345678",
            "fixed",
            "p-asserted-identity",
        ),
        ((("P-Asserted-Identity", "<sip:anonymous@anonymous.invalid>"),), "+8613800138000", "mobile", "from"),
        ((("P-Asserted-Identity", "<<<"),), "+8613800138000", "mobile", "from"),
        ((), "+8613800138000", "mobile", "from"),
    ],
)
def test_where_the_number_stands(headers, number, kind, header):
    world = TrunkWorld()
    world.comes("13800138000", headers=headers)
    arrived = world.arrival()
    assert (arrived["number"], arrived["number_kind"], arrived["number_from"]) == (number, kind, header)


def test_a_withheld_number_is_none():
    world = TrunkWorld()
    world.comes("anonymous")
    assert world.arrival()["number"] is None
    assert world.arrival()["number_kind"] == "withheld"
    assert world.last_answer("anonymous").status == 200


def test_remote_party_id_goes_first_where_the_rule_says_so():
    world = TrunkWorld(trunk(identity=["remote-party-id", "from"]))
    world.comes("13800138000", headers=(*ASSERTED, ("Remote-Party-ID", "<sip:13700137000@gw>;party=calling")))
    assert world.arrival()["number"] == "+8613700137000"


@pytest.mark.parametrize("number", ["110", "0535110", "1101"])
def test_their_number_for_us_is_ours(number):
    world = TrunkWorld(trunk(called=[{"match": "(?:0535)?(110)1?", "give": r"\1"}]))
    world.comes(number=number)
    assert world.last_answer("19900001111").status == 200
    assert world.arrival()["target"] == "110"


def test_a_number_nobody_has_is_404_with_its_cause():
    world = TrunkWorld()
    answer = world.answers[world.comes(number="12345")][-1]
    assert answer.status == 404
    assert answer.headers.get("Reason").startswith("Q.850;cause=1;")
    assert not world.exchange.calls


def test_trunk_and_phone_wait_in_one_queue():
    world = TrunkWorld()
    world.invite("bob")
    world.comes("13800138000")
    world.invite("carol")
    assert [world.exchange.calls[p.call].caller.number for p in world.exchange.acd.queue] == [
        "bob",
        "+8613800138000",
        "carol",
    ]


def test_more_than_the_capacity_is_taken_all_the_same():
    world = TrunkWorld(trunk(capacity=1))
    for n in range(5):
        world.comes(f"1380013800{n}")
    assert len(world.exchange.acd.queue) == 5


def test_the_dispatcher_reads_whose_word_it_is():
    world = TrunkWorld()
    world.sign_in("d1")
    world.comes("13800138000")
    texts = [r.body.decode() for _, r, _ in world.out("MESSAGE")]
    assert any("+8613800138000 (号码来自中继 t1, number by trunk)" in text for text in texts)
    assert not any("verified" in text for text in texts)


# --- early media ------------------------------------------------------------------------------------------------------


def test_a_caller_is_heard_before_it_is_answered_where_the_trunk_wants_it():
    world = TrunkWorld(trunk(early_media=True))
    world.comes("13800138000")
    early = world.last_answer("13800138000")
    assert early.status == 183
    assert b"m=audio" in early.body
    assert early.headers.get("X-At110-Evidence")
    (call,) = world.exchange.calls.values()
    assert call.state is State.WAITING
    world.wait(61.0)
    again = world.last_answer("13800138000")
    assert (again.status, again.body, again.to.tag) == (183, early.body, early.to.tag)
    world.sign_in("d1")
    answer = world.last_answer("13800138000")
    assert (answer.status, answer.body) == (200, early.body), "RFC 3261 §13.2.1: the answer stands"
    assert call.state is State.TALKING
    assert [note.event for note in world.notes if note.event in ("early_media", "call_answered")] == [
        "early_media",
        "call_answered",
    ]
    world.ack("13800138000")
    assert world.exchange.legs[call.leg].state == "confirmed"


def test_a_caller_who_gives_up_before_the_answer_is_gone():
    world = TrunkWorld(trunk(early_media=True))
    world.comes("13800138000")
    world.cancel("13800138000")
    assert world.last_answer("13800138000").status == 487
    assert not world.exchange.acd.queue


@pytest.mark.parametrize(("headers", "body"), [((("Require", "100rel"),), None), ((), b"")])
def test_who_can_not_be_heard_early_is_answered(headers, body):
    world = TrunkWorld(trunk(early_media=True))
    world.comes("13800138000", headers=headers, body=body)
    assert world.last_answer("13800138000").status == 200


def test_a_phone_is_answered_at_once_whatever_trunks_want():
    world = TrunkWorld(trunk(early_media=True))
    world.invite("bob")
    assert world.last_answer("bob").status == 200


# --- keys and codecs --------------------------------------------------------------------------------------------------


def test_keys_by_info_are_understood():
    world = TrunkWorld()
    world.comes("13800138000")
    world.ack("13800138000")
    world.in_dialog(
        "13800138000", "INFO", body=b"Signal=5\r\nDuration=160\r\n", content_type="application/dtmf-relay"
    )
    (call,) = world.exchange.calls.values()
    world.says(Dtmf(call.leg, "7"))
    assert [note.fields["digit"] for note in world.noted("dtmf")] == ["5", "7"]


@pytest.mark.parametrize(("dtmf", "infos"), [("info", ["Signal=1"]), ("rfc4733", [])])
def test_a_dispatchers_keys_go_as_the_trunk_wants_them(dtmf, infos):
    world = TrunkWorld(trunk(dtmf=dtmf))
    world.sign_in("d1")
    world.comes("13800138000", body=sdp(audio="8 101", video=None))
    world.ack("13800138000")
    world.says(Dtmf(world.exchange.room("d1").leg, "1"))
    sent = [r.body.decode().split("\r\n")[0] for _, r, _ in world.out("INFO")]
    assert sent == infos


def test_a_law_comes_first_in_an_offer_of_ours():
    world = TrunkWorld()
    world.comes("13800138000", body=b"")
    lines = world.last_answer("13800138000").body.decode().split("\r\n")
    assert next(line for line in lines if line.startswith("m=audio")).split(" ")[3:5] == ["8", "0"]


def test_nobody_is_refused_for_a_codec():
    world = TrunkWorld(trunk(codecs=["PCMA"]))
    world.comes("13800138000", body=sdp(audio="0", video=None))
    assert world.last_answer("13800138000").status == 200


# --- across a restart -------------------------------------------------------------------------------------------------


def test_legs_and_trunks_go_on_after_a_restart():
    world = TrunkWorld(trunk(early_media=True))
    leg = world.place()
    world.comes("13800138000")
    data = world.exchange.snapshot()
    standing = world.exchange.trunks.snapshot()
    again = Exchange.restore(data, world.exchange.site, world.exchange.mint)
    assert again.legs[leg].line == world.exchange.legs[leg].line
    assert again.snapshot() == data
    fresh = TrunkWorld()
    fresh.exchange.trunks.resume(standing)
    assert fresh.exchange.trunks.snapshot() == standing
    assert "s3cret" not in str(standing)
    assert "s3cret" not in str(data)
