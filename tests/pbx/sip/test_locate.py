"""RFC 3263: where URIs lead, from what DNS said, said before, or did not say."""

import itertools
import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.sip.locate import (
    MAX_HOPS,
    MIN_TTL,
    NEGATIVE_TTL,
    RETRY_SECONDS,
    STALE_SECONDS,
    Ask,
    Effect,
    Hop,
    Located,
    Locator,
    Naptr,
    Question,
    Records,
    Srv,
    may_be_called,
    ordered,
)
from pbx.sip.uri import parse_uri

Zone = dict[Question, Records]

EXAMPLE: Zone = {
    ("carrier.example", "NAPTR"): (
        Naptr(90, 50, "s", "SIP+D2U", "_sip._udp.carrier.example"),
        Naptr(50, 50, "s", "SIPS+D2T", "_sips._tcp.carrier.example"),
        Naptr(90, 40, "S", "SIP+D2T", "_sip._tcp.carrier.example"),
        Naptr(10, 10, "s", "SIP+D2X", "_sip._sctp.carrier.example"),
        Naptr(10, 10, "u", "SIP+D2U", "nowhere.example"),
    ),
    ("_sips._tcp.carrier.example", "SRV"): (Srv(1, 0, 5061, "a.carrier.example"),),
    ("_sip._tcp.carrier.example", "SRV"): (Srv(2, 0, 5070, "b.carrier.example"), Srv(1, 0, 5060, "A.carrier.example")),
    ("_sip._udp.carrier.example", "SRV"): (Srv(1, 0, 5060, "a.carrier.example"),),
    ("a.carrier.example", "A"): ("192.0.2.1",),
    ("a.carrier.example", "AAAA"): ("2001:db8::1",),
    ("b.carrier.example", "A"): ("192.0.2.2",),
    ("plain.example", "A"): ("192.0.2.7", "192.0.2.8"),
    ("srv.example", "A"): ("192.0.2.9",),
    ("_sip._tcp.srv.example", "SRV"): (Srv(1, 1, 5080, "plain.example"),),
}  # fmt: skip


def locator() -> Locator:
    return Locator(random.Random(1).random)


def drive(
    it: Locator, effects: Iterable[Effect], zone: Zone, now: float = 0.0, ttl: float = 60.0
) -> tuple[Hop, ...]:
    """Answer all questions from the zone until the hops are told."""
    todo = list(effects)
    while todo:
        effect = todo.pop(0)
        if isinstance(effect, Located):
            assert not todo
            return effect.hops
        todo += it.answered(effect.question, zone.get(effect.question, ()), ttl, now)
    raise AssertionError("neither asked nor told")


def hops(uri: str, zone: Zone = EXAMPLE) -> list[str]:
    it = locator()
    found = drive(it, it.locate("r", parse_uri(uri), 0.0), zone)
    return [f"{hop.transport} {hop.address} {hop.port}" for hop in found]


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        # RFC 3263 §4.1: a numeric host
        ("sip:x@192.0.2.5", ["udp 192.0.2.5 5060"]),
        ("sip:x@192.0.2.5:5070", ["udp 192.0.2.5 5070"]),
        ("sip:x@[2001:db8::5]", ["udp 2001:db8::5 5060"]),
        ("sip:x@192.0.2.5;transport=TCP", ["tcp 192.0.2.5 5060"]),
        ("sip:x@192.0.2.5;transport=tls", ["tls 192.0.2.5 5061"]),
        ("sips:x@192.0.2.5", ["tls 192.0.2.5 5061"]),
        ("sips:x@192.0.2.5;transport=tcp", ["tls 192.0.2.5 5061"]),
        # a port: no SRV
        ("sip:x@plain.example:5070", ["udp 192.0.2.7 5070", "udp 192.0.2.8 5070"]),
        ("sips:x@plain.example:5070", ["tls 192.0.2.7 5070", "tls 192.0.2.8 5070"]),
        # NAPTR: by order, then preference; unknown services and flags are passed over
        (
            "sip:x@Carrier.Example.",
            [
                "tls 2001:db8::1 5061", "tls 192.0.2.1 5061", "tcp 2001:db8::1 5060", "tcp 192.0.2.1 5060",
                "tcp 192.0.2.2 5070", "udp 2001:db8::1 5060", "udp 192.0.2.1 5060",
            ],
        ),
        ("sips:x@carrier.example", ["tls 2001:db8::1 5061", "tls 192.0.2.1 5061"]),
        ("sip:x@carrier.example;transport=udp", ["udp 2001:db8::1 5060", "udp 192.0.2.1 5060"]),
        # no NAPTR: SRV of what we speak
        ("sip:x@srv.example", ["tcp 192.0.2.7 5080", "tcp 192.0.2.8 5080"]),
        # neither: addresses
        ("sip:x@plain.example", ["udp 192.0.2.7 5060", "udp 192.0.2.8 5060"]),
        ("sip:x@plain.example;transport=tcp", ["tcp 192.0.2.7 5060", "tcp 192.0.2.8 5060"]),
        ("sip:x@elsewhere.example;maddr=plain.example", ["udp 192.0.2.7 5060", "udp 192.0.2.8 5060"]),
        ("sip:x@nothing.example", []),
        ("sip:x@carrier.example;transport=ws", []),
        ("sip:x@carrier.example;transport=sctp", []),
    ],
)  # fmt: skip
def test_where_a_uri_leads(uri: str, expected: list[str]) -> None:
    assert hops(uri) == expected


