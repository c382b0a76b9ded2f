"""Who is encrypted by which rule, and what the legs of a call make of it."""

import pytest

from pbx.call.encrypting import EncryptionRules
from pbx.call.leg import LegSetup
from pbx.call.negotiation import Negotiation
from pbx.sdp.capabilities import CAPABILITIES
from pbx.sdp.description import parse
from pbx.sdp.encryption import Encryption
from pbx.sip.flow import Flow
from rtp.control import PortPair
from rtp.suites import SUITES

HERE, THERE = ("192.0.2.1", 5060), ("198.51.100.7", 5060)
PORTS = (PortPair("audio", 20000, 20001),)
KEY = "crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40
OFFER = f"v=0\r\no=- 1 1 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\nm=audio 5000 RTP/SAVP 8\r\na={KEY}\r\n"


@pytest.mark.parametrize(
    ("transport", "sdes"), [("udp", False), ("tcp", False), ("ws", False), ("tls", True), ("wss", True)]
)
def test_keys_stand_only_where_nobody_reads_them(transport, sdes):
    flow = Flow(transport, HERE, THERE)
    rules = EncryptionRules("opportunistic", {"8001": "mandatory", "county": "off"})
    assert rules.rule("8002", flow, emergency=False, secret=b"x") == Encryption(
        "opportunistic", sdes=sdes, secret=b"x"
    )
    assert rules.rule("8001", flow, emergency=False, secret=b"x").required
    assert rules.rule("county", flow, emergency=False, secret=b"x").policy == "off"
    assert rules.rule(None, flow, emergency=True, secret=b"x").patient
    assert not rules.rule("8001", flow, emergency=True, secret=b"x").required
    assert EncryptionRules(sdes_in_clear=True).rule(None, flow, emergency=False, secret=b"x").sdes


def negotiation():
    rule = Encryption("opportunistic", sdes=True, secret=b"x")
    made = LegSetup(CAPABILITIES, "192.0.2.1", "192.0.2.1", encryption=rule).negotiation(1)
    assert not made.opened(PORTS, b"1" * 32)
    return made


def test_a_refresh_says_the_same_keys_again():
    made = negotiation()
    first = parse(made.answer(OFFER.encode())).media[0]
    again = parse(made.again()).media[0]
    assert again.attribute("crypto") == first.attribute("crypto")
    before = made.streams[0].crypto
    made.accept(OFFER.replace("o=- 1 1", "o=- 1 2").encode())
    assert made.streams[0].crypto == before


def test_a_dtls_refresh_leaves_the_roles_open():
    made = negotiation()
    print_ = "fingerprint:sha-256 " + ":".join(["AB"] * 32)
    text = OFFER.replace("RTP/SAVP", "UDP/TLS/RTP/SAVP").replace(KEY, print_ + "\r\na=setup:active")
    assert parse(made.answer(text.encode())).media[0].attribute("setup") == "passive"
    assert parse(made.again()).media[0].attribute("setup") == "actpass"


def test_after_a_crash_of_the_media_process_new_keys_are_offered():
    made = negotiation()
    first = parse(made.answer(OFFER.encode())).media[0]
    assert not made.opened(PORTS, b"1" * 32)  # asked again, the same process answers the same
    assert made.opened(PORTS, b"2" * 32)
    offered = parse(made.again()).media[0]
    lines = [value for name, value in offered.attributes if name == "crypto"]
    assert len(lines) == len(SUITES)
    assert first.attribute("crypto") not in lines
    place = list(SUITES).index("AES_CM_128_HMAC_SHA1_80")
    made.accept(OFFER.replace(KEY, KEY.replace(":1 ", f":{place + 1} ")).encode())
    assert made.streams[0].crypto.send not in first.attribute("crypto").encode()


def test_it_goes_on_where_it_was_put_away():
    made = negotiation()
    made.answer(OFFER.encode())
    made.opened(PORTS, b"2" * 32)
    other = Negotiation.restore(made.snapshot(), CAPABILITIES)
    assert other.again() == made.again()
    assert other.streams == made.streams
