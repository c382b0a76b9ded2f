"""The little XML that is written here: escaped text, one declaration, UTF-8."""

import re
from html import escape
from typing import Final

_NO_CHAR: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 §2.2 does not allow in a document, not even escaped: controls, and bytes of a phone that are no UTF-8."""


def clean(text: str) -> str:
    """Return text XML can hold: each character it can't becomes U+FFFD."""
    return _NO_CHAR.sub("\ufffd", text)


def quoted(text: str) -> str:
    """Escape text for an element's content or an attribute in double quotes."""
    return escape(clean(text), quote=True)


def document(root: str) -> bytes:
    """Return a whole document; `root` is its root element."""
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{root}\n'.encode()
