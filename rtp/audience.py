"""Who hears or sees a track beside the one it is relayed to: the mixes its voice goes into, the viewers of its picture.

packet ─▶ Attended.push ─▶ as without an audience (relay, transcoding, digits)
                      ├──▶ copies to further viewers
                      └──▶ the voice's entrance
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rtp import g711
from rtp.control import Codec
from rtp.mapping import find
from rtp.packet import HEADER_SIZE
from rtp.route import Route, Special
from rtp.sender import Sender
from rtp.special import Bounded
from rtp.voices import G711, PLAIN, Voice, crossfaded

if TYPE_CHECKING:
    from rtp.track import Track

Samples = NDArray[np.int16]


class Attended:
    """Takes the packets of one payload type of a track that has an audience."""

    def __init__(
        self,
        route: Route,
        number: Callable[[], int],
        entrance: Special | None,
        copies: Sequence[tuple[Sender, Codec]],
        landing: list[Samples],
    ) -> None:
        """`number`: the peer as a source of senders, now; `landing`: see `Audience`."""
        self._route = route
        self._before = route.special
        self._number = number
        self._entrance = entrance
        self._copies = tuple(copies)
        self._landing = landing

    def push(self, data: bytes, sequence: int, timestamp: int, now: float) -> None:
        """Take one packet."""
        route, before, heard = self._route, self._before, data
        relayed = before is None or isinstance(before, Bounded)
        if self._landing and relayed and route.sender is not None and route.codec is not None:
            heard = self._landed(data, route.codec)
            route.sender.out.close_up(now)
        if before is not None:
            before(heard, sequence, timestamp, now)
        elif route.sender is not None and route.codec is not None:
            route.sender.relay(self._number(), heard, route.codec, sequence, timestamp, now)
        for sender, codec in self._copies:
            sender.relay(self._number(), data, codec, sequence, timestamp, now)
        if self._entrance is not None:
            self._entrance(data, sequence, timestamp, now)

    def _landed(self, data: bytes, codec: Codec) -> bytes:
        """The first packet after a mix: what the mix would have played next passes into it."""
        tail = self._landing.pop()
        if self._entrance is None and not self._copies:
            self._route.special = self._before  # from now on as any other
        if codec.name not in G711 or data[0] != PLAIN:
            return data
        payload = data[HEADER_SIZE:]
        if len(payload) != len(tail):
            return data
        alaw = codec.name == "PCMA"
        fresh = g711.decode_alaw(payload) if alaw else g711.decode_ulaw(payload)
        both = crossfaded(tail, fresh)
        return data[:HEADER_SIZE] + (g711.encode_alaw(both) if alaw else g711.encode_ulaw(both))


class Audience:
    """The audience of one track."""

    def __init__(
        self, voice: Voice | None, viewers: tuple["Track", ...] = (), landing: Samples | None = None
    ) -> None:
        """`voice`: the way into the mixes; `viewers`: further tracks of the same medium that get copies.

        `landing`: 20 ms that whom it is relayed to would have heard next in the mix it has just left: the first packet that
        is relayed again begins with it.
        """
        self.voice = voice
        self.viewers = viewers
        self._landing = [landing] if landing is not None else []

    @property
    def wanted(self) -> bool:
        """Whether there is any."""
        return self.voice is not None or bool(self.viewers) or bool(self._landing)

    def attend(
        self,
        track: "Track",
        routes: list[Route | None],
        receive: tuple[Codec, ...],
        number: Callable[[], int],
    ) -> None:
        """Put itself into the routes of a track; to be called whenever they were made anew."""
        for codec in receive:
            route = routes[codec.payload_type]
            if route is None:
                continue
            copies = []
            for viewer in self.viewers:
                accepted = viewer.stream.send if viewer.stream is not None else ()
                if (taken := find(codec, accepted)) is not None:
                    copies.append((viewer.sender, taken))
            entrance = self.voice.entrance(codec) if self.voice is not None else None
            if entrance is not None and not copies and route.special is None and route.sender is None:
                route.special = entrance
            elif entrance is not None or copies or self._landing:
                route.special = Attended(route, number, entrance, copies, self._landing).push
        for viewer in self.viewers:
            viewer.fed_by = track

    def leave(self, track: "Track") -> None:
        """Part from the viewers."""
        for viewer in self.viewers:
            if viewer.fed_by is track:
                viewer.fed_by = None
            viewer.sender.out.part()
