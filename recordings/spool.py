"""The recorder's spool: a file for each finished call, which stays until everything is done with that call.

in → out: `spool/<call>.json` (`{"call", "folder"}`, optionally `"people"`, `"tries"`, `"why"`) → `Job`, read once.

After a rush hundreds of files wait while one film after the other is made. What was read is kept, so that a look costs the names
in the folder and what is new; nobody but the recorder changes a file that is there.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

MAX_SPOOL_FILE: Final = 1 << 20
"""Bytes; a spool file has some hundred."""

log = structlog.get_logger("recorder")


@dataclass(frozen=True, slots=True)
class Job:
    """What a spool file says."""

    spool_file: Path
    call: str
    folder: Path
    tries: int
    why: str
    """What the last try ended with."""
    people: tuple[dict[str, Any], ...]
    written_ns: int
    """When the file was written, ns since 1970."""

    @property
    def order(self) -> tuple[int, int, str]:
        """Least tried first, then oldest first."""
        return self.tries, self.written_ns, self.spool_file.name


class SpoolError(ValueError):
    """A spool file that can't be understood, or points outside the evidence."""


class Spool:
    """The files that wait, as far as they were read."""

    def __init__(self, folder: Path, evidence: Path, there: Callable[[], bool] = lambda: True) -> None:
        """`evidence`: the folder that must hold whatever a file points to; nothing is refused while it is not `there`."""
        self._there = there
        self.folder = folder
        self._evidence = evidence
        self._taken: dict[str, tuple[tuple[int, int, str], Job]] = {}

    def look(self, take: Callable[[Job], bool]) -> None:
        """Read what is new and give it to `take`, in order; what that takes is not read again. Raises OSError."""
        names = {
            name
            for name in os.listdir(self.folder)  # noqa: PTH208 - a Path for each name costs more than the rest
            if name.endswith(".json") and not name.startswith(".")
        }
        for gone in self._taken.keys() - names:
            del self._taken[gone]
        found = []
        for name in names - self._taken.keys():
            path = self.folder / name
            try:
                found.append(self.read(path))
            except SpoolError as error:
                self.refuse(path, error)
        for job in sorted(found, key=lambda job: job.order):
            if take(job):
                self._taken[job.spool_file.name] = (job.order, job)

    def next(self) -> Job | None:
        """Whose turn it is of those that were taken; None when there is none."""
        return min(self._taken.values(), key=lambda entry: entry[0])[1] if self._taken else None

    def forget(self, job: Job) -> None:
        """Let the next look read a file again that was changed, or removed."""
        self._taken.pop(job.spool_file.name, None)

    def read(self, path: Path) -> Job:
        """Read one file. Raises OSError, SpoolError."""
        with path.open("rb") as file:
            raw = file.read(MAX_SPOOL_FILE)
            written_ns = os.fstat(file.fileno()).st_mtime_ns
        try:
            item = json.loads(raw)
            call, folder, tries = item["call"], item["folder"], item.get("tries", 0)
            people = tuple(dict(person) for person in item.get("people", ()))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise SpoolError(f"not understood: {error!r}") from error
        if not (isinstance(call, str) and isinstance(folder, str) and isinstance(tries, int)):
            raise SpoolError("not understood: wrong types")
        place = Path(folder).resolve()
        if self._evidence.resolve() not in place.parents:
            raise SpoolError("its folder is not inside the evidence")
        if not place.is_dir():
            raise SpoolError("its folder does not exist")
        return Job(path, call, place, tries, str(item.get("why", "")), people, written_ns)

    def refuse(self, path: Path, error: Exception) -> None:
        """Put a spool file that can't be served aside, where a person finds it. Raises OSError."""
        if not self._there():
            return  # whatever it points to is not there either
        log.error("spool_file_refused", file=path.name, reason=str(error))
        path.replace(path.with_name(f"{path.name}.refused"))
        self._taken.pop(path.name, None)
