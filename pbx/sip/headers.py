"""The header fields of a message: an ordered multimap with names in any case or compact form (RFC 3261 §7.3).

in → out: text lines → `Headers`; `Headers` → lines. Nothing with CR or LF can get in, so nothing can get out as a second header.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final, TypeVar

from pbx.sip import grammar
from pbx.sip.errors import SipError

T = TypeVar("T")

MAX_HEADERS: Final = 256
"""Header fields of one message (bars B7): ten times the longest real ones; a message that says nothing is refused early."""

MAX_HEADER_LINE: Final = 16 * 1024
"""Characters of one header field, folds undone (bars B7): an Identity with a long certificate chain stays below 8 KiB."""

REMEMBERED: Final = 2048
"""Lines kept as they were read: all phones of a make write the same Allow and Supported, and the messages of one dialog the same
From, To, Contact and Call-ID."""

REMEMBERED_LENGTH: Final = 2048
"""Characters of a header section whose lines are worth keeping: strangers can't fill more than 2048 × some 4 KiB."""

COMPACT: Final[dict[str, str]] = {
    "a": "Accept-Contact",
    "b": "Referred-By",
    "c": "Content-Type",
    "d": "Request-Disposition",
    "e": "Content-Encoding",
    "f": "From",
    "i": "Call-ID",
    "j": "Reject-Contact",
    "k": "Supported",
    "l": "Content-Length",
    "m": "Contact",
    "n": "Identity-Info",
    "o": "Event",
    "r": "Refer-To",
    "s": "Subject",
    "t": "To",
    "u": "Allow-Events",
    "v": "Via",
    "x": "Session-Expires",
    "y": "Identity",
}
"""Compact forms (IANA registry of SIP header fields)."""

# fmt: off
_LISTS: Final = frozenset({
    "accept", "accept-contact", "accept-encoding", "accept-language", "accept-resource-priority",
    "alert-info", "allow", "allow-events", "call-info", "contact", "content-encoding", "content-language",
    "diversion", "error-info", "feature-caps", "geolocation", "history-info", "in-reply-to",
    "p-access-network-info", "p-asserted-identity", "p-associated-uri", "p-early-media",
    "p-preferred-identity", "path", "permission-missing", "proxy-require", "reason", "record-route",
    "recv-info", "reject-contact", "request-disposition", "require", "resource-priority", "route",
    "security-client", "security-server", "security-verify", "service-route", "supported",
    "trigger-consent", "unsupported", "user-to-user", "via", "warning",
})
# fmt: on
"""Header fields whose grammar is a comma-separated list (RFC 3261 §7.3.1 and the RFCs that define the others)."""

# fmt: off
_WELL_KNOWN: Final = (
    "Accept", "Accept-Encoding", "Accept-Language", "Alert-Info", "Allow", "Allow-Events", "Answer-Mode",
    "Authorization", "Call-ID", "Call-Info", "Contact", "Content-Disposition", "Content-ID",
    "Content-Length", "Content-Type", "CSeq", "Date", "Event", "Expires", "From", "Geolocation",
    "Geolocation-Error", "Geolocation-Routing", "Identity", "Max-Forwards", "MIME-Version", "Min-Expires",
    "Min-SE", "P-Asserted-Identity", "P-Preferred-Identity", "Path", "Priority", "Privacy",
    "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Require", "Reason", "Record-Route", "Refer-To",
    "Referred-By", "Replaces", "Require", "Resource-Priority", "Retry-After", "Route", "Server",
    "Session-Expires", "Subject", "Subscription-State", "Supported", "Timestamp", "To", "Unsupported",
    "User-Agent", "Via", "Warning", "WWW-Authenticate",
)
# fmt: on

# As written (three spellings of each) → (key, name for the wire): one dictionary look-up for what real phones send.
_KNOWN: Final[dict[str, tuple[str, str]]] = {
    spelling: (name.lower(), name) for name in _WELL_KNOWN for spelling in (name, name.lower(), name.upper())
} | {spelling: (name.lower(), name) for short, name in COMPACT.items() for spelling in (short, short.upper())}


_KEYS: Final[dict[str, str]] = {spelling: key for spelling, (key, _) in _KNOWN.items()}


def _key(name: str) -> str:
    return _KEYS.get(name) or grammar.lower(name)


