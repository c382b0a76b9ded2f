"""What the tables of the settings file are made of."""

from typing import Annotated

import msgspec

__all__ = ["Count", "Seconds", "Section"]

Seconds = Annotated[float, msgspec.Meta(ge=0, le=86400)]
Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of the settings file."""
