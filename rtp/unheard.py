"""What somebody said that nobody heard: the newest packet of a track that is relayed to none, or the pictures since its key frame.

It is sent on to whoever hears and sees this peer next, and says which mode of AMR the peer wants its prompts in.
"""

from typing import Final

from rtp.amr import requested
from rtp.gop import Group
from rtp.outstream import NO_FIELDS
from rtp.packet import PacketError, payload_of
from rtp.route import Route, Surroundings
from rtp.sender import Sender
from rtp.showing import say_last, show
from rtp.source import Counting

FRESH_SECONDS: Final = 0.020
"""How old the newest packet of somebody who waits may be to be sent on when they are put through: one packet time."""


class Unheard:
    """The part of `Track` for what went to nobody."""

    __slots__ = NO_FIELDS
    group: Group
    heard: float
    sender: Sender
    source: Counting
    _around: Surroundings
    _number: int
    _routes: list[Route | None]
    _unheard: tuple[bytes, int, int] | None

    def catch_up(self, now: float) -> None:
        """Send what came last to a peer that hears and sees us from now on: no wait for the next packet or key frame."""
        unheard, self._unheard = self._unheard, None
        if unheard is not None and now - self.heard <= FRESH_SECONDS:
            say_last(self._routes, unheard, self._number, now)
        show(self._routes, self.group, self.source.highest, next(self._around.numbers), now)
        self.group.clear()

    def mode_asked(self) -> int | None:
        """The mode of AMR the peer wants to be sent (RFC 4867 §4.3.1), also by what nobody heard; None: it never said."""
        data = self._unheard[0] if self._unheard is not None else b""
        route = self._routes[data[1] & 0x7F] if data else None
        if route is not None and route.name == "AMR":
            try:
                asked = requested(payload_of(data))
            except PacketError:
                asked = None
            if asked is not None:
                self.sender.asked_mode = asked
        return self.sender.asked_mode
