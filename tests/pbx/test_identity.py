"""The gate: who may do what, and how little a stranger learns from it."""

import re

import pytest

from pbx.identity import (
    Account,
    Authenticated,
    Authenticator,
    Challenge,
    Denied,
    FeatureCode,
    IdentitySettings,
)
from pbx.sip.digest import NonceCounts, Nonces, authorize, ha1
from pbx.sip.headers import Headers
from pbx.sip.message import Request
from pbx.sip.uri import parse_uri

REALM = "110.example"
SOURCE = "203.0.113.9"


def account(user, kind, password, algorithms=("SHA-256", "MD5"), **more):
    return Account(user, REALM, {name: ha1(user, REALM, password, name) for name in algorithms}, kind, **more)


ACCOUNTS = {
    "alice": account("alice", "caller", "pw-alice", verified_name="王丽"),
    "desk1": account("desk1", "dispatcher", "pw-desk1"),
    "desk2": account("desk2", "dispatcher", "pw-desk2"),
    "old": account("old", "caller", "pw-old", ("MD5",)),
    "ünï ;code": account("ünï ;code", "caller", "pw-u"),
}


def gate(**settings):
    return Authenticator(
        IdentitySettings(REALM, **settings), ACCOUNTS, Nonces(b"secret", 60.0), NonceCounts(), secret=b"other"
    )


def request(method, uri, *, user="alice", to=None, call_id="c", authorization=()):
    address = f"<sip:{user}@{REALM}>"
    fields = [
        ("Via", "SIP/2.0/UDP 10.0.0.5:5060;branch=z9hG4bK1;rport"),
        ("From", f"{address};tag=1"),
        ("To", to or (address if method == "REGISTER" else f"<{uri}>")),
        ("Call-ID", call_id),
        ("CSeq", f"1 {method}"),
    ]
    fields += [("Authorization", value) for value in authorization]
    return Request(method, parse_uri(uri), Headers(fields))


def judge(authenticator, message, now=1000.0, source=SOURCE, **more):
    return authenticator.check(message, now, source, to_tag="tt", **more)


def challenge_of(authenticator, now=1000.0, source=SOURCE):
    verdict = judge(authenticator, request("REGISTER", f"sip:{REALM}"), now, source)
    assert isinstance(verdict, Challenge)
    return verdict.response.headers.all("WWW-Authenticate")


def credentials(value, method, uri, *, user="alice", password=None, nc=1, cnonce="cn", digest_uri=None):
    return authorize(
        value,
        user=user,
        password=password or f"pw-{user}",
        method=method,
        uri=digest_uri or uri,
        cnonce=cnonce,
        nc=nc,
    )


def signed(authenticator, method, uri, *, user="alice", now=1000.0, which=0, to=None, **more):
    value = challenge_of(authenticator, now)[which]
    return request(
        method, uri, user=user, to=to, authorization=[credentials(value, method, uri, user=user, **more)]
    )


REGISTRAR = f"sip:{REALM}"
DIAL_110 = f"sip:110@{REALM}"


def test_a_challenge_offers_sha_256_first_and_then_md5():
    verdict = judge(gate(), request("REGISTER", REGISTRAR))
    assert isinstance(verdict, Challenge)
    assert (verdict.response.status, verdict.why) == (401, "missing")
    assert verdict.response.to.tag == "tt"
    first, second = verdict.response.headers.all("WWW-Authenticate")
    assert "algorithm=SHA-256" in first
    assert "algorithm=MD5" in second
    assert all(f'realm="{REALM}"' in value and "stale" not in value for value in (first, second))


@pytest.mark.parametrize(
    ("agent", "offered"), [("baresip v1.0.0 (x86_64/linux)", 1), ("baresip v3.1", 2), ("x baresip v1.0", 2)]
)
def test_phones_that_stop_at_sha_256_are_offered_md5_alone(agent, offered):
    message = request("REGISTER", REGISTRAR)
    message.headers.add("User-Agent", agent)
    values = judge(gate(), message).response.headers.all("WWW-Authenticate")
    assert len(values) == offered
    assert "algorithm=MD5" in values[-1]
    without = judge(gate(algorithms=("SHA-256",)), message).response.headers.all("WWW-Authenticate")
    assert ["algorithm=SHA-256" in value for value in without] == [True]


