"""What the bars of Q1 and Q2 were set beside: Debian's rtpengine with the same calls and packets, in turns with ours in one run.

    phones of sound.c ─▶ rtpengine in user space, one pcap for each call if it records ─▶ the other phone of the call

A machine that is half as fast takes twice as much for everything, so our share of a core says little without its share.
"""

import shutil
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from rtp.control import Medium
from tests.bench.figures import Figure, median
from tests.bench.native import Sound
from tests.bench.spell import Spell, spell
from tests.kit.rtpengine import Rtpengine
from tests.live.kit import ports

NAME: Final = "rtpengine"
MEDIA_PORTS: Final = (20_000, 25_999)
"""Below those of our media processes; it takes four for each call and medium."""
OPTIONS: Final = (
    "--num-threads=1", "--media-num-threads=0",  # what costs it least (docs/performance.md)
    "--log-level=3",  # errors only
    # It is stopped while others are measured: that is no silence of its phones.
    "--timeout=86400", "--silent-timeout=86400", "--offer-timeout=86400",
    "--delete-delay=0",
)  # fmt: skip
RECORDING: Final = ("--recording-method=pcap", "--recording-format=raw")
CLOSING_SECONDS: Final = 20.0
CODECS: Final[dict[Medium, str]] = {"audio": "8 PCMA/8000", "video": "8 H264/90000"}
"""Both with the payload type that our one kind of packet has."""
LOST_BAR: Final = 1.0
"""Percent of the packets: who loses more has not done the work it is compared by, and that is said."""
_HEADER, _RECORD = struct.Struct("<IHHiIII"), struct.Struct("<IIII")
_MAGIC: Final = 0xA1B2C3D4


class MissingError(Exception):
    """Rtpengine can't be measured: the text says why."""


def missing() -> str | None:
    """Why it can't be measured; None when it is installed."""
    return None if shutil.which(NAME) else "no rtpengine on this machine (Debian's rtpengine-daemon)"


def description(media: Sequence[tuple[Medium, int]]) -> bytes:
    """Describe the media of a phone of 127.0.0.1, each with its port (RFC 8866)."""
    lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0"]
    for medium, port in media:
        lines += [f"m={medium} {port} RTP/AVP 8", f"a=rtpmap:{CODECS[medium]}", "a=sendrecv"]
    return "".join(f"{line}\r\n" for line in lines).encode()


def described_ports(sdp: bytes) -> list[int]:
    """Give the port of each medium of a description."""
    return [int(line.split()[1]) for line in sdp.splitlines() if line.startswith(b"m=")]


def packets(pcap: bytes) -> int:
    """Count the packets of a file of libpcap's first format. Raises ValueError when it isn't one or a packet is cut."""
    if len(pcap) < _HEADER.size or _HEADER.unpack_from(pcap)[0] != _MAGIC:
        raise ValueError("no pcap file")
    at, count = _HEADER.size, 0
    while at < len(pcap):
        if at + _RECORD.size > len(pcap):
            raise ValueError("the head of a packet is cut")
        _, _, kept, size = _RECORD.unpack_from(pcap, at)
        at += _RECORD.size + kept
        if kept != size or at > len(pcap):
            raise ValueError("a packet is cut")
        count += 1
    return count


class Anchor:
    """A running rtpengine with calls of two phones each; a context manager. Whatever it does not do raises MissingError."""

    def __init__(self, folder: Path, *, recorded: bool) -> None:
        if (why := missing()) is not None:
            raise MissingError(why)
        self._kept = folder / f"{NAME}-pcaps"
        self._words = {"record_call": "yes"} if recorded else {}
        options = (*RECORDING, f"--recording-dir={self._kept}") if recorded else ()
        self._kept.mkdir()
        ng = (ports.ADDRESS, ports.free_port())
        try:
            self._engine = Rtpengine(folder / NAME, ng, MEDIA_PORTS, *OPTIONS, *options)
        except (AssertionError, OSError) as error:
            raise MissingError(f"rtpengine does not start: {error}") from error
        self.pid = self._engine.pid
        self.pause, self.resume = self._engine.pause, self._engine.resume
        self._calls: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._engine.close()

    def rooms(self, numbers: range, media: tuple[Medium, ...], phones: list[int]) -> list[int]:
        """Set up calls; `phones`: ports, for each call guest and host of each medium. Gives its ports in the same order."""
        targets: list[int] = []
        each = 2 * len(media)
        for at, number in enumerate(numbers):
            of_call = phones[at * each : (at + 1) * each]
            guest, host = (description(list(zip(media, of_call[side::2], strict=True))) for side in (0, 1))
            words = {
                "call_id": f"call-{number}",
                "from_tag": f"guest-{number}",
                "ICE": "remove",
                **self._words,
            }
            for_host = described_ports(self._command("offer", sdp=guest, **words)["sdp"])
            answer = self._command("answer", sdp=host, to_tag=f"host-{number}", **words)
            for_guest = described_ports(answer["sdp"])
            targets += [port for pair in zip(for_guest, for_host, strict=True) for port in pair]
            self._calls.append(f"call-{number}")
        return targets

    def carried(self) -> int:
        """Give how many RTP packets it has taken in all its calls, by its own account."""
        answers = [self._command("query", call_id=call) for call in self._calls]
        return sum(answer["totals"]["RTP"]["packets"] for answer in answers)

    def close_recordings(self) -> int:
        """Hang up; give how many packets are in the pcaps."""
        for call in self._calls:
            self._command("delete", call_id=call)
        # What it tells of a recording is moved there when the pcap is closed.
        end = time.monotonic() + CLOSING_SECONDS
        while len(list((self._kept / "metadata").glob("*"))) < len(self._calls):
            if time.monotonic() > end:
                raise MissingError("rtpengine does not close its pcaps")
            time.sleep(0.1)
        try:
            return sum(packets(path.read_bytes()) for path in (self._kept / "pcaps").iterdir())
        except ValueError as error:
            raise MissingError(f"a pcap of rtpengine: {error}") from error

    def _command(self, name: str, **words: Any) -> dict[str, Any]:
        try:
            return self._engine.command(name, **words)
        except (AssertionError, TimeoutError) as error:
            raise MissingError(f"rtpengine: {error}") from error


