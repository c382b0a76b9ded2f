"""Encrypted legs in a whole exchange: what is answered, what is noted, and what ends a leg."""

from dataclasses import replace

import pytest

from pbx.call import modify
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


FINGERPRINT = "a=fingerprint:sha-256 " + ":".join(["AB"] * 32)
DTLS_ANSWER = SECRET_CALL.decode().replace(KEY, FINGERPRINT).replace("RTP/SAVP", "UDP/TLS/RTP/SAVP").encode()
DESK_PORTS = (PortPair("audio", 20000, 20001),)


def dtls_desk():
    """A desk whose keys are agreed: the world, its leg, what it was offered."""
    world = World(desks=("d1",), media_answers=False)
    site(world, policy="dtls")
    world.sign_in("d1", answer=False)
    leg = world.exchange.room("d1").leg
    world.says(LegOpened(leg, DESK_PORTS, b"1" * 32))
    first = parse(world.desk_invite("d1").request.body).media[0]
    world.legs.add(leg)
    world.pick_up("d1", body=DTLS_ANSWER)
    assert isinstance(world.exchange.legs[leg].negotiation.streams[0].crypto, Dtls)
    return world, leg, first


def media_crashes(world, leg):
    world.run(media_said(world.exchange, Holdings("", (), ()), world.now))
    world.says(LegOpened(leg, DESK_PORTS, b"2" * 32))


def offers(world):
    """The audio of each re-INVITE to the desk."""
    sent = [e.request for e in world.sent if isinstance(e, SendRequest) and "/reinvite/" in e.ref]
    return [parse(request.body).media[0] for request in sent]


def fingerprint(byte):
    return "sha-256 " + (byte * 32).hex(":").upper()


def test_after_a_crash_of_the_media_process_a_desk_is_asked_for_new_keys():
    world, leg, first = dtls_desk()
    media_crashes(world, leg)
    (media,) = offers(world)
    assert media.attribute("fingerprint") == fingerprint(b"2")
    assert media.attribute("setup") == "actpass"
    assert media.attribute("tls-id") != first.attribute("tls-id")
    world.answer_reinvite("d1", DTLS_ANSWER)
    world.wait(30.0)
    assert len(offers(world)) == 1


def test_whose_phone_was_asking_something_itself_is_asked_for_new_keys_later():
    world, leg, _ = dtls_desk()
    media_crashes(world, leg)
    world.answer_reinvite("d1", b"", status=491)
    world.wait(10.0)
    assert [media.attribute("fingerprint") for media in offers(world)] == [fingerprint(b"2")] * 2


def test_an_answer_to_what_was_offered_before_the_crash_brings_no_keys():
    world, leg, _ = dtls_desk()
    found = world.exchange.legs[leg]
    world.run(
        world.exchange.run([modify.reinvite(found, found.negotiation.offer(), "reinvite")], world.now, leg)
    )
    media_crashes(world, leg)
    assert [media.attribute("fingerprint") for media in offers(world)] == [fingerprint(b"1")]
    world.answer_reinvite("d1", DTLS_ANSWER)
    assert [media.attribute("fingerprint") for media in offers(world)[1:]] == [fingerprint(b"2")]
    world.answer_reinvite("d1", DTLS_ANSWER)
    world.wait(30.0)
    assert len(offers(world)) == 2
