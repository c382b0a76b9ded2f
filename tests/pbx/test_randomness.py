"""Random text is as long as asked for and never the same."""

from pbx import randomness as module
from pbx.randomness import PIECE, Randomness


def test_nothing_is_given_twice(monkeypatch):
    drawn = []

    def urandom(count):
        drawn.append(count)
        start = (len(drawn) - 1) * count // 2
        return b"".join((start + n).to_bytes(2, "big") for n in range(count // 2))

    monkeypatch.setattr(module.os, "urandom", urandom)
    source, seen = Randomness(), set()
    for _ in range(3 * PIECE // 2):
        text = source.hex(2)
        assert len(text) == 4
        assert text not in seen
        seen.add(text)
    assert drawn == [PIECE] * 3


def test_what_is_left_of_a_piece_is_not_stretched():
    source = Randomness()
    found = [source.hex(PIECE - 1), source.hex(12), source.hex(PIECE)]
    assert [len(text) // 2 for text in found] == [PIECE - 1, 12, PIECE]
    assert len(set(found)) == 3
