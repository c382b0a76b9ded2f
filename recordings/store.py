"""The evidence folder as a store that is known again: a disk that is not mounted leaves an empty folder in its place.

in → out: at each start, the folder and what was remembered of it → it is marked, or it is missing; later, before anything is opened
in it → OSError while it is missing, as from a disk that fails. What waits for a failing disk waits for this too.

    <evidence>/.at110-store.json    the mark: which store this is, since when, on which device
    <state>/store.json              what was set up: the folder, the store, and where its filesystem was mounted

The mark is written once, by the supervisor's start. A folder without the mark it should have is taken as a new one (first start, an
upgrade, another disk at the same place, a folder somebody emptied) unless the filesystem it was on is gone: then what stands there is the
mount point, and nothing is to be written beneath it.
"""

import datetime as dt
import errno
import json
import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from recordings.folder import write_atomically

__all__ = ["MARK_NAME", "MEMORY_NAME", "Store", "mounted_at", "remembered", "set_up"]

MARK_NAME: Final = ".at110-store.json"
MEMORY_NAME: Final = "store.json"
MAX_BYTES: Final = 1 << 16
"""Of either file; each has some two hundred."""
MOUNTS: Final = Path("/proc/self/mountinfo")
_OCTAL: Final = re.compile(r"\\([0-7]{3})")
_MISSING: Final = "the evidence folder is not the one that was set up: is its disk mounted?"


@dataclass(frozen=True, slots=True)
class Store:
    """The store that should be at `folder`."""

    folder: Path
    id: str
    """Which one it is; empty: nobody knows, and whatever is there is taken."""

    def check(self) -> None:
        """Raise OSError (ENODEV) when another folder is there in its place, or that of the mark when none can be read."""
        if not self.id:
            return
        try:
            found = _field(self.folder / MARK_NAME, "store")
        except FileNotFoundError:
            found = ""
        if found != self.id:
            raise OSError(errno.ENODEV, _MISSING, str(self.folder))

    @property
    def there(self) -> bool:
        """Whether it is."""
        try:
            self.check()
        except OSError:
            return False
        return True


def remembered(folder: Path, state: Path) -> Store:
    """Return the store a process of this exchange is to expect; `state`: the state folder."""
    known = _known(folder, state)
    return Store(folder, "" if known is None else known["store"])


def set_up(folder: Path, state: Path, *, mounts: Callable[[Path], Path] | None = None) -> Store:
    """Know the store again, or mark it; to be called once at each start. Raises OSError when the folder can't be made.

    A disk that takes no mark (it is full) is used without one until the next start. `mounts` gives where the filesystem of a folder
    is mounted.
    """
    mount = (mounts or mounted_at)(folder)
    known = _known(folder, state)
    if known is not None:
        store = Store(folder, known["store"])
        if store.there:
            if known["mount"] != str(mount):
                _keep(state, folder, store.id, mount)
            return store
        before = Path(known["mount"])
        if mount != before and before not in mount.parents:
            return store  # its filesystem is not there
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        mark = _field(folder / MARK_NAME, "store")
    except OSError:
        mark = ""
    if not mark:
        mark = secrets.token_hex(16)
        try:
            write_atomically(folder / MARK_NAME, _json(_mark(folder, mark, mount)))
        except OSError:
            return Store(folder, "")
    _keep(state, folder, mark, mount)
    return Store(folder, mark)


def mounted_at(folder: Path, mounts: Path = MOUNTS) -> Path:
    """Return the mount point of the filesystem a folder is on, or would be made on; `mounts`: the kernel's list of them."""
    place = Path(os.path.realpath(folder))
    try:
        lines = os.fsdecode(mounts.read_bytes()).split("\n")
    except OSError:
        return Path("/")
    # proc_pid_mountinfo(5): the fifth field. What would part fields is written in octal, everything else is as in the path.
    points = (Path(_OCTAL.sub(_character, line.split(" ")[4])) for line in lines if line)
    return max(
        (point for point in points if point == place or point in place.parents),
        key=lambda point: len(point.parts),
        default=Path("/"),
    )


def _character(octal: re.Match[str]) -> str:
    return chr(int(octal[1], 8))


def _mark(folder: Path, store: str, mount: Path) -> dict[str, Any]:
    device = folder.stat().st_dev
    return {
        "format": 1,
        "what": "evidence of an at110 exchange; do not remove",
        "store": store,
        "made_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "folder": str(folder),
        "mounted_at": str(mount),
        "device": f"{os.major(device)}:{os.minor(device)}",
    }


def _keep(state: Path, folder: Path, store: str, mount: Path) -> None:
    try:
        write_atomically(
            state / MEMORY_NAME, _json({"folder": str(folder), "store": store, "mount": str(mount)})
        )
    except OSError:
        pass  # a full state disk: it is found marked at the next start


def _known(folder: Path, state: Path) -> dict[str, str] | None:
    """What was remembered of this folder; None: nothing, or of another one."""
    try:
        item = _read(state / MEMORY_NAME)
    except OSError:
        return None
    known = {name: value for name in ("folder", "store", "mount") if isinstance(value := item.get(name), str)}
    return known if len(known) == 3 and known["store"] and known["folder"] == str(folder) else None


def _field(path: Path, name: str) -> str:
    value = _read(path).get(name)
    return value if isinstance(value, str) else ""


def _read(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        raw = file.read(MAX_BYTES)
    try:
        item = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return item if isinstance(item, dict) else {}


def _json(item: dict[str, Any]) -> bytes:
    return json.dumps(item, indent=1).encode() + b"\n"  # in ASCII: a path may hold bytes that are no text
