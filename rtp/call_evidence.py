"""One call's evidence as the loop sees it: where a packet is put, whether or not the file is open yet.

packet ─▶ CallEvidence.packet ─▶ list, until `attach` ─▶ the sink
                            └──▶ or a tape, which the evidence thread pours into the sink
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from rtp.control import Address

MAX_WAITING: Final = 2_000
"""Packets kept for a call whose file is not open yet: 18 s of sound and picture, about 2 MB."""
PacketWriter = Callable[[int, Address, Address, bytes], None]
Head = tuple[bytes, int, int, bytes]
"""What is the same in every record of a file between two addresses: (all up to the payload with lengths, time and checksums 0, sums of
the constant words under the IP and the UDP checksum, what follows the payload)."""
MakeHead = Callable[[Address, Address], Head]
RING_FULL: Final = "the buffer in front of the file was full"
NEVER_OPENED: Final = "the file could not be opened"
FLOOD: Final = "more than the permitted rate"
OVERRUN: Final = "dropped by the kernel, whose buffer was full, at port"
REJECTED: Final = "rejected-source: sent by somebody who is not the peer, to port"
log = structlog.get_logger("media")


Appended = tuple[int, int, bytes | None, int]
"""What came of writing straight into a file: (bytes that went in, packets that were to be written, all their bytes if not all
of them went in, the errno of that)."""
LeftOut = Callable[[int, int, int], None]
"""Told of packets that were dropped: (how many, first ns, last ns)."""
Append = Callable[[int, int, LeftOut], Appended | None]
"""Write into a file: (descriptor, where it ends, told what was dropped before) → what came of it, None when it ends elsewhere and
nothing was done."""


class EvidenceSink(Protocol):
    """The open capture of one call."""

    def packet(self, at_ns: int, source: Address, destination: Address, data: bytes) -> None:
        """Take one UDP payload as received or as sent; about 1 µs: append to a list, `flush` writes it."""

    def sip(self, at_ns: int, source: Address, destination: Address, transport: str, data: bytes) -> None:
        """Take one SIP message as it stood on the wire."""

    @property
    def takes_blocks(self) -> bool:
        """Whether packets may come to it as they stand in the file (`Tape.encode`); else they are wanted one by one."""

    def encoded(self, data: bytes, packets: int) -> None:
        """Take packets that are written already, in order. Called from the evidence thread."""

    def append(self, append: Append, left_out: LeftOut) -> bool:
        """Let packets be written straight into the file; False: not now, they are to be given. Called from the evidence thread.

        Raises OSError, and keeps what could not be written, as `flush`.
        """

    def left_out(self, packets: int, first_ns: int, last_ns: int, reason: str) -> None:
        """Take note of packets that it will not be given: how many, from when to when (wall clock) and why."""

    def flush(self, *, sync: bool) -> None:
        """Write what was taken; with `sync` also fsync. Called from the evidence thread. Raises OSError."""

    def close(self) -> tuple[int, int]:
        """Write, fsync and close: (packets, bytes of the file). Called from the evidence thread. Raises OSError."""


class Tape(Protocol):
    """Where the native engine leaves packets of one call, and this process its own; the evidence thread pours it out."""

    @property
    def waiting(self) -> int:
        """Packets in it."""

    def __call__(self, at_ns: int, source: Address, destination: Address, data: bytes, /) -> None:
        """Take one packet; it is copied."""

    def pour(self, packet: PacketWriter, left_out: LeftOut, /) -> None:
        """Give `packet` all of it in order, and tell `left_out` if some found it full."""

    def encode(self, left_out: LeftOut, /) -> tuple[bytes, int]:
        """Give all of it as it stands in the file, and how many packets that is; `left_out` as above."""

    def append(self, descriptor: int, end: int, left_out: LeftOut, /) -> Appended | None:
        """Write all of it as it stands in the file into one that ends there; see `Append`."""


@dataclass(frozen=True, slots=True)
class Both:
    """A packet that belongs to two calls' evidence."""

    writers: tuple[PacketWriter, PacketWriter]

    def __call__(self, at_ns: int, source: Address, destination: Address, data: bytes) -> None:
        """Give it to both."""
        for writer in self.writers:
            writer(at_ns, source, destination, data)


