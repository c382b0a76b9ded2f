"""What leaves on one medium of a leg: numbering, the silent gate, the socket, evidence.

relayed packet ─┐
prompt, digit  ─┼─▶ OutStream (number) ─▶ transmit = [SilentGate ─▶] socket.send ─▶ evidence
silence        ─┘
"""

import socket
import time
from collections.abc import Callable, Iterable
from typing import Final

from rtp.activity import Restlessness
from rtp.call_evidence import PacketWriter
from rtp.control import Address, Codec, Stream
from rtp.history import History
from rtp.made import SILENCE as SILENCE  # noqa: PLC0414  # it is a source of a sender
from rtp.made import Made
from rtp.mapping import EVENT, FRAME_MS, sound, spoken
from rtp.outstream import Numbering
from rtp.overlay import Overlay
from rtp.packet import HEADER, HEADER_SIZE, MARKER

FIRST_SOURCE: Final = 2

Transmit = Callable[[bytes], int]
Wrap = Callable[[Transmit], Transmit]
_PACK: Final = HEADER.pack
_time_ns: Final = time.time_ns


class SilentGate:
    """The last thing before the socket of a leg in silent mode: only codec silence passes (promise 4)."""

    __slots__ = ("_next", "_silences", "stopped")

    def __init__(self, onward: Transmit, silences: frozenset[bytes]) -> None:
        """`silences`: the payloads that may pass."""
        self._next = onward
        self._silences = silences
        self.stopped = 0
        """Packets that were something else; each is a bug of ours that nobody heard."""

    def __call__(self, packet: bytes) -> int:
        """Pass silence on and stop everything else: bytes sent, 0 for a stopped one."""
        if packet[HEADER_SIZE:] in self._silences:
            return self._next(packet)
        self.stopped += 1
        return 0


class Passed:
    """What a relayed packet looks at of its sender, side by side in memory as in `road.Travelled`."""

    __slots__ = ("direct", "evidence", "octets", "out", "packets", "straight")


