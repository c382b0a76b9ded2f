"""The number of an identity document becomes a keyed digest at once; the number itself is kept and logged nowhere.

in → out: kind, number → 64 hexadecimal digits. The key stands in a private file beside the database, not in it: whoever has only a copy
of the database can't try all numbers. A lost key makes old digests incomparable, nothing else.
"""

import hashlib
import hmac
import re
import secrets
from pathlib import Path
from typing import Final

from pbx.credentials import write_private

__all__ = ["DocumentKey", "resident_id_fits"]

KEY_BYTES: Final = 32
"""As long as the digest, RFC 2104 §3: "keys shorter than L bytes … would decrease the security strength"."""
_NUMBER: Final = re.compile(r"[0-9A-Z]{4,32}", re.ASCII)
_RESIDENT: Final = re.compile(r"[0-9]{17}[0-9X]", re.ASCII)
_CHECK: Final = "10X98765432"
"""GB 11643, ISO 7064 MOD 11-2: the last character by the weighted sum modulo 11."""


class DocumentKey:
    """See the module."""

    def __init__(self, path: Path) -> None:
        """Read the key, or make it (mode 600). Raises OSError, or ValueError when the file is damaged."""
        try:
            key = path.read_bytes()
        except FileNotFoundError:
            key = secrets.token_bytes(KEY_BYTES)
            write_private(path, key)
        if len(key) != KEY_BYTES:
            raise ValueError(f"{path} is damaged; put it back from the backup")
        self._key = key

    def digest(self, kind: str, number: str) -> str | None:
        """Give the digest of a document, None when that can't be a number of such a document."""
        plain = number.replace(" ", "").replace("-", "")
        if not plain.isascii() or not _NUMBER.fullmatch(plain := plain.upper()):
            return None
        if kind == "resident-id" and not resident_id_fits(plain):
            return None
        return hmac.digest(self._key, f"{kind}\0{plain}".encode(), hashlib.sha256).hex()


def resident_id_fits(number: str) -> bool:
    """Whether the last character of a resident's identity number is the right one."""
    if not _RESIDENT.fullmatch(number):
        return False
    total = sum(int(digit) * pow(2, 17 - place, 11) for place, digit in enumerate(number[:17]))
    return _CHECK[total % 11] == number[17]
