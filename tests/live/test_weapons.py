"""Messages of strangers and of phones that point elsewhere, with tshark on the wire (bar S9)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live.conftest import Measure

pytestmark = pytest.mark.beside

ROOT = Path(__file__).parents[2]


@pytest.mark.limit(120)
def test_nothing_goes_where_anybody_points(measure: Measure) -> None:
    """Addresses of the machine, the link, the house and of all, ports of services: no packet for any of them."""
    probe = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip(f"no network namespace can be made here: {probe.stderr.strip()}")
    run = subprocess.run(
        ["unshare", "--net", sys.executable, "-m", "tests.live.kit.weapons"],
        capture_output=True, text=True, timeout=110, check=False, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["cases"] >= 300
    assert found["asked meanwhile"] == found["cases"], "nobody was sent anything that could have gone astray"
    for method, ratio in found["amplified"].items():
        measure(f"answered to {method}, bytes for each byte", ratio, "")
        assert ratio <= 1.5
