"""Guessing passwords (bars S4, S5): ten wrong ones a minute from one address, and what that must not do."""

import hashlib
import hmac
import re

import pytest

from pbx.guard.guesses import Guesses
from pbx.identity import Account, Authenticated, Authenticator, Challenge, Denied, IdentitySettings
from pbx.sip.digest import NonceCounts, Nonces, authorize, ha1
from pbx.sip.headers import Headers
from pbx.sip.message import Request
from pbx.sip.uri import parse_uri
from tests.kit.size import times

REALM = "110.example"
HERE, ELSEWHERE = "203.0.113.9", "203.0.113.10"
ALICE = Account(
    "alice", REALM, {"SHA-256": ha1("alice", REALM, "right", "SHA-256")}, "caller", verified_name="王丽"
)


def gate():
    return Authenticator(
        IdentitySettings(REALM),
        {"alice": ALICE},
        Nonces(b"secret", 60.0),
        NonceCounts(),
        secret=b"other",
        guesses=Guesses(10),
    )


def request(method, uri, user, authorization=()):
    fields = [
        ("Via", "SIP/2.0/UDP 10.0.0.5:5060;branch=z9hG4bK1;rport"),
        ("From", f"<sip:{user}@{REALM}>;tag=1"),
        ("To", f"<sip:{user}@{REALM}>" if method == "REGISTER" else f"<{uri}>"),
        ("Call-ID", "c"),
        ("CSeq", f"1 {method}"),
        *(("Authorization", value) for value in authorization),
    ]
    return Request(method, parse_uri(uri), Headers(fields))


def attempt(it, user, password, now, *, source=HERE, method="REGISTER", uri=f"sip:{REALM}", registered=()):
    challenge = it.check(request("REGISTER", f"sip:{REALM}", user), now, source, to_tag="t")
    assert isinstance(challenge, Challenge), "who brings no password is asked for it as ever"
    value = challenge.response.headers.all("WWW-Authenticate")[0]
    token = authorize(value, user=user, password=password, method=method, uri=uri, cnonce="c", nc=1)
    message = request(method, uri, user, [token])
    return it.check(message, now, source, to_tag="t", registered=registered)


def lock(it, user="alice"):
    return [attempt(it, user, f"guess-{n}", n * 0.1) for n in range(10)]


@pytest.mark.parametrize("user", ["alice", "nobody"])
def test_after_ten_nothing_is_looked_at_for_the_rest_of_the_minute(user):
    it = gate()
    assert all(isinstance(verdict, Challenge) and verdict.why == "wrong" for verdict in lock(it, user))
    verdict = attempt(it, user, "right", 1.0)
    assert isinstance(verdict, Denied)
    assert (verdict.response.status, verdict.account) == (503, None)
    assert int(verdict.response.headers.get("Retry-After")) == 60
    assert isinstance(attempt(it, user, "right", 59.9), Denied)


def test_then_the_right_password_is_right_again():
    it = gate()
    lock(it)
    assert attempt(it, "alice", "right", 61.0) == Authenticated(ALICE, "digest")


def test_who_exists_and_who_does_not_look_the_same():
    answers = []
    for user in ("alice", "alica"):
        it = gate()
        said = [*lock(it, user), attempt(it, user, "x", 2.0)]
        answers.append([v.response.encode().replace(user.encode(), b"?") for v in said])
    assert [len(a) for a in answers[0]] == [len(a) for a in answers[1]]
    assert answers[0][-1] == answers[1][-1]


def test_the_true_owner_is_not_locked_out():
    it = gate()
    lock(it)
    assert attempt(it, "alice", "right", 2.0, source=ELSEWHERE) == Authenticated(ALICE, "digest")
    # The same address, as behind one NAT, but the flow the account is registered from.
    assert attempt(it, "alice", "right", 2.0, registered=(ALICE.aor,)) == Authenticated(ALICE, "digest")


