"""What the media process is told once, when it starts."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MediaSettings:
    """Settings of one media process."""

    socket_path: str
    """Path of the Unix socket on which signalling is served (mode 600); at most 107 bytes."""
    host: str = "127.0.0.1"
    """Local IP address for a leg whose `OpenLeg.host` is empty."""
    port_min: int = 20000
    port_max: int = 29999
    """RTP takes the even ports of this range, RTCP the odd ones above them (RFC 3550 §11)."""
    reserve: float = 0.0
    """The part of ports and open files kept for urgent legs, 0 … 1 (bar F24)."""
    drain_seconds: float = 30.0
    """How long the ports of a closed leg stay open, reading late packets into nothing (bar F30 c)."""
    prompts: tuple[str, ...] = ()
    """Folders of the site's own prompts, later ones over earlier ones."""
    still: str = ""
    """File of the site's own still image; empty: the one drawn here."""
    loss_seconds: float = 2.5
    """Silence of a medium that should flow before `MediaLost` is sent, and between two of them."""
    report_seconds: float = 5.0
    """Between two `LegReport`s of a leg."""
    rtcp_seconds: float = 4.5
    """Between two RTCP reports of a medium; a peer must see one at least every 5 s."""
    cname: str = "at110"
    """Host part of the RTCP CNAME; it names the exchange, never a person (RFC 7022)."""
    end_with_parent: bool = False
    """End when the process that started this one dies; off, because media outlives signalling and its supervisor."""
    engine: str = "auto"
    """`python`, `native`, or `auto`: native where it was built (see `rtp.native`)."""
    handover: tuple[str, ...] = ()
    """Paths of the Unix sockets on which several media processes hand legs to each other, by number; empty: there is one."""
    number: int = 0
    """Which of them this one is."""
