"""What the media process counted, as the control socket tells it (part of `rtp.control`, from which all import it)."""

from typing import Literal

import msgspec

Medium = Literal["audio", "video"]


class StreamReport(msgspec.Struct, frozen=True):
    """Counts of one medium of a leg (RFC 3550 A.3, A.8)."""

    medium: Medium
    received: int
    lost: int
    jitter_ms: float
    sent: int
    rejected: int
    """Packets from a wrong source or of no RTP shape."""
    round_trip_ms: float | None = None
    unauthentic: int = 0
    """Packets of an encrypted medium that had a wrong tag or came a second time; in nobody's ear or evidence."""
    flooded: int = 0
    """Packets of the right source above the permitted rate, dropped (bar L9)."""
    strangers: int = 0
    """From a wrong source (bar S1): of those rejected, and of those that were not genuine."""
    bytes_received: int = 0
    """Of RTP that was believed, headers included; grows for the leg's life, as do those sent."""
    bytes_sent: int = 0
    bits_received: int = 0
    """A second, since the report before."""
    bits_sent: int = 0
    loss_percent: float = 0.0
    """Of the packets expected since the report before."""
    codec: str = ""
    """Encoding name of what the peer sends, as far as its clock tells."""
    rating: float | None = None
    """The E-model's R of what this peer sends, as a listener would judge it (`rtp.quality`)."""
    mos: float | None = None
    far_loss_percent: float | None = None
    """What the peer reports of what it is sent (RFC 3550 §6.4.1); None before its first report."""
    far_jitter_ms: float | None = None
    far_rating: float | None = None
    far_mos: float | None = None
    ended: bool = False
    """The peer has said BYE to its stream and sent nothing since."""
    unsent: int = 0
    """Packets the system did not take: no way there, a firewall, a full queue, a port where nobody listens. No evidence says they were
    sent."""
    quiet_ms: float | None = None
    """Since anything came from the peer: sound, comfort noise, keep-alives (RFC 6263), RTCP. None: nothing ever did."""


class LegReport(msgspec.Struct, frozen=True, tag=True):
    """Sent for every leg each 5 s and once when it closes."""

    leg: str
    streams: tuple[StreamReport, ...]


class SoundLoad(msgspec.Struct, frozen=True, tag=True):
    """What mixing and transcoding have cost since the process began; sent each 5 s once there was any."""

    mixing_seconds: float
    """Processor time."""
    transcoding_seconds: float
    mixed: int
    """Frames of 20 ms sent to legs that hear several voices."""
    transcoded: int
    concealed: int
    """Frames made up in the place of lost ones."""
    voices: int
    """Voices that are being mixed now."""