class Headers:
    """Ordered header fields. Iterating gives (name, value) pairs in order; equality compares them, names in any case.

    Every method takes a name in any case, long or compact. Putting in a name that is no token, or a value with CR or LF,
    raises ValueError.
    """

    __slots__ = ("_index", "_items", "_parsed")

    def __init__(self, items: Iterable[tuple[str, str]] = ()) -> None:
        self._items: list[tuple[str, str]] = [_checked(name, value) for name, value in items]
        self._index: dict[str, list[str]] | None = None
        self._parsed: dict[str, object] = {}

    @classmethod
    def parse(cls, text: str) -> "Headers":
        """Read header lines, separated by CRLF, without the empty line that ends them. Raises SipError(400, 513).

        RFC 3261 §7.3.1: "The line break and the whitespace at the beginning of the next line are treated as a single SP character."
        """
        headers = cls()
        if not text:
            return headers
        if "\r\n " in text or "\r\n\t" in text:
            text = _FOLD.sub(" ", text)
        lines = text.split("\r\n")
        if len(lines) > MAX_HEADERS:
            raise SipError(400, "Too many header fields")
        if len(text) > MAX_HEADER_LINE and max(map(len, lines)) > MAX_HEADER_LINE:
            raise SipError(513, "Header field too long")
        read = _remembered if len(text) <= REMEMBERED_LENGTH else _read
        index: dict[str, list[str]] = {}
        add = headers._items.append
        for line in lines:
            key, field = read(line)
            add(field)
            if key in index:
                index[key].append(field[1])
            else:
                index[key] = [field[1]]
        headers._index = index
        return headers

    def _lines(self, key: str) -> list[str] | None:
        index = self._index
        if index is None:
            index = self._index = {}
            for name, value in self._items:
                index.setdefault(_KEYS.get(name) or _key(name), []).append(value)
        return index.get(key)

    def _changed(self, key: str) -> None:
        self._index = None
        self._unread(key)

    def _first_changed(self, key: str, line: str) -> None:
        if self._index is not None:
            self._index[key][0] = line
        self._unread(key)

    def _unread(self, key: str) -> None:
        if key in _KNOWN:
            self._parsed.pop(_KNOWN[key][1], None)
            return
        for name in [name for name in self._parsed if _key(name) == key]:
            del self._parsed[name]

    def get(self, name: str) -> str | None:
        """The value of the first field of that name, whole (not split at commas); None when there is none."""
        index = self._index
        key = _KEYS.get(name) or _key(name)
        lines = self._lines(key) if index is None else index.get(key)
        return lines[0] if lines else None

    def lines(self, name: str) -> list[str]:
        """The values of all fields of that name, each as it stood in its line."""
        return list(self._lines(_key(name)) or ())

    def all(self, name: str) -> list[str]:
        """All values of that name in order: one per field, and one per comma where the field's grammar is a list."""
        key = _key(name)
        lines = self._lines(key)
        if lines is None:
            return []
        if key not in _LISTS:
            return list(lines)
        return [piece for line in lines for piece in grammar.split_list(line) if piece]

    def parsed(self, name: str, parse: Callable[[list[str]], T]) -> T:
        """What `parse` makes of the lines of that name, kept until that header changes. One `parse` for a name, always."""
        known = self._parsed.get(name)
        if known is not None:
            return known  # type: ignore[return-value]  # the one parse of this name made it
        key, written = _KNOWN.get(name) or (_key(name), name)
        if written != name:
            return self.parsed(written, parse)
        value = self._parsed[name] = parse(self._lines(key) or [])
        return value

    def keep(self, name: str, value: object) -> None:
        """Have `parsed` know what it would read, `name` as it is written: for who writes a header of a value, or copies both."""
        self._parsed[name] = value

    def forget(self) -> None:
        """Keep the lines alone; what was read of them is read again when it is asked for."""
        self._index = None
        self._parsed = {}

    def opened(self) -> tuple[dict[str, list[str]], dict[str, object]]:
        """Give the lines by name in lower case, and what `parsed` keeps by name: for who reads many fields at once. Never change
        the former.
        """
        if self._index is None:
            self._lines("")
        assert self._index is not None, "made by now"
        return self._index, self._parsed

    def add(self, name: str, value: str) -> None:
        """Append a field."""
        self._items.append(_checked(name, value))
        self._changed(_key(name))

    def prepend(self, name: str, value: str) -> None:
        """Put a field before all others."""
        self._items.insert(0, _checked(name, value))
        self._changed(_key(name))

    def put_first(self, fields: Sequence[tuple[str, str]]) -> None:
        """Put fields before all others, whose names are written as `Headers` writes them."""
        for name, value in fields:
            if "\r" in value or "\n" in value:
                raise ValueError(f"CR or LF in the value of {name}")
        self._items[:0] = fields
        self._index = None
        self._parsed.clear()

    def set(self, name: str, value: str) -> None:
        """Replace all fields of that name by one, where the first of them stood; append it when there was none."""
        field, key = _checked(name, value), _key(name)
        position = next(
            (i for i, (other, _) in enumerate(self._items) if _key(other) == key), len(self._items)
        )
        self._items[position:] = [field, *(item for item in self._items[position:] if _key(item[0]) != key)]
        self._changed(key)

    def replace_first(self, name: str, value: str) -> None:
        """Replace the first value of a list field (the topmost Via), leaving what follows it; add it when there is none."""
        key = _key(name)
        for i, (other, line) in enumerate(self._items):
            if _key(other) == key:
                rest = grammar.split_list(line)[1:] if key in _LISTS else []
                self._items[i] = _checked(name, ", ".join([value, *rest]))
                self._first_changed(key, self._items[i][1])
                return
        self.add(name, value)

    def remove(self, name: str) -> None:
        """Remove all fields of that name, if any."""
        key = _key(name)
        self._items = [item for item in self._items if _key(item[0]) != key]
        self._changed(key)

    def items(self) -> list[tuple[str, str]]:
        """All fields in order, compact names written out."""
        return list(self._items)

    def repeated(self) -> list[tuple[str, list[str]]]:
        """The names, in lower case, that more than one field has, and those fields' values."""
        self._lines("")
        index = self._index or {}
        return [] if len(index) == len(self._items) else [pair for pair in index.items() if len(pair[1]) > 1]

    def among(self, keys: frozenset[str]) -> frozenset[str]:
        """Those of `keys`, long names in lower case, that there is a field of."""
        self._lines("")
        return keys.intersection(self._index or ())

    def copy(self) -> "Headers":
        twin = Headers()
        twin._items = list(self._items)
        twin._parsed = dict(self._parsed)  # what was read is never changed
        return twin

    def __contains__(self, name: object) -> bool:
        index = self._index
        if index is not None and name in _KEYS:
            return _KEYS[name] in index
        return isinstance(name, str) and self._lines(_key(name)) is not None

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Headers):
            return NotImplemented
        return [(_key(n), v) for n, v in self._items] == [(_key(n), v) for n, v in other._items]

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"Headers({self._items!r})"

    def encode(self) -> str:
        """The fields as lines, each with its CRLF."""
        return "".join([f"{name}: {value}\r\n" for name, value in self._items])


