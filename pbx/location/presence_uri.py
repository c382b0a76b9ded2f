"""Which presence URIs of a Geolocation header may be subscribed to (RFC 6442 §4.6), and as what. Pure.

in → out: the text of a URI → a clean Request-URI, or None; a setting → the server it names.

A caller writes the URI: with all it says obeyed, anybody could have us send on our own network (bars S9). So only user, host,
port and one of three transports are taken from it, and the host has to be named by the settings.
"""

import re
from typing import Final

from pbx.sip.errors import SipError
from pbx.sip.uri import Uri, parse_uri

SCHEMES: Final = ("sip:", "sips:", "pres:")
TRANSPORTS: Final = frozenset({"udp", "tcp", "tls"})
_USUAL: Final = {"sip": 5060, "sips": 5061}
_SERVER: Final = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z.-]{1,253})(?::([0-9]{1,5}))?")

Server = tuple[str, int | None]
"""Host in lower case, without brackets, and port; None: the usual one of the scheme, or what DNS says."""


def server(text: str) -> Server | None:
    """Read a setting such as `presence.example`, `192.0.2.7:5070` or `[2001:db8::1]:5060`; None when it is none."""
    match = _SERVER.fullmatch(text)
    if match is None:
        return None
    port = None if match[2] is None else int(match[2])
    if port is not None and not 0 < port < 65536:
        return None
    return match[1].strip("[]").lower(), port


def is_presence(text: str) -> bool:
    """Whether a reference is one to subscribe to.

    RFC 6442 §4.6 names the schemes: sip, sips and pres for a presence subscription, http and https for HELD.
    """
    return text.lower().startswith(SCHEMES)


def read(text: str) -> Uri | None:
    """Return what is asked for, without parameters and headers but the transport; None when it can't be read.

    RFC 3856 §5: presentities have pres URIs, and where the protocol is SIP sip and sips URIs. `pres:` is taken as `sip:` of
    the same user and host; DNS is asked by RFC 3263, not for the `_pres` records of RFC 3861.
    """
    text = f"sip:{text[5:]}" if text.lower().startswith("pres:") else text
    try:
        uri = parse_uri(text)
    except SipError:
        return None
    if not uri.is_sip or uri.password is not None or uri.has_param("maddr"):
        return None
    transport = (uri.param("transport") or "").lower()
    if transport and transport not in TRANSPORTS:
        return None
    params = (("transport", transport),) if transport else ()
    return Uri(uri.scheme, uri.user, None, uri.host.lower(), uri.port, params)


def leads_to(uri: Uri, servers: frozenset[Server]) -> bool:
    """Whether a URI leads to one of these servers: the host and port as set, or the usual port where none is set."""
    if uri.port in (None, _USUAL[uri.scheme]) and (uri.host, None) in servers:
        return True
    return (uri.host, uri.port or _USUAL[uri.scheme]) in servers
