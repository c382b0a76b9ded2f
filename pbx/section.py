"""What the tables of the settings file are made of."""

from typing import Annotated

import msgspec

__all__ = ["Count", "Seconds", "Section", "tables_of"]

Seconds = Annotated[float, msgspec.Meta(ge=0, le=86400)]
Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of the settings file."""


def tables_of(name: str, kind: type[Section], tables: object, problems: list[str]) -> tuple[Section, ...]:
    """Read tables of which there may be many, `[[name]]`; what is wrong is added to `problems`, one sentence each."""
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        problems.append(f"{name} must be tables: [[{name}]]")
        return ()
    found: list[Section] = []
    for number, table in enumerate(tables, 1):
        try:
            found.append(msgspec.convert(table, kind))
        except msgspec.ValidationError as error:
            problems.append(f"{name} {table.get('name', number)!r}: {error}")
    return tuple(found)
