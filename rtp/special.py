"""Packets that are more than relayed: those that change their codec, digits, and the noise of who pauses."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from rtp.amr import requested
from rtp.codecs import silence
from rtp.control import Codec, Stream
from rtp.dtmf import Detector
from rtp.load import Load, thread_time
from rtp.mapping import CUT, MADE, TRANSCODED, Mapped, spoken
from rtp.noise import CLOCK_RATE
from rtp.packet import HEADER_SIZE, MARKER, PacketError, payload_of
from rtp.packet_time import LONGEST, USUAL, Recut, duration
from rtp.route import Route, Special, Surroundings
from rtp.sender import Sender
from rtp.sequence import MASK32, MAX_DROPOUT, forward16
from rtp.transcode import Transcoder

RECUT: Final = CUT | {"AMR"}
"""What is cut without being made anew."""


class Transcoding:
    """Packets of one source on their way into another codec."""

    def __init__(  # noqa: PLR0917  # made in one place
        self, source: Codec, destination: Codec, sender: Sender, number: int, load: Load, back: Sender
    ) -> None:
        """`number`: this transcoding as a source of the sender; its cost is added to `load`; `back`: what its speaker is sent."""
        self._back = back if source.name == "AMR" else None
        self._asked: int | None = None
        self._transcoder = (
            Recut(source)
            if source == destination and source.name in RECUT
            else Transcoder(source, destination)
        )
        self._source = source
        self._codec = destination
        self._sender = sender
        self._number = number
        self._step = destination.clock_rate // 50
        self._last: int | None = None
        self._due = 0  # timestamp that follows the newest packet
        self._owed = 0.0  # of what was lost, ms that no packet is missing for yet
        self._load = load

    def push(self, data: bytes, sequence: int, timestamp: int, now: float) -> None:
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
        ms = duration(self._source, payload)
        if 1 < steps <= MAX_DROPOUT and self._sender.out.source == self._number:
            self._miss(steps - 1, timestamp)
        self._due = (timestamp + round((ms or USUAL) * self._source.clock_rate / 1000)) & MASK32
        begin = thread_time()
        frames = self._transcoder.push(payload)
        self._load.transcoding += thread_time() - begin
        self._load.transcoded += len(frames)
        if frames:
            self._sender.made_at_once(self._number, self._codec, frames, self._step, now)

    def _miss(self, packets: int, timestamp: int) -> None:
        """Leave out as many numbers as packets of 20 ms would have come of what is missing."""
        lost = (timestamp - self._due) & MASK32
        ms = lost * 1000 / self._source.clock_rate
        if not 0 < ms <= packets * max(LONGEST.values()):
            ms = packets * USUAL  # timestamps that say nothing
        self._owed += ms
        missing = int(self._owed // USUAL)
        self._owed -= missing * USUAL
        self._sender.skip(missing, missing * self._step)


def transcoding(mapped: Mapped, sender: Sender, around: Surroundings, back: Sender) -> Special:
    """Begin to transcode one payload type, as a source of its own of `sender`; `back` sends to whoever speaks."""
    assert mapped.destination is not None, "a route with a sender has a codec to send"
    number = next(around.numbers)
    return Transcoding(mapped.source, mapped.destination, sender, number, around.load, back).push


class Bounded:
    """Passes packets on as long as they hold no more than their hearer takes in one; from the first longer one on they are cut."""

    def __init__(  # noqa: PLR0917  # made in one place
        self, route: Route, number: Callable[[], int], longest: int, shorter: Codec, around: Surroundings, back: Sender
    ) -> None:  # fmt: skip
        """`number`: the peer as a source of the route's sender, now; `longest`: ms; `shorter`: the codec of what is cut."""
        assert route.sender is not None, "whose hearer it is"
        assert route.codec is not None, "it has one"
        self._sender, self._codec = route.sender, route.codec
        self._number = number
        self.longest = longest
        self._shorter, self._around, self._back = shorter, around, back
        self._cut: Special | None = None

    def __call__(self, data: bytes, sequence: int, timestamp: int, now: float) -> None:
        """Take one packet."""
        if self._cut is None:
            try:
                ms = duration(self._codec, payload_of(data))
            except PacketError:
                return
            if ms is None or ms <= self.longest:
                self._sender.relay(self._number(), data, self._codec, sequence, timestamp, now)
                return
            self._cut = transcoding(
                Mapped(self._codec, self._shorter), self._sender, self._around, self._back
            )
        self._cut(data, sequence, timestamp, now)


def bounded(
    route: Route, number: Callable[[], int], stream: Stream, around: Surroundings, back: Sender
) -> Special | None:
    """Begin to look whether packets are too long for the stream they go to; None where they can't be, or nothing can be done."""
    codec, longest = route.codec, stream.max_ptime
    if codec is None or longest is None or longest >= LONGEST.get(codec.name, 0):
        return None
    own = codec.name in CUT or (codec.name in MADE and longest >= USUAL)
    shorter = codec if own else spoken(stream.send, longest)
    if shorter is None:
        return None
    return Bounded(route, number, longest, shorter, around, back)


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
