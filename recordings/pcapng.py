"""Write and read pcapng files in which UDP payloads stand as the IP packets they were.

in → out: (time, source, destination, payload) → Enhanced Packet Blocks → the same tuples again.

The format is draft-ietf-opsawg-pcapng: Section Header, one Interface Description (LINKTYPE_RAW, nanoseconds),
Enhanced Packet Blocks. A socket gives a UDP payload without its headers, so IPv4/IPv6 and UDP headers with right
checksums are synthesised around it; the payload is untouched. This makes the file readable by Wireshark and tshark
with ladder, RTP streams and sound.

SIP that went over TCP is written as UDP with the packet comment `transport=tcp`: a TCP segment would need sequence
numbers, acknowledgements and a handshake that nobody captured, and inventing them would be inventing evidence; a
dissector shows the message the same either way. A message too large for one datagram is cut into parts
(`transport=tcp part=1/2`).

Sections are big-endian, which the format leaves to the writer: time stamp and headers then fit one `struct`.
"""

import io
import ipaddress
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO, Final

import numpy as np

Address = tuple[str, int]
Record = tuple[int, Address, Address, bytes, tuple[str, ...]]
"""(wall clock in ns, source, destination, UDP payload, comments)."""
Head = tuple[bytes, int, int, bytes]
"""(block up to the payload with lengths, time and checksums 0, sums of the constant words under both checksums, what follows)."""

SECTION_HEADER: Final = 0x0A0D0D0A
INTERFACE_DESCRIPTION: Final = 1
ENHANCED_PACKET: Final = 6
BYTE_ORDER_MAGIC: Final = 0x1A2B3C4D
LINKTYPE_RAW: Final = 101
"""The packet begins with its IPv4 or IPv6 header."""

OPT_END: Final = 0
OPT_COMMENT: Final = 1
SHB_USERAPPL: Final = 4
IF_NAME: Final = 2
IF_TSRESOL: Final = 9

MAX_BLOCK: Final = 1 << 20
"""Bytes of one block a reader accepts; the largest we write is a 64 KiB datagram and a comment."""
CUT_OFF: Final = "cut off"
"""What `PcapngError.what` says of a block the file ends in."""
MAX_PAYLOAD: Final = 65_535 - 40 - 8
"""Bytes of UDP payload that fit behind either IP header (RFC 8200 §3, RFC 768)."""

_PADS: Final = (b"", b"\0\0\0", b"\0\0", b"\0")
# block type, block length, interface, time, captured, original │ IPv4 20 bytes │ UDP 8 bytes
_IPV4: Final = struct.Struct(">IIIQII HHIHH8s IHH")
_IPV6: Final = struct.Struct(">IIIQII IHH32s IHH")
_DONT_FRAGMENT: Final = 0x00004000
"""Identification 0 with DF: RFC 6864 §4.1, an atomic datagram needs no identification."""
_TTL_UDP: Final = 0x4011
_UDP_HOPS: Final = 0x1140
"""IPv6 has the same two in the other order: next header, hop limit."""
_U64: Final = 0xFFFF_FFFF_FFFF_FFFF
_END: Final = b"\0\0\0\0"
FEW: Final = 4096
"""Bytes below which summing up one by one is quicker than to begin with arrays, which takes 40 µs: some SIP messages of a call."""


class PcapngError(ValueError):
    """The file is not what the format says; `offset` is where the block at fault begins, in bytes."""

    def __init__(self, offset: int, what: str) -> None:
        super().__init__(f"block at byte {offset}: {what}")
        self.offset = offset
        self.what = what


@dataclass(frozen=True, slots=True)
class Captured:
    """One packet of a capture."""

    at_ns: int
    """Wall clock, nanoseconds since 1970 UTC."""
    source: Address
    destination: Address
    data: bytes
    """The UDP payload."""
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Flow:
    """What is the same in every header between two addresses."""

    addresses: bytes
    ports: int
    """Source port in the upper, destination port in the lower 16 bits."""
    ip_sum: int
    """Sum of the constant 16-bit words of the IPv4 header; 0 for IPv6, which has no checksum."""
    udp_sum: int
    """Sum of the constant words of pseudo header and UDP header."""
    note: bytes
    """Option bytes that say which address could not be written as an IP address; usually empty."""


