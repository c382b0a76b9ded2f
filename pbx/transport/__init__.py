"""The I/O rim of signalling: sockets in, messages out; the only place under `pbx` that sends or receives SIP bytes.

in → out: datagrams (`udp`), streams (`stream`, under TLS with `tls`) and WebSockets (`websocket`) → `Endpoint` → parsed
messages, stamped with their source, and the flow they came on; bytes and a flow → the socket. What can't be parsed is
answered here without state.
Every address of a flow is an IP literal: DNS (`resolver`) finds servers that we call and never stands in the way of a
registered phone.
"""

from pbx.sip.flow import Flow, response_flow
from pbx.transport.endpoint import Counts, Endpoint, Listening
from pbx.transport.link import StreamLimits

__all__ = ["Counts", "Endpoint", "Flow", "Listening", "StreamLimits", "response_flow"]
