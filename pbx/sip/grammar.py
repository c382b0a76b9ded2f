r"""The words of RFC 3261 §25.1 that every other file spells with: token, quoted-string, parameters, lists, numbers.

Every pattern is possessive or walks forward only, so cost grows with the length of the text and with nothing else (no input
makes a pattern try twice). All text is ASCII-minded: `[0-9]` and `[A-Za-z]`, never `\d`, `\w`, `\s`, `int()` of a stranger's text
or `str.lower()` of non-ASCII.
"""

import re
from typing import Final

from pbx.sip.errors import SipError

Params = tuple[tuple[str, str | None], ...]
"""Parameters in order, names and values as on the wire (a quoted value keeps its quotes); None: no value."""

WORD_CHARS: Final = r"A-Za-z0-9\-.!%*_+`'~"
"""RFC 3261 §25.1 token, as the inside of a character class."""

HOST: Final = (
    r"(?:\[((?=[0-9A-Fa-f.]*+:)[0-9A-Fa-f:.]++(?:%[A-Za-z0-9._~%\-]++)?+)\]"
    r"|([A-Za-z0-9._\-]++))"
)
"""host, two groups: IPv6 literal without its brackets, or hostname/IPv4 address. Wider than the RFC where peers are: `_` in
names, and IPv6 text with three colons in a row, which a faulty grammar made people write (RFC 5118 §4.10)."""

_TOKEN: Final = re.compile(rf"[{WORD_CHARS}]++")
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_PAIR: Final = re.compile(r"\\(.)", re.DOTALL)
_NEEDS_PAIR: Final = re.compile(r'["\\\x00-\x08\x0a-\x1f\x7f]')
_LIST_MARK: Final = re.compile(r'[,"<>]')
_COMMA_OR_QUOTE: Final = re.compile(r'[,"]')
_NUMBER: Final = re.compile(r"[0-9]{1,10}")
_PARAM: Final = re.compile(
    rf"[ \t]*+;[ \t]*+(?:([{WORD_CHARS}]++)[ \t]*+"
    r'(?:=[ \t]*+("(?:[^"\\]|\\.)*+"|[^\x00-\x20\x7f";,<>]*+)[ \t]*+)?+)?+',
    re.DOTALL,
)
_LOWER: Final = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}

MAX_UINT32: Final = 2**32 - 1
"""RFC 3261 §20.16: "The sequence number ... MUST be expressible as a 32-bit unsigned integer"; also the cap of delta-seconds."""


def is_token(text: str) -> bool:
    """Tell whether the whole text is a token."""
    return _TOKEN.fullmatch(text) is not None


def lower(text: str) -> str:
    """Lower-case A–Z only: U+212A KELVIN SIGN must not become a k."""
    return text.lower() if text.isascii() else text.translate(_LOWER)


def number(text: str, limit: int = MAX_UINT32) -> int | None:
    """Read a decimal number of at most ten ASCII digits, or None when it is none or above `limit`."""
    if _NUMBER.fullmatch(text) is None:
        return None
    value = int(text)
    return value if value <= limit else None


def quote(text: str) -> str:
    """Make a quoted-string; quotes, backslashes and control characters become quoted pairs.

    CR and LF can't stand in a quoted-string (RFC 3261 §25.1 quoted-pair): ValueError.
    """
    if "\r" in text or "\n" in text:
        raise ValueError("CR or LF in a quoted string")
    return '"' + _NEEDS_PAIR.sub(r"\\\g<0>", text) + '"'


def unquote(text: str) -> str:
    """Take the quotes off a quoted-string and undo its quoted pairs; other text comes back as it is."""
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    inner = text[1:-1]
    return _PAIR.sub(r"\1", inner) if "\\" in inner else inner


def quoted_end(text: str, start: int) -> int:
    """Where the quoted-string that begins at `start` ends (behind its closing quote), or -1 when it never closes."""
    match = _QUOTED.match(text, start)
    return match.end() if match else -1


def split_list(text: str) -> list[str]:
    """Split a header value at its commas, not at those inside quotes or angle brackets; pieces are stripped.

    An unclosed quote or bracket keeps the rest together: the reader of the piece will refuse it. Empty pieces stay.
    """
    if "," not in text:
        return [text]
    if '"' not in text and "<" not in text:
        return [piece.strip(" \t") for piece in text.split(",")]
    pieces: list[str] = []
    start = position = 0
    while (mark := _LIST_MARK.search(text, position)) is not None:
        position = mark.end()
        match mark[0]:
            case ",":
                pieces.append(text[start : mark.start()].strip(" \t"))
                start = position
            case '"':
                position = quoted_end(text, mark.start())
            case "<":
                position = text.find(">", position)
        if position < 0:
            break
    pieces.append(text[start:].strip(" \t"))
    return pieces


def split_quoted(text: str) -> list[str]:
    """Split at commas outside quotes; angle brackets mean nothing here (a nonce or a password's realm may hold one)."""
    pieces: list[str] = []
    start = position = 0
    while (mark := _COMMA_OR_QUOTE.search(text, position)) is not None:
        position = mark.end()
        if mark[0] == ",":
            pieces.append(text[start : mark.start()].strip(" \t"))
            start = position
        elif (position := quoted_end(text, mark.start())) < 0:
            break
    pieces.append(text[start:].strip(" \t"))
    return pieces


def parse_params(text: str, start: int, what: str) -> Params:
    """Read `;name[=value]…` from `start` to the end of the text.

    Stray semicolons are dropped (peers send `;` at the end). Anything else is SipError(400) naming `what`.
    """
    params: list[tuple[str, str | None]] = []
    end = len(text)
    while start < end:
        match = _PARAM.match(text, start)
        if match is None:
            if text[start:].strip(" \t") == "":
                break
            raise SipError(400, f"Malformed {what} parameter")
        name, value = match.groups()
        if name is not None:
            params.append((name, value))
        start = match.end()
    return tuple(params)


def find_param(params: Params, name: str) -> tuple[str, str | None] | None:
    """The first parameter of that name (any case), or None."""
    for pair in params:
        if pair[0] == name:
            return pair
    size, name = len(name), lower(name)
    for pair in params:
        if len(pair[0]) == size and lower(pair[0]) == name:
            return pair
    return None


def param_value(params: Params, name: str) -> str | None:
    """The value of the first parameter of that name (any case) without its quotes; None when it is absent or has none."""
    if not params:
        return None
    key, value = params[0]  # From, To and Via have what is asked for in front
    if key != name:
        _, value = find_param(params, name) or (name, None)
    return unquote(value) if value is not None and value[:1] == '"' else value


def put_param(params: Params, name: str, value: str | None) -> Params:
    """The parameters with `name` set to `value`: replaced where it stood, else added at the end."""
    size, folded = len(name), lower(name)
    out = [(name, value) if len(pair[0]) == size and lower(pair[0]) == folded else pair for pair in params]
    return tuple(out) if (name, value) in out else (*out, (name, value))


def write_params(params: Params) -> str:
    """Parameters as they go on the wire, from the first semicolon."""
    return "".join([f";{name}" if value is None else f";{name}={value}" for name, value in params])


def param_text(value: str) -> str:
    """A parameter value as it goes on the wire: as it is when token or host characters suffice, else quoted."""
    return value if _PLAIN_VALUE.fullmatch(value) else quote(value)


_PLAIN_VALUE: Final = re.compile(rf"[{WORD_CHARS}\[\]:]++")
