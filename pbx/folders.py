"""Private folders, and short ones for Unix sockets."""

import hashlib
import os
import stat
import tempfile
from pathlib import Path

SOCKET_PATH_LIMIT = 108
"""Bytes of `sun_path` with its closing NUL (unix(7)): a path must be shorter."""


def short_hash(folder: Path) -> str:
    """A name for `folder` that fits anywhere: 12 hexadecimal digits."""
    return hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]


def short_folder(folder: Path) -> Path:
    """A private folder with a short path that stands for `folder`; not made here."""
    if os.geteuid() == 0 and Path("/run").is_dir():
        return Path("/run") / f"at110-{short_hash(folder)}"
    return Path(tempfile.gettempdir()) / f"at110-{os.geteuid()}-{short_hash(folder)}"


def make_private(folder: Path) -> None:
    """Make `folder` with mode 700, or check that it is a real folder of ours.

    Raises PermissionError when somebody else put something there first (a shared temporary folder invites it).
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PermissionError(f"{folder} is not a folder of ours")
    if stat.S_IMODE(found.st_mode) & 0o077:
        folder.chmod(0o700)
