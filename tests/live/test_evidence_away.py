"""The disk of the evidence is not mounted for a while: calls are taken, nothing is written in its place, and what waited is sealed later."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.conftest import Measure, NewPhone, running
from tests.live.kit.exchange import Exchange, at110, read_events


class Disk:
    """A folder that is mounted somewhere, and taken away. Who may not mount moves it, which looks the same to who comes by its path."""

    def __init__(self, folder: Path) -> None:
        # The kernel's list of mounts has such a name in its own way.
        self.disk, self.point = folder / "disk", folder / "证据 盘"
        self._aside = folder / "aside"
        for made in (self.disk, self.point):
            made.mkdir()
        self.mounts = os.geteuid() == 0
        self.mounted = False

    def mount(self) -> None:
        if self.mounts:
            subprocess.run(["mount", "--bind", self.disk, self.point], check=True)
        else:
            self.point.rename(self._aside)
            self.disk.rename(self.point)
        self.mounted = True

    def unmount(self) -> None:
        if self.mounts:
            subprocess.run(["umount", "-l", self.point], check=True)
        else:
            self.point.rename(self.disk)
            self._aside.rename(self.point)
        self.mounted = False


@pytest.fixture(scope="module")
def disk() -> Iterator[Disk]:
    folder = Path(tempfile.mkdtemp(prefix="at110-disk-"))
    made = Disk(folder)
    made.mount()
    yield made
    if made.mounted:
        made.unmount()
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def exchange(disk: Disk) -> Iterator[Exchange]:
    settings = f"[queue]\nlanguage = 'en'\n[evidence]\nfolder = '{disk.point}/evidence'\n"
    with running(Exchange(settings=settings), sealed=None) as made:
        yield made


def test_nothing_is_written_in_place_of_a_disk_and_all_is_sealed_when_it_is_back(
    exchange: Exchange, phone: NewPhone, disk: Disk, measure: Measure
) -> None:
    number = f"sip:110@{exchange.sip[0]}:{exchange.sip[1]}"
    evidence = disk.point / "evidence"

    def dial(name: str) -> str:
        caller = phone(name, tone=440)
        measure(f"{name} answered", caller.dial(number) * 1000, "ms")
        call = str(exchange.call_of(name, state="waiting")["call"])
        exchange.until(lambda: caller.heard.part(-0.6).rms > 0, f"{name} hears nothing")
        caller.hang_up()
        return call

    def sealed(call: str) -> bool:
        return (evidence / call / "manifest.json").exists()

    before = dial("anna")
    exchange.until(lambda: sealed(before), "the first call is not sealed")
    disk.unmount()
    exchange.until(lambda: exchange.api("GET", "/healthz")["evidence"] == "missing", "health says nothing")
    away = dial("bert")
    exchange.until(lambda: "evidence_not_finished" in exchange.log, "the log says nothing")
    assert list(disk.point.iterdir()) == []
    metrics = exchange.api("GET", "/metrics")
    assert "at110_evidence_there 0.0" in metrics
    assert 'at110_not_recorded_total{reason="disk"} 1.0' in metrics
    disk.mount()
    exchange.until(lambda: sealed(away), "what waited is not sealed")
    exchange.until(lambda: exchange.api("GET", "/healthz")["evidence"] == "up", "health does not recover")
    again = dial("cora")
    exchange.until(lambda: sealed(again), "the last call is not sealed")
    assert [path.name for path in (exchange.state / "spool").iterdir() if "refused" in path.name] == []
    for call in (before, away, again):
        assert at110("verify", evidence / call).returncode == 0
    events = [event["event"] for event in read_events(evidence / away)]
    assert (events[0], events[-1]) == ("call_arrived", "capture_closed")
    assert "not_recorded" in events


def test_a_start_without_the_disk_writes_nothing_in_its_place(exchange: Exchange, disk: Disk) -> None:
    if not disk.mounts:
        pytest.skip("only root may mount: that a filesystem is gone is known by its mount point")
    exchange.stop()
    disk.unmount()
    exchange.start()
    exchange.until(lambda: exchange.api("GET", "/healthz")["evidence"] == "missing", "health says nothing")
    assert "the evidence folder is not the one that was set up" in exchange.log
    assert list(disk.point.iterdir()) == []
    disk.mount()
    exchange.until(lambda: exchange.api("GET", "/healthz")["evidence"] == "up", "health does not recover")
