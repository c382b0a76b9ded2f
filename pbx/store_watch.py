"""Whether the evidence folder is there, looked at now and then by a thread that may wait for its disk.

in → out: a `Store` → `there`, for health and metrics, and a line in the log when that changes.
"""

import threading
from typing import Final

import structlog

from recordings.store import Store

LOOK_SECONDS: Final = 2.0

log = structlog.get_logger("signalling")


class StoreWatch:
    """See the module. What hangs is said by those who wait for it (`capture_not_opened`); here it changes nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.there = True
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def look(self) -> None:
        """Look once."""
        there, self.there = self.there, self._store.there
        folder = str(self._store.folder)
        if there and not self.there:
            log.error("evidence_store_missing", folder=folder)
        elif self.there and not there:
            log.info("evidence_store_back", folder=folder)

    def close(self) -> None:
        """Stop looking; a look that waits for the disk is left."""
        self._stopping.set()

    def _run(self) -> None:
        while True:
            self.look()
            if self._stopping.wait(LOOK_SECONDS):
                return
