"""What is offered, answered and refused: SDES, DTLS-SRTP, both opportunistic, and neither."""

import base64
from dataclasses import replace

import pytest

from pbx.sdp.capabilities import CAPABILITIES
from pbx.sdp.description import parse
from pbx.sdp.encryption import Encryption
from pbx.sdp.offer_answer import accept, answer, offer, wanted
from pbx.sip.errors import SipError
from rtp.control import Dtls, Sdes
from rtp.suites import SUITES

HEAD = "v=0\r\no=- 1 1 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n"
PRINT = bytes(range(32))
THEIR_PRINT = bytes(range(100, 132))
LINE = f"fingerprint:sha-256 {THEIR_PRINT.hex(':').upper()}"
PORTS = {"audio": (20000, 20001)}
LENIENT = Encryption("opportunistic", sdes=True, secret=b"s", fingerprint=PRINT)
IN_CLEAR = replace(LENIENT, sdes=False)
MANDATORY = replace(LENIENT, policy="mandatory")
DTLS_ONLY = replace(LENIENT, policy="dtls")
OFF = replace(LENIENT, policy="off")


def key(name="AES_CM_128_HMAC_SHA1_80", fill=7):
    return bytes([fill]) * SUITES[name].length


def crypto(tag=1, name="AES_CM_128_HMAC_SHA1_80", fill=7, tail=""):
    return f"crypto:{tag} {name} inline:{base64.b64encode(key(name, fill)).decode()}{tail}"


def theirs(profile, *attributes, session=()):
    lines = [f"a={line}" for line in session] + [
        f"m=audio 5000 {profile} 8",
        *(f"a={line}" for line in attributes),
    ]
    return parse((HEAD + "\r\n".join([*lines, ""])).encode())


def answered(encryption, profile, *attributes, session=(), previous=None, version=1):
    description, streams = answer(
        theirs(profile, *attributes, session=session), CAPABILITIES, address="192.0.2.1", ports=PORTS, session=1,
        version=version, encryption=encryption, previous=previous or {},
    )  # fmt: skip
    return description.media[0], streams[0] if streams else None


def offering(encryption, **more):
    fields = {"address": "192.0.2.1", "ports": PORTS, "session": 1, "version": 1, "encryption": encryption}
    return offer(CAPABILITIES, **{**fields, **more})


# --- answering ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF", "rtp/savp"])
@pytest.mark.parametrize("name", SUITES)
def test_keys_in_the_sdp_are_answered_under_every_profile(profile, name):
    """RFC 4568 under SAVP, RFC 8643 under AVP."""
    media, stream = answered(LENIENT, profile, crypto(3, name))
    assert isinstance(stream.crypto, Sdes)
    assert (stream.crypto.suite, stream.crypto.receive) == (name, key(name))
    tag, suite, inline = media.attribute("crypto").split(" ")
    assert (media.protocol, tag, suite) == (profile, "3", name)
    assert base64.b64decode(inline.removeprefix("inline:")) == stream.crypto.send != stream.crypto.receive
    assert len(stream.crypto.send) == SUITES[name].length


def test_the_peers_first_usable_line_is_taken():
    bad = [
        "crypto:1 AES_192_CM_HMAC_SHA1_80 inline:" + base64.b64encode(bytes(46)).decode(),
        crypto(2, tail="|2^20|1:4"),  # a key identifier
        crypto(3, tail=" UNENCRYPTED_SRTP"),
        crypto(4, tail=" KDR=1"),
        "crypto:5 AES_CM_128_HMAC_SHA1_80 inline:QUJD",
        "crypto:6 AES_CM_128_HMAC_SHA1_80 inline:!!!!",
        "crypto:11 AES_CM_128_HMAC_SHA1_80 inline:AAAAA",  # no number of bytes makes five letters
        "crypto:7 F8_128_HMAC_SHA1_80 inline:QUJD",
        crypto(8) + ";inline:QUJD",
    ]
    good = crypto(9, "AES_CM_128_HMAC_SHA1_32", tail="|2^31 WSH=128 -NEW")
    media, stream = answered(LENIENT, "RTP/SAVP", *bad, good, crypto(10))
    assert media.attribute("crypto").startswith("9 AES_CM_128_HMAC_SHA1_32 inline:")
    assert stream.crypto.suite == "AES_CM_128_HMAC_SHA1_32"
    media, stream = answered(LENIENT, "RTP/SAVP", *bad)
    assert (media.port, stream) == (0, None)
    media, stream = answered(LENIENT, "RTP/AVP", *bad)
    assert (media.port, stream.crypto) == (20000, None)  # what can't be used is as good as not there


