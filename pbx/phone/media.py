"""The sockets and the clock of a scripted phone's media; what is said and seen is `stream`'s business.

offer/answer ─▶ ports, `Sound` and `Picture`; every 20 ms a packet of sound, every 100 ms a picture, every 2 s RTCP.

Not done: checking where packets come from, a jitter buffer, RTP and RTCP on one port.
"""

import asyncio
import secrets
import socket
import time
from collections.abc import Callable
from typing import Final, Literal

from pbx.phone.picture import PICTURES_PER_SECOND
from pbx.phone.stream import Medium, Outgoing, Picture, Sound
from pbx.sdp import offer_answer
from pbx.sdp.capabilities import Capabilities
from pbx.sdp.description import Description, parse
from pbx.sip.errors import SipError
from pbx.tasks import Tasks
from rtp import rtcp
from rtp.codecs import PTIME_MS
from rtp.control import Codec, Stream

Kind = Literal["audio", "video"]

CAPABILITIES: Final = Capabilities(
    audio=(
        Codec("PCMA", 8, 8000),
        Codec("OPUS", 107, 48000, 2, "useinbandfec=0"),
        Codec("TELEPHONE-EVENT", 101, 8000, 1, "0-15"),
    ),
    video=(
        Codec("H264", 96, 90000, 1, "profile-level-id=42e01f;packetization-mode=1"),
        Codec("H264", 97, 90000, 1, "profile-level-id=42e01f;packetization-mode=0"),
    ),
    feedback=("nack pli", "ccm fir"),
)
TICKS_PER_PICTURE: Final = 1000 // PTIME_MS // PICTURES_PER_SECOND
RTCP_TICKS: Final = (
    2000 // PTIME_MS
)  # RFC 3550 §6.2 allows less than 5 s for two members; short drills want a report too
FIRST_RTCP_TICK: Final = 25
PLI_TICKS: Final = (
    25  # half a second between two requests for a key frame: one takes a round trip and a picture
)
BIND_TRIES: Final = 50
READS_PER_WAKE: Final = 64  # datagrams read before the loop may do something else
LATE_TICKS: Final = 50  # after a second's standstill (Ctrl-Z) go on from now, not with a burst