def section(*, comment: str | None = None, interface: str = "at110") -> bytes:
    """Give a Section Header and its one Interface Description; a file may hold several (§3.1)."""
    options = _option(SHB_USERAPPL, b"at110")
    if comment is not None:
        options = _option(OPT_COMMENT, comment.encode()) + options
    # Section Length −1: "the length of the section is not specified", as it grows while the call lasts.
    head = struct.pack(">IHHq", BYTE_ORDER_MAGIC, 1, 0, -1)
    described = struct.pack(">HHI", LINKTYPE_RAW, 0, 0)
    named = _option(IF_NAME, interface.encode()) + _option(IF_TSRESOL, b"\x09")
    return _block(SECTION_HEADER, head + options + _END) + _block(
        INTERFACE_DESCRIPTION, described + named + _END
    )


def encode(
    at_ns: int, source: Address, destination: Address, data: bytes, comments: tuple[str, ...] = ()
) -> bytes:
    """Give the Enhanced Packet Block of one UDP payload; ValueError above `MAX_PAYLOAD` bytes."""
    return encode_batch([(at_ns, source, destination, data, comments)])[0]


def encode_batch(packets: Sequence[Record]) -> list[bytes]:
    """Give one Enhanced Packet Block for each packet, in order; ValueError if one is above `MAX_PAYLOAD` bytes.

    Costs about 2 µs a packet: headers come from a template per flow, the checksums of all payloads from one
    numpy reduction.
    """
    out: list[bytes] = []
    for (at_ns, source, destination, data, comments), total in zip(packets, _sums(packets), strict=True):
        flow = _flow(source, destination)
        size = len(data)
        if size > MAX_PAYLOAD:
            raise ValueError(f"{size} bytes do not fit a UDP datagram")
        length = size + 8
        # RFC 768: "If the computed checksum is zero, it is transmitted as all ones".
        check = -(flow.udp_sum + 2 * length + total) % 65_535 or 65_535
        options = flow.note
        for comment in comments:
            options += _option(OPT_COMMENT, comment.encode("utf-8", "backslashreplace"))
        if options:
            options += _END
        pad = _PADS[size & 3]  # both header forms are multiples of four bytes
        if flow.ip_sum:
            captured = size + 28
            head = _IPV4.pack(
                ENHANCED_PACKET, 32 + captured + len(pad) + len(options), 0, at_ns & _U64, captured, captured,
                0x4500, captured, _DONT_FRAGMENT, _TTL_UDP, -(flow.ip_sum + captured) % 65_535, flow.addresses,
                flow.ports, length, check,
            )  # fmt: skip
        else:
            captured = size + 48
            head = _IPV6.pack(
                ENHANCED_PACKET, 32 + captured + len(pad) + len(options), 0, at_ns & _U64, captured, captured,
                0x60000000, length, _UDP_HOPS, flow.addresses,
                flow.ports, length, check,
            )  # fmt: skip
        out.append(b"".join((head, data, pad, options, head[4:8])))
    return out


def head(source: Address, destination: Address) -> Head:
    """What is the same in every block between two addresses, for whoever fills in the rest (`rtp/native/block.c`)."""
    flow = _flow(source, destination)
    if flow.ip_sum:
        prefix = _IPV4.pack(
            ENHANCED_PACKET,
            0,
            0,
            0,
            0,
            0,
            0x4500,
            0,
            _DONT_FRAGMENT,
            _TTL_UDP,
            0,
            flow.addresses,
            flow.ports,
            0,
            0,
        )
    else:
        prefix = _IPV6.pack(
            ENHANCED_PACKET, 0, 0, 0, 0, 0, 0x60000000, 0, _UDP_HOPS, flow.addresses, flow.ports, 0, 0
        )
    return prefix, flow.ip_sum, flow.udp_sum, flow.note + _END if flow.note else b""


def records(data: bytes) -> list[Record]:
    """Take whole blocks apart again. Raises PcapngError."""
    file = io.BytesIO(section() + data)
    return [(one.at_ns, one.source, one.destination, one.data, one.comments) for one in read(file)]