@pytest.mark.parametrize("which", [0, 1])
def test_the_right_password_is_let_in(which):
    authenticator = gate()
    verdict = judge(authenticator, signed(authenticator, "REGISTER", REGISTRAR, which=which))
    assert verdict == Authenticated(ACCOUNTS["alice"], "digest")
    assert verdict.verified


@pytest.mark.parametrize("algorithm", ["SHA-256", "MD5"])
def test_auth_int_is_understood_though_it_is_not_offered(algorithm):
    """RFC 7616 §3.4.3: the digest covers the body; another body is another request."""
    for body, good in ((b"v=0\r\n", True), (b"v=1\r\n", False), (b"", False)):
        authenticator = gate()
        value = next(v for v in challenge_of(authenticator) if f"algorithm={algorithm}" in v)
        assert 'qop="auth"' in value
        token = authorize(
            value.replace('qop="auth"', 'qop="auth-int"'), user="alice", password="pw-alice", method="REGISTER",
            uri=REGISTRAR, cnonce="c", nc=1, body=b"v=0\r\n",
        )  # fmt: skip
        assert "qop=auth-int" in token
        message = request("REGISTER", REGISTRAR, authorization=[token])
        message.body = body
        assert isinstance(judge(authenticator, message), Authenticated) is good


def test_users_are_any_text():
    authenticator = gate()
    value = challenge_of(authenticator)[0]
    answer = credentials(value, "REGISTER", REGISTRAR, user="ünï ;code", password="pw-u")
    message = request(
        "REGISTER", REGISTRAR, user="x", to="<sip:%C3%BCn%C3%AF%20%3Bcode@h>", authorization=[answer]
    )
    verdict = judge(authenticator, message)
    assert isinstance(verdict, Authenticated)
    assert verdict.account is not None
    assert verdict.account.aor == parse_uri("sip:%c3%bcn%c3%af%20;code@110.EXAMPLE").aor


def blank(data):
    return re.sub(rb'nonce="[^"]*"', b'nonce=""', data)


def test_strangers_and_known_users_with_a_wrong_password_look_the_same():
    authenticator = gate()
    answers = set()
    for user in ("alice", "desk1", "nobody", "old"):
        for which in (0, 1):
            message = signed(authenticator, "REGISTER", REGISTRAR, user=user, password="wrong", which=which)
            message.headers.set("To", "<sip:x@h>")
            message.headers.set("From", "<sip:x@h>;tag=1")
            verdict = judge(authenticator, message)
            assert isinstance(verdict, Challenge)
            assert verdict.why == "wrong"
            answers.add(blank(verdict.response.encode()))
    assert len(answers) == 1
    plain = request("REGISTER", REGISTRAR, user="x", to="<sip:x@h>")
    plain.headers.set("From", "<sip:x@h>;tag=1")
    assert {blank(judge(authenticator, plain).response.encode())} == answers


def test_nobodys_stored_hash_is_in_reach():
    """Whoever knew the HA1 that unknown users are compared with still would not get in."""
    authenticator = Authenticator(
        IdentitySettings(REALM), {}, Nonces(b"secret", 60.0), NonceCounts(), secret=b"other"
    )
    message = signed(authenticator, "REGISTER", REGISTRAR)
    assert isinstance(judge(authenticator, message), Challenge)


def test_an_algorithm_the_account_has_no_hash_for_is_a_wrong_password():
    authenticator = gate()
    assert isinstance(
        judge(authenticator, signed(authenticator, "REGISTER", REGISTRAR, user="old", which=0)), Challenge
    )
    assert isinstance(
        judge(authenticator, signed(authenticator, "REGISTER", REGISTRAR, user="old", which=1)), Authenticated
    )


def test_an_old_nonce_is_stale_and_only_the_right_password_is_told_so():
    authenticator = gate()
    message = signed(authenticator, "REGISTER", REGISTRAR)
    verdict = judge(authenticator, message, now=1061.0)
    assert isinstance(verdict, Challenge)
    assert verdict.why == "stale"
    assert all("stale=true" in value for value in verdict.response.headers.all("WWW-Authenticate"))
    wrong = judge(authenticator, signed(authenticator, "REGISTER", REGISTRAR, password="x"), now=1061.0)
    assert isinstance(wrong, Challenge)
    assert wrong.why == "wrong"


