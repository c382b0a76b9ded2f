import pytest

from rtp import control as c
from rtp.reserve import FIXED_FILES, Reserve
from tests.kit.media_engine import FakePorts, Running
from tests.kit.media_wire import engine

__all__ = ["engine"]
MANY = 1 << 20


@pytest.mark.parametrize(
    ("used", "urgent", "admitted"),
    [(17, False, True), (18, False, False), (18, True, True), (19, True, True), (20, True, False)],
)
def test_a_tenth_is_kept_for_who_is_urgent(used, urgent, admitted):
    limits = Reserve(20, MANY, 0.1)
    assert limits.admits(1, used=used, captures=0, urgent=urgent) is admitted


def test_what_is_kept_is_never_less_than_one_pair():
    limits = Reserve(4, MANY, 0.1)
    assert limits.admits(3, used=0, captures=0, urgent=False)
    assert not limits.admits(4, used=0, captures=0, urgent=False)


def test_files_are_a_limit_like_ports_and_captures_need_theirs():
    limits = Reserve(1000, FIXED_FILES + 150, 0.0)
    assert (limits.capacity(0), limits.capacity(20), limits.capacity(200)) == (50, 43, 0)
    assert not limits.admits(1, used=43, captures=20, urgent=True)


def outcome(events):
    return next(event for event in events if isinstance(event, c.LegOpened | c.Refused))


@pytest.fixture
def crowded(monkeypatch, engine):
    """An engine with a range of 40 ports."""
    monkeypatch.setattr(FakePorts, "pairs", 20)
    return Running(reserve=0.1, drain_seconds=30.0)


def test_sixty_calls_for_forty_ports(crowded):
    opened, refused = [], []
    for number in range(60):
        urgent = number % 2 == 1
        said = outcome(crowded.do(c.OpenLeg(f"leg-{number}", ("audio",), "127.0.0.1", urgent=urgent)))
        (opened if isinstance(said, c.LegOpened) else refused).append((number, said))
    assert len(opened) == 20
    assert all(said == c.Refused("OpenLeg", f"leg-{number}", "no_ports") for number, said in refused)
    assert [number for number, _ in opened if number % 2 == 0][-1] == 16, "the last two pairs are not theirs"
    assert [number for number, _ in opened][-2:] == [19, 21]
    # What is closed drains, and then it is anybody's at once.
    crowded.do(c.CloseLeg("leg-0"), c.CloseLeg("leg-1"), c.CloseLeg("leg-2"))
    wanted = c.OpenLeg("late", ("audio",), "127.0.0.1")
    assert isinstance(outcome(crowded.do(wanted)), c.Refused)
    crowded.pass_time(29.9)
    assert isinstance(outcome(crowded.do(wanted)), c.Refused)
    crowded.pass_time(0.2)
    assert isinstance(outcome(crowded.do(wanted)), c.LegOpened)
    assert not crowded.loop.failures


def test_who_has_ports_may_say_again_what_it_wants(crowded):
    for number in range(20):
        crowded.do(c.OpenLeg(f"leg-{number}", ("audio",), "127.0.0.1", urgent=True))
    assert isinstance(outcome(crowded.do(c.OpenLeg("leg-3", ("audio",), "127.0.0.1"))), c.LegOpened)
    assert isinstance(outcome(crowded.do(c.OpenLeg("leg-3", ("audio", "video"), "127.0.0.1"))), c.Refused)
