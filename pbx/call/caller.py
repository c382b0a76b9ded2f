"""Who calls, as far as it is known: a plain value."""

from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, Final, Literal

from pbx.blocked import moment

MAX_CLAIMED: Final = 64
"""Characters of a name a phone gives itself that are kept for display."""
WHY: Final = {
    "database_away": ("无法核实：数据库不可用", "unavailable: database away"),
    "withheld": ("无法核实：对方隐藏身份", "unavailable: withheld"),
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, as far as it is known; `verified` says whether digest or a trusted peer vouches for it."""

    user: str | None
    name: str | None
    number: str | None
    verified: bool
    proof: str
    """`digest`, `registration` or `trunk`; otherwise what was wrong with the proof, or `none`."""
    address: str
    """Network address the call came from, `host:port`."""
    trunk: str | None = None
    """The trunk it came over; the number is its word."""
    verified_by: str | None = None
    verified_at: float | None = None
    """Who verified the name and when (seconds since 1970, if known); only ever of an account."""
    unavailable: str | None = None
    """Why nobody can say whether it is verified: `database_away`, `withheld`."""
    claimed: str | None = None
    """The name the phone gives itself: its word, and shown as that."""
    blocked: dict[str, Any] | None = None
    """`account`, `by`, `at`, `why`: the account it names without proof is blocked (`pbx.blocked`)."""

    @property
    def identity(self) -> Literal["verified", "unverified", "unavailable"]:
        """Exactly one of three; what is verified is never another."""
        return "verified" if self.verified else "unverified" if self.unavailable is None else "unavailable"

    def view(self) -> dict[str, Any]:
        """Return what people see of the identity, as plain data."""
        return {
            "identity": self.identity,
            "identity_by": self.verified_by if self.verified else None,
            "identity_at": self.verified_at if self.verified else None,
            "identity_why": None if self.verified else self.unavailable,
            "claimed": self.claimed,
            "blocked": self.blocked,
        }

    def mark(self) -> str:
        """Say the identity in both languages, for the text at a desk."""
        if self.verified:
            when = "" if self.verified_at is None else f", {moment(self.verified_at)}"
            return "已核实 verified" + ("" if self.verified_by is None else f": {self.verified_by}{when}")
        if self.unavailable is not None:
            return " ".join(WHY[self.unavailable])
        return "未核实 unverified"

    def pack(self) -> dict[str, Any]:
        """Return plain data."""
        return dict(zip(_NAMES, _VALUES(self), strict=True))


_NAMES = tuple(field.name for field in fields(Caller))
_VALUES = attrgetter(*_NAMES)