def test_credentials_from_another_address_are_refused():
    authenticator = gate()
    verdict = judge(authenticator, signed(authenticator, "REGISTER", REGISTRAR), source="198.51.100.66")
    assert isinstance(verdict, Challenge)


def test_replay_is_refused_and_counting_on_is_not():
    authenticator = gate()
    value = challenge_of(authenticator)[0]
    for nc, good in ((1, True), (1, False), (2, True), (2, False), (1, False)):
        message = request(
            "REGISTER", REGISTRAR, authorization=[credentials(value, "REGISTER", REGISTRAR, nc=nc)]
        )
        verdict = judge(authenticator, message)
        assert isinstance(verdict, Authenticated) is good
        if not good:
            assert isinstance(verdict, Challenge)
            assert verdict.why == "replayed"


def test_replay_without_qop_is_refused_whatever_cnonce_is_added():
    authenticator = gate()
    value = challenge_of(authenticator)[1].replace(', qop="auth"', "")
    answer = credentials(value, "REGISTER", REGISTRAR)
    assert isinstance(
        judge(authenticator, request("REGISTER", REGISTRAR, authorization=[answer])), Authenticated
    )
    for extra in ("", ', cnonce="a"', ', cnonce="b"', ", cnonce=c, nc=00000009"):
        message = request("REGISTER", REGISTRAR, authorization=[answer + extra])
        assert isinstance(judge(authenticator, message), Challenge)


def test_a_guess_does_not_use_up_the_count():
    authenticator = gate()
    value = challenge_of(authenticator)[0]
    wrong = credentials(value, "REGISTER", REGISTRAR, password="x")
    judge(authenticator, request("REGISTER", REGISTRAR, authorization=[wrong]))
    right = credentials(value, "REGISTER", REGISTRAR)
    assert isinstance(
        judge(authenticator, request("REGISTER", REGISTRAR, authorization=[right])), Authenticated
    )


@pytest.mark.parametrize(
    ("digest_uri", "good"),
    [
        ("sip:*10@110.example", True),
        ("sip:%2A10@10.0.0.1:5070;transport=tcp", True),
        ("sip:110@110.example", False),
        ("sip:110.example", False),
        ("tel:*10", False),
        ("nonsense", False),
    ],
)
def test_credentials_are_for_whom_they_name(digest_uri, good):
    authenticator = gate()
    message = signed(authenticator, "INVITE", f"sip:*10@{REALM}", user="desk1", digest_uri=digest_uri)
    assert isinstance(judge(authenticator, message), Authenticated) is good


def test_other_schemes_and_realms_are_passed_over():
    # RFC 4475 §3.3.7
    authenticator = gate()
    value = challenge_of(authenticator)[0]
    answer = credentials(value, "REGISTER", REGISTRAR)
    foreign = answer.replace(REALM, "other.example", 1)
    strange = "NoOneKnowsThisScheme opaque-data=here"
    assert isinstance(
        judge(authenticator, request("REGISTER", REGISTRAR, authorization=[strange])), Challenge
    )
    message = request("REGISTER", REGISTRAR, authorization=[strange, foreign, answer])
    assert isinstance(judge(authenticator, message), Authenticated)


def test_malformed_credentials_are_a_bad_request_but_not_in_an_emergency():
    broken = 'Digest username="alice", realm=', "Digest username"
    verdict = judge(gate(), request("REGISTER", REGISTRAR, authorization=broken))
    assert isinstance(verdict, Denied)
    assert verdict.response.status == 400
    emergency = judge(
        gate(), request("INVITE", DIAL_110, authorization=broken), registered=[ACCOUNTS["alice"].aor]
    )
    assert isinstance(emergency, Authenticated)
    assert (emergency.account, emergency.trouble, emergency.verified) == (None, "malformed", False)


