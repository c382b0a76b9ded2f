# What relay.c holds and does, seen from Python.

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rtp.control import Address, Codec, Medium
from rtp.jitter import Gap
from rtp.leg import Leg
from rtp.sender import Sender
from rtp.track import Track
from rtp.voices import Ear, Voice

class Receiver(Protocol):
    # Owner of a flow.

    leg: str
    medium: Medium
    def odd(self, data: bytes) -> None: ...
    def publish(self) -> None: ...

class SourceFields:
    # The fields of `rtp.source.Source` as 64-bit integers C counts in.

    ssrc: int
    rate: int
    gaps: int
    highest: int
    cycles: int
    count: int
    jitter16: int
    transit: int
    _bad: int
    _base: int
    _expected_before: int
    _expected_prior: int
    _received_before: int
    _received_prior: int

class OutFields:
    # The fields of `rtp.outstream.OutStream` as C numbers with them.

    ssrc: int
    sequence: int
    timestamp: int
    rate: int
    source: int
    relaying: bool
    sequence_offset: int
    timestamp_offset: int
    _offset_source: int
    _floor: int
    _ahead: int
    at: float | None

class Tape:
    # Packets of one call on their way to its file, as blocks (`rtp.call_evidence.Tape`); at most `limit` bytes of them, `head`: see
    # rtp.call_evidence.Head.

    def __init__(
        self, limit: int, head: Callable[[Address, Address], tuple[bytes, int, int, bytes]]
    ) -> None: ...
    @property
    def waiting(self) -> int: ...
    # The number of a pair of addresses on this tape. ValueError when `head` gives no head.
    def way(self, source: Address, destination: Address) -> int: ...
    def __call__(self, at_ns: int, source: Address, destination: Address, data: bytes, /) -> None: ...
    def pour(
        self,
        packet: Callable[[int, Address, Address, bytes], None],
        left_out: Callable[[int, int, int], None],
        /,
    ) -> None: ...
    # All of it as blocks of a capture, and how many.
    def encode(self, left_out: Callable[[int, int, int], None], /) -> tuple[bytes, int]: ...
    # The same into a file that ends there (`rtp.call_evidence.Tape.append`).
    def append(
        self, descriptor: int, end: int, left_out: Callable[[int, int, int], None], /
    ) -> tuple[int, int, bytes | None, int] | None: ...

# The number C knows a codec's name by.
def name_number(name: str) -> int: ...

class NativeJitterBuffer:
    # `rtp.jitter.JitterBuffer` of sounds (name of the codec, payload).

    begun: bool
    hurry: bool
    span: int
    @property
    def late(self) -> int: ...
    @property
    def lost(self) -> int: ...
    @property
    def overflown(self) -> int: ...
    @property
    def held(self) -> dict[int, tuple[str, bytes]]: ...
    def push(self, sequence: int, entry: tuple[str, bytes]) -> None: ...
    def pull(self) -> tuple[str, bytes] | Gap: ...
    def following(self) -> tuple[str, bytes] | None: ...
    def merged(self) -> None: ...
    def snapshot(self) -> dict[str, Any]: ...

class NativeMix:
    # `rtp.swift.Swift`; tables of "PCMA" and "PCMU": samples by code, codes by the bits of a sample.

    def __init__(self, linear: dict[str, NDArray[np.int16]], codes: dict[str, NDArray[np.uint8]]) -> None: ...
    def arrange(self, voices: Iterable[Voice], ears: Iterable[Ear]) -> None: ...
    def take(self, frames: NDArray[np.int16]) -> list[int]: ...
    def send(self, mixed: NDArray[np.int16], now: float) -> tuple[int, list[int]]: ...

