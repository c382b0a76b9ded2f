"""Tracks whose plain packets `relay.c` carries: the Python ones, with their numbers where C finds them.

Whoever gives a track another way to receive or send (SRTP, a mixer) keeps its packets in Python in one of three ways: a
`Route.special` for a payload type, a `Sender` that is not `straight`, or `Track.plain` False for all that arrives.
"""

from typing import Any, ClassVar, Final, cast

from rtp import g711
from rtp.activity import FILL_SECONDS, Restlessness
from rtp.call_evidence import MakeHead, PacketWriter
from rtp.control import Address, Medium
from rtp.loop import Handler, Loop
from rtp.mapping import CUT
from rtp.native._relay import (
    ActivityFields,
    Flow,
    NativeJitterBuffer,
    NativeMix,
    NativePhase,
    OutFields,
    SourceFields,
    Tape,
    name_number,
)
from rtp.native.loop import NativeLoop
from rtp.native.sender import NativeSender, tapes_of
from rtp.outstream import Numbering
from rtp.packet import HEADER
from rtp.parts import Parts, Phase, Restless
from rtp.ports import Pair
from rtp.route import Surroundings
from rtp.sender import Sender, Wrap
from rtp.source import Counting
from rtp.special import Bounded
from rtp.track import Track
from rtp.voices import Entrance

SINK, RELAY, VOICE = range(3)
"""ROUTE_SINK, ROUTE_RELAY, ROUTE_VOICE of relay.h."""
MAX_TAPE: Final = 5 << 19
"""Bytes of one call's packets, as they stand in its file, that may wait for it: as much as a capture holds while its disk refuses."""


class NativeSource(SourceFields, Counting):
    """`Source` with its counters where C counts too."""

    __slots__ = ()


class NativeOut(OutFields, Numbering):
    """`OutStream` with its numbers where C numbers too."""

    __slots__ = ("_before", "_left")


class NativeActivity(ActivityFields, Restlessness):
    """`Activity` with its fields where C looks."""

    __slots__ = ()


