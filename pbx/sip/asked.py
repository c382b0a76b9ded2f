"""What a server transaction must know of its request once that has its final answer, in a tenth of the memory.

in → out: a request → what tells it from others and where its answers go; plain data of it and back. Pure.

RFC 3261 keeps a transaction for 32 s after its end, so that in a rush thousands stand that nobody will ever speak of again.
"""

import sys
from functools import lru_cache
from typing import Any, Final

from msgspec import Struct

from pbx.sip.message import Request
from pbx.sip.uri import Via

Sameness = tuple[str, str, int, str]
"""What makes two requests the same though they belong to different transactions (RFC 3261 §8.2.2.2)."""

_RPORT: Final = (("rport", None),)
WAYS: Final = 1024
"""Peers whose way back is held once for all their transactions."""


class Asked(Struct, frozen=True, gc=False):
    """See the module."""

    method: str
    call_id: str
    tag: str
    """Of its From."""
    number: int
    """Of its CSeq."""
    opens: bool
    """It is of no dialog yet: its To has no tag."""
    via: Via
    """Of the topmost what says where answers go: host, port, and whether `rport` was there."""

    @property
    def sameness(self) -> Sameness:
        """See `Sameness`."""
        return (self.call_id, self.tag, self.number, self.method)

    def snapshot(self) -> list[Any]:
        """Plain data for `restore`."""
        via = self.via
        return [
            self.method, self.call_id, self.tag, self.number, self.opens,
            [via.transport, via.host, via.port, via.wants_rport],
        ]  # fmt: skip


def known_of(request: Request) -> Asked:
    """Return what of a request is kept to its end. Raises SipError for what the parser would refuse."""
    via = request.via
    return Asked(
        sys.intern(request.method),
        request.call_id,
        request.from_.tag or "",
        request.cseq.number,
        request.to.tag is None,
        _way(via.transport, via.host, via.port, via.wants_rport),
    )


def restore_asked(data: Any) -> Asked:
    """Undo `Asked.snapshot`. Raises ValueError or TypeError when the data is something else."""
    method, call_id, tag, number, opens, (transport, host, port, rport) = data
    via = _way(str(transport), str(host), None if port is None else int(port), bool(rport))
    return Asked(sys.intern(str(method)), str(call_id), str(tag), int(number), bool(opens), via)


@lru_cache(WAYS)
def _way(transport: str, host: str, port: int | None, wants_rport: bool) -> Via:
    return Via(transport, host, port, _RPORT if wants_rport else ())