# --- emergency ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "uri", [DIAL_110, "sip:110-silent@h", "tel:110", "urn:service:sos", "urn:service:sos.police"]
)
def test_an_emergency_call_is_never_challenged(uri):
    verdict = judge(gate(), request("INVITE", uri, user="anonymous"))
    assert isinstance(verdict, Authenticated)
    assert (verdict.account, verdict.proof, verdict.trouble) == (None, "none", "missing")
    assert verdict.emergency is not None
    assert verdict.emergency.silent is ("silent" in uri)
    assert not verdict.verified


def test_an_emergency_call_with_valid_credentials_carries_the_identity():
    authenticator = gate()
    verdict = judge(authenticator, signed(authenticator, "INVITE", DIAL_110))
    assert isinstance(verdict, Authenticated)
    assert (verdict.account, verdict.proof, verdict.trouble) == (ACCOUNTS["alice"], "digest", None)


def test_an_emergency_call_with_wrong_ones_is_unverified_even_from_a_known_flow():
    authenticator = gate()
    message = signed(authenticator, "INVITE", DIAL_110, password="wrong")
    verdict = judge(authenticator, message, registered=[ACCOUNTS["alice"].aor])
    assert isinstance(verdict, Authenticated)
    assert (verdict.account, verdict.trouble) == (None, "wrong")


def test_the_registration_of_its_flow_speaks_for_an_emergency_call():
    verdict = judge(
        gate(), request("INVITE", DIAL_110), registered=["sip:bob@110.example", ACCOUNTS["alice"].aor]
    )
    assert isinstance(verdict, Authenticated)
    assert (verdict.account, verdict.proof, verdict.verified) == (ACCOUNTS["alice"], "registration", True)


@pytest.mark.parametrize(
    ("user", "registered"),
    [
        ("alice", []),
        ("alice", ["sip:bob@110.example"]),
        ("bob", ["sip:bob@110.example"]),
        ("desk1", ["sip:alice@110.example"]),
    ],
)
def test_a_registration_speaks_only_for_its_own_name(user, registered):
    verdict = judge(gate(), request("INVITE", DIAL_110, user=user), registered=registered)
    assert isinstance(verdict, Authenticated)
    assert verdict.account is None


def test_a_stale_or_replayed_proof_leaves_the_registration():
    authenticator = gate()
    message = signed(authenticator, "INVITE", DIAL_110)
    late = judge(authenticator, message, now=2000.0, registered=[ACCOUNTS["alice"].aor])
    assert isinstance(late, Authenticated)
    assert (late.proof, late.trouble) == ("registration", "stale")
    unknown = judge(authenticator, message, now=2000.0)
    assert isinstance(unknown, Authenticated)
    assert (unknown.account, unknown.trouble) == (None, "stale")


# --- who may do what ---------------------------------------------------------------------------------------------

METHODS = (
    "INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REGISTER", "MESSAGE", "INFO", "UPDATE", "PRACK", "REFER",
    "SUBSCRIBE", "NOTIFY", "PUBLISH",
)  # fmt: skip
TARGETS = {
    "own": "sip:{user}@110.example",
    "other": "sip:bob@110.example",
    "seat": "sip:desk2@110.example",
    "room": "sip:room-desk2@110.example",
    "no room": "sip:room-alice@110.example",
    "emergency": DIAL_110,
    "feature": "sip:*10@110.example",
}
ALLOWED = {
    ("INVITE", "anonymous", "emergency"), ("INVITE", "caller", "emergency"), ("INVITE", "dispatcher", "emergency"),
    ("INVITE", "dispatcher", "feature"), ("INVITE", "dispatcher", "seat"), ("INVITE", "dispatcher", "room"),
    ("REFER", "dispatcher", "room"),
    ("MESSAGE", "caller", "emergency"), ("MESSAGE", "dispatcher", "emergency"),
    ("MESSAGE", "dispatcher", "feature"), ("MESSAGE", "dispatcher", "room"),
    ("REGISTER", "caller", "own"), ("REGISTER", "dispatcher", "own"),
    ("SUBSCRIBE", "dispatcher", "own"), ("SUBSCRIBE", "dispatcher", "seat"), ("SUBSCRIBE", "dispatcher", "room"),
    *((method, role, target) for method in ("ACK", "CANCEL", "OPTIONS")
      for role in ("anonymous", "caller", "dispatcher") for target in TARGETS),
}  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("role", ["anonymous", "caller", "dispatcher"])
@pytest.mark.parametrize("method", METHODS)
def test_what_no_row_allows_is_denied(method, role, target):
    authenticator = gate()
    user = {"anonymous": "nobody", "caller": "alice", "dispatcher": "desk1"}[role]
    uri = TARGETS[target].format(user=user)
    to = f"<{uri}>"
    asked = REGISTRAR if method == "REGISTER" else uri
    if role == "anonymous":
        message = request(method, asked, user=user, to=to)
    else:
        message = signed(authenticator, method, asked, user=user, to=to)
    verdict = judge(authenticator, message)
    assert isinstance(verdict, Authenticated) is ((method, role, target) in ALLOWED)
    if isinstance(verdict, Challenge):
        assert role == "anonymous"
        assert verdict.response.status == 401
    if isinstance(verdict, Denied):
        expected = {
            "REFER": 403,
            "SUBSCRIBE": 403,
            "PUBLISH": 405,
            "INVITE": 403,
            "MESSAGE": 403,
            "REGISTER": 403,
        }
        assert verdict.response.status == expected.get(method, 481)
        assert ("Allow" in verdict.response.headers) is (verdict.response.status == 405)
        assert verdict.account == (ACCOUNTS[user] if verdict.response.status == 403 else None)


