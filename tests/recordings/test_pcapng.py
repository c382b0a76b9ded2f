import io
import ipaddress
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings import pcapng
from recordings.pcapng import Captured, PcapngError, encode, read, section

A, B = ("192.0.2.1", 5004), ("198.51.100.2", 20_000)
A6, B6 = ("2001:db8::1", 5004), ("2001:db8::2", 20_000)

ports = st.integers(1, 65_535)
v4 = st.tuples(st.ip_addresses(v=4).map(str), ports)
v6 = st.tuples(st.ip_addresses(v=6).map(str), ports)
pairs = st.one_of(st.tuples(v4, v4), st.tuples(v6, v6))


def load(data: bytes) -> list[Captured]:
    return list(read(io.BytesIO(data)))


@given(
    st.lists(
        st.tuples(st.integers(0, 2**63), pairs, st.binary(max_size=300), st.lists(st.text(), max_size=2))
    )
)
def test_what_is_written_is_read(entries) -> None:
    records = [(at, one, two, data, tuple(notes)) for at, (one, two), data, notes in entries]
    notes = [tuple(n.encode("utf-8", "backslashreplace").decode() for n in record[4]) for record in records]
    file = section(comment="x") + b"".join(pcapng.encode_batch(records))
    assert load(file) == [Captured(*r[:4], n) for r, n in zip(records, notes, strict=True)]


def plain_sum(data: bytes) -> int:
    """RFC 1071 §4.1, word by word."""
    total = 0
    for (word,) in struct.iter_unpack(">H", data + b"\0" * (len(data) & 1)):
        total += word
        total = (total & 0xFFFF) + (total >> 16)
    return total


@given(pairs, st.one_of(st.binary(max_size=1500), st.integers(0, 1500).map(bytes), st.just(b"\xff" * 1001)))
def test_checksums_are_right(pair, data) -> None:
    block = encode(1, *pair, data)
    captured = struct.unpack_from(">I", block, 20)[0]
    packet = block[28 : 28 + captured]
    start = 20 if packet[0] >> 4 == 4 else 40
    if start == 20:
        # RFC 791: the sum over a header with a right checksum is all ones.
        assert plain_sum(packet[:20]) == 0xFFFF
        addresses = packet[12:20]
    else:
        addresses = packet[8:40]
    datagram = packet[start:]
    assert plain_sum(addresses + struct.pack(">HH", 17, len(datagram)) + datagram) == 0xFFFF
    assert datagram[6:8] != b"\0\0", "zero would mean: none was computed (RFC 768)"


@given(pairs, st.lists(st.binary(max_size=400), min_size=1, max_size=6), st.integers(0, 2))
def test_a_checksum_is_the_same_among_few_bytes_and_among_many(pair, payloads, more) -> None:
    packets: list[pcapng.Record] = [(1, *pair, data, ()) for data in payloads]
    many: list[pcapng.Record] = [(1, *pair, bytes(pcapng.FEW + more), ())]
    assert pcapng.encode_batch(packets + many)[: len(packets)] == pcapng.encode_batch(packets)


def test_ipv4_and_ipv6_mixed_are_mapped() -> None:
    [packet] = load(section() + encode(1, A, B6, b"x"))
    # RFC 4291 §2.5.5.2
    assert ipaddress.ip_address(packet.source[0]).ipv4_mapped == ipaddress.ip_address(A[0])  # type: ignore[union-attr]
    assert packet.destination == B6


def test_an_address_that_is_none_is_kept_as_comment() -> None:
    [packet] = load(section() + encode(1, ("phone.example", 1), B, b"x", ("transport=tcp",)))
    assert packet.source == ("0.0.0.0", 1)
    assert packet.comments == ("source=phone.example", "transport=tcp")


@pytest.mark.parametrize(("one", "two"), [(A, B), (A6, B6)])
def test_largest_payload(one, two) -> None:
    [packet] = load(section() + encode(1, one, two, b"x" * pcapng.MAX_PAYLOAD))
    assert len(packet.data) == pcapng.MAX_PAYLOAD
    with pytest.raises(ValueError, match="do not fit"):
        encode(1, one, two, b"x" * (pcapng.MAX_PAYLOAD + 1))