def test_tls_must_prove_the_name_that_was_asked_for() -> None:
    it = locator()
    found = drive(it, it.locate("r", parse_uri("sip:x@carrier.example"), 0.0), EXAMPLE)
    assert {hop.name for hop in found} == {"carrier.example"}


def test_a_service_that_is_decidedly_not_there() -> None:
    zone: Zone = {("_sip._tcp.no.example", "SRV"): (Srv(0, 0, 0, "."),), ("no.example", "A"): ("192.0.2.1",)}
    assert hops("sip:x@no.example;transport=tcp", zone) == ["tcp 192.0.2.1 5060"]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "::1",
        "0.0.0.0",
        "::",
        "169.254.169.254",
        "fe80::1",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
        "240.0.0.1",
    ],
)
def test_a_lying_server_leads_nowhere(address: str) -> None:
    """F26: an answer that points into this machine, or at everybody, is not obeyed."""
    kind = "AAAA" if ":" in address else "A"
    assert not may_be_called(address)
    assert hops("sip:x@lie.example:5060", {("lie.example", kind): (address,)}) == []  # type: ignore[dict-item]
    # A literal is what the settings say, not what DNS says.
    literal = f"[{address}]" if ":" in address else address
    assert len(hops(f"sip:x@{literal}")) == 1


def test_rubbish_for_an_address_is_passed_over() -> None:
    assert hops("sip:x@odd.example:5060", {("odd.example", "A"): ("not an address", "192.0.2.1")}) == [
        "udp 192.0.2.1 5060"
    ]


# --- the cache --------------------------------------------------------------------------------------------------------


def located(effects: list[Effect]) -> tuple[Hop, ...]:
    (effect,) = effects
    assert isinstance(effect, Located)
    return effect.hops


URI = parse_uri("sip:x@plain.example:5060")


def test_what_is_known_is_told_at_once() -> None:
    it = locator()
    first = drive(it, it.locate("a", URI, 0.0), EXAMPLE, ttl=60.0)
    assert located(it.locate("b", URI, NEGATIVE_TTL - 0.1)) == first
    # "There is no AAAA" is believed for half a minute only, the addresses for their minute.
    asked = it.locate("c", URI, 60.1)
    assert [e.question[1] for e in asked if isinstance(e, Ask)] == ["AAAA", "A"]


@pytest.mark.parametrize(("ttl", "kept"), [(0.0, MIN_TTL), (1e9, 86_400.0)])
def test_how_long_answers_are_kept(ttl: float, kept: float) -> None:
    it = locator()
    zone: Zone = {("plain.example", "A"): ("192.0.2.7",), ("plain.example", "AAAA"): ("2001:db8::7",)}
    drive(it, it.locate("a", URI, 0.0), zone, ttl=ttl)
    assert located(it.locate("b", URI, kept - 0.1))
    assert isinstance(it.locate("c", URI, kept + 0.1)[0], Ask)


