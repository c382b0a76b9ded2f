"""Settings of the media processes: ports, what happens when sound stays away, encryption, engine."""

from typing import Annotated, Literal

import msgspec

from pbx.listen_settings import Name, Port
from pbx.section import Seconds, Section

EncryptionPolicy = Literal["off", "opportunistic", "mandatory", "dtls"]


class MediaSettings(Section, frozen=True, kw_only=True):
    """The media processes."""

    port_min: Port = 20000
    port_max: Port = 29999
    drain_seconds: Seconds = 30.0
    """A closed leg's port is given to nobody for this long: late packets of the old call still arrive."""
    loss_seconds: Seconds = 2.5
    """A medium that brought nothing for this long is called lost."""
    host_picture: Literal["on", "off", "still"] = "on"
    """What callers are shown of the dispatcher: the picture, nothing, or a still image. Each call can be told otherwise."""
    host_picture_in_silent: bool = False
    """Whether a silent caller is sent that too."""
    still_image: str = ""
    """File of the still image (PNG, JPEG), relative to the state folder; empty: a badge of the exchange's own."""
    prompts: tuple[str, ...] = ()
    """Folders searched for prompts before the built-in ones."""
    encryption: EncryptionPolicy = "opportunistic"
    """Sound and picture by SRTP: `opportunistic` where the phone can, `mandatory` or refused (an emergency call is never
    refused), `dtls` mandatory and with no keys in SDP, `off` never offered."""
    encryption_for: dict[Name, EncryptionPolicy] = msgspec.field(default_factory=dict)
    """The same for single accounts and trunks, by user name or trunk name."""
    sdes_in_clear: bool = False
    """Whether SRTP keys may stand in SDP over UDP, TCP or plain WebSocket, where anybody on the way can read them."""
    asymmetric: tuple[Name, ...] = ()
    """Accounts and trunks, by name, that hear at another address or port than they send from: they are sent media where their SDP
    says, whatever they send from."""
    processes: Annotated[int, msgspec.Meta(ge=1, le=16)] = 1
    """How many media processes share the calls: one for each core that is to carry packets."""
    reserve: Annotated[float, msgspec.Meta(ge=0, le=0.9)] = 0.1
    """The part of the RTP ports, and of the open files they need, kept for emergency calls and desks' permanent legs."""
    engine: Literal["auto", "native", "python"] = "auto"
    """What carries packets: C where it was built (`auto`), C or nothing, or Python."""

    def ports_of(self, process: int) -> tuple[int, int]:
        """First and last port of one media process's own part of the range: whole pairs, nobody else's."""
        first = self.port_min + self.port_min % 2
        pairs = (self.port_max - first + 1) // 2
        edges = [first + 2 * (pairs * number // self.processes) for number in (process, process + 1)]
        return edges[0], edges[1] - 1