@pytest.mark.parametrize("method", METHODS)
def test_inside_a_dialog_its_peer_is_not_asked_again(method):
    verdict = judge(gate(), request(method, "sip:room-7@h"), in_dialog=True)
    assert verdict == Authenticated(None)


@pytest.mark.parametrize("method", ["RE%47IST%45R", "invite", "!interesting-Method0123456789_*+`.%indeed'~"])
def test_unknown_methods_are_not_implemented_even_inside_a_dialog(method):
    for in_dialog in (False, True):
        verdict = judge(gate(), request(method, DIAL_110), in_dialog=in_dialog)
        assert isinstance(verdict, Denied)
        assert verdict.response.status == 501
        assert verdict.response.headers.all("Allow") == list(IdentitySettings(REALM).allow)


def test_a_feature_code_needs_a_dispatcher():
    authenticator = gate()
    uri = f"sip:*11@{REALM}"
    assert isinstance(
        judge(authenticator, request("INVITE", uri, user="desk1"), registered=[ACCOUNTS["desk1"].aor]),
        Challenge,
    )
    denied = judge(authenticator, signed(authenticator, "INVITE", uri))
    assert isinstance(denied, Denied)
    verdict = judge(authenticator, signed(authenticator, "INVITE", uri, user="desk1"))
    assert isinstance(verdict, Authenticated)
    assert verdict.feature is FeatureCode.PAUSE


@pytest.mark.parametrize(
    ("to", "good"),
    [
        ("<sip:alice@110.example>", True),
        ("<sips:%61lice@110.EXAMPLE:5070>", True),
        ("<sip:alice@other.example>", False),
        ("<sip:Alice@110.example>", False),
        ("<sip:alicex@110.example>", False),
        ("<sip:110.example>", False),
        ("<tel:alice>", False),
    ],
)
def test_only_ones_own_address_is_registered(to, good):
    authenticator = gate(domains=("110.example",))
    verdict = judge(authenticator, signed(authenticator, "REGISTER", REGISTRAR, to=to))
    if good:
        assert verdict == Authenticated(ACCOUNTS["alice"], "digest")
    else:
        assert isinstance(verdict, Denied)
        assert verdict.response.status == 403


def test_any_host_is_ours_when_no_domain_is_set():
    authenticator = gate()
    verdict = judge(
        authenticator, signed(authenticator, "REGISTER", "sip:127.0.0.1:5060", to="<sip:alice@127.0.0.1>")
    )
    assert isinstance(verdict, Authenticated)
    assert ACCOUNTS["alice"].aor == "sip:alice@110.example"


def test_hashes_are_not_printed():
    assert ACCOUNTS["alice"].ha1["MD5"] not in repr(ACCOUNTS["alice"])
