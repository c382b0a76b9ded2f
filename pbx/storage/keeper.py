"""Keeps the embedded PostgreSQL running from a thread, so that its owner never waits for it."""

import subprocess
import threading
from collections.abc import Callable

from pbx.storage.embedded import Embedded, EmbeddedError

__all__ = ["Keeper"]

LOOK_SECONDS = 0.2  # between two looks: short beside the two seconds in which the console must show it
FIRST_PAUSE = 0.5
LAST_PAUSE = 10.0  # a disk that is full stays full for a while


class Keeper:
    """Owns an `Embedded`: starts it, starts it again when it dies, ends it."""

    def __init__(self, embedded: Embedded, tell: Callable[[str, dict[str, object]], None]) -> None:
        self._embedded = embedded
        self._tell = tell
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="database-keeper", daemon=True)

    @property
    def dsn(self) -> str:
        """For asyncpg; right before the server runs."""
        return self._embedded.dsn

    def start(self) -> None:
        """Begin; returns at once. The exchange takes calls without a database."""
        self._thread.start()

    def stop(self) -> None:
        """End the server in order; returns when it is gone."""
        self._stopping.set()
        self._embedded.cancel()
        if self._thread.is_alive():
            self._thread.join()
        self._embedded.stop()

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            try:
                if self._embedded.poll():
                    self._stopping.wait(LOOK_SECONDS)
                    continue
                self._embedded.start()
                pause = FIRST_PAUSE
            # To look may need a process too, which a machine without memory refuses or has wait: nobody would ever look again.
            except (EmbeddedError, OSError, subprocess.SubprocessError) as error:
                self._tell("database_not_started", {"why": str(error), "again_in": pause})
                self._stopping.wait(pause)
                pause = min(2 * pause, LAST_PAUSE)
