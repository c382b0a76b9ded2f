"""How much is shed, and how it comes and goes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.guard.glance import Rank
from pbx.guard.load import (
    LEAST_BUSY,
    LEAST_STEP,
    MOST_STEP,
    PATIENCE,
    TARGET_BACKLOG,
    TARGET_BUSY,
    TARGET_LAG,
    Load,
)
from tests.kit.pressure import at_pressure


def test_ranks_are_shed_from_the_last():
    shares = {p: [at_pressure(p).share(rank) for rank in Rank] for p in (0.0, 0.4, 1.0, 1.5, 2.0, 2.25, 3.0)}
    assert shares == {
        0.0: [0, 0, 0, 0, 0],
        0.4: [0, 0, 0, 0, pytest.approx(0.4)],
        1.0: [0, 0, 0, 0, 1],
        1.5: [0, 0, 0, pytest.approx(0.5), 1],
        2.0: [0, 0, 0, 1, 1],
        2.25: [0, 0, pytest.approx(0.25), 1, 1],
        3.0: [0, 0, 1, 1, 1],
    }


@pytest.mark.parametrize(
    "strain",
    [(TARGET_LAG * 1.25, 0.0, 0.6), (0.0, TARGET_BACKLOG * 1.25, 0.0), (0.0, 0.0, TARGET_BUSY * 1.25)],
)
def test_each_measurement_alone_sheds(strain):
    load = Load()
    for _ in range(PATIENCE - 1):
        load.probe(*strain)
    assert not load.shedding
    load.probe(*strain)
    assert load.share(Rank.OTHER) == pytest.approx(0.2)
    assert load.shedding


def test_one_stall_is_no_overload():
    load = Load()
    for _ in range(PATIENCE - 1):
        load.probe(60.0, 1.0, 1.0)
    load.probe(0.0, 0.0, 0.1)
    assert load.pressure == 0.0


def test_who_is_late_because_others_have_the_processor_sheds_nothing():
    load = Load()
    for _ in range(50):
        load.probe(5.0, 0.0, LEAST_BUSY / 2)
    assert load.pressure == 0.0


def test_one_probe_takes_a_bounded_step():
    load = Load()
    for _ in range(PATIENCE):
        load.probe(60.0, 1.0, 1.0)
    assert load.pressure == pytest.approx(1 - LEAST_STEP)


def test_at_the_target_nothing_changes():
    load = at_pressure(0.5)
    load.probe(TARGET_LAG, 0.0, 0.9)
    assert load.pressure == pytest.approx(0.5)


def test_it_is_over_five_seconds_after_the_load_ended():
    load, probes = at_pressure(3.0), 0
    while load.pressure:
        load.probe(0.0, 0.0, 0.1)
        probes += 1
    assert probes / 10 <= 5.0  # bars L4
    assert not load.shedding


PROBES = st.lists(st.tuples(st.floats(0, 10), st.floats(0, 1), st.floats(0, 1)), max_size=80)


@given(PROBES)
def test_whatever_is_measured_the_first_two_ranks_pass_and_the_order_holds(probes):
    load = Load()
    for probe in probes:
        before = load.pressure
        load.probe(*probe)
        shares = [load.share(rank) for rank in Rank]
        assert shares[:2] == [0.0, 0.0]
        assert shares == sorted(shares)
        assert all(0.0 <= share <= 1.0 for share in shares)
        assert shares[3] == 0.0 or shares[4] == 1.0
        assert shares[2] == 0.0 or shares[3] == 1.0
        assert abs(load.pressure - before) <= max(1 - LEAST_STEP, MOST_STEP - 1) + 1e-9
