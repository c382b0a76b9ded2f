"""Make any value fit for JSON and for PostgreSQL text.

Texts from the wire carry undecodable bytes as lone surrogates and may hold NUL (RFC 4475 §3.1.1.4 "escnull");
JSON encoders refuse the first, PostgreSQL `text` and `jsonb` the second. Both become U+FFFD here, at one place.
"""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

MAX_DEPTH: Final = 16
"""Nothing we write is deeper; what is deeper came from a loop."""
MAX_TEXT: Final = 65_536
"""Characters of one text: a SIP message over UDP can't bring more."""

_UNFIT: Final = re.compile("[\x00\ud800-\udfff]")
_I64: Final = 2**63


def text(value: str) -> str:
    """Give `value` without NUL and lone surrogates, at most `MAX_TEXT` characters."""
    return _UNFIT.sub("\ufffd", value[:MAX_TEXT])


def plain(value: object, depth: int = 0) -> object:
    """Give a copy of dict, list, str, int, float, bool and None only; anything else becomes its `str`."""
    match value:
        case None | bool():
            return value
        case str():
            return text(value)
        case int():
            return int(value) if -_I64 <= value < _I64 else str(value)
        case float():
            return value if math.isfinite(value) else None
        case bytes() | bytearray():
            return text(bytes(value).decode("utf-8", "replace"))
        case Mapping() if depth < MAX_DEPTH:
            return {text(str(name)): plain(item, depth + 1) for name, item in value.items()}
        case list() | tuple() | set() | frozenset() if depth < MAX_DEPTH:
            return [plain(item, depth + 1) for item in value]
        case _:
            return text(str(value)) if depth < MAX_DEPTH else None


_SCALARS: Final = frozenset({str, float, bool, type(None)})
_LISTS: Final = frozenset({list, tuple})
_ENCODER: Final = msgspec.json.Encoder()
_NUL: Final = b"\\u0000"


def encoded(record: Mapping[str, object]) -> bytes:
    """Give a record as a JSON object, made `plain` where it is not.

    Nearly all are plain, and the encoder itself finds out: it refuses lone surrogates and numbers beyond 64 bits, and writes
    NUL in one way only.
    """
    if _is_known(record.values(), 0):
        try:
            data = _ENCODER.encode(record)
        except (UnicodeEncodeError, OverflowError, TypeError):
            pass  # its texts are made fit below
        else:
            if _NUL not in data and len(data) <= MAX_TEXT:
                return data
    return _ENCODER.encode(plain(record))


def _is_known(values: Iterable[Any], depth: int) -> bool:
    """Tell whether the encoder makes of all values what `plain` makes of them, their texts aside."""
    if depth >= MAX_DEPTH:
        return False
    for value in values:
        kind = type(value)
        if kind in _SCALARS:
            continue
        if kind is int:
            if not -_I64 <= value < _I64:
                return False
        elif kind is dict:
            if not _is_known(value.values(), depth + 1):
                return False
        elif kind not in _LISTS or not _is_known(value, depth + 1):
            return False
    return True
