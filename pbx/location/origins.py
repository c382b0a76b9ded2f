"""Which servers a URI leads to, and whether they may be asked. Pure."""

from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import urlsplit

SCHEMES: Final = frozenset({"http", "https"})
_PORTS: Final = {"http": 80, "https": 443}


def origin(uri: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port of a URI (RFC 6454), None when it has none we could ask."""
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in SCHEMES or not parts.hostname or parts.username is not None:
        return None
    return parts.scheme, parts.hostname, port or _PORTS[parts.scheme]


def may_ask(servers: Iterable[str]) -> Callable[[str], bool]:
    """Return the question whether a URI leads to one of these origins."""
    known = frozenset(found for server in servers if (found := origin(server)))
    return lambda uri: origin(uri) in known
