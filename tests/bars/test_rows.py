"""What `make bars` runs, and how it reads what pytest says."""

import re

from tests.bars.run import ROOT, ROWS, Outcome, command, figures, table, told


def test_every_test_that_has_a_larger_size_is_in_a_row():
    sized = set()
    for path in (ROOT / "tests").rglob("*.py"):
        if re.search(r"^from tests\.kit\.size import", path.read_text(), re.MULTILINE):
            sized.add(str(path.relative_to(ROOT)))
    rows = {name for row in ROWS for name in row.tests}
    kits = {"tests/live/kit/besieged.py", "tests/live/kit/worker.py"}  # whose tests are in the rows
    assert sized - kits == rows
    assert all((ROOT / name).is_file() for name in rows)
    assert len({row.name for row in ROWS}) == len(ROWS)


def test_what_is_simulated_takes_all_cores_and_what_is_live_has_them_for_itself():
    for row in ROWS:
        assert row.alone == row.tests[0].startswith("tests/live/")
        assert ("-n" in command(row)) == (not row.alone)


def test_a_line_of_pytest_that_ends_a_test_is_told_in_both_forms():
    assert told("tests/live/test_x.py::test_a[native] PASSED      [ 50%]") == "PASSED  test_a[native]"
    assert told("[gw1] [ 50%] FAILED tests/scenarios/test_x.py::test_a ") == "FAILED  test_a"
    assert told("collected 3 items") is None
    assert told("tests/live/test_x.py::test_a[native] ") is None


def test_figures_of_one_name_are_told_together():
    lines = [
        "test_a: not yet 1.0 ms",
        "=== measured ===",
        "test_a: recorder started again, time 1 10.0 ms",
        "test_a: recorder started again, time 2 30.0 ms",
        "test_a: packets 7.0 packets",
        "=== 1 passed in 3.00s ===",
        "test_a: too late 1.0 ms",
    ]
    assert list(figures(lines)) == [
        "recorder started again: median 20, 10 to 30 ms (2)",
        "packets: 7 packets",
    ]


def test_the_table_says_what_came_of_each_row():
    passed = Outcome(ROWS[0], 0, 90.0, "3 passed")
    failed = Outcome(ROWS[1], 1, 6.0, "1 failed, 2 passed")
    skipped = Outcome(ROWS[2], 0, 6.0, "1 skipped")
    lines = table([passed, failed, skipped]).splitlines()
    assert [line.split()[0] for line in lines] == ["bar", *(row.name for row in ROWS[:3])]
    assert "passed" in lines[1]
    assert "1.5 min" in lines[1]
    assert "FAILED" in lines[2]
    assert "not run" in lines[3]
