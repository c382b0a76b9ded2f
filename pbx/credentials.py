"""Demo accounts with fresh passwords, made at the first start and kept in one file only we may read.

in → out: `load_or_create(path)` → `Credentials`; `accounts(credentials, realm)` → what the registrar needs (HA1,
never passwords). RFC 7616 §3.4.2: "A1 = unq(username) ":" unq(realm) ":" passwd".
"""

import hashlib
import os
import secrets
from pathlib import Path
from typing import Final, Literal

import msgspec

from pbx.blocked import Blocked

__all__ = ["Account", "Credentials", "Person", "accounts", "ha1", "load_or_create", "write_private"]

PEOPLE = 3  # of each kind: two desks and a spare, two callers and a spare
FIRST_DISPATCHER = 8001
FIRST_CALLER = 13_800_000_001  # shape of a Chinese mobile number, of a block used in examples

Role = Literal["dispatcher", "caller"]


class Person(msgspec.Struct, frozen=True):
    """One account with its password in clear: only for the file and for what the start prints."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"Person(user={self.user!r})"


class Credentials(msgspec.Struct, frozen=True):
    """The whole file `credentials.json`."""

    dispatchers: tuple[Person, ...]
    callers: tuple[Person, ...]
    api_token: str

    def __repr__(self) -> str:
        return f"Credentials({len(self.dispatchers)} dispatchers, {len(self.callers)} callers)"


NO_MD5: Final = "0" * 32
"""Stands where an account takes no MD5 (bars S4): no password gives it, and a response made of it is as wrong as any other."""


class Account(msgspec.Struct, frozen=True):
    """Somebody who may register. A verified name is one the authority checked, never what a phone says."""

    user: str
    role: Role
    realm: str
    ha1_sha256: str
    ha1_md5: str
    name: str | None = None
    verified: bool = False
    phone: str | None = None
    """Where the person is called, if that was verified."""
    verified_by: str | None = None
    verified_at: float | None = None
    """Seconds since 1970; None as long as only this file knows."""
    language: str | None = None
    needs: tuple[str, ...] = ()
    blocked: Blocked | None = None
    """Nobody registers as it and nobody proves to be it; it is kept only to say so of who names it."""

    def __repr__(self) -> str:
        return f"Account(user={self.user!r}, role={self.role!r})"

    @property
    def ha1_by_algorithm(self) -> dict[str, str]:
        """As `pbx.sip.digest.verify` wants it."""
        stored = {"SHA-256": self.ha1_sha256}
        if self.ha1_md5 != NO_MD5:
            stored["MD5"] = self.ha1_md5
        return stored


def load_or_create(path: Path) -> Credentials:
    """Read `path`, or make it with fresh passwords (mode 600). Raises OSError, or ValueError when it is damaged."""
    try:
        found = path.read_bytes()
    except FileNotFoundError:
        fresh = _fresh()
        write_private(path, msgspec.json.format(msgspec.json.encode(fresh), indent=2) + b"\n")
        return fresh
    try:
        credentials = msgspec.json.decode(found, type=Credentials)
    except msgspec.MsgspecError as error:
        raise ValueError(f"{path} is damaged ({error}); remove it to get new accounts") from error
    if not credentials.api_token:
        raise ValueError(f"{path} has an empty api_token; remove it to get new accounts")
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
    return credentials


def accounts(credentials: Credentials, realm: str) -> tuple[Account, ...]:
    """Give the accounts of all demo people in `realm`; the callers count as verified."""
    people: list[tuple[Role, Person]] = [("dispatcher", person) for person in credentials.dispatchers]
    people += [("caller", person) for person in credentials.callers]
    return tuple(
        Account(
            user=person.user,
            role=role,
            realm=realm,
            ha1_sha256=ha1(person.user, realm, person.password, "SHA-256"),
            ha1_md5=ha1(person.user, realm, person.password, "MD5"),
            name=f"Demo {role} {number}",
            verified=True,
            verified_by="demo",
        )
        for number, (role, person) in enumerate(people, 1)
    )


def ha1(user: str, realm: str, password: str, algorithm: Literal["SHA-256", "MD5"]) -> str:
    """Give H(A1) in lower-case hexadecimal (RFC 7616 §3.4.2)."""
    secret = f"{user}:{realm}:{password}".encode()
    if algorithm == "SHA-256":
        return hashlib.sha256(secret).hexdigest()
    return hashlib.md5(secret, usedforsecurity=False).hexdigest()


def write_private(path: Path, content: bytes) -> None:
    """Replace `path` whole or not at all, mode 600 from its first moment, on disk when this returns."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _fresh() -> Credentials:
    return Credentials(
        dispatchers=tuple(
            Person(str(FIRST_DISPATCHER + n), secrets.token_urlsafe(12)) for n in range(PEOPLE)
        ),
        callers=tuple(Person(str(FIRST_CALLER + n), secrets.token_urlsafe(12)) for n in range(PEOPLE)),
        api_token=secrets.token_urlsafe(32),
    )
