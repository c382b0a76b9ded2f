"""Packets that are more than relayed: those that change their codec, digits, and the noise of who pauses."""

from collections.abc import Callable, Iterable, Sequence

from rtp.amr import requested
from rtp.codecs import silence
from rtp.control import Codec
from rtp.dtmf import Detector
from rtp.load import Load, thread_time
from rtp.mapping import TRANSCODED, Mapped
from rtp.noise import CLOCK_RATE
from rtp.packet import HEADER_SIZE, MARKER, PacketError, payload_of
from rtp.route import Route, Special, Surroundings
from rtp.sender import Sender
from rtp.sequence import MAX_DROPOUT, forward16
from rtp.transcode import Transcoder


class Transcoding:
    """Packets of one source on their way into another codec."""

    def __init__(  # noqa: PLR0917  # made in one place
        self, source: Codec, destination: Codec, sender: Sender, number: int, load: Load, back: Sender
    ) -> None:
        """`number`: this transcoding as a source of the sender; its cost is added to `load`; `back`: what its speaker is sent."""
        self._back = back if source.name == "AMR" else None
        self._asked: int | None = None
        self._transcoder = Transcoder(source, destination)
        self._codec = destination
        self._sender = sender
        self._number = number
        self._step = destination.clock_rate // 50
        self._last: int | None = None
        self._load = load

    def push(self, data: bytes, sequence: int, _timestamp: int, now: float) -> None:
        """Take one packet; what comes out goes to the sender. What its source lost stays missing in what is sent."""
        steps = forward16(self._last, sequence) if self._last is not None else 1
        if steps == 0 or steps > 0xFFFF - MAX_DROPOUT:
            return  # repeated or late: a decoder needs order
        self._last = sequence
        if not self._sender.relay_open:
            return
        try:
            payload = payload_of(data)
        except PacketError:
            return
        if self._back is not None and (asked := requested(payload)) is not None:
            self._back.asked_mode = asked
        if self._asked != self._sender.asked_mode and self._sender.asked_mode is not None:
            self._asked = self._sender.asked_mode
            self._transcoder.ask(self._asked)
        if 1 < steps <= MAX_DROPOUT and self._sender.out.source == self._number:
            self._sender.out.skip(steps - 1, (steps - 1) * self._step)
        begin = thread_time()
        frames = self._transcoder.push(payload)
        self._load.transcoding += thread_time() - begin
        self._load.transcoded += len(frames)
        for frame in frames:
            self._sender.made(self._number, self._codec, frame, self._step, now)


def transcoding(mapped: Mapped, sender: Sender, around: Surroundings, back: Sender) -> Special:
    """Begin to transcode one payload type, as a source of its own of `sender`; `back` sends to whoever speaks."""
    assert mapped.destination is not None, "a route with a sender has a codec to send"
    number = next(around.numbers)
    return Transcoding(mapped.source, mapped.destination, sender, number, around.load, back).push


class Digits:
    """Passes event packets on and tells each digit once."""

    def __init__(
        self, route: Route, detector: Detector, number: Callable[[], int], on_digit: Callable[[str], None]
    ) -> None:
        """`number`: the peer as a source of the route's sender, now."""
        self._route = route
        self._detector = detector
        self._number = number
        self._on_digit = on_digit

    def push(self, data: bytes, sequence: int, timestamp: int, now: float) -> None:
        """Take one packet."""
        route = self._route
        if route.sender is not None and route.codec is not None:
            route.sender.relay(self._number(), data, route.codec, sequence, timestamp, now)
        try:
            payload = payload_of(data)
        except PacketError:
            return
        digit = self._detector.push(payload, timestamp)
        if digit is not None:
            self._on_digit(digit)


class Pauses:
    """Takes comfort noise: its sender will say nothing for a while (RFC 3389).

    Whoever it is relayed to never agreed to it, so it leaves as 20 ms of silence in the codec of its sender's sound: a number
    that was left out would look like a packet that was lost.
    """

    def __init__(
        self, sound: tuple[Codec, Route] | None, number: Callable[[], int], on_pause: Callable[[float], None]
    ) -> None:
        """`sound`: the codec its sender speaks, and where that goes; `number`: the peer as a source, now."""
        self._number = number
        self._on_pause = on_pause
        self._route: Route | None = None
        self._special: Special | None = None
        self._codec: Codec | None = None
        if sound is not None:
            self._codec, self._route = sound
            self._special = self._route.special  # of its own: who else listens takes the noise itself

    def push(self, data: bytes, sequence: int, timestamp: int, now: float) -> None:
        """Take one packet."""
        route, codec = self._route, self._codec
        if codec is not None and route is not None and route.sender is not None and route.codec is not None:
            quiet = (
                bytes((0x80, data[1] & MARKER | codec.payload_type)) + data[2:HEADER_SIZE] + silence(codec)
            )
            if self._special is not None:
                self._special(quiet, sequence, timestamp, now)
            else:
                route.sender.relay(self._number(), quiet, route.codec, sequence, timestamp, now)
        self._on_pause(now)


def pauses(
    routes: Sequence[Route | None],
    receive: Iterable[Codec],
    number: Callable[[], int],
    on_pause: Callable[[float], None],
) -> Special:
    """Begin to take the comfort noise of a peer; the routes of its sound are laid already."""
    spoken = (codec for codec in receive if codec.name in TRANSCODED and codec.clock_rate == CLOCK_RATE)
    sound = next(((codec, route) for codec in spoken if (route := routes[codec.payload_type])), None)
    return Pauses(sound, number, on_pause).push
