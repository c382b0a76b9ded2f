"""The media process itself, over its control socket, with real UDP sockets as phones."""

import itertools
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from rtp import control as c
from rtp.frames import Frames, decode_event, encode
from rtp.packet import Packet, parse
from rtp.rtcp import Bye, Description, PictureLoss, ReceiverReport, SenderReport
from rtp.rtcp import encode as encode_rtcp
from rtp.rtcp import parse as parse_rtcp
from tests.kit.native_engine import demand
from tests.kit.size import times

PCMA = c.Codec("PCMA", 8, 8000)
PCMU = c.Codec("PCMU", 0, 8000)
EVENTS = c.Codec("TELEPHONE-EVENT", 101, 8000)
H264 = c.Codec("H264", 96, 90000, fmtp="packetization-mode=1")
H264_HOST = c.Codec("H264", 105, 90000, fmtp="profile-level-id=42e01f;packetization-mode=1")
SILENT = b"\xd5" * 160
PATIENCE = 15.0
"""Seconds for anything that takes a fraction of one on an idle machine."""
FRAME = 0.02
E_ = TypeVar("E_")

WORKER = """
import json, sys
from rtp.worker import MediaSettings, run

class Sink:
    head = None
    def __init__(self, call, folder):
        self.file = open(f"{folder}/{call}.json", "a")
        self.rows, self.packets, self.size, self.folder = [], 0, 0, folder
    def packet(self, at_ns, source, destination, data):
        self.rows.append(("rtp", at_ns, source, destination, data.hex()))
    def sip(self, at_ns, source, destination, transport, data):
        self.rows.append(("sip", at_ns, source, destination, data.hex()))
    def append(self, append):
        return False
    def left_out(self, packets, first_ns, last_ns, reason):
        self.rows.append(("left_out", packets, first_ns, last_ns, reason))
    def flush(self, *, sync):
        import os
        if os.path.exists(self.folder + "/full"):
            raise OSError(28, "No space left on device")
        rows, self.rows = self.rows, []
        for row in rows:
            self.file.write(json.dumps(row) + "\\n")
            self.packets += 1
            self.size += len(row[4]) // 2
        self.file.flush()
    def close(self):
        self.flush(sync=True)
        self.file.close()
        return self.packets, self.size

class Factory:
    def open(self, call, folder):
        return Sink(call, folder)
    def sync(self, sinks):
        return False

path, first, last = sys.argv[1:4]
run(MediaSettings(path, port_min=int(first), port_max=int(last), drain_seconds=float(sys.argv[4]), loss_seconds=1.0,
                  rtcp_seconds=0.5, report_seconds=1.0, engine=sys.argv[5]), Factory())
"""


