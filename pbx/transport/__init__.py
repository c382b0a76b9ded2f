"""The I/O rim of signalling: sockets in, messages out; the only place under `pbx` that sends or receives SIP bytes.

in → out: datagrams (`udp`) and streams (`stream`) → `Endpoint` → parsed messages, stamped with their source, and the flow
they came on; bytes and a flow → the socket. What can't be parsed is answered here without state.
We don't do this: names (every address is an IP literal; DNS never stands in the way of a call), TLS, WebSocket.
"""

from pbx.sip.flow import Flow, response_flow
from pbx.transport.endpoint import Counts, Endpoint
from pbx.transport.stream import StreamLimits

__all__ = ["Counts", "Endpoint", "Flow", "StreamLimits", "response_flow"]
