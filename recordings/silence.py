"""Prove from a call's evidence that a silent caller was sent nothing but silence.

in → out: `events.jsonl` (silent mode on and off, the caller's ports) and `call.pcapng` (each packet sent) → `Proof`.

Reached as `verify.py --silence FOLDER`, which also needs this file beside it; both need Python 3.11 and nothing else. A packet
counts as silence when its payload is the one by which its codec says so: A-law and μ-law codes of the smallest step, which is
their zero, and the fixed payloads of G.722, Opus and AMR. Decoded they have rms 0 (A-law: 8 of 32768, it knows nothing smaller).
Exit status: 0 proved, 1 not proved (evidence not intact, or a packet that was not silence), 2 no evidence or wrong usage.
"""

import argparse
import datetime as dt
import importlib
import json
import math
import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

GRACE_NS: Final = 250_000_000
"""From the order (an event) until it must be in force on the wire, and back: the two are stamped by two processes."""
FOREVER: Final = 1 << 62
FIXED: Final = {
    "OPUS": (b"\xf8\xff\xfe", b"\xf9\xff\xfe\xff\xfe", b"\xfb\x03\xff\xfe\xff\xfe\xff\xfe"),
    "AMR": tuple(
        bytes.fromhex(said)
        for said in (
            "f449b1e0da0780",
            "fc5126c783681e4d8f06d03c",
            "fc71449b1e0da079363c1b40f26c783681e0",
            "f04426c783681e",
            "f0c44426c783681e26c783681e",
            "f0c4c44426c783681e26c783681e26c783681e",
        )
    ),
}
"""Of 20, 40 and 60 ms. AMR: comfort noise (SID) without any noise, bandwidth-efficient and octet-aligned (RFC 4867)."""
SMALLEST: Final = {"PCMA": b"\xd5\x55", "PCMU": b"\xff\x7f"}
"""The codes of +0 and −0."""
QUIET: Final = {**SMALLEST, "G722": b"\xfd"}
"""What silence is made of, as much of it as the packet holds."""
STATIC: Final = {0: "PCMU", 8: "PCMA", 9: "G722"}
MAX_NAMED: Final = 20

