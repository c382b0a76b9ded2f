"""Encrypted legs in a whole exchange: what is answered, what is noted, and what ends a leg."""

from dataclasses import replace

import pytest

from pbx.call.effects import SendRequest
from pbx.call.encrypting import EncryptionRules
from pbx.call.media_events import media_said
from pbx.sdp.description import parse
from rtp.control import Dtls, Holdings, LegOpened, PortPair, Sdes, Secured, SecurityFailed
from tests.kit.world import World

KEY = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40
SECRET_CALL = (
    "v=0\r\no=- 1 1 IN IP4 192.0.2.77\r\ns=-\r\nc=IN IP4 192.0.2.77\r\nt=0 0\r\n"
    f"m=audio 4000 RTP/SAVP 8\r\n{KEY}\r\n"
).encode()
WHO = ("192.0.2.77", 4000)


def secured(world):
    world.invite("bob", body=SECRET_CALL)
    world.ack("bob")
    return world.call("bob")


def byes(world):
    return [e.request for e in world.sent if isinstance(e, SendRequest) and e.request.method == "BYE"]


def site(world, **rules):
    world.exchange.site = replace(world.exchange.site, encryption=EncryptionRules(**rules))


def test_an_emergency_call_with_keys_is_answered_with_keys_whatever_the_rules_say():
    """Over UDP, and with encryption off: the alternative would be no sound."""
    world = World()
    call = secured(world)
    answer = parse(world.last_answer("bob").body).media[0]
    assert (answer.protocol, answer.port > 0) == ("RTP/SAVP", True)
    assert isinstance(world.exchange.legs[call.leg].negotiation.streams[0].crypto, Sdes)
    world.says(Secured(call.leg, "audio", "AES_CM_128_HMAC_SHA1_80", "sdes"))
    (note,) = world.noted("media_encrypted")
    assert note.fields == {
        "leg": "caller",
        "medium": "audio",
        "suite": "AES_CM_128_HMAC_SHA1_80",
        "by": "sdes",
    }


def test_an_emergency_call_in_the_clear_is_answered_where_encryption_is_mandatory():
    world = World()
    site(world, policy="mandatory")
    world.invite("bob")
    assert world.last_answer("bob").status == 200
    assert parse(world.last_answer("bob").body).media[0].port > 0


def test_no_key_stands_in_what_is_noted():
    world = World()
    secured(world)
    assert "A" * 40 not in repr(world.notes)


def test_a_caller_who_is_not_who_the_sdp_says_is_ended_and_told():
    """S2: the leg ends, with an event in its evidence."""
    world = World()
    call = secured(world)
    world.says(SecurityFailed(call.leg, "audio", "fingerprint", WHO))
    (note,) = world.noted("security_failed")
    assert (note.call, note.fields["source"], note.fields["reason"]) == (call.id, WHO[0], "fingerprint")
    (bye,) = byes(world)
    assert "Certificate does not match" in bye.headers.get("Reason")
    (ended,) = world.noted("call_ended")
    assert ended.fields["cause"] == "security_failed"


def test_before_its_ack_the_bye_waits():
    world = World()
    world.invite("bob", body=SECRET_CALL)
    world.says(SecurityFailed(world.call("bob").leg, "audio", "fingerprint", WHO))
    assert byes(world) == []
    world.ack("bob")
    assert len(byes(world)) == 1


def test_a_desk_without_a_caller_is_ended_and_told():
    world = World(desks=("d1",))
    world.sign_in("d1")
    leg = world.exchange.room("d1").leg
    world.says(Secured(leg, "audio", "AEAD_AES_256_GCM", "dtls"))
    world.says(SecurityFailed(leg, "video", "fingerprint", WHO))
    for name in ("media_encrypted", "security_failed"):
        (note,) = world.noted(name)
        assert (note.call, note.fields["leg"]) == (None, "desk:d1")
    assert len(byes(world)) == 1


def test_a_leg_nobody_knows_is_nobodys_alarm():
    world = World()
    world.says(SecurityFailed("leg-x", "audio", "fingerprint", WHO))
    world.says(Secured("leg-x", "audio", "AEAD_AES_256_GCM", "dtls"))
    assert world.notes == []


@pytest.mark.parametrize(("policy", "profile"), [("mandatory", "UDP/TLS/RTP/SAVP"), ("off", "RTP/AVP")])
def test_a_desks_own_rule(policy, profile):
    world = World(desks=("d1",), media_answers=False)
    site(world, policy="opportunistic", of={"d1": policy})
    world.sign_in("d1", answer=False)
    leg = world.exchange.room("d1").leg
    world.says(LegOpened(leg, (PortPair("audio", 20000, 20001),), b"1" * 32))
    assert parse(world.desk_invite("d1").request.body).media[0].protocol == profile
    world.legs.add(leg)
    world.pick_up(
        "d1", body=SECRET_CALL.replace(b"RTP/SAVP", b"RTP/AVP").replace(KEY.encode(), b"a=ptime:20")
    )
    assert len(byes(world)) == (policy == "mandatory")  # a phone that answers in the clear is let go


def test_after_a_crash_of_the_media_process_a_desk_is_asked_for_new_keys():
    world = World(desks=("d1",), media_answers=False)
    site(world, policy="dtls")
    world.sign_in("d1", answer=False)
    leg = world.exchange.room("d1").leg
    ports = (PortPair("audio", 20000, 20001),)
    world.says(LegOpened(leg, ports, b"1" * 32))
    first = parse(world.desk_invite("d1").request.body).media[0]
    world.legs.add(leg)
    fingerprint = "a=fingerprint:sha-256 " + ":".join(["AB"] * 32)
    answer = SECRET_CALL.decode().replace(KEY, fingerprint).replace("RTP/SAVP", "UDP/TLS/RTP/SAVP").encode()
    world.pick_up("d1", body=answer)
    assert isinstance(world.exchange.legs[leg].negotiation.streams[0].crypto, Dtls)
    world.run(media_said(world.exchange, Holdings("", (), ()), world.now))
    world.says(LegOpened(leg, ports, b"2" * 32))
    (again,) = [e.request for e in world.sent if isinstance(e, SendRequest) and "/reinvite/" in e.ref]
    media = parse(again.body).media[0]
    assert media.attribute("fingerprint") == "sha-256 " + (b"2" * 32).hex(":").upper()
    assert media.attribute("setup") == "actpass"
    assert media.attribute("tls-id") != first.attribute("tls-id")
