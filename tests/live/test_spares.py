"""Spares as they are: processes that have loaded what they need and wait."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pbx.spares import Spare, command, sleeps, spared

pytestmark = pytest.mark.beside
PATIENCE = 60.0
ROOT = Path(__file__).parents[2]


def environment(state: Path) -> dict[str, str]:
    """What the supervisor tells a process."""
    return {**os.environ, "AT110_STATE": str(state), "AT110_SUPERVISOR": str(os.getpid())}


def comm(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def until_it_is_a_spare(pid: int) -> None:
    end = time.monotonic() + PATIENCE
    while comm(pid) != "at110 spare":
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture
def spare(tmp_path: Path) -> Iterator[Spare]:
    made = Spare("recorder", environment(tmp_path), ())
    yield made
    made.end()


def test_who_has_one() -> None:
    roles = ("signalling", "media", "media-3", "recorder")
    assert [spared(role) for role in roles] == [True, True, True, False]
    assert "spare" in command("media", spare=True)


def test_it_waits_and_then_is_what_it_waited_for(tmp_path: Path, spare: Spare) -> None:
    until_it_is_a_spare(spare.pid)
    assert sleeps(spare.pid)
    assert spare.ended() is None
    assert not (tmp_path / "spool").exists(), "it has touched nothing"
    process = spare.go()
    assert process is not None
    assert process.pid == spare.pid
    end = time.monotonic() + PATIENCE
    while not (tmp_path / "spool").exists():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.005)
    assert comm(process.pid) == "at110 recorder"
    assert not sleeps(process.pid)
    process.terminate()
    assert process.wait(PATIENCE) == 0


def test_it_ends_when_nobody_can_call_it_any_more(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pbx.spares import Spare;"
        "os.environ['AT110_SUPERVISOR'] = str(os.getpid());"
        "print(Spare('recorder', os.environ, ()).pid, flush=True); os._exit(0)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(tmp_path), check=True, stdout=subprocess.PIPE
    )
    end = time.monotonic() + PATIENCE
    while lives(int(told.stdout)):
        assert time.monotonic() < end
        time.sleep(0.01)
    assert not (tmp_path / "spool").exists()


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_one_that_was_killed_is_no_help(spare: Spare) -> None:
    os.kill(spare.pid, signal.SIGKILL)
    end = time.monotonic() + PATIENCE
    while spare.ended() is None:
        assert time.monotonic() < end
        time.sleep(0.005)
    assert spare.go() is None