def test_a_missing_record_is_asked_for_again_soon() -> None:
    it = locator()
    drive(it, it.locate("a", URI, 0.0), {}, ttl=3600.0)
    assert located(it.locate("b", URI, NEGATIVE_TTL - 1)) == ()
    assert isinstance(it.locate("c", URI, NEGATIVE_TTL + 1)[0], Ask)


def test_the_same_is_asked_once_for_all() -> None:
    it = locator()
    questions = [effect for effect in it.locate("a", URI, 0.0) if isinstance(effect, Ask)]
    assert it.locate("b", URI, 0.0) == []
    assert it.answered(questions[0].question, (), 60.0, 0.0) == []
    told = it.answered(questions[1].question, ("192.0.2.7",), 60.0, 0.0)
    assert [effect.ref for effect in told if isinstance(effect, Located)] == ["a", "b"]


def test_a_dead_server_leaves_what_it_said_before() -> None:
    """F26: the outbound side uses what it knows, and does not wait for the dead on every call."""
    it = locator()
    first = drive(it, it.locate("a", URI, 0.0), EXAMPLE, ttl=60.0)
    now = 100.0
    effects = it.locate("b", URI, now)
    told: list[Effect] = []
    for effect in effects:
        assert isinstance(effect, Ask)
        told += it.failed(effect.question, now)
    assert located(told) == first
    assert located(it.locate("c", URI, now + RETRY_SECONDS - 1)) == first
    assert isinstance(it.locate("d", URI, now + RETRY_SECONDS + 1)[0], Ask)


def test_what_is_too_old_is_not_used() -> None:
    it = locator()
    drive(it, it.locate("a", URI, 0.0), EXAMPLE, ttl=60.0)
    now = 60.0 + STALE_SECONDS + 1
    told: list[Effect] = []
    for effect in it.locate("b", URI, now):
        assert isinstance(effect, Ask)
        told += it.failed(effect.question, now)
    assert located(told) == ()


def test_answers_nobody_asked_for_are_not_believed() -> None:
    it = locator()
    assert it.answered(("plain.example", "A"), ("192.0.2.66",), 60.0, 0.0) == []
    assert it.failed(("plain.example", "A"), 0.0) == []
    assert "192.0.2.66" not in {hop.address for hop in drive(it, it.locate("a", URI, 0.0), EXAMPLE)}


def test_who_gave_up_is_told_nothing() -> None:
    it = locator()
    questions = [effect.question for effect in it.locate("a", URI, 0.0) if isinstance(effect, Ask)]
    it.forget("a")
    assert [it.answered(question, (), 60.0, 0.0) for question in questions] == [[], []]


def test_a_zone_without_end_is_cut() -> None:
    targets = tuple(Srv(1, 1, 5060, f"t{n}.example") for n in range(1000))
    zone: Zone = {("_sip._udp.big.example", "SRV"): targets}
    zone |= {(f"t{n}.example", "A"): ("192.0.2.1", f"192.0.2.{n % 250 + 1}") for n in range(1000)}
    assert len(hops("sip:x@big.example;transport=udp", zone)) == MAX_HOPS


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pbx.sip.locate.MAX_ENTRIES", 10)
    it = locator()
    for n in range(50):
        drive(it, it.locate("a", parse_uri(f"sip:x@h{n}.example:5060"), 0.0), {})
    assert len(it._cache) == 10


# --- RFC 2782 ---------------------------------------------------------------------------------------------------------


def test_weights_share_the_load() -> None:
    servers = [Srv(1, 60, 1, "a"), Srv(1, 30, 1, "b"), Srv(1, 10, 1, "c"), Srv(0, 0, 1, "first")]
    draw = random.Random(7).random
    firsts = [ordered(servers, draw)[1].target for _ in range(10_000)]
    for target, share in (("a", 0.6), ("b", 0.3), ("c", 0.1)):
        assert abs(firsts.count(target) / 10_000 - share) < 0.02


@given(
    st.lists(
        st.builds(Srv, st.integers(0, 3), st.integers(0, 65535), st.just(5060), st.sampled_from("abcdef")),
        max_size=8,
    ),
    st.integers(0, 2**32),
)
def test_every_server_is_tried_once_by_priority(servers: list[Srv], seed: int) -> None:
    out = ordered(servers, random.Random(seed).random)
    assert sorted(out, key=repr) == sorted(servers, key=repr)
    assert all(one.priority <= other.priority for one, other in itertools.pairwise(out))
