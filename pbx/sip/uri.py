"""Addresses: SIP, tel and other URIs (RFC 3261 §19.1, RFC 3966), name-addr (§20.10) and Via (§20.42).

in → out: text of a header value or Request-URI → frozen values; `str(value)` → text for the wire. What we parse is wider than
what the RFC allows where real peers are (bare URIs with parameters, `#` in users, `< sip:… >`), what we write is the RFC's.
"""

import re
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Final
from urllib.parse import quote as escape
from urllib.parse import unquote as unescape

from msgspec import Struct
from msgspec.structs import replace

from pbx.sip import grammar
from pbx.sip.errors import SipError
from pbx.sip.grammar import HOST, MAX_UINT32, WORD_CHARS, Params

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*+):")
# user and password are wider than §25.1: unescaped `#` and non-ASCII come from real phones; what delimits stays out.
_USER: Final = re.compile(r'([^\x00-\x20\x7f"<>@:\\]++)(?::([^\x00-\x20\x7f"<>@:\\]*+))?+@')
# Apart from the user, because CPython 3.11.2 (Debian 12) loses its place in an optional possessive group that fails half-way.
_SIP_REST: Final = re.compile(
    HOST + r'(?::([0-9]{1,5}))?+((?:;[^\x00-\x20\x7f"<>;?]*+)*+)(?:\?([^\x00-\x20\x7f"<>]*+))?+'
)
_OPAQUE: Final = re.compile(r'[^\x00-\x20\x7f"<>]++')
_DISPLAY: Final = re.compile(r'[^<>",;\r\n]*+')
_VIA: Final = re.compile(
    rf"[ \t]*+[Ss][Ii][Pp][ \t]*+/[ \t]*+2\.0[ \t]*+/[ \t]*+([{WORD_CHARS}]++)[ \t]++{HOST}(?:[ \t]*+:[ \t]*+([0-9]{{1,5}}))?+"
)
_PLAIN_VIA: Final = re.compile(
    r"SIP/2\.0/([A-Z]{2,3}) ([A-Za-z0-9.\-]++)(?::([0-9]{1,4}))?+"
    r";(branch)=([A-Za-z0-9.\-]++)(?:;(rport)|;(i)=([0-9a-f]++))?"
)
"""A Via as nearly every phone writes it, or Kamailio (`i`); others are read parameter by parameter."""
_USER_SAFE: Final = (
    "-_.!~*'()&=+$,;?/"  # RFC 3261 §25.1 mark and user-unreserved: never escaped in an address-of-record
)
_WITH_PARAMS: Final = frozenset({"tel", "urn"})  # other schemes' semicolons are part of their opaque text

MALFORMED_EXPIRES: Final = 3600
"""RFC 3261 §20.10: "Malformed values SHOULD be treated as equivalent to 3600." """

REMEMBERED: Final = 2048
"""Addresses kept as they were read: the values never change, and the messages of one dialog repeat the same four."""

REMEMBERED_LENGTH: Final = 256
"""Characters of an address worth keeping: strangers can't fill more than 2 × 2048 × some 2 KiB."""

_unescape: Final = partial(unescape, errors="surrogateescape")


class Uri(Struct, frozen=True, gc=False):
    """A URI. `host` has no brackets when it is an IPv6 literal; for schemes other than sip and sips it holds the opaque part.

    Everything is kept as it stood on the wire, escapes included, except that the scheme is lower case.
    """

    scheme: str
    user: str | None
    password: str | None
    host: str
    port: int | None = None
    params: Params = ()
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def is_sip(self) -> bool:
        return self.scheme in ("sip", "sips")

    @property
    def user_text(self) -> str | None:
        """The user with its escapes undone exactly once (RFC 4475 §3.1.1.3); may hold any character, NUL included."""
        user = self.user
        return user if user is None or "%" not in user else _unescape(user)

    def param(self, name: str) -> str | None:
        """The value of a parameter, escapes undone once; None when it is absent or has no value."""
        for key, value in self.params:
            if grammar.lower(_unescape(key) if "%" in key else key) == name:
                return _unescape(value) if value is not None and "%" in value else value
        return None

    def has_param(self, name: str) -> bool:
        return any(grammar.lower(_unescape(key) if "%" in key else key) == name for key, _ in self.params)

    def header(self, name: str) -> str | None:
        """The value of an embedded header (`?Replaces=…`), escapes undone once. Never act on a stranger's."""
        for key, value in self.headers:
            if grammar.lower(_unescape(key)) == grammar.lower(name):
                return _unescape(value)
        return None

    def with_params(self, **params: str | None) -> "Uri":
        """The same URI with these parameters set (value None: without value)."""
        merged = self.params
        for name, value in params.items():
            merged = grammar.put_param(merged, name, value)
        return replace(self, params=merged)

    def bare(self) -> "Uri":
        """The same URI without parameters and embedded headers."""
        return replace(self, params=(), headers=())

    @property
    def aor(self) -> str:
        """Key of an address-of-record (RFC 3261 §10.3 step 5): no port, password, parameters or headers, host in lower case.

        Escapes are brought to one spelling, so that `%75ser` and `user` are the same, and what must stay escaped stays so
        (`null-%00-null`). A sips URI gives the same key as sip. Other schemes: `scheme:opaque`.
        """
        if not self.is_sip:
            return f"{self.scheme}:{self.host}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.user is None:
            return f"sip:{grammar.lower(host)}"
        text = self.user_text or ""
        user = (
            text
            if text.isalnum() and text.isascii()
            else escape(text, safe=_USER_SAFE, errors="surrogateescape")
        )
        return f"sip:{user}@{grammar.lower(host)}"

    def __str__(self) -> str:
        if not self.is_sip:
            return f"{self.scheme}:{self.host}{grammar.write_params(self.params)}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.user is not None:
            host = f"{self.user}@{host}" if self.password is None else f"{self.user}:{self.password}@{host}"
        text = f"{self.scheme}:{host}" if self.port is None else f"{self.scheme}:{host}:{self.port}"
        if self.params:
            text += grammar.write_params(self.params)
        if self.headers:
            text += "?" + "&".join(f"{name}={value}" for name, value in self.headers)
        return text