def test_a_key_without_its_padding_is_read():
    text = base64.b64encode(bytes(28)).decode().rstrip("=")
    _, stream = answered(LENIENT, "RTP/SAVP", f"crypto:1 AEAD_AES_128_GCM inline:{text}")
    assert stream.crypto.receive == bytes(28)


@pytest.mark.parametrize(
    "line", ["crypto:1 X", "crypto:x", "fingerprint:sha-256 AB", "fingerprint:md5 " + "AB:" * 15 + "AB"]
)
def test_a_line_nobody_can_read_is_as_good_as_none(line):
    assert answered(LENIENT, "RTP/AVP", line)[1].crypto is None
    assert answered(LENIENT, "RTP/SAVP", line)[0].port == 0
    with_a_good_one = answered(LENIENT, "RTP/SAVP", crypto(2), line)[0].port
    assert with_a_good_one == (20000 if line.startswith("fingerprint") else 0)


@pytest.mark.parametrize("setup", [("actpass", "passive", False), ("active", "passive", False), ("passive", "active", True), (None, "passive", False)])  # fmt: skip
@pytest.mark.parametrize("profile", ["UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF", "RTP/AVP"])
def test_a_fingerprint_is_answered_with_ours(profile, setup):
    said, role, active = setup
    lines = [LINE] if said is None else [LINE, f"setup:{said}"]
    media, stream = answered(LENIENT, profile, *lines, "tls-id:0123456789abcdef0123", "rtcp-mux")
    assert stream.crypto == Dtls(active, (("sha-256", THEIR_PRINT),), "0123456789abcdef0123")
    assert media.attribute("setup") == role
    assert media.attribute("fingerprint") == f"sha-256 {PRINT.hex(':').upper()}"
    assert len(media.attribute("tls-id")) == 40
    assert (stream.mux, stream.remote_rtcp) == (True, stream.remote)
    assert media.attribute("rtcp-mux") == ""


def test_of_the_session_and_of_the_best_hash():
    weak = "fingerprint:sha-1 " + ":".join(["AA"] * 20)
    media, stream = answered(LENIENT, "UDP/TLS/RTP/SAVP", session=(weak, LINE, "setup:actpass"))
    assert stream.crypto.fingerprints == (("sha-256", THEIR_PRINT),)
    assert media.attribute("tls-id") is None  # only who states one is answered one
    assert (
        answered(LENIENT, "UDP/TLS/RTP/SAVP", weak, "setup:actpass")[1].crypto.fingerprints[0][0] == "sha-1"
    )


def test_dtls_goes_before_keys_that_stand_in_the_sdp():
    assert isinstance(answered(LENIENT, "RTP/AVP", crypto(), LINE, "setup:actpass")[1].crypto, Dtls)
    assert isinstance(answered(LENIENT, "RTP/SAVP", crypto(), LINE, "setup:actpass")[1].crypto, Sdes)
    assert isinstance(answered(LENIENT, "RTP/AVP", crypto(), LINE, "setup:holdconn")[1].crypto, Sdes)


def test_a_browser_wants_ice_and_is_refused_in_place():
    media, stream = answered(
        LENIENT, "UDP/TLS/RTP/SAVPF", LINE, "setup:actpass", "ice-ufrag:abcd", "ice-pwd:x"
    )
    assert (media.port, stream) == (0, None)