TEXT: Final[dict[str, dict[str, str]]] = {
    "en": {
        "proved": "SILENT: {folder}: {packets} packets to the caller in {spans} silent spans, rms 0",
        "nothing": "NOTHING TO PROVE: {folder}: no silent span is stated",
        "loud": "NOT SILENT: {folder}: {loud} of {packets} packets to the caller were not silence",
        "broken": "NOT PROVED: {folder}: the evidence is not intact",
        "unknown": "NOT PROVED: {folder}: the caller's ports are not stated",
        "packet": "✗ {at}: {codec}, rms {rms}",
        "about": "Prove that a silent caller was sent nothing but silence. Exit status: 0 proved, 1 not, 2 no evidence.",
    },
    "zh": {
        "proved": "静默成立:{folder}:{spans} 个静默时段内发给报警人的 {packets} 个包,有效值均为 0",
        "nothing": "无需证明:{folder}:没有记录任何静默时段",
        "loud": "静默不成立:{folder}:发给报警人的 {packets} 个包中有 {loud} 个不是静音",
        "broken": "无法证明:{folder}:证据不完整",
        "unknown": "无法证明:{folder}:没有记录报警人的端口",
        "packet": "✗ {at}:{codec},有效值 {rms}",
        "about": "证明静默报警时发给报警人的只有静音。退出码:0 成立,1 不成立,2 不是证据文件夹。",
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Loud:
    """A packet that was not silence."""

    at_ns: int
    codec: str
    """Encoding name, or the payload type where nobody stated its meaning."""
    rms: int | None
    """Of 32768; None where only the payload tells that it is no silence."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What the packets of the silent spans say."""

    spans: tuple[tuple[int, int], ...]
    """Beginning and end of each stated span, ns since 1970, `GRACE_NS` left out at both; 0 and FOREVER where the call bounds it."""
    packets: int
    """Packets of sound sent to the caller in them."""
    loud: tuple[Loud, ...]
    known: bool
    """The caller's ports are stated, or nothing was to be proved."""

    @property
    def silent(self) -> bool:
        """Whether it is proved."""
        return self.known and not self.loud


def prove(folder: str | Path) -> Proof:
    """Look at the evidence of one call. Raises OSError for a file that can't be read."""
    events = list(_events(Path(folder) / "events.jsonl"))
    spans = _spans(events)
    ports = _ports(events)
    if not spans:
        return Proof((), 0, (), known=True)
    packets = 0
    loud: list[Loud] = []
    for at_ns, source, destination, data in _datagrams(Path(folder) / "call.pcapng"):
        port = ports.get(source[1])
        if port is None or (destination[1] in ports and source in port.remotes):
            continue  # nobody's, or received from a phone that uses the number of our port
        if not any(begin <= at_ns <= end for begin, end in spans) or not _is_rtp(data):
            continue
        packets += 1
        codec = port.codecs.get(data[1] & 0x7F) or STATIC.get(data[1] & 0x7F, str(data[1] & 0x7F))
        payload = _payload(data)
        if payload is None or not is_silence(codec, payload):
            loud.append(Loud(at_ns, codec, _rms(codec, payload or b"")))
    return Proof(tuple(spans), packets, tuple(loud), known=bool(ports))


def is_silence(codec: str, payload: bytes) -> bool:
    """Whether a payload is how its codec says nothing."""
    if codec in QUIET:
        return bool(payload) and not payload.strip(QUIET[codec])
    return payload in FIXED.get(codec, ())


# --- what was stated --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Port:
    remotes: set[tuple[str, int]]
    codecs: dict[int, str]


def _events(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_bytes().split(b"\n"):
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict):
            yield event


def _spans(events: list[dict[str, Any]]) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    begin: int | None = None
    for event in events:
        match event.get("event"):
            case "call_arrived" if event.get("silent") is True:
                begin = 0
            case "silent_on" if begin is None:
                begin = _ns(event) + GRACE_NS
            case "silent_off" if begin is not None:
                spans.append((begin, _ns(event) - GRACE_NS))
                begin = None
    if begin is not None:
        spans.append((begin, FOREVER))
    return spans


def _ports(events: list[dict[str, Any]]) -> dict[int, _Port]:
    """The local ports of the caller's sound, all that were negotiated."""
    ports: dict[int, _Port] = {}
    for event in events:
        streams = event.get("streams")
        if (
            event.get("event") != "media_negotiated"
            or event.get("leg") != "caller"
            or not isinstance(streams, list)
        ):
            continue
        for stream in streams:
            if not isinstance(stream, dict) or stream.get("medium") != "audio":
                continue
            number, remote = stream.get("local_port"), stream.get("remote")
            if not isinstance(number, int):
                continue
            port = ports.setdefault(number, _Port(set(), {}))
            if isinstance(remote, list) and len(remote) == 2:
                port.remotes.add((str(remote[0]), remote[1]))
            for codec in stream.get("codecs") or ():
                port.codecs[codec["payload_type"]] = str(codec["name"]).upper()
    return ports


def _ns(event: dict[str, Any]) -> int:
    return round(dt.datetime.fromisoformat(str(event["at"])).timestamp() * 1000) * 1_000_000


# --- what was sent ----------------------------------------------------------------------------------------------


def _datagrams(path: Path) -> Iterator[tuple[int, tuple[str, int], tuple[str, int], bytes]]:
    """Every UDP datagram of a capture: (ns, source, destination, payload); `verify` has looked at its form."""
    data = path.read_bytes()
    at, order, units = 0, "<", [1]
    while at + 12 <= len(data):
        if data[at : at + 4] == b"\x0a\x0d\x0d\x0a":
            order = ">" if data[at + 8 : at + 12] == b"\x1a\x2b\x3c\x4d" else "<"
            units = []
        kind, length = struct.unpack_from(order + "II", data, at)
        if length < 12:
            return
        body = data[at + 8 : at + length - 4]
        if kind == 1:
            units.append(_unit(body, order))
        elif kind == 6:
            interface, high, low, captured, _ = struct.unpack_from(order + "IIIII", body)
            yield from _datagram((high << 32 | low) * units[interface], body[20 : 20 + captured])
        at += length


def _unit(description: bytes, order: str) -> int:
    """Nanoseconds of one unit of time of an interface (option if_tsresol, microseconds by default)."""
    at = 8
    while at + 4 <= len(description):
        option, size = struct.unpack_from(order + "HH", description, at)
        if option == 9:
            return int(10 ** (9 - description[at + 4]))
        at += 4 + (size + 3) // 4 * 4
    return 1000


def _datagram(at_ns: int, packet: bytes) -> Iterator[tuple[int, tuple[str, int], tuple[str, int], bytes]]:
    import ipaddress  # only here, and slow to load

    if packet[:1] and packet[0] >> 4 == 4:
        size, start, protocol, hosts = 4, 20, packet[9], packet[12:20]
    else:
        size, start, protocol, hosts = 16, 40, packet[6], packet[8:40]
    if protocol != 17:
        return
    source, destination = struct.unpack_from(">HH", packet, start)
    ends = [str(ipaddress.ip_address(hosts[i * size : (i + 1) * size])) for i in (0, 1)]
    yield at_ns, (ends[0], source), (ends[1], destination), packet[start + 8 :]


def _is_rtp(data: bytes) -> bool:
    return len(data) >= 12 and data[0] >> 6 == 2 and not 192 <= data[1] <= 223


def _payload(data: bytes) -> bytes | None:
    """The payload of an RTP packet (RFC 3550 §5.1); None when its header lies."""
    start, end = 12 + 4 * (data[0] & 15), len(data)
    if data[0] & 0x10:
        start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
    if data[0] & 0x20:
        end -= data[-1]
    return data[start:end] if start <= end else None


def _rms(codec: str, payload: bytes) -> int | None:
    """Root mean square of a G.711 payload, of 32768."""
    if codec not in SMALLEST or not payload:
        return None
    linear = _alaw if codec == "PCMA" else _ulaw
    return round(math.sqrt(sum(linear(code) ** 2 for code in payload) / len(payload)))


def _alaw(code: int) -> int:
    """The magnitude of an A-law code (ITU-T G.711 table 1a), of 32768."""
    code ^= 0x55
    segment, interval = code >> 4 & 7, code & 15
    return (interval * 2 + 1) * 8 if not segment else (interval * 2 + 33) << segment + 2


def _ulaw(code: int) -> int:
    """The magnitude of a μ-law code (table 2a), of 32768."""
    code ^= 0xFF
    return (((code & 15) << 3) + 0x84 << (code >> 4 & 7)) - 0x84


# --- command line -----------------------------------------------------------------------------------------------


def main(argv: Sequence[str], language: str) -> int:
    """Run `verify --silence [--json] [--lang en|zh] FOLDER`; `argv` without `--silence`. Gives the exit status."""
    text = TEXT[language]
    parser = argparse.ArgumentParser(prog="verify --silence", description=text["about"])
    parser.add_argument("folder")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--lang", choices=sorted(TEXT))
    try:
        options = parser.parse_args(argv)
    except SystemExit as stop:  # argparse ends the process; here it is an exit status like any other
        return stop.code if isinstance(stop.code, int) else 2
    check = neighbour("verify")
    status: int = check.main([options.folder, "--lang", language, *(["--json"] if options.json else [])])
    if status == 2:
        return 2
    try:
        proof = prove(options.folder)
    except (OSError, ValueError, KeyError, IndexError, TypeError, struct.error):
        proof = Proof((), 0, (), known=False)  # damaged: `verify` has named where
    silent = proof.silent and status == 0
    if options.json:
        told = {"folder": options.folder, "silent": silent, **asdict(proof)}
        sys.stdout.write(json.dumps(told, ensure_ascii=False) + "\n")
        return 0 if silent else 1
    for packet in proof.loud[:MAX_NAMED]:
        at = dt.datetime.fromtimestamp(packet.at_ns / 1e9, dt.UTC).isoformat(timespec="milliseconds")
        rms = "?" if packet.rms is None else packet.rms
        sys.stdout.write(text["packet"].format(at=at, codec=packet.codec, rms=rms) + "\n")
    key = (
        "loud"
        if proof.loud
        else "broken"
        if status
        else "unknown"
        if not proof.known
        else "proved"
        if proof.spans
        else "nothing"
    )
    fields = {
        "folder": options.folder,
        "packets": proof.packets,
        "spans": len(proof.spans),
        "loud": len(proof.loud),
    }
    sys.stdout.write(text[key].format(**fields) + "\n")
    return 0 if silent else 1


def neighbour(name: str) -> Any:
    """Another module of this folder, in the exchange or beside this file where it was copied."""
    try:
        return importlib.import_module(f"recordings.{name}")
    except ImportError:
        return importlib.import_module(name)
