"""Refusals that are remembered for as long as phones repeat."""

from pbx.guard.refused import LIFE, MAX, Refused


def test_what_was_said_is_said_for_a_life_and_forgotten_after_two():
    it = Refused()
    assert it.said(b"a", 0.0) is None
    it.add(b"a", 3, 100.0)
    it.add(b"b", 7, 131.0)
    assert [it.said(b"a", at) for at in (100.0, 131.9, 132.1, 150.0)] == [3] * 4
    assert it.said(b"b", 131.0 + LIFE - 0.1) == 7
    assert it.said(b"c", 150.0) is None
    assert it.said(b"a", 100.0 + 2 * LIFE) is None
    assert it.said(b"b", 300.0) is None
    assert len(it) == 0


def test_after_a_long_rest_nothing_old_is_known():
    it = Refused()
    it.add(b"a", 3, 100.0)
    assert it.said(b"a", 1000.0) is None
    it.add(b"b", 4, 1000.0)
    assert (it.said(b"a", 1000.0), it.said(b"b", 1000.0), len(it)) == (None, 4, 1)


def test_a_flood_of_them_is_bounded():
    it = Refused()
    for n in range(5 * MAX):
        it.add(b"%d" % n, 1, n / 10_000)
    assert len(it) <= 2 * MAX
    assert it.said(b"%d" % (5 * MAX - 1), 10.0) == 1
    assert it.said(b"0", 10.0) is None