@pytest.mark.parametrize(
    ("encryption", "profile", "lines", "verdict"),
    [
        (IN_CLEAR, "RTP/SAVP", [crypto()], "refused"),
        (IN_CLEAR, "RTP/AVP", [crypto()], "clear"),
        (IN_CLEAR, "UDP/TLS/RTP/SAVP", [LINE], "dtls"),
        (OFF, "RTP/AVP", [crypto(), LINE], "clear"),
        (OFF, "RTP/SAVP", [crypto()], "refused"),
        (OFF, "UDP/TLS/RTP/SAVP", [LINE], "refused"),
        (MANDATORY, "RTP/AVP", [], "refused"),
        (MANDATORY, "RTP/AVP", [crypto()], "sdes"),
        (MANDATORY, "RTP/SAVP", [crypto()], "sdes"),
        (MANDATORY, "UDP/TLS/RTP/SAVP", [LINE], "dtls"),
        (DTLS_ONLY, "RTP/SAVP", [crypto()], "refused"),
        (DTLS_ONLY, "RTP/AVP", [crypto(), LINE], "dtls"),
        (LENIENT, "RTP/SAVP", [], "refused"),
        (LENIENT, "UDP/TLS/RTP/SAVP", [crypto()], "refused"),
        (LENIENT, "TCP/RTP/AVP", [], "refused"),
    ],
)
@pytest.mark.parametrize("patient", [False, True])
def test_who_gets_what(encryption, profile, lines, verdict, patient):
    """And 110 is never refused for its encryption: what is offered is taken."""
    if patient:
        encryption = replace(encryption, patient=True)
        if verdict == "refused" and profile != "TCP/RTP/AVP":
            can = {"RTP/AVP": "clear", "RTP/SAVP": "sdes" if crypto() in lines else "refused"}
            verdict = can.get(profile, "dtls" if LINE in lines else "refused")
        elif verdict == "clear" and encryption.policy != "off":
            verdict = "sdes"
    media, stream = answered(encryption, profile, *lines)
    kinds = {Sdes: "sdes", Dtls: "dtls", type(None): "clear"}
    assert ("refused" if stream is None else kinds[type(stream.crypto)]) == verdict
    assert (media.port == 0) == (verdict == "refused")
    known = wanted(theirs(profile, *lines), CAPABILITIES, replace(encryption, fingerprint=b""))
    assert known == (() if verdict == "refused" else ("audio",))


def test_our_key_stays_while_theirs_does_and_changes_with_it():
    _, first = answered(LENIENT, "RTP/SAVP", crypto())
    _, same = answered(LENIENT, "RTP/SAVP", crypto(2), previous={"audio": first.crypto}, version=2)
    assert same.crypto == first.crypto
    _, other = answered(LENIENT, "RTP/SAVP", crypto(fill=9), previous={"audio": same.crypto}, version=3)
    assert other.crypto.send != first.crypto.send
    _, changed = answered(
        LENIENT, "RTP/SAVP", crypto(name="AEAD_AES_128_GCM"), previous={"audio": other.crypto}
    )
    assert len(changed.crypto.send) == 28


def test_each_leg_and_each_suite_has_keys_of_its_own():
    keys = {
        answered(replace(LENIENT, secret=secret), "RTP/SAVP", crypto())[1].crypto.send
        for secret in (b"a", b"b")
    }
    assert len(keys) == 2


def test_no_key_shows_in_a_representation():
    _, stream = answered(LENIENT, "RTP/SAVP", crypto())
    shown = repr(stream) + repr(LENIENT)
    for secret in (stream.crypto.send, stream.crypto.receive, b"secret"):
        assert repr(secret) not in shown
        assert base64.b64encode(secret).decode() not in shown
    assert "'s'" not in shown


