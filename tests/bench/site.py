"""The exchange as the bench sees it: `at110 serve` with its own state folder, desks that dialled in, and their sound."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.bench.cpu import roles, wait_childless
from tests.bench.native import Sound
from tests.bench.sip import Line, Phones
from tests.live.kit.exchange import Exchange

SETTINGS = """
[queue]
wrap_up_seconds = 0.0
language = "en"

[media]
# 300 calls a second would have all 5,000 port pairs draining after 17 s.
drain_seconds = 2.0
"""
PATIENCE = 60.0


class SetUpError(Exception):
    """The exchange did not come to the state a measurement begins with."""


class Site:
    """A running exchange with `desks` desks signed in; sockets 0 … desks−1 of `sound` are theirs. A context manager."""

    def __init__(self, folder: Path, *, desks: int, sound: Sound | None, label: str) -> None:
        self.exchange = Exchange(desks=desks, settings=SETTINGS)
        self.exchange.state.rmdir()
        self.exchange.state = _own_folder(folder)
        self._sound = sound
        self._label = label
        self.desks: list[Line] = []

    def __enter__(self) -> Self:
        self.exchange.start()
        self.phones = Phones(self.exchange.sip, label=self._label)
        self.roles = roles(self.exchange.pid)
        wait_childless(self.roles["media"], PATIENCE)
        for number, person in enumerate(self.exchange.dispatchers):
            media = self._sound.ports[number] if self._sound is not None else 9
            line = self.phones.invite(person.user, "*10", media, password=person.password)
            self.desks.append(line)
            self.wait(lambda line=line: bool(line.answered), f"desk {person.user} can't sign in")  # type: ignore[misc]
        if self._sound is not None:
            self._sound.to(0, [line.remote_media for line in self.desks])
            self._sound.go(0, len(self.desks) - 1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.phones.close()
        try:
            self.exchange.stop()
        finally:
            self.exchange.remove()

    def wait(self, condition: Callable[[], bool], complaint: str) -> None:
        """Serve the phones until `condition`. Raises SetUpError."""
        if condition():
            return
        if not self.phones.pump(time.monotonic() + PATIENCE, condition):
            raise SetUpError(f"{complaint}\n{self.exchange.tail(20)}")

    def pump(self, seconds: float) -> None:
        """Serve the phones for a while."""
        self.phones.pump(time.monotonic() + seconds)


def _own_folder(folder: Path) -> Path:
    """A new state folder inside `folder`; not only ours to enter, because PostgreSQL may run as another user."""
    path = Path(tempfile.mkdtemp(prefix="at110-bench-", dir=folder))
    path.chmod(0o711)
    return path
