"""AES_256_CM against RFC 6188 put together from the primitives of another library."""

import pytest
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from rtp import aes256
from rtp.dtls import Certificate
from rtp.srtp import Opener, Sealer
from rtp.suites import SUITES
from tests.kit.media_wire import packet

KEY = bytes(range(46))
RTCP = bytes.fromhex("80c90001") + b"\0\0\0\7"
SIZES = {"AES_256_CM_HMAC_SHA1_80": 10, "AES_256_CM_HMAC_SHA1_32": 4}

pytestmark = pytest.mark.skipif(not aes256.AVAILABLE, reason="this build of pylibsrtp hides what libsrtp can")


def stream(key, start, data):
    return Cipher(algorithms.AES(key), modes.CTR(start)).encryptor().update(data)


def derived(label, size):
    """RFC 3711 §4.3.1 with the pseudo-random function of RFC 6188 §3."""
    start = int.from_bytes(KEY[32:], "big") ^ label << 48
    return stream(KEY[:32], (start << 16).to_bytes(16, "big"), bytes(size))


def start(salt, ssrc, index):
    """RFC 3711 §4.1.1: IV = (k_s * 2^16) XOR (SSRC * 2^64) XOR (i * 2^16)."""
    number = int.from_bytes(salt, "big") << 16 ^ int.from_bytes(ssrc, "big") << 64 ^ index << 16
    return number.to_bytes(16, "big")


def tag(key, data, size):
    made = hmac.HMAC(key, hashes.SHA1())
    made.update(data)
    return made.finalize()[:size]


@pytest.mark.parametrize("name", SIZES)
def test_packets_are_what_the_rfc_says(name):
    key, mac, salt = derived(0, 32), derived(1, 20), derived(2, 14)
    sealer, opener = Sealer(SUITES[name], KEY), Opener(SUITES[name], KEY)
    for number in range(65_400, 65_700):
        clear, roll = packet(number), number >> 16
        index = roll << 16 | number & 0xFFFF
        body = clear[:12] + stream(key, start(salt, clear[8:12], index), clear[12:])
        expected = body + tag(mac, body + roll.to_bytes(4, "big"), SIZES[name])
        assert sealer.rtp(clear) == expected
        assert opener.rtp(expected, 0.0) == clear
    assert opener.rtp(expected, 0.0) is None, "a replay"
    assert Opener(SUITES[name], KEY[::-1]).rtp(expected, 0.0) is None


@pytest.mark.parametrize("name", SIZES)
def test_rtcp_has_the_long_tag_in_both(name):
    key, mac, salt = derived(3, 32), derived(4, 20), derived(5, 14)
    sealed = Sealer(SUITES[name], KEY).rtcp(RTCP + b"\x81\xca\x00\x01\0\0\0\7")
    index = int.from_bytes(sealed[-14:-10], "big") & 0x7FFF_FFFF
    clear = stream(key, start(salt, RTCP[4:8], index), sealed[8:-14])
    assert clear == b"\x81\xca\x00\x01\0\0\0\7"
    assert sealed[-10:] == tag(mac, sealed[:-10], 10)
    assert Opener(SUITES[name], KEY).rtcp(sealed, 0.0) == RTCP + clear


def test_a_key_of_another_length_is_refused():
    with pytest.raises(ValueError, match="32 bytes"):
        Sealer(SUITES["AES_256_CM_HMAC_SHA1_80"], KEY[:30])


def test_a_library_without_it_offers_none(monkeypatch):
    assert aes256._function("srtp_no_such_function") is None
    monkeypatch.setattr(aes256._binding, "__file__", "/nowhere.so")
    assert aes256._function("srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80") is None


def test_dtls_knows_nothing_of_it():
    Certificate()  # OpenSSL would refuse a profile without a name
    assert {suite.name for suite in SUITES.values() if not suite.openssl} == set(SIZES)
