"""Our own Via on top of a request that is to leave."""

from pbx.sip.flow import Flow
from pbx.sip.grammar import Params
from pbx.sip.message import Request
from pbx.sip.server_transaction import MAGIC_COOKIE
from pbx.sip.uri import Via


def with_via(
    request: Request, flow: Flow, *, branch: str, host: str, port: int, more: Params = ()
) -> Request:
    """A copy of `request` with our Via on top, asking for `rport` (RFC 3581 §3). Raises ValueError for a bare branch."""
    if not branch.startswith(MAGIC_COOKIE):
        raise ValueError("a branch begins with z9hG4bK (RFC 3261 §8.1.1.7)")
    copy = request.copy()
    params: tuple[tuple[str, str | None], ...] = (("branch", branch), ("rport", None), *more)
    if flow.transport == "tls" and not flow.id:
        # RFC 5923 §5: a client that shows a certificate asks to be called back over the connection it opens. On one that the
        # peer opened there is nothing to ask for.
        params = (*params, ("alias", None))
    via = Via(flow.transport.upper(), host, port, params)
    copy.headers.prepend("Via", str(via))
    copy.headers.keep("Via", (via, *request.vias))
    return copy