def bind_pair(host: str) -> tuple[socket.socket, socket.socket]:
    """Bind RTP to an even port and RTCP to the next (RFC 3550 §11). OSError when none of many tries succeeds."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(BIND_TRIES):
        rtp = socket.socket(family, socket.SOCK_DGRAM)
        after = socket.socket(family, socket.SOCK_DGRAM)
        try:
            rtp.bind((host, 0))
            port = rtp.getsockname()[1]
            if port % 2 == 0:
                after.bind((host, port + 1))
                rtp.setblocking(False)
                after.setblocking(False)
                return rtp, after
        except OSError:
            pass  # the port above is taken: another pair
        rtp.close()
        after.close()
    raise OSError(f"no free pair of UDP ports on {host}")


class _Line:
    """One medium with its two sockets."""

    def __init__(self, host: str, medium: Medium) -> None:
        self.medium = medium
        self.rtp, self.rtcp = bind_pair(host)
        self.last_sr = 0
        self.last_sr_at = 0.0
        self.pli_tick = -PLI_TICKS

    @property
    def ports(self) -> tuple[int, int]:
        return self.rtp.getsockname()[1], self.rtcp.getsockname()[1]


class PhoneMedia:
    """Sound, and picture if the phone has a camera, of one call after the other."""

    def __init__(self, role: str, host: str, hz: float, *, with_picture: bool, tasks: Tasks) -> None:
        """`host`: our IP address; `hz`: the tone we send. Raises OSError when no ports are free."""
        self._host = host
        self._tasks = tasks
        self.sound = Sound(hz, _outgoing())
        self.picture = Picture(role, _outgoing()) if with_picture else None
        self._lines: dict[Kind, _Line] = {"audio": _Line(host, self.sound)}
        if self.picture is not None:
            self._lines["video"] = _Line(host, self.picture)
        self._session = secrets.randbits(31)
        self._version = 0
        self._offered: Description | None = None
        self._cname = (
            f"{secrets.token_hex(8)}@phone"  # RFC 7022 §4.2: a short-term persistent CNAME is random
        )
        self._running = False

    # --- offer and answer -------------------------------------------------------------------------------------------

    def offer(self) -> bytes:
        """All the phone has, as SDP."""
        self._version += 1
        self._offered = offer_answer.offer(
            CAPABILITIES,
            address=self._host,
            ports=self._ports(),
            session=self._session,
            version=self._version,
        )
        return self._offered.encode()

    def accept(self, answer: bytes) -> None:
        """Take the answer to `offer`. Raises SipError when it does not fit."""
        if self._offered is None:
            raise SipError(400, "Answer Without Offer")
        offered, self._offered = self._offered, None
        self._configure({s.medium: s for s in offer_answer.accept(offered, parse(answer))})

    def answer(self, offer: bytes) -> bytes:
        """Answer the peer's offer. Raises SipError: no SDP, or nothing in common (488)."""
        offered = parse(offer)
        if not offer_answer.wanted(offered, CAPABILITIES):
            raise SipError(488)
        self._version += 1
        made, streams = offer_answer.answer(
            offered,
            CAPABILITIES,
            address=self._host,
            ports=self._ports(),
            session=self._session,
            version=self._version,
        )
        self._configure({s.medium: s for s in streams})
        return made.encode()

    def _ports(self) -> dict[Kind, tuple[int, int]]:
        return {kind: line.ports for kind, line in self._lines.items()}

    def _configure(self, streams: dict[Kind, Stream]) -> None:
        for kind, line in self._lines.items():
            line.medium.configure(streams.get(kind))

    # --- packets ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Listen, and send by the clock, until `close`. Harmless when it runs already."""
        if self._running:
            return
        self._running = True
        loop = asyncio.get_running_loop()
        for line in self._lines.values():
            loop.add_reader(line.rtp, _read, line.rtp, self._rtp_reader(line))
            loop.add_reader(line.rtcp, _read, line.rtcp, self._rtcp_reader(line))
        self._tasks.spawn(self._pace(), name="media")

    def send_key_frame(self) -> None:
        """The peer asked by SIP for a key frame (RFC 5168)."""
        if self.picture is not None:
            self.picture.send_key_frame()

    def close(self) -> None:
        """Say goodbye by RTCP and give the ports back."""
        loop = asyncio.get_running_loop()
        for line in self._lines.values():
            if self._running:
                loop.remove_reader(line.rtp)
                loop.remove_reader(line.rtcp)
                self._report(line, rtcp.Bye((line.medium.outgoing.ssrc,)))
            line.rtp.close()
            line.rtcp.close()
        self._running = False

    def _rtp_reader(self, line: _Line) -> Callable[[bytes], None]:
        medium = line.medium
        receive = medium.receive if isinstance(medium, Sound | Picture) else None
        assert receive is not None, "a line carries sound or picture"
        clock = asyncio.get_running_loop().time
        return lambda data: receive(data, clock())

    def _rtcp_reader(self, line: _Line) -> Callable[[bytes], None]:
        clock = asyncio.get_running_loop().time

        def read(data: bytes) -> None:
            try:
                packets = rtcp.parse(data)
            except rtcp.RtcpError:
                line.medium.malformed += 1
                return
            for packet in packets:
                match packet:
                    case rtcp.SenderReport():
                        line.last_sr, line.last_sr_at = rtcp.ntp_middle(packet.ntp), clock()
                    case rtcp.PictureLoss() | rtcp.FullIntra():
                        self.send_key_frame()
                    case _:
                        pass

        return read

    async def _pace(self) -> None:
        clock = asyncio.get_running_loop().time
        start, done = clock(), 0
        while True:
            due = int((clock() - start) * 1000 / PTIME_MS)
            done = max(done, due - LATE_TICKS)
            while done <= due:
                self._tick(done)
                done += 1
            await asyncio.sleep(start + done * PTIME_MS / 1000 - clock())

    def _tick(self, number: int) -> None:
        packet = self.sound.make()
        if packet is not None:
            _send(self._lines["audio"], packet)
        if self.picture is not None and number % TICKS_PER_PICTURE == 0:
            for packet in self.picture.make(_milliseconds_of_day()):
                _send(self._lines["video"], packet)
            self._ask_for_key_frame(self._lines["video"], number)
        if number % RTCP_TICKS == FIRST_RTCP_TICK:
            for line in self._lines.values():
                self._report(line)

    def _ask_for_key_frame(self, line: _Line, number: int) -> None:
        stream = line.medium.stream
        if self.picture is None or stream is None or "nack pli" not in stream.feedback:
            return
        if self.picture.key_frame_wanted and number - line.pli_tick >= PLI_TICKS:
            line.pli_tick = number
            self._report(line, rtcp.PictureLoss(line.medium.outgoing.ssrc, line.medium.source.ssrc))

    def _report(self, line: _Line, *more: rtcp.RtcpPacket) -> None:
        medium = line.medium
        if medium.stream is None or medium.stream.remote_rtcp is None:
            return
        waited = asyncio.get_running_loop().time() - line.last_sr_at
        delay = min(int(waited * 65536), 0xFFFF_FFFF) if line.last_sr else 0
        block = medium.source.report(line.last_sr, delay)
        blocks = () if block is None else (block,)
        out = medium.outgoing
        # RFC 3550 §6.4: who has sent data since the last reports sends SR, who has not RR.
        first: rtcp.RtcpPacket = rtcp.ReceiverReport(out.ssrc, blocks)
        if out.packets:
            ntp = rtcp.ntp_time(time.time_ns())
            first = rtcp.SenderReport(out.ssrc, ntp, out.timestamp, out.packets, out.octets, blocks)
        compound = (first, rtcp.Description(((out.ssrc, self._cname),)), *more)
        try:
            line.rtcp.sendto(rtcp.encode(compound), medium.stream.remote_rtcp)
        except OSError:
            pass  # RTCP is repeated


def _outgoing() -> Outgoing:
    # A sequence number in the lower half does not wrap within ten minutes: SRTP of a peer likes that (RFC 3711 §3.3.1).
    return Outgoing(secrets.randbits(32), secrets.randbits(15), secrets.randbits(32))


def _send(line: _Line, packet: bytes) -> None:
    stream = line.medium.stream
    if stream is None or stream.remote is None:
        return
    try:
        line.rtp.sendto(packet, stream.remote)
    except OSError:
        pass  # a full socket buffer or no route: lost like any packet; the peer's reports tell


def _read(sock: socket.socket, take: Callable[[bytes], None]) -> None:
    for _ in range(READS_PER_WAKE):
        try:
            data = sock.recv(65536)
        except OSError:
            return  # nothing more to read
        take(data)


def _milliseconds_of_day() -> int:
    now = time.time()
    local = time.localtime(now)
    return ((local.tm_hour * 60 + local.tm_min) * 60 + local.tm_sec) * 1000 + int(now * 1000) % 1000
