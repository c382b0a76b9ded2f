"""The evidence folder of a call: what is in it, and how files get there so that they survive a power cut."""

import ctypes
import datetime as dt
import os
from functools import lru_cache
from pathlib import Path
from typing import Final

CAPTURE_NAME: Final = "call.pcapng"
EVENTS_NAME: Final = "events.jsonl"
MANIFEST_NAME: Final = "manifest.json"
MOVIE_NAME: Final = "call.mkv"
SNAPSHOT_NAME: Final = "snapshot.jpg"
DAMAGED_NAMES: Final = "call-damaged-*.pcapng"
"""A capture whose middle was found broken when it was to be continued: put aside under such a name, never cut."""
DERIVED: Final = (MOVIE_NAME, SNAPSHOT_NAME)

_LIBC: Final = ctypes.CDLL(None)


def originals(folder: Path) -> list[Path]:
    """List the files that hold what arrived, in order of name."""
    found = [folder / CAPTURE_NAME, folder / EVENTS_NAME, *folder.glob(DAMAGED_NAMES)]
    return sorted(path for path in found if path.is_file() and not path.is_symlink())


def make_private_folder(folder: Path) -> bool:
    """Make a folder and the missing ones above it, mode 0700; an existing one is left as it is. Raises OSError.

    Whether it was made: nothing is in it then.
    """
    try:
        folder.mkdir(mode=0o700)
    except FileNotFoundError:
        make_private_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError:  # it is there, or in a place where none can be made
        if not folder.is_dir():
            raise
        return False
    return True


def sync_folder(folder: Path | str) -> None:
    """Put the names in a folder on the disk: a new file is there for good only once its folder is. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_filesystem(file: int) -> bool:
    """Put all that was written to the filesystem of an open file on the disk; False: that can't be told, sync each file.

    syncfs(2) tells of errors since Linux 5.8, of any file there: which one it was, fsync of each tells.
    """
    call = getattr(_LIBC, "syncfs", None)
    return call is not None and call(file) == 0


def sync_file(path: Path) -> None:
    """Put a file's bytes on the disk. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomically(path: Path, data: bytes) -> None:
    """Put a whole new file in the place of `path`, mode 0600: after a crash either the old or the new one is there.

    Raises OSError and leaves the old file and no other.
    """
    draft = path.with_name(f".{path.name}.new")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(handle)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def utc(wall_ns: int) -> str:
    """Give `2026-11-22T13:34:00.123+00:00` for nanoseconds since 1970."""
    whole, rest = divmod(wall_ns, 1_000_000_000)
    return f"{_second(whole)}.{rest // 1_000_000:03d}+00:00"


@lru_cache(64)
def _second(whole: int) -> str:
    """Give `2026-11-22T13:34:00`: what is written down in one second shares it."""
    return dt.datetime.fromtimestamp(whole, dt.UTC).replace(tzinfo=None).isoformat()
