"""What this exchange can carry: what is offered, and what is taken besides when a peer offers it. Pure values."""

from dataclasses import dataclass
from typing import Final

from rtp.control import Codec, Medium


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What this exchange can carry, best first. The payload types are those we offer."""

    audio: tuple[Codec, ...]
    video: tuple[Codec, ...]
    understood: tuple[Codec, ...] = ()
    """Sound that is taken when a peer offers it and never offered."""
    feedback: tuple[str, ...] = ("nack", "nack pli", "ccm fir")
    """RTCP feedback of pictures (RFC 4585, 5104) that we ask for and obey."""

    def of(self, medium: Medium) -> tuple[Codec, ...]:
        """Return what is offered."""
        return self.audio if medium == "audio" else self.video

    def taken(self, medium: Medium) -> tuple[Codec, ...]:
        """Return what is accepted of an offer."""
        return (*self.audio, *self.understood) if medium == "audio" and self.audio else self.of(medium)


CAPABILITIES: Final = Capabilities(
    audio=(
        Codec("PCMA", 8, 8000),
        Codec("PCMU", 0, 8000),
        Codec("G722", 9, 8000),
        Codec("OPUS", 107, 48000, 2, "useinbandfec=1"),
        Codec("TELEPHONE-EVENT", 101, 8000, 1, "0-15"),
        Codec("TELEPHONE-EVENT", 102, 48000, 1, "0-15"),
    ),
    understood=(
        # Mobile networks offer these first; whoever speaks them speaks G.711 as well, so our offers need not grow by them.
        Codec("AMR", 105, 8000),
        Codec("AMR-WB", 106, 16000),
        Codec("TELEPHONE-EVENT", 100, 16000, 1, "0-15"),
    ),
    video=(
        Codec("H264", 96, 90000, 1, "profile-level-id=42e01f;packetization-mode=1"),
        Codec("H264", 97, 90000, 1, "profile-level-id=42e01f;packetization-mode=0"),
        Codec("VP8", 98, 90000),
        Codec("H265", 99, 90000),
        Codec("H264", 103, 90000, 1, "profile-level-id=4d001f;packetization-mode=1"),
        Codec("H264", 104, 90000, 1, "profile-level-id=64001f;packetization-mode=1"),
        Codec("H263-1998", 108, 90000, 1, "CIF=1;QCIF=1"),
    ),
)
"""Everything this exchange relays; level 3.1 is 720p at 30 pictures a second."""
