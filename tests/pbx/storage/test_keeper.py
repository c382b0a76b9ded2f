"""The thread that keeps PostgreSQL running, beside a server of the test's own; the real one is in tests/live/postgres."""

import subprocess
import threading

import pytest

from pbx.storage import keeper as keeper_module
from pbx.storage.keeper import Keeper
from pbx.storage.place import EmbeddedError


class Server:
    """As `Embedded`: what it is asked fails once in each of these ways, and then it runs."""

    dsn = "postgresql:///none"

    def __init__(self, looking: list[Exception], starting: list[Exception]) -> None:
        self.looking, self.starting = looking, starting
        self.runs = threading.Event()
        self.stopped = False

    def poll(self) -> bool:
        if self.looking:
            raise self.looking.pop(0)
        return self.runs.is_set()

    def start(self) -> None:
        if self.starting:
            raise self.starting.pop(0)
        self.runs.set()

    def cancel(self) -> None:
        return

    def stop(self) -> None:
        self.stopped = True


FAULTS: list[Exception] = [
    EmbeddedError("no start"),
    OSError(12, "Cannot allocate memory"),
    subprocess.TimeoutExpired("sh", 10.0),
]


@pytest.mark.parametrize(("looking", "starting"), [(FAULTS, []), ([], FAULTS)])
def test_it_goes_on_whatever_fails(
    looking: list[Exception], starting: list[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_module, "FIRST_PAUSE", 0.0)
    told: list[str] = []
    server = Server(list(looking), list(starting))
    keeper = Keeper(server, lambda event, _fields: told.append(event))  # type: ignore[arg-type]
    keeper.start()
    assert server.runs.wait(10), "the thread ended"
    keeper.stop()
    assert server.stopped
    assert told == ["database_not_started"] * len(FAULTS)