class Signalling:
    """Signalling's end of the control socket, without asyncio."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        deadline = time.monotonic() + 20
        while True:
            try:
                self.socket.connect(str(path))
                break
            except OSError:
                assert time.monotonic() < deadline, "the worker does not listen"
                time.sleep(0.02)
        self.frames = Frames()
        self.events: deque[c.Event] = deque()

    def send(self, *commands: c.Command) -> None:
        self.socket.sendall(b"".join(map(encode, commands)))

    def poll(self, seconds: float) -> None:
        self.socket.settimeout(max(seconds, 0.001))
        try:
            data = self.socket.recv(65536)
        except TimeoutError:
            return
        assert data, "the worker closed the control socket"
        self.events.extend(map(decode_event, self.frames.feed(data)))

    def wait(self, kind: type[E_], match: Callable[[E_], bool] = lambda _: True, seconds: float = 10.0) -> E_:
        """Give the next event of a kind, leaving the others where they are."""
        deadline = time.monotonic() + seconds
        while True:
            for event in self.events:
                if isinstance(event, kind) and match(event):
                    self.events.remove(event)
                    return event
            left = deadline - time.monotonic()
            assert left > 0, f"no {kind.__name__}; there are {list(self.events)}"
            self.poll(left)

    def none(self, kind: type[c.Event]) -> bool:
        self.poll(0.001)
        return not any(isinstance(event, kind) for event in self.events)


@dataclass
class Phone:
    """One medium of a phone: two sockets and counters of its own."""

    host: str = "127.0.0.1"
    payload_type: int = 8
    step: int = 160
    ssrc: int = 0x1111
    sequence: int = 65533
    timestamp: int = (1 << 32) - 320
    exchange: c.Address = ("", 0)
    rtp: socket.socket = field(init=False)
    rtcp: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self.rtp, self.rtcp = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for sock in (self.rtp, self.rtcp):
            sock.bind((self.host, 0))

    @property
    def address(self) -> c.Address:
        return self.rtp.getsockname()

    def stream(self, medium: c.Medium, codecs: tuple[c.Codec, ...], **more: object) -> c.Stream:
        return msgspec.structs.replace(
            c.Stream(0 if medium == "audio" else 1, medium, self.address, self.rtcp.getsockname(), codecs, codecs,
                     sending=True, receiving=True),
            **more,
        )  # fmt: skip

    def packet(self, payload: bytes = b"x" * 160, **more: object) -> bytes:
        self.sequence = (self.sequence + 1) & 0xFFFF
        self.timestamp = (self.timestamp + self.step) & 0xFFFFFFFF
        fields = {
            "payload_type": self.payload_type, "sequence": self.sequence, "timestamp": self.timestamp,
            "ssrc": self.ssrc, "payload": payload,
        }  # fmt: skip
        return Packet(**{**fields, **more}).encode()  # type: ignore[arg-type]

    def say(self, payload: bytes = b"x" * 160, **more: object) -> None:
        self.rtp.sendto(self.packet(payload, **more), self.exchange)

    def rebind(self, host: str | None = None) -> None:
        self.rtp.close()
        self.rtp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.rtp.bind((host or self.host, 0))

    def hear(self, seconds: float) -> list[tuple[float, Packet]]:
        return [(at, parse(data)) for at, data in hear_raw(self.rtp, seconds)]

    def hear_until(self, enough: Callable[[list[Packet]], bool], seconds: float = 10.0) -> list[Packet]:
        """Hear until it is enough, or too long: what was heard."""
        deadline = time.monotonic() + seconds
        heard: list[Packet] = []
        while not enough(heard) and time.monotonic() < deadline:
            heard += [packet for _, packet in self.hear(0.01)]
        return heard

    def close(self) -> None:
        self.rtp.close()
        self.rtcp.close()


def hear_raw(sock: socket.socket, seconds: float) -> list[tuple[float, bytes]]:
    deadline = time.monotonic() + seconds
    heard = []
    while (left := deadline - time.monotonic()) > 0:
        sock.settimeout(left)
        try:
            heard.append((time.monotonic(), sock.recv(9000)))
        except TimeoutError:
            break
    sock.setblocking(False)  # whatever a busy machine kept us from, what is there is heard
    while True:
        try:
            heard.append((time.monotonic(), sock.recv(9000)))
        except BlockingIOError:
            return heard


@dataclass
class MediaProcess:
    """A running media process and what is needed to talk to it."""

    process: subprocess.Popen[bytes]
    signalling: Signalling
    socket_path: Path
    folder: Path
    phones: list[Phone] = field(default_factory=list)

    def leg(
        self,
        name: str,
        audio: Phone | None = None,
        video: Phone | None = None,
        *,
        evidence: str | None = None,
        codecs: tuple[c.Codec, ...] = (PCMA, EVENTS),
        pictures: tuple[c.Codec, ...] = (H264,),
        sources: tuple[str, ...] = ("127.0.0.1",),
        **more: object,
    ) -> c.LegOpened:
        phones: dict[c.Medium, Phone] = {}
        if audio is not None:
            phones["audio"] = audio
        if video is not None:
            phones["video"] = video
        self.phones += phones.values()
        s = self.signalling
        s.send(c.OpenLeg(name, tuple(phones), "127.0.0.1", evidence))
        opened = s.wait(c.LegOpened, lambda event: event.leg == name)
        for pair in opened.ports:
            phones[pair.medium].exchange = ("127.0.0.1", pair.rtp)
        s.send(c.ConfigureLeg(name, self.streams(phones, codecs, pictures, **more), sources))
        return opened

    @staticmethod
    def streams(
        phones: dict[c.Medium, Phone],
        codecs: tuple[c.Codec, ...],
        pictures: tuple[c.Codec, ...] = (H264,),
        **more: object,
    ) -> tuple[c.Stream, ...]:
        return tuple(
            phone.stream(medium, codecs if medium == "audio" else pictures, **more)
            for medium, phone in phones.items()
        )

    def settle(self) -> None:
        """Return when every command sent so far has been carried out."""
        self.signalling.send(c.Query("settled"))
        self.signalling.wait(c.Holdings, lambda event: event.ref == "settled")

    def evidence(self, call: str) -> list[tuple[str, int, c.Address, c.Address, bytes]]:
        rows = map(json.loads, (self.folder / f"{call}.json").read_text().splitlines())
        return [
            (kind, at, tuple(src), tuple(dst), bytes.fromhex(data))
            for kind, at, src, dst, data in rows
            if kind != "left_out"
        ]


PORTS = times(60, 300)
"""Of one media process."""
# Below the range from which the system gives ports to others (net.ipv4.ip_local_port_range).
_next_port = 10000 + os.getpid() % 8 * 1200


def free_ports() -> int:
    """The first of PORTS ports in a row that nobody has."""
    global _next_port  # a range of its own for each worker of this run
    for _ in range(100):
        first, _next_port = _next_port, _next_port + PORTS
        with ExitStack() as held:
            try:
                for port in range(first, first + PORTS):
                    held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)).bind(("", port))
            except OSError:
                continue
        return first
    raise AssertionError("no free ports")


both_engines = pytest.mark.parametrize("media", ["native", "python"], indirect=True)


@pytest.fixture
def media(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MediaProcess]:
    """A media process of the Python engine, or of the one a test asks for."""
    engine = getattr(request, "param", "python")
    demand(engine)
    path, first = tmp_path / "media.sock", free_ports()
    log = (tmp_path / "worker.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(path), str(first), str(first + PORTS - 1), "0.5", engine],
        stdout=log,
        stderr=log,
    )
    signalling = Signalling(path)
    signalling.wait(c.Holdings)
    made = MediaProcess(process, signalling, path, tmp_path)
    yield made
    for phone in made.phones:
        phone.close()
    signalling.socket.close()
    process.send_signal(signal.SIGTERM)
    code = process.wait(10)
    log.close()
    text = (tmp_path / "worker.log").read_text()
    assert code == 0, text
    assert "handler_failed" not in text, text
    assert "Traceback" not in text, text


def talk(phones: list[Phone], frames: int, payloads: list[bytes] | None = None) -> None:
    start = time.monotonic()
    for number in range(frames):
        for index, phone in enumerate(phones):
            phone.say(payloads[index] if payloads else b"x" * 160)
        time.sleep(max(0.0, start + (number + 1) * FRAME - time.monotonic()))


def has(packets: list[Packet], payload: bytes) -> bool:
    """Whether somebody said that."""
    return any(packet.payload == payload for packet in packets)


def unbroken(packets: list[Packet]) -> None:
    """One SSRC, sequence +1, time stamps never back and never far ahead."""
    assert len({packet.ssrc for packet in packets}) == 1
    for before, after in itertools.pairwise(packets):
        assert (after.sequence - before.sequence) & 0xFFFF == 1
        # What this machine kept the process from sending is left out, in numbers of the clock, not of the sequence.
        assert 0 < (after.timestamp - before.timestamp) & 0xFFFFFFFF <= 8000 * 5


@both_engines
def test_guest_and_host_hear_each_other_with_mapped_payload_types(media: MediaProcess) -> None:
    s = media.signalling
    guest, host = Phone(), Phone(payload_type=8, ssrc=0x2222, sequence=100)
    guest_video = Phone(payload_type=96, ssrc=0x3333, step=3000)
    host_video = Phone(payload_type=105, ssrc=0x4444, step=3000)
    s.send(c.OpenEvidence("call-1", str(media.folder)))
    s.wait(c.EvidenceOpened)
    media.leg("guest", guest, guest_video, evidence="call-1")
    media.leg("host", host, host_video, pictures=(H264_HOST,), codecs=(EVENTS, PCMU, PCMA))
    s.send(c.Join("room", "host", "host"), c.Join("room", "guest", "guest"))
    s.wait(c.Joined, lambda event: event.leg == "guest")
    for phone, payload in ((guest, b"g"), (host, b"h"), (guest_video, b"G"), (host_video, b"H")):
        phone.say(payload * 100)
    for medium in ("audio", "video"):
        first = s.wait(c.FirstRelayed, lambda event, medium=medium: event.medium == medium)  # type: ignore[misc]
        assert (first.room, first.leg) == ("room", "guest")
    for phone, payload, payload_type in (
        (host, b"g", 8), (guest, b"h", 8), (host_video, b"G", 105), (guest_video, b"H", 96)
    ):  # fmt: skip
        all_heard = phone.hear_until(partial(has, payload=payload * 100))
        heard = [packet for packet in all_heard if packet.payload == payload * 100]
        assert [packet.payload_type for packet in heard] == [payload_type]
    s.send(c.CloseEvidence("call-1"))
    closed = s.wait(c.EvidenceClosed)
    rows = media.evidence("call-1")
    assert closed.packets == len(rows)
    seen = {(src, dst, data[12:112]) for _, _, src, dst, data in rows}
    assert (guest.address, guest.exchange, b"g" * 100) in seen  # received from the guest
    assert (host.address, host.exchange, b"h" * 100) in seen  # received from the host, as received
    assert (guest.exchange, guest.address, b"h" * 100) in seen  # sent to the guest
    assert (guest_video.address, guest_video.exchange, b"G" * 100) in seen
    s.send(c.CloseEvidence("call-1"))
    assert s.wait(c.EvidenceClosed) == closed


@both_engines
def test_desk_leg_stays_one_stream_while_guests_change(media: MediaProcess) -> None:
    s = media.signalling
    host = Phone(ssrc=0x2222)
    guests = [Phone(ssrc=0x5000 + i, sequence=i * 20000, timestamp=i << 30) for i in range(3)]
    media.leg("host", host)
    s.send(c.Join("room", "host", "host"))
    for i, guest in enumerate(guests):
        media.leg(f"guest-{i}", guest)
    host.say()
    packets: list[Packet] = []
    for i, guest in enumerate(guests):
        s.send(c.Join("room", f"guest-{i}", "guest"))
        media.settle()
        talk(
            [guest, *[other for other in guests if other is not guest]],
            12,
            [bytes([65 + i]) * 160, b"?" * 160, b"?" * 160],
        )
        said = bytes([65 + i]) * 160
        packets += host.hear_until(
            lambda heard, said=said: sum(packet.payload == said for packet in heard) >= 6  # type: ignore[misc]
        )
        s.send(c.Leave(f"guest-{i}"))
        time.sleep(0.1)
    packets += [packet for _, packet in host.hear(0.05)]
    unbroken(packets)
    payloads = [packet.payload for packet in packets]
    assert b"?" * 160 not in payloads  # nobody who is not in the room
    for i in range(3):
        assert payloads.count(bytes([65 + i]) * 160) >= 6
        first = payloads.index(bytes([65 + i]) * 160)
        assert packets[first].marker


def test_silence_fills_every_gap_on_the_desk_leg(media: MediaProcess) -> None:
    host = Phone(ssrc=0x2222)
    media.leg("host", host)
    host.say()
    heard = host.hear_until(lambda packets: len(packets) >= 40)
    assert len(heard) >= 40  # how regularly is the beat's (tests/rtp/test_leg.py)
    assert {packet.payload for packet in heard} == {SILENT}
    unbroken(heard)


@both_engines
def test_silent_leg_gets_silence_and_nothing_else(media: MediaProcess) -> None:
    s = media.signalling
    guest, host = Phone(), Phone(ssrc=0x2222)
    picture = Phone(payload_type=96, ssrc=0x4444, step=3000)
    guest_picture = Phone(payload_type=96, ssrc=0x3333, step=3000)
    media.leg("guest", guest, guest_picture)
    media.leg("host", host, picture)
    guest.say()
    guest_picture.say()
    guest.hear(0.1)
    s.send(c.SetGates("guest", silent=True, host_picture=False))
    media.settle()
    guest.hear(0.001)
    while guest.hear(0.005):  # what had left before the gate closed
        pass
    start = time.monotonic()
    s.send(
        c.Join("room", "host", "host"),
        c.Join("room", "guest", "guest"),
        c.Play("guest", "p1", ("tone:zip", "tone:waiting"), loop=True),
        c.PassDtmf("host", "123"),
    )
    for _ in range(50):
        host.say(b"h" * 160)
        host.say(b"\0\x0a\0\xa0", payload_type=101)
        picture.say(b"P" * 500)
        guest.say(b"g" * 160)
        time.sleep(FRAME)
    heard = guest.hear(0.02)
    assert {packet.payload for _, packet in heard} == {SILENT}
    assert 10 <= len(heard) <= (time.monotonic() - start) / FRAME + 5
    unbroken([packet for _, packet in heard])
    assert not hear_raw(guest_picture.rtp, 0.01)
    assert has(host.hear_until(lambda packets: has(packets, b"g" * 160)), b"g" * 160)
    s.send(c.SetGates("guest", silent=False, host_picture=True), c.StopPlay("guest"))
    media.settle()
    host.say(b"h" * 160)
    picture.say(b"P" * 500)
    assert has(guest.hear_until(lambda packets: has(packets, b"h" * 160)), b"h" * 160)
    assert guest_picture.hear_until(bool)


def _tone_and_more(packets: list[Packet]) -> bool:
    """Whether there was a tone, and then the caller alone."""
    tone = [number for number, packet in enumerate(packets) if packet.payload not in {b"x" * 160, SILENT}]
    return bool(tone) and has(packets[tone[-1] :], b"x" * 160)


def test_the_short_tone_is_laid_over_the_relay_and_ends(media: MediaProcess) -> None:
    s = media.signalling
    guest, host = Phone(), Phone(ssrc=0x2222)
    media.leg("guest", guest)
    media.leg("host", host)
    s.send(c.Join("room", "host", "host"), c.Join("room", "guest", "guest"))
    talk([guest, host], 3)
    s.send(c.Play("host", "zip", ("tone:zip",)))
    talk([guest], 10)
    assert s.wait(c.PlayEnded).play == "zip"
    talk([guest], 5)
    packets = host.hear_until(_tone_and_more)
    tone = [index for index, packet in enumerate(packets) if packet.payload not in {b"x" * 160, SILENT}]
    assert tone  # how long it is says tests/rtp/test_overlay.py
    assert has(packets[tone[-1] :], b"x" * 160)
    unbroken(packets)


@both_engines
def test_strangers_are_refused_and_a_new_port_is_found(media: MediaProcess) -> None:
    s = media.signalling
    guest, host, stranger = Phone(), Phone(ssrc=0x2222), Phone(host="127.0.0.2", ssrc=0x6666)
    media.phones.append(stranger)
    media.leg("guest", guest)
    media.leg("host", host)
    stranger.exchange = guest.exchange
    s.send(c.Join("room", "host", "host"), c.Join("room", "guest", "guest"))
    media.settle()
    for _ in range(20):
        stranger.say(b"evil" * 40)
    talk([guest, stranger, host], 10, [b"x" * 160, b"evil" * 40, b"h" * 160])
    assert b"evil" * 40 not in {packet.payload for _, packet in host.hear(0.05)}
    assert not hear_raw(stranger.rtp, 0.05)
    report = s.wait(c.LegReport, lambda event: event.leg == "guest" and event.streams[0].rejected > 0)
    assert report.streams[0].rejected >= 20  # later ones are dropped by the kernel
    guest.rebind()  # another port, the same SSRC
    start = time.monotonic()
    back = None
    while time.monotonic() - start < 10.0 and back is None:  # within a second, says tests/rtp/test_track.py
        talk([guest, stranger], 1, [b"new!" * 40, b"evil" * 40])
        if b"new!" * 40 in {packet.payload for _, packet in host.hear(0.001)}:
            back = time.monotonic() - start
    assert back is not None
    host.say(b"h" * 160)
    assert guest.hear_until(bool), "what is sent to the guest goes to its new port"
    assert not hear_raw(stranger.rtp, 0.01)


def test_another_address_of_the_same_stream_is_found_within_three_seconds(media: MediaProcess) -> None:
    s = media.signalling
    guest, host = Phone(), Phone(ssrc=0x2222)
    media.leg("guest", guest)
    media.leg("host", host)
    s.send(c.Join("room", "host", "host"), c.Join("room", "guest", "guest"))
    talk([guest, host], 5)
    guest.rebind("127.0.0.3")
    start = time.monotonic()
    back = None
    while time.monotonic() - start < 15.0 and back is None:
        talk([guest], 1, [b"new!" * 40])
        if b"new!" * 40 in {packet.payload for _, packet in host.hear(0.001)}:
            back = time.monotonic() - start
    assert back is not None
    assert back > 2.0  # and after 2.5 s, says tests/rtp/test_latch.py


def test_reinvite_with_a_new_address_is_followed_at_once(media: MediaProcess) -> None:
    s = media.signalling
    guest, host = Phone(), Phone(ssrc=0x2222)
    media.leg("guest", guest)
    media.leg("host", host)
    s.send(c.Join("room", "host", "host"), c.Join("room", "guest", "guest"))
    talk([guest, host], 5)
    guest.rebind("127.0.0.3")
    s.send(c.ConfigureLeg("guest", media.streams({"audio": guest}, (PCMA,)), ("127.0.0.3",)))
    media.settle()
    host.hear(0.01)
    guest.say(b"new!" * 40)
    assert has(host.hear_until(lambda packets: has(packets, b"new!" * 40)), b"new!" * 40)


def test_no_shared_sound_codec_is_transcoded(media: MediaProcess) -> None:
    s = media.signalling
    guest, host = Phone(), Phone(payload_type=0, ssrc=0x2222)
    media.leg("guest", guest, codecs=(PCMA,))
    media.leg("host", host, codecs=(PCMU,))
    s.send(c.Join("room", "host", "host"), c.Join("room", "guest", "guest"))
    media.settle()
    talk([guest, host], 20, [b"\x2a" * 160, b"\x00" * 160])
    packets = host.hear_until(
        lambda packets: sum(packet.payload != b"\xff" * 160 for packet in packets) >= 10
    )
    unbroken(packets)
    assert {packet.payload_type for packet in packets} == {0}
    loud = [packet for packet in packets if packet.payload != b"\xff" * 160]
    assert len(loud) >= 10

    def spoken(packets: list[Packet]) -> bool:
        return any(packet.payload_type == 8 and packet.payload != SILENT for packet in packets)

    assert spoken(guest.hear_until(spoken))


@both_engines
def test_digits_pass_through_and_are_told_once(media: MediaProcess) -> None:
    s = media.signalling
    guest, host = Phone(), Phone(ssrc=0x2222)
    media.leg("guest", guest, codecs=(PCMA, EVENTS))
    media.leg("host", host, codecs=(PCMA, c.Codec("TELEPHONE-EVENT", 97, 8000)))
    s.send(c.Join("room", "host", "host"), c.Join("room", "guest", "guest"))
    talk([guest, host], 3)
    host.hear(0.01)
    start = guest.timestamp
    for end in (0, 0, 0x80, 0x80, 0x80):
        guest.say(bytes((5, end | 10, 1, 64)), payload_type=101, timestamp=start)
    assert s.wait(c.Dtmf) == c.Dtmf("guest", "5")
    heard = host.hear_until(lambda packets: sum(packet.payload_type == 97 for packet in packets) >= 5)
    passed = [packet for packet in heard if packet.payload_type == 97]
    assert len(passed) == 5
    assert len({packet.timestamp for packet in passed}) == 1
    assert s.none(c.Dtmf)
    s.send(c.PassDtmf("guest", "9#"))
    heard = host.hear_until(
        lambda packets: sum(packet.payload_type == 97 and packet.marker for packet in packets) >= 2
    )
    sent = [packet for packet in heard if packet.payload_type == 97]
    assert [packet.payload[0] for packet in sent if packet.marker] == [9, 11]
    assert len({packet.timestamp for packet in sent}) == 2


def test_rtcp_reports_key_frame_requests_and_bye(media: MediaProcess) -> None:
    s = media.signalling
    guest, host = (
        Phone(payload_type=96, ssrc=0x3333, step=3000),
        Phone(payload_type=96, ssrc=0x4444, step=3000),
    )
    media.leg("guest", None, guest, feedback=("nack pli",))
    media.leg("host", None, host)
    guest.say(b"G" * 300)
    host.say(b"H" * 300)
    s.wait(c.MediaStarted, lambda event: event.leg == "guest")
    s.wait(c.MediaStarted, lambda event: event.leg == "host")
    s.send(c.Join("room", "host", "host"), c.Join("room", "guest", "guest"))
    assert s.wait(c.PictureWanted).leg == "host"  # its phone knows no feedback
    guest.rtcp.settimeout(PATIENCE)
    wishes = [p for p in parse_rtcp(guest.rtcp.recv(2000)) if isinstance(p, PictureLoss)]
    assert [wish.media for wish in wishes] == [0x3333]
    guest.say(b"G" * 300)
    host.say(b"H" * 300)
    ours = guest.hear_until(bool)[0].ssrc
    deadline = time.monotonic() + PATIENCE
    report = None
    while report is None and time.monotonic() < deadline:
        packets = parse_rtcp(guest.rtcp.recv(2000))
        assert isinstance(packets[1], Description)
        report = next((p for p in packets if isinstance(p, SenderReport)), None)
    assert report is not None
    assert report.ssrc == ours
    assert report.packets == 1
    assert report.blocks[0].ssrc == 0x3333
    assert abs(report.ntp / 2**32 - 2208988800 - time.time()) < PATIENCE
    # The host's wish goes on to the guest.
    time.sleep(1.0)
    exchange_rtcp = (host.exchange[0], host.exchange[1] + 1)
    host.rtcp.sendto(encode_rtcp([ReceiverReport(1), PictureLoss(1, 2)]), exchange_rtcp)
    deadline = time.monotonic() + PATIENCE
    while not any(isinstance(p, PictureLoss) for p in parse_rtcp(guest.rtcp.recv(2000))):
        assert time.monotonic() < deadline
    s.send(c.CloseLeg("guest"))
    deadline = time.monotonic() + PATIENCE
    while not any(isinstance(p, Bye) for p in parse_rtcp(guest.rtcp.recv(2000))):
        assert time.monotonic() < deadline


def test_round_trip_from_a_receiver_report(media: MediaProcess) -> None:
    guest = Phone()
    media.leg("guest", guest)
    guest.say()
    ours = guest.hear_until(bool)[0].ssrc
    guest.rtcp.settimeout(PATIENCE)
    while True:
        packets = parse_rtcp(guest.rtcp.recv(2000))
        if isinstance(packets[0], SenderReport):
            break
    middle = packets[0].ntp >> 16 & 0xFFFFFFFF
    block = struct.pack("!IIIIII", ours, 0, 0, 0, middle, 0)
    guest.rtcp.sendto(
        struct.pack("!BBHI", 0x81, 201, 7, 0x1111) + block, (guest.exchange[0], guest.exchange[1] + 1)
    )
    report = media.signalling.wait(c.LegReport, lambda event: event.streams[0].round_trip_ms is not None)
    assert 0 <= (report.streams[0].round_trip_ms or 0.0) < PATIENCE * 1000


def test_loss_is_told_and_so_is_the_return(media: MediaProcess) -> None:
    s = media.signalling
    guest = Phone()
    media.leg("guest", guest)
    guest.say()
    s.wait(c.MediaStarted)
    lost = s.wait(c.MediaLost)
    assert lost.seconds >= 1.0
    assert s.wait(c.MediaLost).seconds >= 2.0
    guest.say()
    s.wait(c.MediaStarted)


def test_a_caller_that_never_sends_is_told_and_hears_the_exchange(media: MediaProcess) -> None:
    guest = Phone()
    media.leg("guest", guest)
    media.signalling.wait(c.MediaLost)
    media.signalling.send(c.Play("guest", "welcome", ("tone:waiting",), loop=True))
    assert (
        guest.hear_until(lambda packets: any(packet.payload != SILENT for packet in packets))[-1].payload
        != SILENT
    )


def test_the_host_can_hold_its_guest(media: MediaProcess) -> None:
    s = media.signalling
    guest, host = Phone(), Phone(ssrc=0x2222)
    media.leg("guest", guest)
    media.leg("host", host)
    s.send(c.Join("room", "host", "host"), c.Join("room", "guest", "guest"))
    talk([guest, host], 3)
    s.send(c.SetGates("guest", silent=False, host_picture=True, held=True))
    media.settle()
    for phone in (guest, host):
        while phone.hear(0.002):
            pass
    talk([guest, host], 10, [b"g" * 160, b"h" * 160])
    assert {packet.payload for packet in host.hear_until(bool)} == {SILENT}
    held = {
        packet.payload
        for packet in guest.hear_until(lambda packets: any(packet.payload != SILENT for packet in packets))
    }
    assert b"h" * 160 not in held
    assert held - {SILENT}  # the waiting tone


def test_refusals(media: MediaProcess) -> None:
    s = media.signalling
    for name in ("a", "b"):
        media.leg(name, Phone())
    s.send(c.Join("r", "a", "guest"), c.Join("r", "b", "guest"))
    assert s.wait(c.Refused) == c.Refused("Join", "b", "second_guest")
    s.send(c.Join("r", "b", "host"), c.CloseLeg("x"), c.CloseEvidence("x"), c.PassDtmf("b", "%"))
    assert s.wait(c.Refused) == c.Refused("CloseLeg", "x", "unknown_leg")
    assert s.wait(c.Refused) == c.Refused("CloseEvidence", "x", "unknown_call")
    assert s.wait(c.Refused) == c.Refused("PassDtmf", "a", "bad_digit")
    opened = []
    for number in range(30):
        s.send(c.OpenLeg(f"n{number}", ("audio",), "127.0.0.1"))
        opened.append(number)
    assert s.wait(c.Refused).reason == "no_ports"


def test_ports_of_a_closed_leg_drain_and_come_back(media: MediaProcess) -> None:
    s = media.signalling
    for number in range(28):
        s.send(c.OpenLeg(f"n{number}", ("audio",), "127.0.0.1"))
        s.wait(c.LegOpened)
    later = c.OpenLeg("later", ("audio",), "127.0.0.1")
    s.send(c.CloseLeg("n3"), c.OpenLeg("late", ("audio", "video"), "127.0.0.1"), later)
    s.wait(c.LegOpened)
    assert s.wait(c.Refused).reason == "no_ports"  # n3's pair is open still
    deadline = time.monotonic() + 10
    while s.none(c.LegOpened) and time.monotonic() < deadline:
        time.sleep(0.2)
        s.send(later)
    s.wait(c.LegOpened)


def test_media_goes_on_without_signalling_and_tells_what_it_holds(media: MediaProcess) -> None:
    s = media.signalling
    guest, host = Phone(), Phone(ssrc=0x2222)
    media.leg("guest", guest)
    media.leg("host", host)
    s.send(c.Join("room", "host", "host"), c.Join("room", "guest", "guest"))
    media.settle()
    s.socket.close()
    time.sleep(0.05)
    talk([guest, host], 5)
    assert has(host.hear_until(lambda packets: has(packets, b"x" * 160)), b"x" * 160)
    media.signalling = Signalling(media.socket_path)
    holdings = media.signalling.wait(c.Holdings)
    assert {(leg.leg, leg.room, leg.role) for leg in holdings.legs} == {
        ("guest", "room", "guest"),
        ("host", "room", "host"),
    }
    s.socket = media.signalling.socket


def test_a_full_disk_is_stated_once_and_stops_nothing(media: MediaProcess) -> None:
    s = media.signalling
    guest, host = Phone(), Phone(ssrc=0x2222)
    s.send(
        c.OpenEvidence("call", str(media.folder)),
        c.NoteSip("call", 1, ("1.2.3.4", 5), ("6.7.8.9", 10), "udp", b"SIP"),
    )
    media.leg("guest", guest, evidence="call")
    media.leg("host", host)
    s.send(c.Join("room", "host", "host"), c.Join("room", "guest", "guest"))
    (media.folder / "full").touch()
    talk([guest, host], 20)
    assert s.wait(c.Refused) == c.Refused("OpenEvidence", "call", "disk")
    talk([guest, host], 10)
    assert s.none(c.Refused)
    assert has(host.hear_until(lambda packets: has(packets, b"x" * 160)), b"x" * 160)
    (media.folder / "full").unlink()
    time.sleep(0.3)
    s.send(c.CloseEvidence("call"))
    s.wait(c.EvidenceClosed)
    rows = media.evidence("call")
    assert rows[0][0] == "sip"
    assert sum(src == guest.address for _, _, src, _, _ in rows) == 30


@both_engines
def test_evidence_is_closed_when_the_process_ends(media: MediaProcess) -> None:
    s = media.signalling
    guest = Phone()
    s.send(c.OpenEvidence("call", str(media.folder)))
    media.leg("guest", guest, evidence="call")
    media.settle()
    guest.say(b"last" * 40)
    s.wait(c.MediaStarted)
    media.process.send_signal(signal.SIGTERM)
    assert media.process.wait(PATIENCE) == 0
    assert any(data.endswith(b"last" * 40) for _, _, _, _, data in media.evidence("call"))
