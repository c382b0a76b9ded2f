"""Whose leg it is. A plain value."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose leg it is: `call`, `desk` (or an outside party, which has a room of its own as a desk has), or `feature` (a
    phone that dialled a feature code).
    """

    kind: str
    id: str
