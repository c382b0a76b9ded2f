"""The machine that runs a table, and the shape of the four tables."""

import pytest

from pbx.sip import client_transaction, server_transaction
from pbx.sip.timers import Timer, Timers
from pbx.sip.transaction import Action, Input, Machine, State, Table

TABLES = {
    "client INVITE": (client_transaction.INVITE, State.CALLING),
    "client non-INVITE": (client_transaction.NON_INVITE, State.TRYING),
    "server INVITE": (server_transaction.INVITE, State.PROCEEDING),
    "server non-INVITE": (server_transaction.NON_INVITE, State.TRYING),
}


def machine(name: str, *, reliable: bool = False) -> Machine:
    table, state = TABLES[name]
    return Machine(table, Timers(), state, reliable=reliable)


def run(it: Machine, *, until: float, watch: Action) -> list[float]:
    """The times at which `watch` was asked for while timers fire from 0 to `until`."""
    times = []
    while it.next_due is not None and it.next_due <= until:
        now = it.next_due
        fired = it.fire(now)
        assert fired is not None
        if watch in it.step(fired, now):
            times.append(now)
    return times


@pytest.mark.parametrize("name", TABLES)
def test_every_state_is_reached_and_every_one_ends(name: str) -> None:
    table, first = TABLES[name]
    reached = {first}
    while new := {row[0] for (state, _), row in table.items() if state in reached} - reached:
        reached |= new
    assert reached == {state for state, _ in table} | {State.TERMINATED}
    ending = {State.TERMINATED}
    while new := {state for (state, _), row in table.items() if row[0] in ending} - ending:
        ending |= new
    assert ending == reached


@pytest.mark.parametrize("name", TABLES)
def test_a_timer_that_is_started_is_awaited(name: str) -> None:
    table, _ = TABLES[name]
    for state, *actions in table.values():
        for action in actions:
            if action.startswith("START_"):
                assert (state, Input(action.removeprefix("START_"))) in table, (state, action)


@pytest.mark.parametrize("name", TABLES)
def test_a_missing_row_changes_nothing(name: str) -> None:
    table, _ = TABLES[name]
    for state in State:
        for what in Input:
            if (state, what) not in table:
                it = machine(name)
                it.step(Input.START, 0.0)
                it.state = state
                before = it.snapshot()
                assert it.step(what, 1.0) == ()
                assert it.snapshot() == before


@pytest.mark.parametrize("name", TABLES)
def test_nothing_is_repeated_over_a_reliable_transport(name: str) -> None:
    it = machine(name, reliable=True)
    it.step(Input.START, 0.0)
    assert not {Timer.A, Timer.E, Timer.G} & set(it.due)
    it.step(Input.FAILURE, 0.0)
    assert not {Timer.A, Timer.E, Timer.G} & set(it.due)


def test_invite_is_sent_seven_times() -> None:
    # RFC 3261 §17.1.1.2: "This process MUST continue so that the request is retransmitted with intervals that double
    # after each transmission."
    it = machine("client INVITE")
    it.step(Input.START, 0.0)
    assert run(it, until=100, watch=Action.SEND) == [0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert it.state is State.TERMINATED
    assert it.next_due is None


def test_other_requests_are_sent_eleven_times() -> None:
    # RFC 3261 §17.1.2.2: "For the default values of T1 and T2, this results in intervals of 500 ms, 1 s, 2 s, 4 s, 4 s,
    # 4 s, etc."
    it = machine("client non-INVITE")
    it.step(Input.START, 0.0)
    times = run(it, until=100, watch=Action.SEND)
    assert times == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert it.state is State.TERMINATED


def test_a_provisional_answer_slows_requests_down_but_does_not_stop_them() -> None:
    # RFC 3261 §17.1.2.2: "If Timer E fires while in the "Proceeding" state, the request MUST be passed to the transport
    # layer for retransmission, and Timer E MUST be reset with a value of T2 seconds."
    it = machine("client non-INVITE")
    it.step(Input.START, 0.0)
    it.step(Input.PROVISIONAL, 0.1)
    assert run(it, until=100, watch=Action.SEND) == [0.5, 4.5, 8.5, 12.5, 16.5, 20.5, 24.5, 28.5]
    assert it.state is State.TERMINATED


def test_a_provisional_answer_stops_invites() -> None:
    it = machine("client INVITE")
    it.step(Input.START, 0.0)
    it.step(Input.PROVISIONAL, 0.1)
    assert it.due == {}


def test_failures_are_repeated_until_the_ack() -> None:
    # RFC 3261 §17.2.1: "…timer G is reset with a value that doubles, unless that value exceeds T2".
    it = machine("server INVITE")
    it.step(Input.START, 0.0)
    it.step(Input.FAILURE, 0.0)
    assert run(it, until=12.0, watch=Action.RESEND) == [0.5, 1.5, 3.5, 7.5, 11.5]
    it.step(Input.ACK, 12.0)
    assert it.due == {Timer.I: 17.0}


def test_timer_h_ends_the_wait_for_the_ack() -> None:
    it = machine("server INVITE")
    it.step(Input.START, 0.0)
    it.step(Input.FAILURE, 0.0)
    assert run(it, until=100, watch=Action.TIMEOUT) == [32.0]


def test_a_late_clock_fires_each_timer_once() -> None:
    # bars F10: the process stood still for 20 s; one retransmission, not a burst of five.
    it = machine("client INVITE")
    it.step(Input.START, 0.0)
    fired = []
    while (what := it.fire(20.0)) is not None:
        fired.append(what)
        it.step(what, 20.0)
    assert fired == [Input.TIMER_A]
    assert it.due == {Timer.A: 21.0, Timer.B: 32.0}


def test_snapshot_and_load() -> None:
    it = machine("client non-INVITE")
    it.step(Input.START, 5.0)
    it.step(Input.TIMER_E, 5.5)
    twin = machine("client non-INVITE")
    twin.load(it.snapshot())
    assert twin.snapshot() == it.snapshot()
    assert twin.next_due == it.next_due == 6.5
    assert run(twin, until=100, watch=Action.SEND) == run(it, until=100, watch=Action.SEND)


def test_tables_are_mappings_of_rows() -> None:
    for table, _ in TABLES.values():
        check: Table = table
        for (state, what), (new, *actions) in check.items():
            assert isinstance(state, State)
            assert isinstance(what, Input)
            assert isinstance(new, State)
            assert all(isinstance(action, Action) for action in actions)
            assert state is not State.TERMINATED
