"""Which row each kind of record becomes.

A record is a dict. Fields named as below go to columns of that name; every other field goes to the row's `more` (jsonb),
so nothing is lost when the exchange says more than the tables know. Times are nanoseconds since 1970 (int) or seconds
(float). A value a column can't hold goes to `more` too: a row written behind is never refused for its shape.

call          `call`; state caller identity account name silent desk sip_call_id evidence trunk started_at answered_at
              attached_at ended_at reason. Upsert: a field that is absent or None keeps what stood there.
call_event    call at event …; appended
message       call at sender receiver content_type text …; appended
desk          `desk`; account state call since …; upsert, whole: None clears
registration  `aor` `contact`; account source user_agent at expires_at …; upsert, whole
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from pbx.storage.plain import encoded, text

__all__ = ["KINDS", "Statement", "statement"]

Shape = Literal["text", "long", "time", "flag"]
EARLIEST: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
MAX_SHORT: Final = 300
"""Characters of a "text" column: two of them in four bytes each still fit an index row (2,704 bytes)."""
MAX_SECONDS: Final = 253_402_300_799  # the last second of the year 9999
MAX_NS: Final = MAX_SECONDS * 10**9


@dataclass(frozen=True, slots=True)
class Statement:
    """One INSERT and its values."""

    sql: str
    values: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Kind:
    """One table: `keys` name the row (empty: rows are appended), `merge` keeps old values where new are None."""

    table: str
    columns: Mapping[str, Shape]
    keys: tuple[str, ...] = ()
    merge: bool = False

    def sql(self) -> str:
        """Build the INSERT from our own names only; values are always parameters."""
        names = [*self.columns, "more"] + ([] if self.keys else ["stream", "position"])
        places = [f"${n}::jsonb" if name == "more" else f"${n}" for n, name in enumerate(names, 1)]
        text = f"INSERT INTO {self.table} ({', '.join(names)}) VALUES ({', '.join(places)})"  # noqa: S608 - constants of this file
        if not self.keys:
            return text
        changes = [self._change(name) for name in self.columns if name not in self.keys]
        changes += [f"more = {self.table}.more || EXCLUDED.more", "written_at = clock_timestamp()"]
        return f"{text} ON CONFLICT ({', '.join(self.keys)}) DO UPDATE SET {', '.join(changes)}"

    def _change(self, name: str) -> str:
        if self.merge:
            return f"{name} = COALESCE(EXCLUDED.{name}, {self.table}.{name})"
        return f"{name} = EXCLUDED.{name}"


def _columns(texts: str, times: str = "", flags: str = "", longs: str = "") -> dict[str, Shape]:
    found: dict[str, Shape] = dict.fromkeys(texts.split(), "text")
    found.update(dict.fromkeys(times.split(), "time"))
    found.update(dict.fromkeys(flags.split(), "flag"))
    found.update(dict.fromkeys(longs.split(), "long"))
    return found


KINDS: Final[Mapping[str, Kind]] = {
    "call": Kind(
        "calls",
        _columns(
            "call state caller identity account name desk sip_call_id evidence reason trunk",
            "started_at answered_at attached_at ended_at",
            "silent",
        ),
        keys=("call",),
        merge=True,
    ),
    "call_event": Kind("call_events", _columns("call event", "at")),
    "message": Kind("messages", _columns("call sender receiver content_type", "at", longs="text")),
    "desk": Kind("desks", _columns("desk account state call", "since"), keys=("desk",)),
    "registration": Kind(
        "registrations",
        _columns("aor contact account source user_agent", "at expires_at"),
        keys=("aor", "contact"),
    ),
}
_SQL: Final = {name: kind.sql() for name, kind in KINDS.items()}


def statement(kind: str, record: Mapping[str, object], stream: str, position: int) -> Statement:
    """Give the INSERT for one record of the outbox `stream`. Raises ValueError for an unknown kind or a missing key."""
    table = KINDS.get(kind)
    if table is None:
        raise ValueError(f"no kind {kind!r}")
    values: list[object] = []
    more = dict(record)
    for name, shape in table.columns.items():
        value = more.pop(name, None)
        fit = None if value is None else _fit(value, shape)
        if fit is None:
            if value is not None:
                more[name] = value
                if isinstance(value, str) and shape == "text":
                    fit = text(value[:MAX_SHORT])  # the beginning in its column, the whole in `more`
            if fit is None and name in table.keys:
                raise ValueError(f"a {kind} needs {name}")
        values.append(fit)
    values.append(encoded(more).decode() if more else "{}")
    if not table.keys:
        values += (stream, position)
    return Statement(_SQL[kind], tuple(values))


def _fit(value: object, shape: Shape) -> object:
    """Give `value` as the column wants it, or None when it can't be held."""
    if shape == "text" and isinstance(value, str):  # these two are nine of ten
        return text(value) if len(value) <= MAX_SHORT else None
    if shape == "time" and isinstance(value, int) and not isinstance(value, bool):
        return EARLIEST + dt.timedelta(microseconds=value // 1000) if 0 <= value <= MAX_NS else None
    match shape, value:
        case "long", str():
            return text(value)
        case "text", int() if not isinstance(value, bool):
            return str(value)
        case "flag", bool():
            return value
        case "time", float() if 0 <= value <= MAX_SECONDS:
            return EARLIEST + dt.timedelta(seconds=value)
        case _:
            return None
