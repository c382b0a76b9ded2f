import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.sdp import security
from pbx.sdp.description import Description, parse
from pbx.sdp.security import CryptoLine, Fingerprint, parse_crypto, parse_fingerprint
from pbx.sip.errors import SipError

KEY = "inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:4"
HASH = bytes(range(32))


def described(*lines: str, session: tuple[str, ...] = ()) -> Description:
    text = ["v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", "c=IN IP4 192.0.2.1", "t=0 0", *session]
    return parse("\r\n".join([*text, "m=audio 5004 RTP/SAVP 8", *lines, ""]).encode())


def test_crypto_line_is_read_part_by_part() -> None:
    line = parse_crypto(f"1 AES_CM_128_HMAC_SHA1_80 {KEY} KDR=1 UNENCRYPTED_SRTCP")

    assert line == CryptoLine(1, "AES_CM_128_HMAC_SHA1_80", KEY, ("KDR=1", "UNENCRYPTED_SRTCP"))
    assert parse_crypto(str(line)) == line


def test_key_stands_in_no_representation() -> None:
    assert "WVNf" not in repr(parse_crypto(f"1 AES_CM_128_HMAC_SHA1_80 {KEY}"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1 AES_CM_128_HMAC_SHA1_80",
        "x AES_CM_128_HMAC_SHA1_80 inline:abc",
        "1234567890 AES_CM_128_HMAC_SHA1_80 inline:abc",  # RFC 4568 §9.1: tag = 1*9DIGIT
        "٣ AES_CM_128_HMAC_SHA1_80 inline:abc",  # Arabic digit three
        "1 AES_CM_128_HMAC_SHA1_80 inline",
        "1 AES_CM_128_HMAC_SHA1_80 inline:",
        "1 AES-CM inline:abc",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{'a' * 600}",
    ],
)
def test_what_is_no_crypto_line_is_488(text: str) -> None:
    with pytest.raises(SipError) as error:
        parse_crypto(text)
    assert error.value.status == 488


def test_fingerprint_is_read_in_both_cases_of_letters() -> None:
    text = HASH.hex(":")

    assert parse_fingerprint(f"SHA-256 {text}") == Fingerprint("sha-256", HASH)
    assert parse_fingerprint(f"sha-256 {text.upper()}") == Fingerprint("sha-256", HASH)
    assert str(Fingerprint("sha-256", HASH)) == f"sha-256 {text.upper()}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha-256",
        f"sha-1 {HASH.hex(':')}",  # 32 bytes are no SHA-1
        "sha-256 00:01",
        f"md5 {HASH[:16].hex(':')}",  # RFC 8122 §5: MD5 and MD2 MUST NOT be used
        f"sha-256 {HASH.hex('-')}",
        f"sha-256 {HASH.hex(':')}:",
        f"sha-256 {HASH.hex(':')[:-2]}zz",
    ],
)
def test_what_is_no_fingerprint_is_488(text: str) -> None:
    with pytest.raises(SipError) as error:
        parse_fingerprint(text)
    assert error.value.status == 488


def test_lines_of_a_medium_in_the_peers_order() -> None:
    offer = described(
        f"a=crypto:2 AES_256_CM_HMAC_SHA1_80 {KEY}", f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 {KEY}"
    )

    assert [line.tag for line in security.crypto(offer.media[0])] == [2, 1]
    assert parse(offer.encode()) == offer, "the lines stay in the description as they came"


def test_a_tag_may_not_come_twice() -> None:
    offer = described(
        f"a=crypto:1 AES_256_CM_HMAC_SHA1_80 {KEY}", f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 {KEY}"
    )

    with pytest.raises(SipError):
        security.crypto(offer.media[0])


def test_fingerprint_and_setup_of_the_session_hold_where_the_medium_says_nothing() -> None:
    whole = (f"a=fingerprint:sha-256 {HASH.hex(':')}", "a=setup:actpass")
    plain = described(session=whole)
    own = described(f"a=fingerprint:sha-1 {HASH[:20].hex(':')}", "a=setup:ACTIVE", session=whole)

    assert security.fingerprints(plain, plain.media[0]) == (Fingerprint("sha-256", HASH),)
    assert security.setup(plain, plain.media[0]) == "actpass"
    assert security.fingerprints(own, own.media[0]) == (Fingerprint("sha-1", HASH[:20]),)
    assert security.setup(own, own.media[0]) == "active"


def test_nothing_said_is_nothing() -> None:
    offer = described("a=setup:perhaps")

    assert security.crypto(offer.media[0]) == ()
    assert security.fingerprints(offer, offer.media[0]) == ()
    assert security.setup(offer, offer.media[0]) is None


@given(st.text(max_size=200))
def test_any_text_is_read_or_488(text: str) -> None:
    for read in (parse_crypto, parse_fingerprint):
        try:
            again = str(read(text))
        except SipError as error:
            if error.status != 488:
                raise
            continue
        assert read(again) == read(text)