class Sender(Passed, Made):
    """The sending half of a track. `packets` and `octets` (payload bytes) count what was really sent."""

    __slots__ = (
        "_activity", "_begun", "_bundle", "_codecs", "_connected", "_marker", "_silence", "_silence_step",
        "_silent_codec", "_socket", "_taken_at", "asked_mode", "bundles", "codec", "event_codecs", "expecting",
        "failed", "gate", "history", "late", "local", "max_ptime", "overlay", "overridden", "ptime",
        "relay_open", "remote", "sending", "shut", "silent", "span", "transmit", "wrap",
    )  # fmt: skip

    def __init__(self, sock: socket.socket, local: Address, out: Numbering, *, audio: bool) -> None:
        """`local`: our own address as evidence states it."""
        self._socket = sock
        self.local = local
        self.out = out
        # In sound the marker begins a talkspurt (RFC 3551 §4.1); in a picture it ends a frame and is not ours to set.
        self._marker = MARKER if audio else 0
        self.remote: Address | None = None
        self._connected = False
        self._activity: Restlessness | None = None
        self.evidence: PacketWriter | None = None
        self.sending = False
        """The peer takes this medium."""
        self.silent = False
        """Silent mode: see SilentGate."""
        self.overridden = False
        """Something is played or a digit is sent: relayed packets wait outside."""
        self.relay_open = False
        """Relayed packets pass."""
        self.straight = False
        """They pass as they are: nothing is laid over them."""
        self.overlay: Overlay | None = None
        self._codecs: tuple[Codec, ...] = ()
        self.codec: Codec | None = None
        """What sound made here is encoded in: the codec relayed last, else the peer's best; None when we speak none."""
        self.begin_made()
        self.event_codecs: tuple[Codec, ...] = ()
        self.asked_mode: int | None = None
        """The mode of AMR the peer wants to be sent (RFC 4867 §4.3.1)."""
        self.expecting: Callable[[], None] | None = None
        """Called when the first packet of the next relayed source has left."""
        self.gate: SilentGate | None = None
        self.packets = self.octets = 0
        self.failed = 0
        """Packets the system did not take."""
        self.late = 0
        """Relayed packets older than their source's first."""
        self.shut = 0
        """Relayed packets that found the gate closed."""
        self.history: History | None = None
        """What was sent last; from the first NACK on."""
        self.wrap: Wrap | None = None
        """Encryption: makes of the way to the socket one that seals each packet (see `protection`)."""
        self.transmit: Transmit = self._nowhere
        self.direct: socket.socket | None = None
        """The socket whose `send` `transmit` is; None where it is something else."""

    # --- what decides where packets go -----------------------------------------------------------------------------

    def rouse(self, activity: Restlessness) -> None:
        """State there from now on whether a beat may have something to do: where nothing can be sent, only while it is busy."""
        self._activity = activity
        self._stir()

    def configure(self, stream: Stream | None) -> None:
        """Take the peer's codecs and direction; None: the medium was refused."""
        self._codecs = stream.send if stream else ()
        self._time(stream)
        self.sending = stream is not None and stream.sending
        self.event_codecs = tuple(codec for codec in self._codecs if codec.name == EVENT)
        if self.codec not in self._codecs or (self.max_ptime or FRAME_MS) < FRAME_MS:
            self.codec = spoken(self._codecs, self.max_ptime) if self._marker else None
        self._rewire()

    def target(self, remote: Address | None, *, connected: bool) -> None:
        """Send to this address from now on; `connected`: the socket is."""
        if (remote, connected) == (self.remote, self._connected):
            return
        self.remote = remote
        self._connected = connected
        self._rewire()

    def protect(self, wrap: Wrap | None) -> None:
        """Let `wrap` have the last hand on each packet; None: nobody."""
        self.wrap = wrap
        self._rewire()

    def set_silent(self, *, silent: bool) -> None:
        """Open or close the silent gate."""
        if silent != self.silent:
            self.silent = silent
            self.drop()
            self.out.part()
            self._rewire()

    def override(self, *, overridden: bool) -> None:
        """Let prompts and digits have the stream, or give it back to the relay."""
        self.overridden = overridden
        self._rewire()

    def lay(self, overlay: Overlay | None) -> None:
        """Lay a tone over what is relayed, or end that."""
        self.overlay = overlay
        self._rewire()

    def _rewire(self) -> None:
        onward = self._way
        if self.history is not None:
            onward = self.history.after(onward)
        if self.wrap is not None:
            onward = self.wrap(onward)
        if self.history is not None:
            onward = self.history.before(onward)
        self.gate = None
        if self.silent and self._marker:
            onward = self.gate = SilentGate(onward, self._silences())
        self.transmit = onward
        bare = self.history is None and self.wrap is None and self.gate is None
        self.direct = self._socket if bare and self._connected and self.remote is not None else None
        heard = not self.silent if self._marker else True
        self.relay_open = self.sending and heard and not self.overridden and self.remote is not None
        self.straight = self.relay_open and self.overlay is None
        self._stir()

    def _stir(self) -> None:
        activity = self._activity
        if activity is not None:
            reached = self.sending and self.remote is not None
            activity.out = self.out if reached or activity.busy else None

    @property
    def _way(self) -> Transmit:
        """The way to the socket."""
        if self.remote is None:
            return self._nowhere
        return self._socket.send if self._connected else self._send_to

    def _send_to(self, packet: bytes) -> int:
        assert self.remote is not None, "without an address `transmit` is `_nowhere`"
        return self._socket.sendto(packet, self.remote)

    def _nowhere(self, _packet: bytes) -> int:
        return 0

    # --- packets ---------------------------------------------------------------------------------------------------

    def relay(  # noqa: PLR0917  # keywords cost on the packet road
        self, source: int, data: bytes, codec: Codec, sequence: int, timestamp: int, now: float
    ) -> None:
        """Send a peer's packet on with its first 12 bytes rewritten. `source`: its number (see `outstream`)."""
        if not self.relay_open:
            self.shut += 1
            return
        first, payload = data[0], data[HEADER_SIZE:]
        if self.overlay is not None and codec.name != EVENT:
            mixed = self.overlay.under(codec, data)
            if mixed is None:
                self.shut += 1
                return
            first, payload = 0x80, mixed  # without the extension and sources that stood before the payload
        out = self.out
        second = data[1] & MARKER | codec.payload_type
        entered = out.source != source
        if entered:
            out.enter(source, sequence, timestamp, codec.clock_rate, self._seam(codec, payload), now)
            second |= self._marker
            self._keep(codec)
        numbers = out.relay(sequence, timestamp, now)
        if numbers is None:
            self.late += 1
            return
        self._put(_PACK(first, second, numbers[0], numbers[1], out.ssrc) + payload)
        if entered and self.expecting is not None:
            self._tell()

    def replay(self, source: int, data: bytes, codec: Codec, step: int, now: float) -> None:
        """Send a packet that was kept, numbered here; `step`: timestamp units after the one before it, 0: its picture."""
        if not self.relay_open:
            self.shut += 1
            return
        sequence, timestamp, _ = self.out.local(source, codec.clock_rate, step, now)
        second = data[1] & MARKER | codec.payload_type
        self._put(_PACK(data[0], second, sequence, timestamp, self.out.ssrc) + data[HEADER_SIZE:])
        if self.expecting is not None:
            self._tell()

    def repeat(self, sequences: Iterable[int], now: float) -> None:
        """Send again what the peer says it misses, as far as it is kept; from the first time on it is."""
        if self.history is None:
            self.history = History()
            self._rewire()
            return
        way = self._way

        def again(wire: bytes) -> Transmit:
            return lambda packet: len(packet) if way(wire) else 0

        for clear, wire in self.history.wanted(sequences, now):
            self._put(clear, again(wire))

    def picture(  # as `local_frame`
        self, source: int, codec: Codec, payloads: Iterable[bytes], step: int, now: float
    ) -> None:
        """Send one picture made here: all payloads with one timestamp, the marker on the last (RFC 6184 §5.1)."""
        *others, last = payloads
        for payload in (*others, last):
            sequence, timestamp, _ = self.out.local(source, codec.clock_rate, step, now)
            second = codec.payload_type | (MARKER if payload is last else 0)
            self._put(_PACK(0x80, second, sequence, timestamp, self.out.ssrc) + payload)
            step = 0

    def _keep(self, codec: Codec) -> None:
        # Fill and prompts stay in the codec the peer is hearing: one clock rate in one stream (RFC 7160 §1).
        if self._marker and codec is not self.codec and sound((codec,)) is not None:
            self.codec = codec

    def _tell(self) -> None:
        tell, self.expecting = self.expecting, None
        if tell is not None:
            tell()

    def _put(self, packet: bytes, transmit: Transmit | None = None) -> None:
        try:
            sent = (transmit or self.transmit)(packet)
        except OSError:
            self.failed += 1  # a full buffer, or the peer's system says that nobody listens there
            return
        if sent:
            self.packets += 1
            self.octets += sent - HEADER_SIZE
            if self.evidence is not None and self.remote is not None:
                self.evidence(_time_ns(), self.local, self.remote, packet)
