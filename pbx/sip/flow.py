"""Where messages come from and go to, without a socket.

in → out: `stamp` writes into a request where it came from; the request and the flow it came on give the flow its
responses take (`response_flow`), and another one to try when that has broken (`fallback_flow`).
We don't do this: `maddr`, or any response to an address that a Via names, see `answer_flow`.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final, Protocol

from msgspec import structs

from pbx.sip.grammar import put_param
from pbx.sip.message import Request
from pbx.sip.uri import Via

DEFAULT_PORT = 5060  # RFC 3261 §18.2.2 and §19.1.2: udp and tcp
MIN_PORT = 1024  # below live the services of a host: a Via that names port 22 or 53 wants us to knock there
_DEFAULT_PORTS: Final = {"tls": 5061, "ws": 80, "wss": 443}  # RFC 3261 §19.1.2, RFC 7118 §5.2.2

_LOOKS_LIKE_ADDRESS = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}|\[?[0-9A-Fa-f:.]*:[0-9A-Fa-f:.%]*\]?")


@dataclass(frozen=True, slots=True)
class Flow:
    """One road between this host and another (RFC 5626 §2).

    `transport` is `udp`, `tcp`, `tls`, `ws` or `wss`. `local` and `remote` are (IP address as text without brackets, port); `remote` is the peer's real address, never
    what it claims. `id` names one connection of any kind; 0: any connection to `remote`, or a new one. UDP flows have 0.
    """

    transport: str
    local: tuple[str, int]
    remote: tuple[str, int]
    id: int = 0

    @property
    def reliable(self) -> bool:
        """Whether the transport delivers by itself, so that nothing is retransmitted (RFC 3261 §17)."""
        return self.transport != "udp"

    @property
    def web(self) -> bool:
        """Whether it is a WebSocket: its peer accepts no connection, so there is no other way to it (RFC 7118 §5)."""
        return self.transport in ("ws", "wss")

    def snapshot(self) -> list[object]:
        """Plain data for `restore_flow`."""
        return [self.transport, list(self.local), list(self.remote), self.id]


def restore_flow(data: list[object]) -> Flow:
    """Undo `Flow.snapshot`; raises ValueError when the data is something else."""
    match data:
        case [
            str(transport),
            [str(local_host), int(local_port)],
            [str(remote_host), int(remote_port)],
            int(number),
        ]:
            return Flow(transport, (local_host, local_port), (remote_host, remote_port), number)
        case _:
            raise ValueError(f"not a flow: {data!r}")


def stamp(request: Request, remote: tuple[str, int]) -> None:
    """Write into the top Via where `request` really came from; everything above relies on it."""
    via = request.via
    host, port = remote
    params = via.params
    if via.wants_rport:
        # RFC 3581 §4: "it MUST set the value of the parameter to the source port of the request … the server MUST insert
        # a "received" parameter containing the source IP address that the request came from, even if it is identical to
        # the value of the "sent-by" component."
        params = put_param(put_param(params, "received", host), "rport", str(port))
    elif via.host != host or via.has_param("received"):
        # RFC 3261 §18.2.1: "If the host portion of the "sent-by" parameter contains a domain name, or if it contains an
        # IP address that differs from the packet source address, the server MUST add a "received" parameter".
        params = put_param(params, "received", host)
    else:
        return
    request.set_via(structs.replace(via, params=params))


class Routed(Protocol):
    """What says where answers go."""

    @property
    def via(self) -> Via: ...


def response_flow(request: Routed, flow: Flow) -> Flow:
    """Where responses to `request`, which came on `flow`, are sent; see `answer_flow`."""
    return flow if flow.reliable else answer_flow(request.via, flow)


def answer_flow(via: Via | None, flow: Flow) -> Flow:
    """Where the answer goes to what came on `flow` with this top Via (RFC 3261 §18.2.2, RFC 3581 §4).

    Always the address it came from: a `maddr` parameter, which the RFC lets choose any other, is not followed, for it
    would make this server send wherever a stranger likes.
    """
    # RFC 3261 §18.2.2: "If the "sent-protocol" is a reliable transport protocol such as TCP or SCTP, or TLS over those,
    # the response MUST be sent using the existing connection to the source of the original request that created the
    # transaction, if that connection is still open."
    # RFC 3581 §4: with rport, "to the IP address indicated in the "received" parameter, and the port indicated in the
    # "rport" parameter", which both are the real source.
    if flow.reliable or via is None or via.wants_rport:
        return flow
    # Here we leave the RFC: a client that does not know rport and states an address that is not its own sits behind a
    # NAT, where its stated port leads nowhere; the port the request came from is the only one that can work.
    if _LOOKS_LIKE_ADDRESS.fullmatch(via.host) and not same_host(via.host, flow.remote[0]):
        return flow
    # RFC 3261 §18.2.2: "the response MUST be sent to the address in the "received" parameter, using the port indicated
    # in the "sent-by" value, or using port 5060 if none is specified explicitly."
    port = via.port or default_port(flow.transport)
    return Flow(flow.transport, flow.local, (flow.remote[0], port)) if port >= MIN_PORT else flow


def default_port(transport: str) -> int:
    """Return the port of a transport when none is written."""
    return _DEFAULT_PORTS.get(transport, DEFAULT_PORT)


def fallback_flow(request: Routed, flow: Flow) -> Flow | None:
    """Where responses go when `flow` itself has broken; None when there is no second way.

    RFC 3261 §18.2.2: "If that connection is no longer open, the server SHOULD open a connection to the IP address in
    the "received" parameter, if present, using the port in the "sent-by" value".
    """
    # RFC 7118 §5: a WebSocket client takes no incoming connection; its sent-by is a name nobody can reach (….invalid).
    if not flow.reliable or flow.web:
        return None
    port = request.via.port or default_port(flow.transport)
    return Flow(flow.transport, flow.local, (flow.remote[0], port)) if port >= MIN_PORT else None


def same_host(one: str, other: str) -> bool:
    """Whether two hosts (names, or addresses with or without brackets) are spelled for the same thing."""
    one, other = one.strip("[]").lower(), other.strip("[]").lower()
    if one == other:
        return True
    try:
        return ipaddress.ip_address(one) == ipaddress.ip_address(other)
    except ValueError:
        return False
