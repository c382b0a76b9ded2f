"""Large datagrams, and fragments of datagrams that never become whole (bars F21)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live.conftest import Measure
from tests.live.kit.fragmented import BROKEN, SIZES

pytestmark = pytest.mark.beside

ROOT = Path(__file__).parents[2]


def test_what_is_whole_is_taken_and_what_is_not_costs_nothing(measure: Measure) -> None:
    probe = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip(f"no network namespace can be made here: {probe.stderr.strip()}")
    run = subprocess.run(
        ["unshare", "--net", sys.executable, "-m", "tests.live.kit.fragmented"],
        capture_output=True, text=True, timeout=170, check=False, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["sizes"] == {str(size): 200 for size in SIZES}
    for what, seen in found["routed"].items():
        assert seen["came"], what
        assert seen["uncuttable"] == 0, f"{what} would never pass a narrow road that says nothing of it"
    assert found["whole"] == [200] * (BROKEN // 2)
    assert found["broken"] == [0] * (BROKEN // 2)
    cut = {user for user in found["users"] if user.startswith("cut-")}
    assert cut == {f"cut-{number}" for number in range(0, BROKEN, 2)}, "half a datagram is no call"
    assert found["after"] == 200
    measure("memory after 10,000 incomplete datagrams", found["grown"], "KiB")
    assert found["grown"] <= 16 * 1024
