"""Who calls, as far as it is known: a plain value."""

from dataclasses import dataclass, fields
from typing import Any


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

    def pack(self) -> dict[str, Any]:
        """Return plain data."""
        return {name: getattr(self, name) for name in _NAMES}


_NAMES = tuple(field.name for field in fields(Caller))
