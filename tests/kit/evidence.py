"""A whole call put together from synthetic media: captured, negotiated, closed."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recordings.capture import Capture
from recordings.events import EventLog
from tests.kit.rtp_media import START_NS, Rtp

CALLER = ("198.51.100.7", 40_000)
CALLER_VIDEO = ("198.51.100.7", 40_002)
DESK = ("198.51.100.9", 50_000)
US_CALLER_AUDIO = ("203.0.113.1", 20_000)
US_CALLER_VIDEO = ("203.0.113.1", 20_002)
US_DESK_AUDIO = ("203.0.113.1", 20_100)
SIP_CALLER = ("198.51.100.7", 5060)
SIP_US = ("203.0.113.1", 5060)

CODECS = {
    "PCMA": (8, 8000),
    "PCMU": (0, 8000),
    "G722": (9, 8000),
    "OPUS": (111, 48_000),
    "AMR": (97, 8000),
    "H264": (96, 90_000),
    "H265": (96, 90_000),
    "VP8": (96, 90_000),
}

INVITE = (
    b"INVITE sip:110@example.org SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK1\r\n"
    b"From: <sip:a@example.org>;tag=1\r\nTo: <sip:110@example.org>\r\nCall-ID: c1@phone\r\nCSeq: 1 INVITE\r\n"
    b"Max-Forwards: 70\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n"
)
OK = (
    b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK1\r\n"
    b"From: <sip:a@example.org>;tag=1\r\nTo: <sip:110@example.org>;tag=2\r\nCall-ID: c1@phone\r\n"
    b"CSeq: 1 INVITE\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n"
)


@dataclass(slots=True)
class SyntheticCall:
    """Everything that will be in the folder of one call."""

    folder: Path
    call: str = "call-1"
    packets: list[tuple[float, tuple[str, int], tuple[str, int], bytes]] = field(default_factory=list)
    streams: list[tuple[str, list[dict[str, Any]]]] = field(default_factory=list)
    sip: list[tuple[float, tuple[str, int], tuple[str, int], str, bytes]] = field(default_factory=list)

    def caller_sound(self, packets: Iterable[Rtp]) -> None:
        self.packets += [(p.at, CALLER, US_CALLER_AUDIO, p.data) for p in packets]

    def caller_picture(self, packets: Iterable[Rtp]) -> None:
        self.packets += [(p.at, CALLER_VIDEO, US_CALLER_VIDEO, p.data) for p in packets]

    def host_sound(self, packets: Iterable[Rtp], *, sent_on: bool = False) -> None:
        """What the desk sent; `sent_on`: and what we sent the caller because of it."""
        for p in packets:
            self.packets.append((p.at, DESK, US_DESK_AUDIO, p.data))
            if sent_on:
                self.packets.append((p.at + 0.001, US_CALLER_AUDIO, CALLER, p.data))

    def negotiate(self, leg: str, medium: str, local_port: int, remote: tuple[str, int], *names: str) -> None:
        codecs = [
            {"name": n, "payload_type": CODECS[n][0], "clock_rate": CODECS[n][1], "channels": 1, "fmtp": ""}
            for n in names
        ]
        stream = {"medium": medium, "local_port": local_port, "remote": list(remote), "codecs": codecs}
        self.streams.append((leg, [stream]))

    def negotiate_usual(self, sound: str, picture: str | None, host: str = "PCMA") -> None:
        self.negotiate("caller", "audio", US_CALLER_AUDIO[1], CALLER, sound)
        if picture:
            self.negotiate("caller", "video", US_CALLER_VIDEO[1], CALLER_VIDEO, picture)
        self.negotiate("desk:1", "audio", US_DESK_AUDIO[1], DESK, host)

    def signalling(self, sound: str, picture: str | None) -> None:
        """INVITE and 200 with SDP, over UDP."""
        theirs, ours = (
            sdp(CALLER, CALLER_VIDEO, sound, picture),
            sdp(US_CALLER_AUDIO, US_CALLER_VIDEO, sound, picture),
        )
        self.sip.append((-0.2, SIP_CALLER, SIP_US, "udp", INVITE % len(theirs) + theirs))
        self.sip.append((-0.1, SIP_US, SIP_CALLER, "udp", OK % len(ours) + ours))

    def write(self) -> Path:
        """Put it on disk as the running exchange would."""
        log = EventLog(self.call, str(self.folder), wall_ns=START_NS, mono=100.0)
        log.append("call_arrived", {"from": "sip:a@example.org"}, wall_ns=START_NS - 200_000_000, mono=99.8)
        for leg, streams in self.streams:
            log.append("media_negotiated", {"leg": leg, "streams": streams}, wall_ns=START_NS, mono=100.0)
        log.append("call_ended", {"by": "caller"}, wall_ns=START_NS + 10**10, mono=110.0)
        log.close()
        capture = Capture(self.call, str(self.folder))
        for at, source, destination, transport, data in self.sip:
            capture.sip(nanoseconds(at), source, destination, transport, data)
        for at, source, destination, data in sorted(self.packets, key=lambda entry: entry[0]):
            capture.packet(nanoseconds(at), source, destination, data)
        capture.close()
        return self.folder


def names(folder: Path | str) -> list[str]:
    """What is in a folder, hidden things too."""
    return sorted(path.name for path in Path(folder).iterdir())


def nanoseconds(at: float) -> int:
    return START_NS + round(at * 1e9)


def sdp(sound_at: tuple[str, int], picture_at: tuple[str, int], sound: str, picture: str | None) -> bytes:
    number, clock = CODECS[sound]
    lines = [
        "v=0", f"o=- 1 1 IN IP4 {sound_at[0]}", "s=-", f"c=IN IP4 {sound_at[0]}", "t=0 0",
        f"m=audio {sound_at[1]} RTP/AVP {number}", f"a=rtpmap:{number} {sound}/{clock}",
    ]  # fmt: skip
    if picture:
        number, clock = CODECS[picture]
        lines += [f"m=video {picture_at[1]} RTP/AVP {number}", f"a=rtpmap:{number} {picture}/{clock}"]
    return "\r\n".join([*lines, ""]).encode()