def test_a_little_endian_file_in_microseconds_is_read() -> None:
    ip = encode(0, A, B, b"hello!!!")[28 : 28 + 36]

    def block(kind: int, body: bytes) -> bytes:
        size = struct.pack("<I", len(body) + 12)
        return struct.pack("<I", kind) + size + body + size

    file = (
        block(pcapng.SECTION_HEADER, struct.pack("<IHHq", pcapng.BYTE_ORDER_MAGIC, 1, 0, -1))
        + block(pcapng.INTERFACE_DESCRIPTION, struct.pack("<HHI", pcapng.LINKTYPE_RAW, 0, 0))
        + block(0x0BAD, b"else")  # a type nobody knows is passed over
        + block(pcapng.ENHANCED_PACKET, struct.pack("<IIIII", 0, 1, 2, 36, 36) + ip)
    )
    assert load(file) == [Captured((2**32 + 2) * 1000, A, B, b"hello!!!")]


def test_every_cut_is_noticed() -> None:
    first, second = encode(1, A, B, b"one"), encode(2, A, B, b"two")
    whole = section() + first + second
    ends = {0, *(len(section()) - n for n in (0,)), len(section() + first), len(whole)}
    head = struct.unpack_from(">I", whole, 4)[0]  # the section header is a block of its own
    ends.add(head)
    for cut in range(len(whole) + 1):
        file = io.BytesIO(whole[:cut])
        assert pcapng.whole_length(file) == max(end for end in ends if end <= cut)
        if cut in ends:
            load(whole[:cut])
        else:
            with pytest.raises(PcapngError, match="cut off"):
                load(whole[:cut])


@pytest.mark.parametrize(
    ("place", "value", "what"),
    [
        (0, b"\xff", "not a pcapng"),
        (8, b"\xff", "byte-order magic"),
        (7, b"\x0d", "impossible length"),
        (4, b"\x7f", "impossible length"),
    ],
)
def test_a_broken_section_header_is_named(place, value, what) -> None:
    data = bytearray(section() + encode(1, A, B, b"one"))
    data[place : place + 1] = value
    with pytest.raises(PcapngError, match=what) as caught:
        load(bytes(data))
    assert caught.value.offset == 0
    with pytest.raises(PcapngError):
        pcapng.whole_length(io.BytesIO(bytes(data)))


@given(st.binary(max_size=60), st.integers(0, 200), st.binary(min_size=1, max_size=8))
def test_reading_broken_files_raises_only_its_own_error(tail, place, bytes_) -> None:
    data = bytearray(
        section(comment="c") + encode(1, A, B, b"one", ("note",)) + encode(2, A6, B6, b"two") + tail
    )
    data[place : place + len(bytes_)] = bytes_
    try:
        load(bytes(data))
    except PcapngError:
        pass


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is the judge here")
def test_tshark_finds_no_bad_checksum_and_the_comments(tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    path.write_bytes(
        section(comment="made by a test")
        + b"".join(encode(1_700_000_000_123_456_789 + n, A, B, bytes(range(n))) for n in range(64))
        + encode(1_700_000_000_000_000_001, A6, B6, b"six", ("transport=tcp", "说明"))
    )
    found = subprocess.run(
        ["tshark", "-n", "-r", str(path), "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE",
         "-T", "fields", "-e", "udp.checksum.status", "-e", "ip.checksum.status", "-e", "frame.time_epoch",
         "-e", "frame.comment"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = found.stdout.splitlines()
    assert len(lines) == 65
    assert {line.split("\t")[0] for line in lines} == {"1"}, "1 is good"
    assert {line.split("\t")[1] for line in lines[:64]} == {"1"}
    assert lines[0].split("\t")[2] == "1700000000.123456789"
    assert lines[64].split("\t")[3] == "transport=tcp,说明"
