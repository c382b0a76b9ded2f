"""A phone of the soak: real sockets, marked packets, and a memory of all that was sent and heard.

The payload says who sent it and which one it is, so whoever hears it knows both; nothing of what is tried is imported here.
"""

import os
import socket
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

import pylibsrtp

Medium = Literal["audio", "video"]
MEDIA: Final[tuple[Medium, ...]] = ("audio", "video")
MAGIC: Final = b"SOAK"
MARK: Final = struct.Struct("!IQ")
"""Who, which."""
TYPES: Final = {"audio": 8, "video": 96}
TICKS: Final = {"audio": 160, "video": 1500}
SIZES: Final = {"audio": 160, "video": 600}
KEY: Final = b"\x65"
"""NAL unit header of a key frame's slice, and of any other (H.264 table 7-1)."""
OTHER: Final = b"\x41"
BUFFER: Final = 4 << 20
"""Bytes the kernel may keep for a phone that is busy with others: nothing may be lost on our own side."""
SUITE: Final = "AES_CM_128_HMAC_SHA1_80"
KEY_BYTES: Final = 30


@dataclass(frozen=True, slots=True)
class Heard:
    """One RTP packet that came."""

    sequence: int
    timestamp: int
    ssrc: int
    who: int
    """Number of the phone that made it; −1: made by the exchange (tone, silence, a mix)."""
    number: int
    key: bool


@dataclass(slots=True)
class Line:
    """One medium of a phone."""

    medium: Medium
    who: int
    rtp: socket.socket
    rtcp: socket.socket
    ssrc: int
    sequence: int = 65_500  # wraps early
    timestamp: int = 0xFFFF_F000  # wraps too
    number: int = 0
    """Of the packet sent last, from 1 on; never anew."""
    remote: tuple[str, int] = ("", 0)
    remote_rtcp: tuple[str, int] = ("", 0)
    seal: pylibsrtp.Session | None = None
    opener: pylibsrtp.Session | None = None
    before: list[socket.socket] = field(default_factory=list)
    """Ports left behind by `move`: what still goes there was sent to us all the same."""
    addresses: set[tuple[str, int]] = field(default_factory=set)
    """Of all our RTP ports so far."""
    repeated: int = 0
    """Encrypted packets that came a second time."""
    sent: Counter[bytes] = field(default_factory=Counter)
    """Every packet as it was before encryption."""
    came: Counter[bytes] = field(default_factory=Counter)
    heard: list[Heard] = field(default_factory=list)
    """Since the last `take`."""

    @property
    def address(self) -> tuple[str, int]:
        """Where we are."""
        host, port = self.rtp.getsockname()
        return str(host), int(port)

    @property
    def rtcp_address(self) -> tuple[str, int]:
        """Where our RTCP is."""
        host, port = self.rtcp.getsockname()
        return str(host), int(port)

    def move(self) -> None:
        """Send from another port from now on, as behind a NAT that forgot us."""
        self.before.append(self.rtp)
        self.rtp = _bound()
        self.addresses.add(self.address)

    def say(
        self, *, key: bool = False, payload_type: int | None = None, payload: bytes | None = None
    ) -> None:
        """Send the next packet."""
        self.sequence = (self.sequence + 1) & 0xFFFF
        self.timestamp = (self.timestamp + TICKS[self.medium]) & 0xFFFFFFFF
        if payload is None:
            self.number += 1
            told = MARK.pack(self.who, self.number)
            mark = (KEY if key else OTHER) + MAGIC + told + struct.pack("!I", zlib.crc32(told))
            payload = mark.ljust(SIZES[self.medium], b"\x55")
        number = TYPES[self.medium] if payload_type is None else payload_type
        data = struct.pack("!BBHII", 0x80, number, self.sequence, self.timestamp, self.ssrc) + payload
        self.sent[data] += 1
        self.rtp.sendto(self.seal.protect(data) if self.seal is not None else data, self.remote)

    def nack(self, sequences: list[int], media: int) -> None:
        """Say that packets of the stream `media` are missing (RFC 4585 §6.2.1), behind an empty report (§3.1)."""
        body = b"".join(struct.pack("!HH", sequence, 0) for sequence in sequences)
        report = struct.pack("!BBHI", 0x80, 201, 1, self.ssrc)
        asked = struct.pack("!BBHII", 0x81, 205, 2 + len(sequences), self.ssrc, media) + body
        data = report + asked
        self.rtcp.sendto(self.seal.protect_rtcp(data) if self.seal is not None else data, self.remote_rtcp)

    def listen(self) -> None:
        """Take in what waits at all sockets."""
        for sock in (*self.before, self.rtp):
            for data in _waiting(sock):
                self._hear(data)
        for _ in _waiting(self.rtcp):
            pass

    def _hear(self, data: bytes) -> None:
        if self.opener is not None:
            try:
                data = self.opener.unprotect(data)
            except pylibsrtp.Error:
                self.repeated += 1  # libsrtp takes no packet twice; one that is not genuine is a finding when counts are compared
                return
        self.came[data] += 1
        _, _, sequence, timestamp, ssrc = struct.unpack_from("!BBHII", data)
        who, number = -1, 0
        # With a checksum, because a mix may leave some of a mark as it was.
        if data[13:17] == MAGIC and zlib.crc32(data[17:29]) == int.from_bytes(data[29:33], "big"):
            who, number = MARK.unpack_from(data, 17)
        self.heard.append(Heard(sequence, timestamp, ssrc, who, number, data[12:13] == KEY))

    def take(self) -> list[Heard]:
        """What was heard since the last time."""
        self.listen()
        heard, self.heard = self.heard, []
        return heard


class Phone:
    """A phone with sound and picture."""

    def __init__(self, who: int, *, secure: bool) -> None:
        self.who = who
        self.keys = (os.urandom(KEY_BYTES), os.urandom(KEY_BYTES)) if secure else None
        """(ours, the exchange's) of SDES, or None."""
        self.lines: dict[Medium, Line] = {}
        for medium in MEDIA:
            line = Line(medium, who, _bound(), _bound(), ssrc=who * 2 + (medium == "video") + 1)
            line.addresses.add(line.address)
            if self.keys is not None:
                line.seal = _session(self.keys[0], pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
                line.opener = _session(self.keys[1], pylibsrtp.Policy.SSRC_ANY_INBOUND)
            self.lines[medium] = line

    def take(self) -> None:
        """Forget what was heard so far."""
        for line in self.lines.values():
            line.take()

    def close(self) -> None:
        """Give the sockets back."""
        for line in self.lines.values():
            for sock in (*line.before, line.rtp, line.rtcp):
                sock.close()


def _session(key: bytes, direction: int) -> pylibsrtp.Session:
    policy = pylibsrtp.Policy(
        key=key, ssrc_type=direction, srtp_profile=pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80
    )
    policy.window_size = 1024
    policy.allow_repeat_tx = True  # a packet sent again must open again
    return pylibsrtp.Session(policy)


def _waiting(sock: socket.socket) -> Iterator[bytes]:
    while True:
        try:
            yield sock.recv(9216)
        except BlockingIOError:
            return
        except ConnectionRefusedError:
            continue  # ICMP about something sent before the exchange had its port open


def _bound() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    # Beyond the system's limit where we may; root is asked for nothing else.
    for option in (socket.SO_RCVBUF, getattr(socket, "SO_RCVBUFFORCE", 33)):
        try:
            sock.setsockopt(socket.SOL_SOCKET, option, BUFFER)
        except PermissionError:
            pass
    sock.bind(("127.0.0.1", 0))
    return sock
