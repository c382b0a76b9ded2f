"""Tell whose sound and picture an RTP packet of a capture is.

in → out: `media_negotiated` events, else the SDP in the call's SIP messages → (addresses, payload type) → `Match`.

An event names the local ports of a leg ("caller", "desk:<id>" or "staff:<id>") and what each payload type means there. A
packet to a local port of the caller's leg was received from the caller, one to a local port of a desk's leg is the host's, one
to a port of staff's leg is that visitor's; anything else was sent by us and is not rendered. One leg may be staff first and
host later: the newest event before a packet says what it is. Without events the first INVITE tells which end is the exchange: the
ports in its SDP are local, and media to any other port is taken for the host's.
"""

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from recordings.pcapng import Address, Captured

Party = str
"""`caller`, `host`, or `staff:<id>`: whoever else was in the room."""

CLOCKS: Final = range(8_000, 192_001)
"""Hz an RTP clock may have here; a stranger's SDP may claim anything, and times are divided by it."""
MAX_SDP: Final = 1000
"""Session descriptions looked at; a call that renegotiates each second for a quarter of an hour is not served worse."""
STATIC: Final[dict[int, tuple[str, int]]] = {0: ("PCMU", 8000), 8: ("PCMA", 8000), 9: ("G722", 8000)}
"""RFC 3551 table 4: what needs no rtpmap (G722's clock is 8000 Hz by an old error, §4.5.2)."""


@dataclass(frozen=True, slots=True)
class Format:
    """What a payload type stands for."""

    name: str
    """Encoding name in upper case."""
    clock_rate: int
    """Hz of the RTP timestamp."""
    fmtp: str = ""


@dataclass(frozen=True, slots=True)
class Match:
    """Whose packet it is."""

    party: Party
    leg: str
    medium: str
    format: Format | None
    """None: a payload type nobody negotiated."""


@dataclass(slots=True)
class _Port:
    """A local port: what it meant, oldest meaning first."""

    owner: str
    """The leg's id without what it was there as."""
    medium: str
    remotes: set[Address] = field(default_factory=set)
    legs: list[tuple[int, str]] = field(default_factory=list)
    """Since when the leg was what: `desk:8002`, `staff:8002`."""
    formats: list[tuple[int, dict[int, Format]]] = field(default_factory=list)

    def leg(self, at_ns: int) -> str:
        """Say what the leg was at that time."""
        found = self.legs[0][1]
        for since, name in self.legs:
            if since <= at_ns:
                found = name
        return found

    def find(self, at_ns: int, payload_type: int) -> Format | None:
        """Give the meaning at that time; a packet may overtake the note of the negotiation, so later ones count too."""
        best: Format | None = None
        for since, formats in self.formats:
            if payload_type in formats and (best is None or since <= at_ns):
                best = formats[payload_type]
        if best is None and self.medium == "audio" and payload_type in STATIC:
            best = Format(*STATIC[payload_type])
        return best


class StreamMap:
    """All that is known of the media of one call."""

    def __init__(self) -> None:
        self._ports: dict[int, _Port] = {}
        self._local_hosts: set[str] = set()
        self._guess_host = False

    @property
    def known(self) -> bool:
        """Whether any negotiation was found."""
        return bool(self._ports)

    def negotiated(
        self,
        at_ns: int,
        leg: str,
        *,
        medium: str,
        port: int,
        remote: Address | None,
        formats: Mapping[int, Format],
    ) -> None:
        """Note one medium of one leg."""
        entry = self._ports.get(port)
        owner = leg.partition(":")[2] or leg
        if entry is None or (entry.owner, entry.medium) != (owner, medium):
            entry = self._ports[port] = _Port(owner, medium)
        entry.legs.append((at_ns, leg))
        if remote is not None:
            entry.remotes.add(remote)
        entry.formats.append((at_ns, dict(formats)))

    def guess_host(self) -> None:
        """Take media to unknown ports for the host's: the capture has nobody else's."""
        self._guess_host = True

    def find(self, at_ns: int, source: Address, destination: Address, payload_type: int) -> Match | None:
        """Tell whose packet this is; None for what we sent, and for strangers."""
        entry = self._ports.get(destination[1])
        if entry is None:
            if self._guess_host and source[1] not in self._ports:
                static = STATIC.get(payload_type)
                return Match("host", "desk:", "audio", Format(*static)) if static else None
            return None
        ours = self._ports.get(source[1])
        if ours is None:
            self._local_hosts.add(destination[0])
        else:
            # Both ends use a number that is local to us: who was negotiated there, else whose address is ours.
            sent, received = destination in ours.remotes, source in entry.remotes
            if sent == received:
                sent = source[0] in self._local_hosts and destination[0] not in self._local_hosts
            if sent:
                return None
        leg = entry.leg(at_ns)
        party: Party = "caller" if leg == "caller" else leg if leg.startswith("staff:") else "host"
        return Match(party, leg, entry.medium, entry.find(at_ns, payload_type))


