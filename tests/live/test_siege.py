"""Somebody sprays every media port while calls are made, held, moved, flooded and lost (bars S1, S2, F13, F14, L9)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.size import times
from tests.live.conftest import Measure

ROOT = Path(__file__).parents[2]


TIMES = times(1, 16)
"""Thirteen calls, each of another kind, each time: two hundred at the size of the bar."""


@pytest.mark.limit(240)
@pytest.mark.parametrize("turn", range(TIMES))
def test_calls_under_a_spray(measure: Measure, turn: int) -> None:
    probe = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip(f"no network namespace can be made here: {probe.stderr.strip()}")
    run = subprocess.run(
        ["unshare", "--net", sys.executable, "-m", "tests.live.kit.besieged", *(() if turn else ("flood",))],
        capture_output=True, text=True, timeout=220, check=False, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    found = json.loads(run.stdout.splitlines()[-1])
    measure("sprayed in all", found.pop("spray, packets"), "packets")
    for what, amount in found.items():
        measure(what, amount, "packets" if what.endswith("packets") else "s")
    # The bars' own times are held on simulated time (tests/rtp/test_latch.py, tests/pbx/call/test_one_way.py); here that it works.
    assert found["the phone is asked"] >= 9.5
