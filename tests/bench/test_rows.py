"""What the rows of the bench compute, on little: that both parsers read the same, and that the statistic tells alike from unlike."""

import random

import pytest

from pbx.sip.uri import NameAddr
from tests.bench import guessing, parsing


def test_every_message_of_the_bench_is_read_whole() -> None:
    for data in parsing.messages(0)[:12]:
        _, via, sender, to, call_id, cseq, contact, hops, sdp = parsing.ours(data)
        assert None not in (via, sender, to, call_id, cseq, contact)
        assert hops == 70
        assert isinstance(contact, NameAddr)
        assert (sdp is not None) == (b"application/sdp" in data)


def test_turns_have_other_callers() -> None:
    assert not set(parsing.messages(0)) & set(parsing.messages(1))


def test_the_two_parsers_agree() -> None:
    pytest.importorskip("aiosipua", reason="only `make bench` needs it")
    read = parsing.theirs()
    for data in parsing.messages(0)[:12]:
        mine, other = parsing.ours(data), read(data)
        assert (mine[4], mine[7]) == (other[4], other[7])
        assert (mine[8] is None) == (other[8] is None)


def test_alike_and_unlike_samples() -> None:
    chance = random.Random(7)
    one = [chance.gauss(100, 10) for _ in range(2000)]
    alike = [chance.gauss(100, 10) for _ in range(2000)]
    unlike = [chance.gauss(102, 10) for _ in range(2000)]
    assert guessing.same(one, one) == 1.0
    assert guessing.same(one, alike) > 0.01
    assert guessing.same(one, unlike) < 0.001
    # Smirnov's table: for two samples of 2,000 a distance of 1.628 × √(2 ÷ 2,000) has p = 0.01.
    steps = list(range(2000))
    assert guessing.same(steps, [x + 103 for x in steps]) == pytest.approx(0.01, rel=0.02)


def test_times_of_refusals_are_compared() -> None:
    (figure,) = guessing.measure(20)
    assert figure.value is not None
    assert 0.0 <= figure.value <= 1.0
