"""tshark as the judge: live capture on the loopback, and what a capture file holds.

`Capture` records what was on the wire with the kernel's own time stamps, independently of the exchange and of the
phones. `rtp` gives every RTP packet of a file, `streams` tshark's own verdict on loss and jitter.
"""

import itertools
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from tests.live.kit.ports import ADDRESS

TSHARK = ("tshark", "-n", "-o", "rtp.heuristic_rtp:TRUE")


@dataclass(frozen=True, slots=True)
class Packet:
    """One RTP packet as it was on the wire."""

    at: float
    """Wall clock, seconds since 1970, by the kernel (live capture) or by the exchange (its evidence)."""
    source: int
    """UDP ports; the address is 127.0.0.1 in these tests."""
    destination: int
    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Stream:
    """One line of `tshark -z rtp,streams`."""

    source: int
    destination: int
    ssrc: int
    codec: str
    packets: int
    lost: int


def _tshark(*arguments: str | Path) -> str:
    command = [*TSHARK, *(str(argument) for argument in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[-800:]}")
    return done.stdout


def fields(file: Path, names: Iterable[str], show: str = "") -> list[list[str]]:
    """Give the named fields of every packet that passes a display filter."""
    chosen = [part for name in names for part in ("-e", name)]
    text = _tshark("-r", file, *(("-Y", show) if show else ()), "-T", "fields", "-E", "separator=/t", *chosen)
    return [line.split("\t") for line in text.splitlines()]


def _packet(at: str, source: str, destination: str, payload: str) -> Packet | None:
    """Read the twelve octets of RFC 3550 §5.1; None for what isn't RTP (RTCP has packet types 192…223 there)."""
    data = bytes.fromhex(payload)
    if len(data) < 12 or data[0] >> 6 != 2 or 192 <= data[1] <= 223:
        return None
    return Packet(
        at=float(at),
        source=int(source),
        destination=int(destination),
        payload_type=data[1] & 0x7F,
        marker=bool(data[1] & 0x80),
        sequence=int.from_bytes(data[2:4], "big"),
        timestamp=int.from_bytes(data[4:8], "big"),
        ssrc=int.from_bytes(data[8:12], "big"),
        payload=data[12 + 4 * (data[0] & 15) :],
    )


def rtp(file: Path, *, to: int | None = None, by: int | None = None) -> list[Packet]:
    """Give the RTP packets of a capture in its order, all or those to, or sent by, a UDP port."""
    show = "udp && !sip && !dns"
    show += f" && udp.dstport == {to}" if to is not None else ""
    show += f" && udp.srcport == {by}" if by is not None else ""
    rows = fields(file, ("frame.time_epoch", "udp.srcport", "udp.dstport", "udp.payload"), show)
    packets = (_packet(*row) for row in rows if len(row) == 4)
    return [packet for packet in packets if packet is not None]


def streams(file: Path) -> list[Stream]:
    """Give tshark's own table of the RTP streams of a file."""
    found = []
    for line in _tshark("-r", file, "-q", "-z", "rtp,streams").splitlines():
        # Start time, End time, Src IP addr, Port, Dest IP addr, Port, SSRC, Payload, Pkts, Lost (…%), …
        words = line.split()
        position = next((index for index, word in enumerate(words) if word.startswith("0x")), -1)
        if position < 4:
            continue
        percent = next(index for index, word in enumerate(words) if word.startswith("(") and "%" in word)
        found.append(
            Stream(
                source=int(words[position - 3]),
                destination=int(words[position - 1]),
                ssrc=int(words[position], 16),
                codec=" ".join(words[position + 1 : percent - 2]),
                packets=int(words[percent - 2]),
                lost=int(words[percent - 1]),
            )
        )
    return found


def ladder(file: Path) -> list[str]:
    """Give the SIP messages of a capture in order, as `INVITE` or `200 INVITE`."""
    rows = fields(file, ("sip.Method", "sip.Status-Code", "sip.CSeq.method"), "sip")
    return [method or f"{status} {cseq}".strip() for method, status, cseq in rows]


def extended(packets: Iterable[Packet]) -> list[int]:
    """Unroll 16-bit sequence numbers into growing integers (RFC 3550 A.1), in the order given."""
    numbers: list[int] = []
    for packet in packets:
        if not numbers:
            numbers.append(packet.sequence)
            continue
        step = (packet.sequence - numbers[-1] + 0x8000) % 0x10000 - 0x8000
        numbers.append(numbers[-1] + step)
    return numbers


def missing(packets: Iterable[Packet]) -> int:
    """Count the sequence numbers that did not come between the lowest and the highest that did."""
    numbers = set(extended(packets))
    return max(numbers) - min(numbers) + 1 - len(numbers) if numbers else 0


def longest_gap(packets: Iterable[Packet]) -> float:
    """Give the longest time between two packets that follow each other, seconds; 0 for fewer than two."""
    times = [packet.at for packet in packets]
    return max((later - earlier for earlier, later in itertools.pairwise(times)), default=0.0)


def describe(packets: list[Packet]) -> str:
    """One line for a failure: how many packets, which sources, types and SSRCs, which gap."""
    ssrcs = Counter(f"{packet.ssrc:08x}" for packet in packets)
    types = Counter(packet.payload_type for packet in packets)
    return (
        f"{len(packets)} packets, ssrc {dict(ssrcs)}, payload types {dict(types)}, "
        f"{missing(packets)} missing, longest gap {longest_gap(packets) * 1000:.0f} ms"
    )


class Phone(Protocol):
    """What can be captured."""

    @property
    def bpf(self) -> str: ...


class Capture:
    """Record the loopback into a file from `start()` to `stop()`; a context manager. Needs the right to capture."""

    def __init__(self, file: Path, *phones: Phone) -> None:
        """Record what these phones send and receive, and nothing else that is on a busy loopback."""
        self.file = file
        self._filter = " or ".join(phone.bpf for phone in phones)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start, and return when packets are seen: a marker is sent until it stands in the file."""
        # A ring of 64 MiB: the judge must not be the one who loses packets on a busy machine.
        self._process = subprocess.Popen(
            ["dumpcap", "-q", "-i", "lo", "-B", "64", "-f", f"{self._filter} or udp port 9", "-w", str(self.file)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        end = time.monotonic() + 10
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as marker:
            while not (self.file.exists() and b"at110 capture" in self.file.read_bytes()):
                if time.monotonic() > end or self._process.poll() is not None:
                    self._process.kill()
                    _, complaint = self._process.communicate()
                    raise RuntimeError(f"cannot capture: {complaint.decode(errors='replace')[-500:]}")
                marker.sendto(b"at110 capture", (ADDRESS, 9))
                time.sleep(0.02)

    def stop(self) -> Path:
        """Stop, and give the file. Raises AssertionError when the kernel dropped packets, which would blind us."""
        process, self._process = self._process, None
        if process is not None:
            time.sleep(0.2)  # what is in the kernel's ring is written first
            process.terminate()
            _, said = process.communicate(timeout=10)
            text = said.decode(errors="replace")
            # "Packets received/dropped on interface 'Loopback: lo': 1054/0 (pcap:0/dumpcap:0/flushed:0/…)"
            dropped = [part.split("/")[1].split()[0] for part in text.split("': ")[1:] if "/" in part]
            assert all(count == "0" for count in dropped), f"the capture lost packets: {text.strip()}"
        return self.file
