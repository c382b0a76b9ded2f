"""The sending half of a track that C may send through."""

from collections.abc import Callable

from rtp.call_evidence import Both, PacketWriter
from rtp.control import Address, Codec
from rtp.made import FRAME_SECONDS
from rtp.native._relay import Flow, Tape
from rtp.outstream import Numbering
from rtp.ports import Pair
from rtp.sender import Sender


def tapes_of(writer: PacketWriter | None) -> list[Tape] | None:
    """The tapes behind a writer; None when it is something else, which C can't write to."""
    if writer is None:
        return []
    writers = writer.writers if isinstance(writer, Both) else (writer,)
    tapes = [one for one in writers if isinstance(one, Tape)]
    return tapes if len(tapes) == len(writers) else None


class NativeSender(Sender):
    """A sender that C may send through while it is straight, connected and has no gate."""

    __slots__ = ("_evidence", "_expecting", "_flow")

    def __init__(self, flow: Flow, pair: Pair, local: Address, out: Numbering, *, audio: bool) -> None:
        self._flow = flow
        self._evidence: PacketWriter | None = None
        super().__init__(pair.rtp, local, out, audio=audio)

    @property
    def packets(self) -> int:
        """Packets sent."""
        return self._flow.packets

    @packets.setter
    def packets(self, value: int) -> None:
        self._flow.packets = value

    @property
    def octets(self) -> int:
        """Payload bytes sent."""
        return self._flow.octets

    @octets.setter
    def octets(self, value: int) -> None:
        self._flow.octets = value

    @property
    def failed(self) -> int:
        """Packets the system did not take."""
        return self._flow.failed

    @failed.setter
    def failed(self, value: int) -> None:
        self._flow.failed = value

    @property
    def evidence(self) -> PacketWriter | None:
        """Takes what is sent."""
        return self._evidence

    @evidence.setter
    def evidence(self, writer: PacketWriter | None) -> None:
        self._evidence = writer
        self._publish()

    @property
    def expecting(self) -> Callable[[], None] | None:
        """Called when the first packet of the next relayed source has left."""
        return self._expecting

    @expecting.setter
    def expecting(self, tell: Callable[[], None] | None) -> None:
        self._expecting = tell
        self._flow.unsettle()

    def steady(self, source: int, codec: Codec, payload: bytes, step: int, now: float) -> None:  # as there
        """As in Python; by C while nothing has changed."""
        if (
            self.expecting is None
            and not self.bundles
            and self.span == FRAME_SECONDS
            and self._flow.steady(source, codec.payload_type, codec.clock_rate, step, payload, now)
        ):
            return
        super().steady(source, codec, payload, step, now)

    def _rewire(self) -> None:
        super()._rewire()
        self._publish()

    def _publish(self) -> None:
        tapes = tapes_of(self._evidence)
        direct = (
            self._connected
            and self.remote is not None
            and self.gate is None
            and self.wrap is None
            and self.history is None  # SRTP and sending again are Python's
            and tapes is not None
            and len(tapes) <= 1
        )
        if direct and tapes and self.remote is not None:
            way = tapes[0].way(self.local, self.remote)
            self._flow.send_straight(direct, self.straight, tapes[0], way)
        else:
            self._flow.send_straight(direct, direct and self.straight, None, 0)
