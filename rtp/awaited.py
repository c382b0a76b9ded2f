"""Asks a peer for a key frame, and waits for it in what the peer sends.

request ─▶ watch: packets of its picture are looked at on their way ─▶ a key frame begins: answered, and nobody looks any more

RFC 4585 §6.3.1 leaves it to whoever lost the picture to see that it is whole again: RTCP is not reliable, so a request that is
not answered is made again (`PictureRequests`). Of a peer whom nobody sees the packets come to `Group` instead, which knows.
"""

from collections.abc import Callable, Iterable, Mapping

from rtp.gop import CODECS, begins_key
from rtp.outstream import NO_FIELDS
from rtp.picture import PictureRequests
from rtp.route import NO_HEADS, Route
from rtp.source import Counting


class Asking:
    """The part of `Track` that asks for key frames."""

    __slots__ = NO_FIELDS
    ask_picture: Callable[[], None]
    pictures: PictureRequests
    source: Counting
    _routes: list[Route | None]
    _heads: Mapping[int, int]

    def _own_number(self) -> int:
        raise AssertionError("a track has one")

    def want_picture(self, now: float) -> None:
        """Ask the peer for a key frame unless it just was; a peer that sent nothing yet begins with one."""
        if self.source.ssrc >= 0 and self.pictures.want(now):
            self._ask()

    def _ask(self) -> None:
        self.ask_picture()
        self._watch()

    def _watch(self) -> None:
        """Look for the key frame that was asked for, if it was."""
        if self.pictures.awaiting:
            self._heads = NO_HEADS
            watch(self._routes, self.pictures, self._own_number)


class Awaited:
    """Passes packets of one payload type on as they would be without it, until a key frame begins."""

    def __init__(self, route: Route, pictures: PictureRequests, number: Callable[[], int]) -> None:
        """`number`: the peer as a source of the route's sender, now."""
        self._route = route
        self._before = route.special
        self._pictures = pictures
        self._number = number

    def push(self, data: bytes, sequence: int, timestamp: int, now: float) -> None:
        """Take one packet."""
        route = self._route
        if self._before is not None:
            self._before(data, sequence, timestamp, now)
        elif route.sender is not None and route.codec is not None:
            route.sender.relay(self._number(), data, route.codec, sequence, timestamp, now)
        if begins_key(route.name, data):
            self._pictures.answered()
        if not self._pictures.awaiting:
            route.special = self._before


def watch(routes: Iterable[Route | None], pictures: PictureRequests, number: Callable[[], int]) -> None:
    """Look for the key frame that was just asked for; where it could not be told, the request counts as answered."""
    readable = [route for route in routes if route is not None and route.name in CODECS]
    if not readable:
        pictures.answered()
        return
    for route in readable:
        watched = isinstance(getattr(route.special, "__self__", None), Awaited)
        if route.sender is not None and not watched:
            route.special = Awaited(route, pictures, number).push