def _sums(packets: Sequence[Record]) -> list[int]:
    """Sum the 16-bit words of each payload modulo 65535 (RFC 1071 §2: the sum may be taken in either byte order)."""
    if sum(len(packet[3]) for packet in packets) < FEW:
        # 2^16 is 1 modulo 65535, so a number is what its 16-bit words add up to.
        return [
            int.from_bytes(data + b"\0" if len(data) & 1 else data, "big") % 65_535
            for _at, _from, _to, data, _comments in packets
        ]
    # An odd payload counts as if followed by a zero byte; an empty one needs a word for `reduceat` to stand on.
    even = [
        data + b"\0" if len(data) & 1 else data or b"\0\0" for _at, _from, _to, data, _comments in packets
    ]
    starts = np.cumsum([0, *map(len, even[:-1])]) // 2
    words = np.frombuffer(b"".join(even), "<u2")
    # At most 32,768 words of 16 bits: 31 bits.
    total = np.add.reduceat(words, starts, dtype=np.uint32) % np.uint32(65_535)
    swapped: list[int] = ((total >> np.uint32(8)) | (total & np.uint32(255)) << np.uint32(8)).tolist()
    return swapped


def read(file: BinaryIO) -> Iterator[Captured]:
    """Read every UDP packet of a capture, ours or another program's with raw IP packets.

    Sections of either byte order and any decimal time resolution are read; blocks of other types are passed over.
    Raises PcapngError at the first block that is not whole.
    """
    order = ">"
    units: list[tuple[int, int]] = []
    for offset, kind, body, swapped in blocks(file):
        order = "<" if swapped else ">"
        if kind == SECTION_HEADER:
            units = []
        elif kind == INTERFACE_DESCRIPTION:
            units.append(_interface(offset, body, order))
        elif kind == ENHANCED_PACKET:
            packet = _packet(offset, body, order, units)
            if packet is not None:
                yield packet


def blocks(file: BinaryIO) -> Iterator[tuple[int, int, bytes, bool]]:
    """Walk the blocks: (offset, type, body, little-endian?); PcapngError where one is not whole."""
    offset = 0
    little: bool | None = None
    while head := file.read(8):
        if len(head) < 8:
            raise PcapngError(offset, CUT_OFF)
        if head[:4] == b"\x0a\x0d\x0d\x0a":
            magic = file.read(4)
            if len(magic) < 4:
                raise PcapngError(offset, CUT_OFF)
            if magic not in (b"\x1a\x2b\x3c\x4d", b"\x4d\x3c\x2b\x1a"):
                raise PcapngError(offset, "section header without byte-order magic")
            little = magic == b"\x4d\x3c\x2b\x1a"
            head += magic
        elif little is None:
            raise PcapngError(offset, "not a pcapng file")
        kind, length = struct.unpack_from("<II" if little else ">II", head)
        if length < 12 or length % 4 or length > MAX_BLOCK:
            raise PcapngError(offset, f"impossible length {length}")
        rest = head[8:] + file.read(length - len(head))
        if len(rest) < length - 8:
            raise PcapngError(offset, CUT_OFF)
        if rest[-4:] != head[4:8]:
            raise PcapngError(offset, "its two lengths differ")
        yield offset, kind, rest[:-4], bool(little)
        offset += length


def whole_length(file: BinaryIO) -> int:
    """Give the number of leading bytes that are whole blocks: where a file torn by a crash may be continued.

    Raises PcapngError if what follows is not merely the beginning of a block but broken.
    """
    end = 0
    try:
        for offset, _kind, body, _little in blocks(file):
            end = offset + len(body) + 12
    except PcapngError as error:
        if error.what != CUT_OFF:
            raise
    return end


def _block(kind: int, body: bytes) -> bytes:
    length = len(body) + 12
    return struct.pack(">II", kind, length) + body + struct.pack(">I", length)


def _option(code: int, value: bytes) -> bytes:
    value = value[:65_535]
    return struct.pack(">HH", code, len(value)) + value + _PADS[len(value) & 3]