def parse_uri(text: str) -> Uri:
    """Read a URI. Raises SipError(400) when it is none; an unknown scheme is not an error here (416 is for who routes it)."""
    return _remembered_uri(text) if len(text) <= REMEMBERED_LENGTH else _read_uri(text)


def _read_uri(text: str) -> Uri:
    match = _SCHEME.match(text)
    if match is None:
        raise SipError(400, "Malformed URI")
    scheme, start = grammar.lower(match[1]), match.end()
    if scheme not in ("sip", "sips"):
        if _OPAQUE.fullmatch(text, start) is None:
            raise SipError(400, "Malformed URI")
        opaque, params = text[start:], ""
        if scheme in _WITH_PARAMS:
            opaque, _, params = opaque.partition(";")
        if not opaque:
            raise SipError(400, "Malformed URI")
        return Uri(scheme, None, None, opaque, None, _uri_params(params))
    found = _USER.match(text, start) if "@" in text else None
    user, password = (None, None) if found is None else found.groups()
    rest = _SIP_REST.fullmatch(text, start if found is None else found.end())
    if rest is None:
        raise SipError(400, "Malformed SIP URI")
    literal, name, port_text, params, headers = rest.groups()
    port = int(port_text) if port_text else None
    if port is not None and port > 65535:
        raise SipError(400, "Malformed SIP URI")
    return Uri(
        scheme,
        user,
        password,
        literal or name,
        port,
        _uri_params(params) if params else (),
        _uri_headers(headers) if headers else (),
    )


def _uri_params(text: str) -> Params:
    pairs: list[tuple[str, str | None]] = []
    for piece in text.split(";"):
        if piece:
            name, equals, value = piece.partition("=")
            pairs.append((name, value if equals else None))
    return tuple(pairs)


def _uri_headers(text: str) -> tuple[tuple[str, str], ...]:
    return tuple(
        [(name, value) for name, _, value in [piece.partition("=") for piece in text.split("&")] if name]
    )


class NameAddr(Struct, frozen=True, gc=False):
    """`"Display" <uri>;params`: From, To, Contact, Route and their like. `display` is plain text, no quotes or pairs."""

    display: str | None
    uri: Uri
    params: Params = ()

    @property
    def tag(self) -> str | None:
        return grammar.param_value(self.params, "tag")

    def param(self, name: str) -> str | None:
        """The value of a header parameter without its quotes; None when it is absent or has no value."""
        return grammar.param_value(self.params, name)

    def has_param(self, name: str) -> bool:
        return grammar.find_param(self.params, name) is not None

    @property
    def expires(self) -> int | None:
        """Seconds of a Contact's `expires` parameter; None when absent, 3600 when malformed."""
        text = self.param("expires")
        return None if text is None else delta_seconds(text)

    @property
    def q(self) -> float:
        """A Contact's preference, 0…1 (RFC 3261 §20.10); 1 when absent or malformed."""
        text = self.param("q")
        return float(text) if text is not None and _Q.fullmatch(text) else 1.0

    def with_tag(self, tag: str) -> "NameAddr":
        return self.with_param("tag", tag)

    def with_param(self, name: str, value: str | None) -> "NameAddr":
        """The same address with a header parameter set; the value is quoted if it must be."""
        wire = None if value is None else grammar.param_text(value)
        return replace(self, params=grammar.put_param(self.params, name, wire))

    def without_params(self) -> "NameAddr":
        return replace(self, params=())

    def __str__(self) -> str:
        display = f"{grammar.quote(self.display)} " if self.display else ""
        return f"{display}<{self.uri}>{grammar.write_params(self.params)}"


_Q: Final = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")


def delta_seconds(text: str) -> int:
    """Read delta-seconds, 0…2**32-1; what is malformed or larger counts as 3600."""
    value = grammar.number(text, MAX_UINT32)
    return MALFORMED_EXPIRES if value is None else value


