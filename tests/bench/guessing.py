"""Whether the time of a refusal tells who exists (bars S5): wrong passwords for known and for unknown users, in random order.

in → out: 2 × 2,000 times of the gate's own work → the p-value of a two-sample Kolmogorov–Smirnov test. A small p would mean that
the two distributions differ, so that somebody with patience could tell a known user from an unknown one.
"""

import math
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pbx.credentials import Account
from pbx.directory import Directory
from pbx.identity import Authenticator, Challenge, IdentitySettings
from pbx.sip.digest import NonceCounts, Nonces, authorize, ha1
from pbx.sip.headers import Headers
from pbx.sip.message import Request
from pbx.sip.uri import parse_uri
from pbx.storage.accounts import Accounts
from tests.bench.figures import Figure

BAR: Final = 0.01
REQUESTS: Final = 2000
"""Of each kind."""
_REALM: Final = "110.example"
_SOURCE: Final = "203.0.113.9"


def measure(requests: int = REQUESTS) -> list[Figure]:
    """Have the gate refuse wrong passwords, and compare how long it took over those of known and of unknown users."""
    chance = random.Random(110)
    known = [f"138{number:08d}" for number in range(0, 2 * requests, 2)]
    unknown = [f"138{number:08d}" for number in range(1, 2 * requests, 2)]
    hashes = {
        user: [ha1(user, _REALM, "secret", algorithm) for algorithm in ("SHA-256", "MD5")] for user in known
    }
    people = [Account(user, "caller", _REALM, sha, md5) for user, (sha, md5) in hashes.items()]
    accounts = Directory(Accounts(Path(os.devnull), _REALM, people))
    gate = Authenticator(
        IdentitySettings(_REALM), accounts, Nonces(b"bench", 60.0), NonceCounts(), secret=b"bench too"
    )
    order = [*known, *unknown]
    chance.shuffle(order)
    # A tenth more, thrown away: the first ones find cold caches.
    asked = [_request(gate, user) for user in [*order[: len(order) // 10], *order]]
    taken: dict[bool, list[int]] = {True: [], False: []}
    for number, request in enumerate(asked):
        before = time.perf_counter_ns()
        verdict = gate.check(request, 1.0, _SOURCE, to_tag="t")
        passed = time.perf_counter_ns() - before
        assert isinstance(verdict, Challenge), "a wrong password is answered with a challenge"
        if number >= len(order) // 10:
            taken[request.from_.uri.user in hashes].append(passed)
    p = same(taken[True], taken[False])
    return [Figure("S5", "p of the times of known and unknown users being alike", p, "", BAR, "more")]


def _request(gate: Authenticator, user: str) -> Request:
    fields = [
        ("Via", "SIP/2.0/UDP 10.0.0.5:5060;branch=z9hG4bK1;rport"),
        ("From", f"<sip:{user}@{_REALM}>;tag=1"),
        ("To", f"<sip:{user}@{_REALM}>"),
        ("Call-ID", "c"),
        ("CSeq", "1 REGISTER"),
    ]
    uri = parse_uri(f"sip:{_REALM}")
    verdict = gate.check(Request("REGISTER", uri, Headers(fields)), 1.0, _SOURCE, to_tag="t")
    assert isinstance(verdict, Challenge), "who brings no password is asked for it"
    challenge = verdict.response.headers.all("WWW-Authenticate")[0]
    answer = authorize(
        challenge, user=user, password="wrong", method="REGISTER", uri=str(uri), cnonce="c", nc=1
    )
    return Request("REGISTER", uri, Headers([*fields, ("Authorization", answer)]))


def same(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the p-value of the two-sample Kolmogorov–Smirnov test (asymptotic): how likely such a difference is by chance."""
    merged = sorted([(value, 1 / len(one)) for value in one] + [(value, -1 / len(other)) for value in other])
    distance = height = 0.0
    for index, (value, step) in enumerate(merged):
        height += step
        if index + 1 == len(merged) or merged[index + 1][0] != value:
            distance = max(distance, abs(height))
    scaled = distance * math.sqrt(len(one) * len(other) / (len(one) + len(other)))
    if scaled < 0.2:
        return 1.0  # the series converges slowly here, and the sum is 1 to twelve digits
    terms = (2 * (-1) ** (k - 1) * math.exp(-2 * (k * scaled) ** 2) for k in range(1, 101))
    return min(1.0, max(0.0, sum(terms)))