class Flow:
    # One RTP socket: what is decided about it, and its counters.

    def __init__(self, fd: int) -> None: ...
    number: int
    heard: float
    permitted_until: float
    flooded: int
    # What a sweep has seen: packets above the rate that evidence states, gaps of the source.
    flood_stated: int
    gaps_seen: int
    # It carries pictures; `asking`: its peer is to be asked for one when the time has come.
    def picture(self, asking: bool) -> None: ...
    taken: int
    packets: int
    octets: int
    failed: int
    @property
    def owner(self) -> Receiver | None: ...
    @property
    def fd(self) -> int: ...
    @property
    def lent(self) -> bool: ...
    def attach(self, source: SourceFields, out: OutFields, owner: Receiver) -> None: ...
    def detach(self) -> None: ...
    def permit(self, seconds_per_byte: float) -> None: ...
    # Something was decided about what is sent on it.
    def unsettle(self) -> None: ...
    # Whether what is sent on this flow leaves as it is, whether relayed packets do so now, and onto which tape.
    def send_straight(self, direct: bool, straight: bool, tape: Tape | None, way: int) -> None: ...
    # Watched by the loop's second epoll descriptor. ValueError while it is lent.
    deferred: bool
    # Send as `rtp.sender.Sender.steady`: whether it could.
    def steady(
        self, source: int, payload_type: int, rate: int, step: int, payload: bytes, now: float
    ) -> bool: ...
    # Where packets go: (payload type, that of the destination or the number of its name, 0 only counted, 1 relayed, 2 into the
    # voice, Hz), and onto which tapes.
    def receive(
        self,
        destination: Flow | None,
        routes: Sequence[tuple[int, int, int, int, int]],
        tapes: Sequence[tuple[Tape, int]],
        voice: NativeJitterBuffer | None,
    ) -> None: ...
    # Take away the newest packet that went to nobody.
    def take_unheard(self) -> bytes | None: ...

class ActivityFields:
    # The fields of `rtp.activity.Activity`.

    busy: bool
    out: Any
    rtcp_due: float
    report_due: float
    # A further track of the leg. ValueError for more than there are media.
    def watch(self, track: Track) -> None: ...
    # Send these frames beat by beat from here on (`rtp.activity.Restlessness.roll`).
    def roll(
        self,
        sender: Sender,
        source: int,
        codec: Codec,
        step: int,
        frames: tuple[bytes, ...],
        start: int,
        *,
        endless: bool,
    ) -> None: ...
    def unroll(self) -> int: ...

class NativePhase:
    # `rtp.parts.Phase` that looks into records of C's alone; `fill`: `FILL_SECONDS`.

    def __init__(self, fill: float) -> None: ...
    def __len__(self) -> int: ...
    def put(self, leg: Leg) -> None: ...
    def drop(self, leg: Leg) -> None: ...
    def restless(self, now: float) -> list[Leg]: ...
    # A report is due, or a track is not lent, silent for `quiet` seconds, flooded or wants a picture.
    def stirred(self, now: float, quiet: float) -> list[Leg]: ...

class RelayLoop:
    # Serves flows that are lent, on two epoll descriptors of another: what is served as it comes, and what is deferred.

    def __init__(self, poll: int, later: int) -> None: ...
    @property
    def now(self) -> float: ...
    # `looked` and `vacant` of the round that has just been (see `rtp.loop.Loop`).
    @property
    def looks(self) -> tuple[float, float]: ...
    @property
    def flows(self) -> tuple[Flow, ...]: ...
    # Packets since the start: sent on, only counted, put into a voice, handed to Python.
    @property
    def counts(self) -> tuple[int, int, int, int]: ...
    # The flow of a descriptor.
    def find(self, fd: int) -> Flow | None: ...
    # Serve deferred descriptors once: (how many had something, those that are Python's, odd packets). Raises OSError.
    def collect(
        self, now: float, looked: float, vacant: float
    ) -> tuple[int, list[int], list[tuple[Flow, bytes]]]: ...
    def add(self, flow: Flow) -> None: ...
    # Let C read the socket (it is connected), or no longer. Raises OSError.
    def lend(self, flow: Flow, lent: bool) -> None: ...
    def remove(self, flow: Flow) -> None: ...
    # Ask the kernel to run this thread soon rather than long.
    def be_prompt(self) -> None: ...
    # Keep the beats of these phases from `started` on, one each `step` seconds. ValueError for another number of them.
    def keep_beats(self, phases: tuple[NativePhase, ...], started: float, step: float) -> None: ...
    # Keep a beat that is due; legs that have it in Python, since it was asked last, and how late it was in seconds.
    def restless(self, now: float) -> tuple[list[Leg], float] | None: ...
    # Serve until `deadline` (monotonic seconds) or until there is work for Python: ready descriptors, odd packets, restless legs.
    def turn(self, deadline: float) -> tuple[list[int], list[tuple[Flow, bytes]]]: ...
    # Read what waits in one flow, as of `now`: the odd packets. For tests, in which no time passes by itself.
    def serve(self, flow: Flow, now: float, looked: float, vacant: float) -> list[tuple[Flow, bytes]]: ...
