"""What a leg's ports and codecs are, stated in the evidence of a call: whoever reads the capture needs it.

in → out: a leg, and what it is in the call (`caller`, `desk:<id>`, `staff:<id>`) → a `media_negotiated` note.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbx.call.effects import Note

if TYPE_CHECKING:
    from pbx.call.exchange import Exchange
    from pbx.call.visits import Visit


def stated(exchange: Exchange, call: str, label: str, leg: str) -> Note:
    """State the ports and codecs of a leg."""
    negotiation = exchange.legs[leg].negotiation
    streams = [
        {
            "medium": s.medium,
            "local_port": negotiation.port(s.medium),
            "remote": None if s.remote is None else list(s.remote),
            "codecs": [
                {
                    "name": c.name,
                    "payload_type": c.payload_type,
                    "clock_rate": c.clock_rate,
                    "channels": c.channels,
                    "fmtp": c.fmtp,
                }
                for c in dict.fromkeys((*s.receive, *s.send))
            ],
        }
        for s in negotiation.streams
    ]
    return Note("media_negotiated", call, {"leg": label, "streams": streams})


def of_visitor(exchange: Exchange, visit: Visit | None) -> list[Note]:
    """State those of a visitor that is in a room with a guest, so that the film gives it a track of its own."""
    if visit is None or not visit.up:
        return []
    leg, call = exchange.room(visit.visitor).leg, exchange.room(visit.host).guest
    if leg is None or leg not in exchange.legs or call not in exchange.calls:
        return []
    assert call is not None, "it is in the table"
    return [stated(exchange, call, f"staff:{visit.visitor}", leg)]
