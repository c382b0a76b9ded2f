"""Nonces and their counts: life, source, forgery, replay (bars S4)."""

from hypothesis import given
from hypothesis import strategies as st

from pbx.sip.digest import (
    Credentials,
    NonceCounts,
    Nonces,
)

USER, REALM = "Mufasa", "http-auth@example.org"


# --- nonces -------------------------------------------------------------------------------------------------------


def test_nonce_life() -> None:
    nonces = Nonces(b"secret", lifetime=60.0)
    nonce = nonces.issue(1000.0, "10.0.0.1")
    assert [nonces.check(nonce, now, "10.0.0.1") for now in (1000.0, 1060.0, 1060.1, 999.0)] == [
        "ok",
        "ok",
        "stale",
        "stale",
    ]
    assert Nonces(b"secret").check(nonce, 1001.0, "10.0.0.1") == "ok"


def test_nonce_of_another_source_or_secret_is_bad() -> None:
    nonces = Nonces(b"secret")
    nonce = nonces.issue(1000.0, "10.0.0.1")
    assert nonces.check(nonce, 1000.0, "10.0.0.2") == "bad"
    assert nonces.check(nonce, 9000.0, "10.0.0.2") == "bad"
    assert Nonces(b"other").check(nonce, 1000.0, "10.0.0.1") == "bad"


def test_nonces_differ() -> None:
    nonces = Nonces(b"secret")
    assert len({nonces.issue(5.0, "s") for _ in range(100)}) == 100


@given(st.text(max_size=50), st.integers(0, 200), st.characters())
def test_forged_nonces_are_bad(text: str, position: int, char: str) -> None:
    nonces = Nonces(b"secret")
    assert nonces.check(text, 0.0, "s") == "bad"
    nonce = nonces.issue(0.0, "s")
    position %= len(nonce)
    forged = nonce[:position] + char + nonce[position + 1 :]
    if forged != nonce:
        assert nonces.check(forged, 0.0, "s") != "ok" or _same_bytes(forged, nonce)


def _same_bytes(one: str, other: str) -> bool:
    from base64 import urlsafe_b64decode

    return urlsafe_b64decode(one) == urlsafe_b64decode(other)


# --- replay -------------------------------------------------------------------------------------------------------


def used(nc: int | None, nonce: str = "n", cnonce: str | None = "c") -> Credentials:
    return Credentials(
        USER, REALM, nonce, "sip:h", "r", "MD5", False, None if nc is None else "auth", cnonce, nc
    )


def test_replay_is_refused() -> None:
    counts = NonceCounts()
    assert [counts.accept(used(nc)) for nc in (1, 1, 2, 1, 2, 3)] == [True, False, True, False, False, True]


def test_a_thousand_replays() -> None:
    counts = NonceCounts()
    assert all(counts.accept(used(nc)) for nc in range(1, 1001))
    assert not any(counts.accept(used(nc)) for nc in range(1, 1001))


def test_requests_may_overtake_each_other() -> None:
    counts = NonceCounts()
    assert [counts.accept(used(nc)) for nc in (5, 3, 4, 3, 100, 37, 36, 5)] == [
        True,
        True,
        True,
        False,
        True,
        True,
        False,
        False,
    ]
    assert counts.accept(used(0xFFFFFFFF))
    assert not counts.accept(used(0xFFFFFFFF))


def test_counts_are_per_nonce_and_cnonce() -> None:
    counts = NonceCounts()
    assert counts.accept(used(1))
    assert counts.accept(used(1, nonce="m"))
    assert counts.accept(used(1, cnonce="d"))
    assert len(counts) == 3


def test_without_qop_a_nonce_is_good_once() -> None:
    counts = NonceCounts()
    assert [counts.accept(used(None, cnonce=None)) for _ in range(2)] == [True, False]


def test_counts_are_bounded() -> None:
    counts = NonceCounts(limit=3)
    for nonce in ("a", "b", "c"):
        assert counts.accept(used(1, nonce=nonce))
    assert counts.accept(used(2, nonce="a"))
    assert counts.accept(used(1, nonce="d"))
    assert len(counts) == 3
    assert not counts.accept(used(1, nonce="a"))
    assert not counts.accept(used(1, nonce="c"))
    assert counts.accept(used(1, nonce="b"))


@given(st.lists(st.tuples(st.integers(0, 80), st.sampled_from("ab")), max_size=60), st.integers(0, 60))
def test_restored_counts_behave_the_same(events: list[tuple[int, str]], cut: int) -> None:
    counts = NonceCounts(limit=50)
    for nc, nonce in events[:cut]:
        counts.accept(used(nc, nonce=nonce))
    twin = NonceCounts.restore(counts.snapshot(), limit=50)
    for nc, nonce in events[cut:]:
        assert counts.accept(used(nc, nonce=nonce)) == twin.accept(used(nc, nonce=nonce))
    assert twin.snapshot() == counts.snapshot()


@given(st.lists(st.integers(0, 200), max_size=100))
def test_no_count_is_taken_twice(order: list[int]) -> None:
    counts, taken = NonceCounts(), set[int]()
    for nc in order:
        fresh = counts.accept(used(nc))
        assert not (fresh and nc in taken)
        if fresh:
            taken.add(nc)