class Turns:
    """The turns of rtpengine in a row of the bench; without a rtpengine there are none, and `why` says why."""

    def __init__(self, sound: Sound, first: int, last: int) -> None:
        self.spells: list[Spell] = []
        self.why = ""
        self.kept: int | None = None
        """Packets in its pcaps in the end."""
        self.engine: Anchor | None = None
        self._phones = (sound, first, last)

    @property
    def threads(self) -> list[int]:
        """All threads of its process, by the kernel's ids; none without one. Its main thread relays nothing."""
        tasks = Path(f"/proc/{self.engine.pid}/task").iterdir() if self.engine is not None else ()
        return [int(task.name) for task in tasks]

    def take(self, seconds: float) -> Spell | None:
        """Let it go on, let its phones send, stop it again. Raises OSError when it has ended."""
        if self.engine is None:
            return None
        sound, first, last = self._phones
        self.engine.resume()
        self.spells.append(spell(sound, first, last, self.engine.pid, seconds))
        self.engine.pause()
        return self.spells[-1]

    def close_recordings(self) -> None:
        """Have the pcaps closed and counted; one that lacks a packet makes the whole no anchor: `why` says so."""
        if self.engine is None:
            return
        self.engine.resume()
        try:
            carried, self.kept = self.engine.carried(), self.engine.close_recordings()
        except MissingError as error:
            self.why = str(error)
        else:
            if self.kept != carried:
                self.why = f"rtpengine took {carried} packets and recorded {self.kept}"


@contextmanager
def turns(
    folder: Path, sound: Sound, first: int, calls: int, media: tuple[Medium, ...], *, recorded: bool
) -> Iterator[Turns]:
    """Start an rtpengine with so many calls for the phones of `sound` from `first` on, and stop it until its turn."""
    last = first + calls * 2 * len(media) - 1
    found = Turns(sound, first, last)
    with ExitStack() as stack:
        try:
            engine = stack.enter_context(Anchor(folder, recorded=recorded))
            sound.to(first, engine.rooms(range(calls), media, sound.ports[first : last + 1]))
            engine.pause()
            found.engine = engine
        except MissingError as error:
            found.why = str(error)
        yield found


def figures(
    row: str,
    ours: Sequence[Spell],
    its: Turns,
    cost: Callable[[Spell], float],
    unit: str,
    bar: float | None = None,
) -> list[Figure]:
    """What a row tells of rtpengine. `ours`: our spells, one beside each of its, or none; `cost`: what is told of its, in `unit`.

    Both are compared by the processor time of each packet that came: who loses packets saves nothing by it. When it was not
    measured, or its recordings are not whole, `<row>.rtpengine` and `<row>.of_rtpengine` have no value and say why.
    """
    what, of = "  the same by rtpengine in user space", "  CPU of a packet, ours ÷ rtpengine's"
    if its.why or not its.spells:
        return [
            Figure(f"{row}.rtpengine", what, None, unit, note=its.why),
            Figure(f"{row}.of_rtpengine", of, None, "×", bar, note=its.why),
        ]
    counts = [one.counts for one in its.spells]
    sent = sum(one.sent for one in counts)
    lost = (1 - sum(one.received for one in counts) / max(1, sent)) * 100
    note = f"it lost {lost:.1f} % of the packets" if lost > LOST_BAR else ""
    pairs = list(zip(ours, its.spells, strict=True)) if ours else []
    ratio = median([mine.packet_us / max(1e-9, one.packet_us) for mine, one in pairs]) if pairs else None
    found = [
        Figure(f"{row}.rtpengine", what, median([cost(one) for one in its.spells]), unit, note=note),
        Figure(f"{row}.of_rtpengine", of, ratio, "×", bar, note=note if pairs else "ours was not measured"),
        Figure(f"{row}.rtpengine_lost", "    packets sent less packets that came, while counted", lost, "%"),
        Figure(f"{row}.rtpengine_p50", "    delay p50", median([one.p50_us for one in counts]) / 1000, "ms"),
        Figure(f"{row}.rtpengine_p99", "    delay p99", median([one.p99_us for one in counts]) / 1000, "ms"),
    ]
    if its.kept is not None:
        all_sent = sum(one.sent for one in its.spells)
        what = "    packets in its pcaps for each that was sent"
        found.append(Figure(f"{row}.rtpengine_recorded", what, its.kept / max(1, all_sent), "×"))
    return found
