"""A database cluster for a new state folder, as `initdb` makes it: made once in a run, then copied.

`initdb` takes two seconds of a core, and some hundred exchanges are started in a run. What a newcomer's first start
does is tried by tests/live/test_start.py and tests/live/postgres.
"""

import atexit
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from pbx.storage.embedded import Embedded
from pbx.storage.place import find_place


def plant(state: Path) -> None:
    """Put a cluster that was never used into a state folder, unless it has one or keeps it elsewhere."""
    place = find_place(state)
    if place.marker is None and not place.data.exists():
        subprocess.run(["cp", "-a", str(_template()), str(place.data)], check=True)


@cache
def _template() -> Path:
    state = Path(tempfile.mkdtemp(prefix="at110-live-cluster-"))
    atexit.register(shutil.rmtree, state, ignore_errors=True)
    state.chmod(0o711)  # the user that PostgreSQL runs as walks through it
    made = Embedded(state, lambda _event, _fields: None)
    made.start()
    made.stop()
    return made.place.data