@pytest.mark.limit(times(120, 1200))
def test_a_tool_that_guesses_for_an_hour_gets_ten_a_minute_and_locks_nobody_out():
    """S4: as svcrack does, from one address, sixteen guesses a second; the right password is among them again and again."""
    it, count = gate(), times(10_000, 100_000)
    heard, let_in, wrong, owner = [], 0, 0, 0
    value, issued = "", -100.0
    for n in range(count):
        now = n / 16
        if now - issued > 50.0:
            challenge = it.check(request("REGISTER", f"sip:{REALM}", "alice"), now, HERE, to_tag="t")
            value, issued = challenge.response.headers.all("WWW-Authenticate")[0], now
        # Each thirteenth guess is right: while the pair is locked not even that is told.
        password = "right" if n % 13 == 12 else f"guess-{n}"
        token = authorize(
            value,
            user="alice",
            password=password,
            method="REGISTER",
            uri=f"sip:{REALM}",
            cnonce=f"c{n}",
            nc=1,
        )
        verdict = it.check(request("REGISTER", f"sip:{REALM}", "alice", [token]), now, HERE, to_tag="t")
        heard.append(now) if not isinstance(verdict, Denied) else None
        let_in += isinstance(verdict, Authenticated)
        wrong += isinstance(verdict, Challenge) and verdict.why == "wrong"
        if n % 500 == 499:
            # The owner's phone, behind the same address, refreshes; and calls for help.
            owner += isinstance(attempt(it, "alice", "right", now, registered=(ALICE.aor,)), Authenticated)
            called = attempt(
                it, "alice", "right", now, method="INVITE", uri=f"sip:110@{REALM}", registered=(ALICE.aor,)
            )
            assert isinstance(called, Authenticated)
            assert called.account == ALICE
    assert owner == count // 500
    assert wrong <= 10 * (1 + count / 16 / 60)
    # Ten wrong ones a minute is all that was looked at, and what was right among so few.
    assert let_in <= 2 * (1 + count / 16 / 60)
    assert (
        max(sum(at - 60 < other <= at for other in heard) for at in heard[:: max(1, len(heard) // 50)]) <= 12
    )
    assert len(it._guesses) <= 2


@pytest.mark.parametrize("method", ["REGISTER", "INVITE", "OPTIONS", "MESSAGE", "SUBSCRIBE"])
def test_a_thousand_numbers_look_the_same_whether_they_exist_or_not(method):
    """S5: as svwar does with 1000 to 1999, of which every seventh exists; without and with a wrong password."""
    accounts = {
        str(n): Account(
            str(n), REALM, {"SHA-256": ha1(str(n), REALM, "x", "SHA-256")}, ("caller", "dispatcher")[n % 2]
        )
        for n in range(1000, 2000, 7)
    }
    it = Authenticator(
        IdentitySettings(REALM),
        accounts,
        Nonces(b"secret", 60.0),
        NonceCounts(),
        secret=b"other",
        guesses=Guesses(10),
    )
    bare, guessed = set(), set()
    for n in range(1000, 2000):
        user = str(n)
        uri = f"sip:{REALM}" if method == "REGISTER" else f"sip:{user}@{REALM}"
        verdict = it.check(request(method, uri, user), 1.0, HERE, to_tag="t")
        bare.add(shape(verdict, user))
        challenge = it.check(request("REGISTER", f"sip:{REALM}", user), 1.0, HERE, to_tag="t")
        value = challenge.response.headers.all("WWW-Authenticate")[0]
        token = authorize(value, user=user, password="guess", method=method, uri=uri, cnonce="c", nc=1)
        guessed.add(shape(it.check(request(method, uri, user, [token]), 1.0, HERE, to_tag="t"), user))
    assert len(bare) == len(guessed) == 1


def shape(verdict, user):
    """What is to be seen of a verdict from outside, without the number that was asked for and the nonce."""
    if isinstance(verdict, Authenticated):
        return "let in"
    said = re.sub(rb'nonce="[^"]*"', lambda found: b"n" * len(found[0]), verdict.response.encode())
    return said.replace(user.encode(), b"USER")


def test_an_emergency_call_is_never_locked():
    it = gate()
    lock(it)
    verdict = attempt(it, "alice", "right", 2.0, method="INVITE", uri=f"sip:110@{REALM}")
    assert isinstance(verdict, Authenticated)
    assert (verdict.account, verdict.trouble, verdict.emergency.target) == (None, "locked", "110")
    own = attempt(it, "alice", "wrong", 2.0, method="INVITE", uri=f"sip:110@{REALM}", registered=(ALICE.aor,))
    assert isinstance(own, Authenticated)


def test_a_stale_nonce_is_no_guess():
    it = gate()
    for n in range(20):
        challenge = it.check(request("REGISTER", f"sip:{REALM}", "alice"), n, HERE, to_tag="t")
        value = challenge.response.headers.all("WWW-Authenticate")[0]
        token = authorize(
            value, user="alice", password="right", method="REGISTER", uri=f"sip:{REALM}", cnonce="c", nc=1
        )
        late = it.check(request("REGISTER", f"sip:{REALM}", "alice", [token]), n + 61.0, HERE, to_tag="t")
        assert (late.why, late.response.status) == ("stale", 401)


def spy(patch, module, name, noted, done):
    """Have a function of a module note what it was asked for before it does it."""
    real = getattr(module, name)

    def told(*args, **named):
        done.append(noted(*args))
        return real(*args, **named)

    patch.setattr(module, name, told)


def work(monkeypatch, user, algorithm):
    """Return how many hashes of how many bytes the gate makes over a wrong password, and how many comparisons."""
    it = gate()
    challenge = it.check(request("REGISTER", f"sip:{REALM}", user), 0.0, HERE, to_tag="t")
    values = challenge.response.headers.all("WWW-Authenticate")
    value = next(v for v in values if f"algorithm={algorithm}" in v)
    made = authorize(value, user=user, password="x", method="REGISTER", uri=f"sip:{REALM}", cnonce="c", nc=1)
    asked = request("REGISTER", f"sip:{REALM}", user, [made])
    done: list[tuple[str, int]] = []
    with monkeypatch.context() as patch:
        spy(patch, hashlib, "new", lambda name, raw: (name, len(raw)), done)
        spy(patch, hmac, "new", lambda _key, message, _hash: ("hmac", len(message)), done)
        spy(patch, hmac, "compare_digest", lambda one, _: ("compare", len(one)), done)
        verdict = it.check(asked, 0.0, HERE, to_tag="t")
    assert isinstance(verdict, Challenge)
    return done


@pytest.mark.parametrize("algorithm", ["SHA-256", "MD5"])
def test_the_work_over_a_wrong_password_does_not_tell_who_exists(monkeypatch, algorithm):
    known = work(monkeypatch, "alice", algorithm)
    assert known == work(monkeypatch, "alica", algorithm), "as many hashes and comparisons, of as many bytes"
    kinds = [what for what, _ in known]
    # H(A2) and the response; the nonce and the stand-in for unknown users; the nonce and the response compared.
    assert (kinds.count("sha256") + kinds.count("md5") >= 2, kinds.count("hmac") >= 2, kinds.count("compare")) == (
        True, True, 2,
    )  # fmt: skip