class NativeTrack(Track):
    """A track that lends its socket to C while its peer is latched."""

    __slots__ = ("_evidence", "_flow", "_relay")
    SOURCE: ClassVar[type[Counting]] = NativeSource

    def __init__(
        self, leg: str, medium: Medium, *, host: str, pair: Pair, out: Numbering, around: Surroundings
    ) -> None:
        self._flow = Flow(pair.rtp.fileno())
        self._evidence: PacketWriter | None = None
        super().__init__(leg, medium, host=host, pair=pair, out=out, around=around)
        self._flow.attach(cast("NativeSource", self.source), cast("NativeOut", out), self)
        if medium == "video":
            self._flow.picture(True)  # not looked at yet
        self._relay = cast("NativeLoop", self._loop).relay
        self._relay.add(self._flow)

    def _make_sender(self, out: Numbering) -> Sender:
        return NativeSender(self._flow, self.pair, self.local, out, audio=self.medium == "audio")

    # --- what C keeps ------------------------------------------------------------------------------------------------

    @property
    def heard(self) -> float:
        """Monotonic seconds of the newest packet believed."""
        return self._flow.heard

    @heard.setter
    def heard(self, at: float) -> None:
        self._flow.heard = at

    @property
    def taken(self) -> int:
        """Bytes believed."""
        return self._flow.taken

    @taken.setter
    def taken(self, count: int) -> None:
        self._flow.taken = count

    @property
    def flooded(self) -> int:
        """Packets of the believed source above the permitted rate."""
        return self._flow.flooded

    @flooded.setter
    def flooded(self, count: int) -> None:
        self._flow.flooded = count

    @property
    def flood_stated(self) -> int:
        """How many of these evidence states."""
        return self._flow.flood_stated

    @flood_stated.setter
    def flood_stated(self, count: int) -> None:
        self._flow.flood_stated = count

    @property
    def _gaps(self) -> int:
        return self._flow.gaps_seen

    @_gaps.setter
    def _gaps(self, count: int) -> None:
        self._flow.gaps_seen = count

    @property
    def _number(self) -> int:
        return self._flow.number

    @_number.setter
    def _number(self, number: int) -> None:
        self._flow.number = number

    @property
    def _permitted_until(self) -> float:
        return self._flow.permitted_until

    @_permitted_until.setter
    def _permitted_until(self, until: float) -> None:
        self._flow.permitted_until = until

    @property
    def evidence(self) -> PacketWriter | None:
        """Takes what is received."""
        return self._evidence

    @evidence.setter
    def evidence(self, writer: PacketWriter | None) -> None:
        self._evidence = writer
        self._publish()

    # --- what C is told -----------------------------------------------------------------------------------------------

    def _lay(self, destination: Track | None) -> None:
        super()._lay(destination)
        self._publish()

    def want_picture(self, now: float) -> None:
        """As in Python; C learns whether a sweep is to ask again."""
        super().want_picture(now)
        self._flow.picture(self.pictures.wanted)

    def sweep(self, now: float, loss_seconds: float, *, late: float = 0.0, sign: float | None = None) -> None:
        """As in Python; C learns whether the next is to."""
        super().sweep(now, loss_seconds, late=late, sign=sign)
        if self.medium == "video":
            self._flow.picture(self.pictures.wanted)

    def _ask(self) -> None:
        super()._ask()
        self._publish()  # until a key frame has come Python looks for it

    def protect(self, reader: Handler | None, wrap: Wrap | None) -> None:
        """As in Python; a protected socket is not C's."""
        self._relay.lend(self._flow, False)
        super().protect(reader, wrap)
        self._publish()

    def _believe(self, source: Address) -> None:
        super()._believe(source)
        self._publish()

    def _open(self) -> None:
        self._relay.lend(self._flow, False)
        self._recall()
        super()._open()
        self._publish()

    def _publish(self) -> None:
        """Put into the flow what was decided; packets it has no route for come to `odd`."""
        if self._flow.owner is None:
            return  # not made yet, or ended
        self._recall()
        tapes = tapes_of(self._evidence)
        destination = self.destination
        routes = []
        voice: NativeJitterBuffer | None = None
        for payload_type, route in enumerate(self._routes):
            if route is None:
                continue
            if isinstance(route.special, Entrance) and route.special.name:
                buffer = route.special.voice.buffer
                if isinstance(buffer, NativeJitterBuffer):
                    voice = buffer
                    routes.append((payload_type, name_number(route.special.name), VOICE, route.rate, 0))
            elif isinstance(route.special, Bounded):
                if destination is not None and route.sender is destination.sender and route.name in CUT:
                    routes.append(
                        (payload_type, route.payload_type, RELAY, route.rate, route.special.longest)
                    )
            elif route.special is not None:
                continue
            elif route.sender is None:
                if self.medium == "video":
                    continue  # Python keeps the group of pictures of who waits
                routes.append((payload_type, 0, SINK, route.rate, 0))
            elif destination is not None and route.sender is destination.sender:
                routes.append((payload_type, route.payload_type, RELAY, route.rate, 0))
        onward = destination._flow if isinstance(destination, NativeTrack) else None  # noqa: SLF001  # of our own kind
        ways = [(tape, tape.way(self._believed, self.local)) for tape in tapes or ()]
        self._flow.receive(onward, routes, ways, voice)
        self._flow.permit(self._seconds_per_byte)
        self._relay.lend(self._flow, self._connected and self.plain and tapes is not None)

    # --- what C hands over ----------------------------------------------------------------------------------------------

    def odd(self, data: bytes) -> None:
        """Take a datagram of the believed source that C has read and left alone."""
        self._recall()  # C's came before; Python may keep this one instead, or refuse it
        self._take(data)

    def _take(self, data: bytes) -> None:
        route = self._routes[data[1] & 0x7F] if len(data) > 1 else None
        special = route.special if route is not None else None
        super()._take(data)
        if special is not None and route is not None and route.special is not special:
            self._publish()  # what was special about it is over

    def publish(self) -> None:
        """Tell C again what was decided, as when its socket is watched elsewhere."""
        self._publish()

    def _recall(self) -> None:
        data = self._flow.take_unheard()
        if data is not None:
            _, _, sequence, timestamp, _ = HEADER.unpack_from(data)
            self._unheard = (data, sequence, timestamp)

    def carry(self) -> dict[str, Any]:
        """As in Python, with the packet C kept."""
        self._recall()
        return super().carry()

    def catch_up(self, now: float) -> None:
        """As in Python, with the packet C kept."""
        self._recall()
        super().catch_up(now)

    def mode_asked(self) -> int | None:
        """As in Python, with the packet C kept."""
        self._recall()
        return super().mode_asked()

    def end(self) -> None:
        """As in Python; C forgets the socket."""
        super().end()
        self._relay.lend(self._flow, False)
        self._flow.detach()
        self._relay.remove(self._flow)


def make_tape(head: MakeHead) -> Tape:
    """Make what evidence of one call waits in."""
    return Tape(MAX_TAPE, head)


def _phase() -> NativePhase:
    return NativePhase(FILL_SECONDS)


def _keep_beats(loop: Loop, phases: tuple[Phase, ...], started: float, step: float, tell: Restless) -> bool:
    if not isinstance(loop, NativeLoop):
        return False
    loop.keep_beats(cast("tuple[NativePhase, ...]", phases), started, step, tell)
    return True


def _mix() -> NativeMix:
    return NativeMix(g711.TO_LINEAR, g711.TO_CODE)


NATIVE = Parts(
    "native",
    NativeLoop,
    NativeTrack,
    NativeOut,
    make_tape,
    NativeActivity,
    NativeJitterBuffer,
    _mix,
    _phase,
    _keep_beats,
)