# --- offering -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encryption", "profile", "keys", "dtls"),
    [
        (OFF, "RTP/AVP", 0, False),
        (LENIENT, "RTP/AVP", len(SUITES), True),
        (IN_CLEAR, "RTP/AVP", 0, False),
        (replace(LENIENT, fingerprint=b""), "RTP/AVP", len(SUITES), False),
        (MANDATORY, "RTP/SAVP", len(SUITES), False),
        (replace(MANDATORY, sdes=False), "UDP/TLS/RTP/SAVP", 0, True),
        (DTLS_ONLY, "UDP/TLS/RTP/SAVP", 0, True),
    ],
)
def test_what_is_offered(encryption, profile, keys, dtls):
    (media,) = offering(encryption).media
    names = [name for name, _ in media.attributes]
    assert (media.protocol, names.count("crypto")) == (profile, keys)
    assert ("fingerprint" in names, "setup" in names, "tls-id" in names, "rtcp-mux" in names) == (dtls,) * 4
    assert media.attribute("setup") in {None, "actpass"}
    lines = [value for name, value in media.attributes if name == "crypto"]
    assert len({line.split(" ")[2] for line in lines}) == keys
    assert [line.split(" ")[1] for line in lines] == list(SUITES)[:keys]


def test_an_answer_with_a_key():
    ours = offering(LENIENT)
    place = list(SUITES).index("AES_CM_128_HMAC_SHA1_80")
    (stream,) = accept(ours, theirs("RTP/AVP", crypto(place + 1)), encryption=LENIENT)
    mine = [value for name, value in ours.media[0].attributes if name == "crypto"][place]
    assert stream.crypto.send == base64.b64decode(mine.split("inline:")[1])
    assert stream.crypto.receive == key()


@pytest.mark.parametrize(("said", "active"), [("active", False), ("passive", True)])
def test_an_answer_with_a_fingerprint(said, active):
    (stream,) = accept(
        offering(DTLS_ONLY),
        theirs("UDP/TLS/RTP/SAVP", LINE, f"setup:{said}", "tls-id:x"),
        encryption=DTLS_ONLY,
    )
    assert stream.crypto == Dtls(active, (("sha-256", THEIR_PRINT),), "x")
    assert not stream.mux
    assert stream.remote_rtcp == ("198.51.100.7", 5001)


def test_an_answer_in_the_clear():
    assert accept(offering(LENIENT), theirs("RTP/AVP"), encryption=LENIENT)[0].crypto is None
    for encryption, profile in (
        (MANDATORY, "RTP/AVP"),
        (MANDATORY, "RTP/SAVP"),
        (DTLS_ONLY, "RTP/AVP"),
        (LENIENT, "RTP/SAVP"),
    ):
        with pytest.raises(SipError, match="No Encryption") as refused:
            accept(offering(encryption), theirs(profile), encryption=encryption)
        assert refused.value.status == 488


@pytest.mark.parametrize(
    "line", [crypto(1), crypto(9), crypto(3, tail="|2^20|1:4"), "crypto:1 NEVER_HEARD inline:QUJD", LINE]
)
def test_an_answer_to_something_else_is_none(line):
    """Another suite under our tag, a tag we never gave, a fingerprint where we offered none."""
    ours = offering(MANDATORY)
    with pytest.raises(SipError):
        accept(ours, theirs("RTP/SAVP", line), encryption=MANDATORY)


def test_an_offer_in_mid_call_keeps_the_keys():
    sdes = Sdes("AEAD_AES_128_GCM", bytes(28), bytes(28))
    (media,) = offering(LENIENT, previous={"audio": sdes}, protocols={"audio": "RTP/SAVP"}).media
    assert [name for name, _ in media.attributes] == ["maxptime", "crypto"]
    assert (media.protocol, media.attribute("crypto")) == (
        "RTP/SAVP",
        f"1 AEAD_AES_128_GCM inline:{base64.b64encode(bytes(28)).decode()}",
    )
    (media,) = offering(
        LENIENT, previous={"audio": Dtls(False, ())}, protocols={"audio": "UDP/TLS/RTP/SAVPF"}
    ).media
    assert [name for name, _ in media.attributes] == [
        "maxptime",
        "fingerprint",
        "setup",
        "tls-id",
        "rtcp-mux",
    ]
    assert media.protocol == "UDP/TLS/RTP/SAVPF"
    assert media.attribute("setup") == "actpass"