def parse_name_addr(text: str) -> NameAddr:
    """Read one name-addr or addr-spec with its parameters. Raises SipError(400).

    Without angle brackets parameters belong to the header, not to the URI (RFC 3261 §20.10).
    """
    return _remembered_address(text) if len(text) <= REMEMBERED_LENGTH else _read_address(text)


def _read_address(text: str) -> NameAddr:
    text = text.strip(" \t")
    display: str | None = None
    if text.startswith('"'):
        end = grammar.quoted_end(text, 0)
        left = text.find("<", end) if end > 0 else -1
        if left < 0 or text[end:left].strip(" \t"):
            raise SipError(400, "Malformed address")
        display = grammar.unquote(text[:end])
        if "\r" in display or "\n" in display:  # a header has none; what was unescaped out of a URI may
            raise SipError(400, "CR or LF in a display name")
    else:
        left = text.find("<")
        if left > 0:
            if _DISPLAY.fullmatch(text, 0, left) is None:
                left = -1  # the bracket is inside a parameter of an addr-spec, or the text is wrong
            else:
                display = text[:left].strip(" \t")
    if left < 0:
        return _addr_spec(text)
    right = text.find(">", left)
    if right < 0:
        raise SipError(400, "Malformed address")
    uri = parse_uri(text[left + 1 : right].strip(" \t"))
    params = grammar.parse_params(text, right + 1, "address") if right + 1 < len(text) else ()
    return NameAddr(display or None, uri, params)


def _addr_spec(text: str) -> NameAddr:
    end = text.find(";")
    bare = (text if end < 0 else text[:end]).rstrip(" \t")
    # RFC 3261 §20: "If the URI contains a comma, question mark or semicolon, the URI MUST be enclosed in angle brackets"
    if "?" in bare or "," in bare:
        raise SipError(400, "Malformed address")
    params = grammar.parse_params(text, end, "address") if end >= 0 else ()
    return NameAddr(None, parse_uri(bare), params)


_remembered_uri: Final = lru_cache(REMEMBERED)(_read_uri)
_remembered_address: Final = lru_cache(REMEMBERED)(_read_address)


def parse_name_addr_list(text: str) -> tuple[NameAddr, ...]:
    """Read a comma-separated list of addresses. Raises SipError(400), also for an empty element."""
    return tuple([parse_name_addr(piece) for piece in grammar.split_list(text)])


class Via(Struct, frozen=True, gc=False):
    """One Via value. `transport` as on the wire (compare upper case); `host` has no brackets when it is an IPv6 literal."""

    transport: str
    host: str
    port: int | None = None
    params: Params = ()

    @property
    def branch(self) -> str | None:
        return grammar.param_value(self.params, "branch")

    @property
    def received(self) -> str | None:
        """Address the message came from, without brackets (RFC 5118 §4.5: both spellings occur)."""
        text = self.param("received")
        return None if text is None else text.removeprefix("[").removesuffix("]")

    @property
    def rport(self) -> int | None:
        """Port the message came from (RFC 3581), once it is filled in."""
        text = self.param("rport")
        return None if text is None else grammar.number(text, 65535)

    @property
    def wants_rport(self) -> bool:
        """The sender put `rport` here: it wants the answer at the port it sent from."""
        return grammar.find_param(self.params, "rport") is not None

    def param(self, name: str) -> str | None:
        return grammar.param_value(self.params, name)

    def has_param(self, name: str) -> bool:
        return grammar.find_param(self.params, name) is not None

    def with_param(self, name: str, value: str | None) -> "Via":
        wire = None if value is None else grammar.param_text(value)
        return replace(self, params=grammar.put_param(self.params, name, wire))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        return f"SIP/2.0/{self.transport} {host}{port}{grammar.write_params(self.params)}"


def parse_via(text: str) -> Via:
    """Read one Via value, with or without branch. Raises SipError(400)."""
    plain = _PLAIN_VIA.fullmatch(text)
    if plain is not None:
        transport, name, port_text, branch, value, rport, connection, number = plain.groups()
        if rport:
            params: Params = ((branch, value), (rport, None))
        else:
            params = ((branch, value), (connection, number)) if connection else ((branch, value),)
        return Via(transport, name, int(port_text) if port_text else None, params)
    match = _VIA.match(text)
    if match is None:
        raise SipError(400, "Malformed Via")
    transport, literal, name, port_text = match.groups()
    port = int(port_text) if port_text else None
    if port is not None and port > 65535:
        raise SipError(400, "Malformed Via")
    params = grammar.parse_params(text, match.end(), "Via") if match.end() < len(text) else ()
    return Via(transport, literal or name, port, params)


def parse_via_list(lines: Sequence[str]) -> tuple[Via, ...]:
    """Read the Via values of a message, topmost first. Raises SipError(400), also for an empty element."""
    if len(lines) == 1 and "," not in lines[0]:
        return (parse_via(lines[0]),)
    return tuple(
        [parse_via(p) for line in lines for p in (grammar.split_list(line) if "," in line else (line,))]
    )
