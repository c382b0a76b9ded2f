"""How often in a row signalling died soon after it took live state up: what killed it must not kill it for ever.

in → out: a start → how carefully to take things up; some seconds of life → all is forgiven.

    first death      what was touched in the journal's last second is left out
    second death     everything is left out: new emergencies must be taken at all costs
"""

from pathlib import Path
from typing import Final

FILE: Final = "attempts"
STEADY_SECONDS: Final = 3.0
"""A process that lives this long after taking up live state did not die of it."""


class Attempts:
    """Counts in a file, for a process that dies can tell nobody."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._since: float | None = None

    def begin(self, now: float) -> int:
        """Count one attempt; return how many before it failed. `now`: monotonic seconds."""
        try:
            failed = len(self._path.read_bytes())
        except OSError:
            failed = 0
        self._since = now
        try:
            with self._path.open("ab") as file:
                file.write(b".")
        except OSError:
            pass  # a full disk keeps no journal either
        return failed

    def beat(self, now: float) -> None:
        """Hear that the process lives."""
        if self._since is not None and now - self._since >= STEADY_SECONDS:
            self.end()

    def end(self) -> None:
        """Forget everything: the process ends in order, or has lived long enough."""
        self._since = None
        self._path.unlink(missing_ok=True)