class CallEvidence:
    """One call's evidence in the loop: stands in for the sink until it is open."""

    __slots__ = (
        "_losses",
        "_sink",
        "_waiting",
        "before",
        "call",
        "elsewhere",
        "folder",
        "left_out",
        "opening",
        "packet",
        "released",
        "stated",
        "tape",
    )

    def __init__(self, call: str, folder: str, tape: Tape | None = None) -> None:
        """`packet` is the sink's own method once `attach` was called; with a `tape` it is the tape, always."""
        self.call = call
        self.folder = folder
        self.stated = False
        """The disk's failure has been told; cleared when a flush succeeds again."""
        self.opening = False
        """The evidence thread is opening the file."""
        self.left_out = 0
        """Packets that found the stand-in full."""
        self.elsewhere = False
        """Another media process had the file and has not said yet that it closed it."""
        self.before = 0
        """Packets another media process has written."""
        self.released: Callable[[int, int], None] | None = None
        """Told how many packets are in the file, and how many never came there, when it is closed for another media process."""
        self._sink: EvidenceSink | None = None
        self._waiting: list[tuple[int, Address, Address, str | None, bytes]] = []
        self._losses: list[tuple[int, int, int, str]] = []
        self.tape = tape
        self.packet: PacketWriter = self._keep_packet if tape is None else tape

    @property
    def sink(self) -> EvidenceSink | None:
        """The open capture, None before `attach`."""
        return self._sink

    @property
    def waiting(self) -> int:
        """Packets and messages that wait for the file."""
        return len(self._waiting) + (self.tape.waiting if self.tape is not None else 0)

    def sip(self, at_ns: int, source: Address, destination: Address, transport: str, data: bytes) -> None:
        """Take one SIP message."""
        if self._sink is not None:
            self._sink.sip(at_ns, source, destination, transport, data)
        else:
            self._keep(at_ns, source, destination, transport, data)

    def attach(self, sink: EvidenceSink) -> None:
        """Hand over what arrived while the file was being opened, in its order."""
        self._sink = sink
        for at_ns, source, destination, transport, data in self._waiting:
            if transport is None:
                sink.packet(at_ns, source, destination, data)
            else:
                sink.sip(at_ns, source, destination, transport, data)
        if self.left_out:
            first = self._waiting[-1][0]
            self.lose(self.left_out, first, max(first, time.time_ns()), RING_FULL)
        for loss in self._losses:
            sink.left_out(*loss)
        self._losses.clear()
        self._waiting.clear()
        if self.tape is None:
            self.packet = sink.packet

    def lose(self, packets: int, first_ns: int, last_ns: int, reason: str) -> None:
        """State packets that are missing in the file; called from either thread."""
        log.error("evidence_left_out", call=self.call, packets=packets, reason=reason)
        self.state(packets, first_ns, last_ns, reason)

    def state(self, packets: int, first_ns: int, last_ns: int, reason: str) -> None:
        """The same for what does not belong in the file: nobody is to blame."""
        if self._sink is not None:
            self._sink.left_out(packets, first_ns, last_ns, reason)
        else:
            self._losses.append((packets, first_ns, last_ns, reason))

    def pour(self, sink: EvidenceSink) -> bool:
        """Give the sink what is on the tape; whether all there was is in the file then. Called from the evidence thread."""
        tape = self.tape
        if tape is None:
            return False
        if sink.append(tape.append, self._overrun):
            return True
        if sink.takes_blocks:
            sink.encoded(*tape.encode(self._overrun))
        else:
            tape.pour(sink.packet, self._overrun)
        return False

    def _overrun(self, packets: int, first_ns: int, last_ns: int) -> None:
        self.lose(packets, first_ns, last_ns, RING_FULL)

    def _keep_packet(self, at_ns: int, source: Address, destination: Address, data: bytes) -> None:
        # A holder of the bound method from before `attach` still reaches the file.
        if self._sink is not None:
            self._sink.packet(at_ns, source, destination, data)
        else:
            self._keep(at_ns, source, destination, None, data)

    def _keep(
        self, at_ns: int, source: Address, destination: Address, transport: str | None, data: bytes
    ) -> None:
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append((at_ns, source, destination, transport, data))
        else:
            self.left_out += 1
