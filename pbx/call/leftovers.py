"""Evidence of calls that nobody will end any more: the exchange died with them, or before it could tell the recorder.

in → out: the evidence folder, once at each start of signalling → folders without a seal, none of whose calls is known to anybody → one
more line in each event log, which says so → the recorder, as if the call had ended.

What is known of them: which calls live (the journal of live state took them up), which wait for the recorder (its spool), which captures are
still open to write (the media process closes them, and signalling hears of it).
"""

import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from recordings.capture import in_use
from recordings.events import read_events
from recordings.folder import EVENTS_NAME, MANIFEST_NAME, originals

CALL_ID: Final = re.compile(r"\d{8}-\d{6}-[0-9a-f]{32}")
"""The time of arrival, UTC, and 128 random bits (`control.mint`): whatever else lies there is nobody's call."""
STAMP: Final = "%Y%m%d-%H%M%S"
LAST_WORD: Final = "capture_closed"
"""After it nothing more happens in a call."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """One of them."""

    call: str
    folder: Path
    fields: dict[str, Any]
    """Of the line that says so (`left_open`)."""


def stamp(wall: float) -> str:
    """Return how ids of calls begin that arrive at `wall` (seconds since 1970)."""
    return time.strftime(STAMP, time.gmtime(wall))


def find(evidence: Path, spool: Path, *, before: str, known: Callable[[str], bool]) -> Iterator[Leftover]:
    """Give every call that arrived up to a second (`stamp`) and is not sealed, waiting, open or `known`. Raises OSError.

    `known`: somebody here will end it, or has.
    """
    waiting = {name.partition(".")[0] for name in os.listdir(spool)}  # noqa: PTH208 - there may be a million folders
    for call in sorted(os.listdir(evidence)):  # noqa: PTH208
        if call[: len(before)] > before or CALL_ID.fullmatch(call) is None or call in waiting:
            continue
        folder = evidence / call
        if (folder / MANIFEST_NAME).exists() or not originals(folder) or known(call) or in_use(folder):
            continue
        yield Leftover(call, folder, _fields(read_events(folder / EVENTS_NAME)))


def _fields(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Say what is there and what is not: how many lines, the time of the last, and whether any can be missing behind it."""
    last = events[-1] if events else {}
    whole = last.get("event") == LAST_WORD
    return {
        "events": len(events),
        "last": last.get("at"),
        "why": "not_handed_on" if whole else "died",
        "missing": 0 if whole else None,
    }
