"""Phones behind proxies: which way leads through them (RFC 3327), and which when a proxy's connection has ended.

in → out: a REGISTER, and whether its sender is a proxy of ours → the route to the phone; what a proxy says of itself, and
the flow that broke → the flow that reaches it anew. Pure.

Nobody but a proxy we were told of may lay a path, and we send to no other host than the one we hear from (bars S9).
"""

import ipaddress
from collections.abc import Iterable
from typing import Final

from pbx.sip.errors import SipError
from pbx.sip.flow import MIN_PORT, Flow, default_port, same_host
from pbx.sip.grammar import lower
from pbx.sip.message import Request
from pbx.sip.session_timer import tags
from pbx.sip.uri import NameAddr, Uri

MAX_PATH: Final = 10
"""Proxies on the way to a phone; each of them stands in every request to it."""

FLOW_TIMER: Final = 120
"""Seconds a phone may be silent on its connection (RFC 5626 §4.4.1 lets it choose 95 to 120 where nothing is said). NATs
keep an idle TCP connection for longer, and a crowd of 10,000 makes 100 keep-alives a second of it."""


Heard = tuple[str, str, int]
"""(transport, IP address, port) a proxy heard a phone from."""


def is_direct(request: Request) -> bool:
    """Whether no proxy stands between the phone and us: its own Via is the only one."""
    return len(request.vias) == 1


def heard(request: Request) -> Heard | None:
    """Return where a proxy of ours heard a phone: what it stamped into the phone's Via (RFC 3261 §18.2.1, RFC 3581 §4).

    None: it did not, or there are more proxies, or the phone wrote a stamp of its own beside, so nobody knows. As sure as the
    source of a datagram that reaches us directly, and to be used for nothing more.
    """
    if len(request.vias) != 2:
        return None
    via = request.vias[1]
    names = [lower(name) for name, _ in via.params]
    if names.count("received") != 1 or names.count("rport") != 1:
        return None
    host, port = via.param("received") or "", via.rport
    try:
        host = str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return None
    return None if port is None else (lower(via.transport), host, port)


def path(request: Request, *, trusted: bool) -> tuple[NameAddr, ...]:
    """Return the path a REGISTER lays, nearest proxy first; `trusted`: a proxy of ours sent it.

    Raises SipError: 420 for a path of anybody else, 400 for one that can't be followed.
    """
    route = request.path
    if not route:
        return ()
    if not trusted:
        # RFC 3327 §6: whoever may write a path gets the calls of that phone, so it is for proxies that are known. A phone
        # that were registered without it could not be called.
        raise SipError(420, headers=(("Unsupported", "path"),))
    if len(route) > MAX_PATH:
        raise SipError(400, "Path Too Long")
    if not all(hop.uri.is_sip and hop.uri.has_param("lr") for hop in route):
        raise SipError(400, "Path Is No Loose Route")
    return route


def check_outbound(request: Request) -> None:
    """Raise SipError(439) when a phone insists on its flow and the proxy next to it does not keep it.

    RFC 5626 §11.6: the code of a registrar that supports outbound "but that the first outbound proxy that the user is
    attempting to register through does not". A phone that only could do it is registered without: not every phone knows the
    code, and one that gave up could not be called at all. It reads from the missing `Require: outbound` what it got (§4.2.1).
    """
    insists = "outbound" in tags(request, "Require") and any(c.has_param("reg-id") for c in request.contacts)
    if insists and not _keeps_flows(request):
        raise SipError(439)


def _keeps_flows(request: Request) -> bool:
    # RFC 5626 §5.1: an edge proxy that keeps its phones' flows says `ob` in its Path, and it is the proxy next to the phone.
    route = request.path
    return route[-1].uri.has_param("ob") if route else is_direct(request)


def is_outbound(request: Request) -> bool:
    """Whether a phone asks to be called over the very flow it registers on (RFC 5626 §4.2), and can be."""
    wanted = any(c.has_param("reg-id") and c.has_param("+sip.instance") for c in request.contacts)
    named = tags(request, "Supported") | tags(request, "Require")
    return wanted and _keeps_flows(request) and "outbound" in named


def way_back(flow: Flow, hops: Iterable[Uri]) -> Flow | None:
    """Return the flow to a proxy whose connection `flow` has ended; `hops`: what it said of itself in Path and Record-Route.

    RFC 3261 §12.2.1.1 sends each request to where the first of the route set leads; as long as the connection stood, it led
    there too. None: the proxy takes no connection, or says that it is another host than the one we know.
    """
    if not flow.reliable or flow.web:
        return None
    for uri in hops:
        transport = "tls" if uri.scheme == "sips" else (uri.param("transport") or flow.transport).lower()
        port = uri.port or default_port(transport)
        if transport in ("tcp", "tls") and port >= MIN_PORT and _is(uri.host, flow.remote[0]):
            return Flow(transport, flow.local, (flow.remote[0], port))
    return None


def _is(host: str, address: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return same_host(host, address)
