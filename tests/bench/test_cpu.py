"""What the bench reads of the kernel's account of the processors."""

import pytest

from tests.bench import spell
from tests.bench.cpu import stolen_ticks
from tests.bench.native import Counts, Sound

TWO = """\
cpu  2860566 1276040 883386 2034309 36297 0 138169 160173 7 8
cpu0 1391719 615127 415378 1121397 9486 0 51674 76958 3 4
cpu1 1468847 660913 468008 912912 26811 0 86494 83216 4 4
intr 812345 0 9
cpufreq 1 2 3 4 5 6 7 8 9
"""


@pytest.mark.parametrize(
    ("stat", "ticks"),
    [
        (TWO, (76958 + 83216) / 2),
        ("cpu 1 2 3 4 5 6 7 40\ncpu11 1 2 3 4 5 6 7 40\n", 40.0),  # the others are offline
        ("cpu 1 2 3 4 5 6 7\ncpu0 1 2 3 4 5 6 7\n", 0.0),  # before 2.6.11
        ("cpu 1 2 3 4 5 6 7 40\n", 0.0),
        ("", 0.0),
    ],
    ids=["two", "one", "old", "none", "empty"],
)
def test_what_the_host_took_is_read_for_each_processor(stat: str, ticks: float) -> None:
    assert stolen_ticks(stat) == ticks


class Still(Sound):
    """Phones of which nothing is sent."""

    def __init__(self) -> None:
        pass

    def go(self, first: int, last: int) -> None:
        pass

    stop = go

    def count(self, first: int, last: int) -> Counts:
        return Counts(0, 0, 0, 0.0, 0.0)


@pytest.mark.parametrize(("after", "share"), [(7.5, 0.025), (6.0, 0.0)], ids=["taken", "backwards"])
def test_a_spell_tells_the_part_the_host_took(
    monkeypatch: pytest.MonkeyPatch, after: float, share: float
) -> None:
    clock = [0.0]
    monkeypatch.setattr(spell.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(spell.time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    monkeypatch.setattr(spell, "cpu_seconds", lambda _pid: clock[0] / 2)
    readings = iter([7.4, after])
    monkeypatch.setattr(spell, "stolen_seconds", lambda: next(readings))
    found = spell.spell(Still(), 0, 1, 0, 4.0)
    assert found.stolen == pytest.approx(share)
    assert found.share == 0.5
