"""Who is asked for and does not exist is looked for as long, and in the same steps, as who does (bars S5)."""

import gc
import sys

import pytest

from pbx import credentials, identity
from pbx.directory import Directory
from pbx.guard.guesses import Guesses
from pbx.identity import Authenticator, Challenge, Denied, IdentitySettings
from pbx.sip.digest import NonceCounts, Nonces, authorize, ha1
from pbx.sip.headers import Headers
from pbx.sip.message import Request
from pbx.sip.uri import parse_uri
from pbx.storage.accounts import Accounts

REALM = "110.example"
SOURCE = "203.0.113.9"
USERS = [f"1380000000{n}" for n in range(5)]
KNOWN, UNKNOWN = USERS[3], "13900000003"


def account(user):
    return credentials.Account(
        user=user,
        role="caller",
        realm=REALM,
        ha1_sha256=ha1(user, REALM, "secret", "SHA-256"),
        ha1_md5=ha1(user, REALM, "secret", "MD5"),
    )


@pytest.fixture
def directory(tmp_path):
    return Directory(Accounts(tmp_path / "none.json", REALM, [account(user) for user in USERS]))


def test_it_is_a_mapping_of_the_accounts(directory):
    assert sorted(directory) == USERS
    assert len(directory) == 5
    assert directory[KNOWN].aor == f"sip:{KNOWN}@{REALM}"
    assert directory.get(KNOWN) == directory[KNOWN]
    assert directory.get(UNKNOWN) is None
    assert directory.get(UNKNOWN, 1) == 1
    assert UNKNOWN not in directory
    with pytest.raises(KeyError):
        directory[UNKNOWN]


def test_without_accounts_nobody_is_known(tmp_path):
    assert Directory(Accounts(tmp_path / "none.json", REALM, [])).get(KNOWN) is None


def test_who_is_looked_at_instead_is_always_the_same_and_not_always_one(tmp_path):
    accounts = Accounts(tmp_path / "none.json", REALM, [account(f"{n}") for n in range(100)])
    assert all(accounts.some(f"x{n}") == accounts.some(f"x{n}") for n in range(50))
    assert len({accounts.some(f"x{n}").user for n in range(50)}) > 5


def steps(gate, request):
    """Every line that runs while a request is judged, in order; and the verdict."""
    found, before = [], sys.gettrace()

    def trace(frame, event, arg):
        found.append((frame.f_code.co_filename, frame.f_lineno, event))
        return trace

    gc.disable()  # whoever wants to hear of the collector would be heard here
    sys.settrace(trace)
    try:
        verdict = gate.check(request, 1.0, SOURCE, to_tag="t")
    finally:
        sys.settrace(before)
        gc.enable()
    return found, verdict


def register(gate, user, algorithm):
    fields = [
        ("Via", "SIP/2.0/UDP 10.0.0.5:5060;branch=z9hG4bK1;rport"),
        ("From", f"<sip:{user}@{REALM}>;tag=1"),
        ("To", f"<sip:{user}@{REALM}>"),
        ("Call-ID", "c"),
        ("CSeq", "1 REGISTER"),
    ]
    uri = parse_uri(f"sip:{REALM}")
    verdict = gate.check(Request("REGISTER", uri, Headers(fields)), 1.0, SOURCE, to_tag="t")
    offered = verdict.response.headers.all("WWW-Authenticate")
    challenge = next(value for value in offered if f"algorithm={algorithm}," in value)
    answer = authorize(
        challenge, user=user, password="wrong", method="REGISTER", uri=str(uri), cnonce="c", nc=1
    )
    return Request("REGISTER", uri, Headers([*fields, ("Authorization", answer)]))


@pytest.mark.parametrize("algorithm", ["SHA-256", "MD5"])
@pytest.mark.parametrize("guessed", [0, 3])
def test_a_wrong_password_takes_the_same_steps_for_who_does_not_exist(directory, algorithm, guessed):
    """Also when so much was guessed that nothing is looked at any more."""
    gate = Authenticator(
        IdentitySettings(REALM),
        directory,
        Nonces(b"n"),
        NonceCounts(),
        secret=b"s",
        guesses=Guesses(3 if guessed else 100),
    )
    for user in (KNOWN, UNKNOWN):
        for _ in range(guessed):
            gate.check(register(gate, user, algorithm), 1.0, SOURCE, to_tag="t")
    # Twice, for the library remembers how a character is written, and what it was asked first takes it longer.
    requests = [register(gate, user, algorithm) for user in (KNOWN, UNKNOWN)]
    for request in requests:
        gate.check(request, 1.0, SOURCE, to_tag="t")
    taken = [steps(gate, request) for request in requests]
    kinds = {type(verdict) for _, verdict in taken}
    assert kinds == {Denied if guessed else Challenge}
    assert len(taken[0][0]) > 50
    assert taken[0][0] == taken[1][0]


def test_the_account_that_was_looked_at_instead_opens_nothing(directory):
    """Its owner may know its password, and so make credentials for it under any name."""
    gate = Authenticator(IdentitySettings(REALM), directory, Nonces(b"n"), NonceCounts(), secret=b"s")
    for user in USERS:
        request = register(gate, UNKNOWN, "SHA-256")
        value = request.headers.get("Authorization")
        challenge = value.partition(", uri=")[0].replace(f'username="{UNKNOWN}", ', "")
        forged = authorize(
            f'{challenge}, algorithm=SHA-256, qop="auth"',
            user=user, password="secret", method="REGISTER", uri=f"sip:{REALM}", cnonce="c", nc=1,
        ).replace(user, UNKNOWN)  # fmt: skip
        request.headers.set("Authorization", forged)
        assert isinstance(gate.check(request, 1.0, SOURCE, to_tag="t"), Challenge)


def test_an_account_as_the_gate_wants_it(directory):
    assert directory[KNOWN] == identity.Account(
        user=KNOWN,
        realm=REALM,
        ha1={
            "SHA-256": ha1(KNOWN, REALM, "secret", "SHA-256"),
            "MD5": ha1(KNOWN, REALM, "secret", "MD5"),
        },
        kind="caller",
        phone=KNOWN,
    )