def _read(line: str) -> tuple[str, tuple[str, str]]:
    """Read one line without folds: key, then name for the wire and value. Raises SipError(400)."""
    if "\r" in line or "\n" in line:
        raise SipError(400, "Bare CR or LF in a header field")
    name, colon, value = line.partition(":")
    known = _KNOWN.get(name) if colon else None
    key, name = known or _unknown(name, colon)
    return key, (name, value.strip(" \t"))


_remembered: Final = lru_cache(REMEMBERED)(_read)


def _unknown(name: str, colon: str) -> tuple[str, str]:
    """Return key and name for the wire of a header that is none of those known by their spelling. Raises SipError(400)."""
    name = name.rstrip(" \t")
    if not colon or not grammar.is_token(name):
        raise SipError(400, "Malformed header field")
    key = grammar.lower(name)
    return _KNOWN.get(key) or (key, name)


def _checked(name: str, value: str) -> tuple[str, str]:
    known = _KNOWN.get(name)
    if known is None:
        if not grammar.is_token(name):
            raise ValueError(f"not a header name: {name!r}")
        known = _KNOWN.get(grammar.lower(name)) or ("", name)
    name = known[1]
    if "\r" in value or "\n" in value:
        raise ValueError(f"CR or LF in the value of {name}")
    return name, value


_FOLD: Final = re.compile(r"\r\n[ \t]++")