def from_events(events: Iterable[Mapping[str, Any]]) -> StreamMap:
    """Read `media_negotiated` events; those that are not of their form are passed over."""
    streams = StreamMap()
    for event in events:
        if event.get("event") != "media_negotiated" or not isinstance(event.get("leg"), str):
            continue
        for stream in _mappings(event.get("streams")):
            port, medium = stream.get("local_port"), stream.get("medium")
            if not isinstance(port, int) or not isinstance(medium, str):
                continue
            streams.negotiated(
                _nanoseconds(event.get("at")),
                event["leg"],
                medium=medium,
                port=port,
                remote=_address(stream.get("remote")),
                formats=_formats(stream.get("codecs")),
            )
    return streams


def from_sip(messages: Iterable[Captured]) -> StreamMap:
    """Read the SDP in SIP messages: the side the first INVITE went to is the exchange, its call is the caller's."""
    streams = StreamMap()
    exchange: Address | None = None
    call_id: bytes | None = None
    for count, message in enumerate(messages):
        if count >= MAX_SDP:
            break
        if exchange is None:
            if not message.data.startswith(b"INVITE "):
                continue
            exchange, call_id = message.destination, _call_id(message.data)
        if message.source != exchange:
            continue
        leg = "caller" if _call_id(message.data) == call_id else "desk:"
        for medium, port, formats in parse_sdp(message.data):
            streams.negotiated(message.at_ns, leg, medium=medium, port=port, remote=None, formats=formats)
    streams.guess_host()
    return streams


def is_sip(data: bytes) -> bool:
    """Whether a payload of a capture is a SIP message: RTP and RTCP begin with a byte of 128…191, SIP with a letter."""
    return b"A" <= data[:1] <= b"z" and b"SIP/2.0" in data[:8192]


def parse_sdp(message: bytes) -> list[tuple[str, int, dict[int, Format]]]:
    """Give (medium, port, formats) of each accepted m-line in a SIP message's body."""
    _head, _gap, body = message.partition(b"\r\n\r\n")
    found: list[tuple[str, int, dict[int, Format]]] = []
    for section in re.split(rb"\r?\n(?=m=)", body)[1:]:
        line = re.match(rb"m=(audio|video) ([0-9]{1,5})(?:/[0-9]+)? [A-Z/]+((?: [0-9]{1,3})+)", section)
        if line is None or line[2] == b"0":
            continue
        formats: dict[int, Format] = {}
        for number in map(int, line[3].split()):
            if number in STATIC:
                formats[number] = Format(*STATIC[number])
        for number, name, clock in re.findall(rb"\na=rtpmap:([0-9]{1,3}) ([^/\s]+)/([0-9]{1,6})", section):
            if int(clock) in CLOCKS:
                formats[int(number)] = Format(name.decode("ascii", "replace").upper(), int(clock))
        for number, text in re.findall(rb"\na=fmtp:([0-9]{1,3}) ([^\r\n]+)", section):
            if (known := formats.get(int(number))) is not None:
                fmtp = text.decode("ascii", "replace")
                formats[int(number)] = Format(known.name, known.clock_rate, fmtp)
        found.append((line[1].decode(), int(line[2]), formats))
    return found


def _call_id(message: bytes) -> bytes | None:
    found = re.search(rb"\r\n(?:Call-ID|i)[ \t]*:[ \t]*([^\r\n]+)", message, re.IGNORECASE)
    return found[1].strip() if found else None


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []


def _formats(value: object) -> dict[int, Format]:
    """Read a list of codecs; what is received is named first, so the first meaning of a payload type holds."""
    formats: dict[int, Format] = {}
    for codec in _mappings(value):
        name, number, clock = codec.get("name"), codec.get("payload_type"), codec.get("clock_rate")
        if not (
            isinstance(name, str) and isinstance(number, int) and isinstance(clock, int) and clock in CLOCKS
        ):
            continue
        made = Format(name.upper(), clock, str(codec.get("fmtp") or ""))
        known = formats.setdefault(number, made)
        if known.name == made.name and made.fmtp not in known.fmtp:
            # Parameter sets stand in the line of the side that sends the picture.
            formats[number] = Format(known.name, known.clock_rate, f"{known.fmtp};{made.fmtp}")
    return formats


def _address(value: object) -> Address | None:
    match value:
        case [str(host), int(port)]:
            return host, port
    return None


def _nanoseconds(at: object) -> int:
    try:
        return int(dt.datetime.fromisoformat(str(at)).timestamp() * 1000) * 1_000_000
    except (ValueError, OverflowError):
        return 0