# A busy exchange has four flows a call and a few hundred calls; entries are ~300 bytes.
@lru_cache(maxsize=16_384)
def _flow(source: Address, destination: Address) -> _Flow:
    """Prepare the headers between two socket addresses; mixed families become IPv4-mapped IPv6 (RFC 4291 §2.5.5.2)."""
    one, two = _packed(source[0]), _packed(destination[0])
    note = b""
    for name, host, packed in (("source", source[0], one), ("destination", destination[0], two)):
        if packed is None:
            note += _option(OPT_COMMENT, f"{name}={host}".encode("utf-8", "backslashreplace"))
    one, two = one or bytes(4), two or bytes(4)
    if len(one) != len(two):
        one, two = _mapped(one), _mapped(two)
    ports = (source[1] & 0xFFFF) << 16 | destination[1] & 0xFFFF
    addresses = one + two
    # RFC 768: the pseudo header has addresses, protocol and length; the length stands twice, added per packet.
    udp_sum = int.from_bytes(addresses, "big") + 17 + ports
    ip_sum = 0
    if len(addresses) == 8:
        ip_sum = 0x4500 + _DONT_FRAGMENT + _TTL_UDP + int.from_bytes(addresses, "big")
        ip_sum = ip_sum % 65_535 or 65_535
    return _Flow(addresses, ports, ip_sum, udp_sum % 65_535, note)


def _packed(host: str) -> bytes | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).packed
    except ValueError:
        return None


def _mapped(packed: bytes) -> bytes:
    return packed if len(packed) == 16 else bytes(10) + b"\xff\xff" + packed


def _interface(offset: int, body: bytes, order: str) -> tuple[int, int]:
    """Give (link type, nanoseconds per time unit); resolutions finer than 1 ns or binary ones are refused."""
    if len(body) < 8:
        raise PcapngError(offset, "interface description too short")
    resolution = 6
    for code, value in _options(offset, body[8:], order):
        if code == IF_TSRESOL and len(value) == 1:
            resolution = value[0]
    if resolution > 9:
        raise PcapngError(offset, f"time resolution {resolution} is not supported")
    link: int = struct.unpack_from(order + "H", body)[0]
    return link, 10 ** (9 - resolution)


def _packet(offset: int, body: bytes, order: str, units: list[tuple[int, int]]) -> Captured | None:
    if len(body) < 20:
        raise PcapngError(offset, "packet block too short")
    interface, high, low, captured, _original = struct.unpack_from(order + "IIIII", body)
    if interface >= len(units):
        raise PcapngError(offset, f"interface {interface} was not described")
    end = 20 + captured
    if end + (-captured & 3) > len(body):
        raise PcapngError(offset, "packet longer than its block")
    link, unit = units[interface]
    if link != LINKTYPE_RAW:
        return None
    found = _datagram(body[20:end])
    if found is None:
        return None
    comments = tuple(
        value.decode("utf-8", "replace")
        for code, value in _options(offset, body[end + (-captured & 3) :], order)
        if code == OPT_COMMENT
    )
    source, destination, data = found
    return Captured((high << 32 | low) * unit, source, destination, data, comments)


def _options(offset: int, data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        if at + 4 > len(data):
            raise PcapngError(offset, "option cut off")
        code, length = struct.unpack_from(order + "HH", data, at)
        if code == OPT_END:
            return
        if at + 4 + length > len(data):
            raise PcapngError(offset, "option longer than its block")
        yield code, data[at + 4 : at + 4 + length]
        at += 4 + length + (-length & 3)


def _datagram(packet: bytes) -> tuple[Address, Address, bytes] | None:
    """Take the UDP payload out of an IP packet; None for fragments, other protocols and broken headers."""
    if len(packet) < 28:
        return None
    if packet[0] >> 4 == 4:
        start, family = (packet[0] & 15) * 4, packet[12:20]
        if packet[9] != 17 or start < 20 or packet[6] & 0x3F or packet[7]:
            return None
    elif packet[0] >> 4 == 6 and packet[6] == 17 and len(packet) >= 48:
        start, family = 40, packet[8:40]
    else:
        return None
    if len(packet) < start + 8:
        return None
    sport, dport, length = struct.unpack_from(">HHH", packet, start)
    if length < 8 or start + length > len(packet):
        return None
    half = len(family) // 2
    return (_host(family[:half]), sport), (_host(family[half:]), dport), packet[start + 8 : start + length]


@lru_cache(maxsize=4096)
def _host(packed: bytes) -> str:
    return str(ipaddress.ip_address(packed))
