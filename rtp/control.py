"""What signalling and the media process say to each other.

in → out: signalling sends a `Command`, the media process sends back `Event`s; both are msgspec structs in
msgpack frames, each preceded by its length (4 bytes, big endian), on one Unix domain socket.

Every id is chosen by signalling. Every command is idempotent: sending it twice leaves what sending it once left,
so signalling may repeat anything after a restart. A command about an unknown leg or room is answered with `Refused`.
"""

from typing import Literal

import msgspec

from rtp.moving import DrainPorts, LegsMoved, MoveLegs
from rtp.reported import (  # named again, because they are part of the protocol
    LegReport as LegReport,  # noqa: PLC0414
)
from rtp.reported import (
    Medium as Medium,  # noqa: PLC0414
)
from rtp.reported import (
    SoundLoad as SoundLoad,  # noqa: PLC0414
)
from rtp.reported import (
    StreamReport as StreamReport,  # noqa: PLC0414
)

Role = Literal["host", "guest", "staff"]
"""What a leg is in its room: one host, at most one guest, any number of staff (supervisor, interpreter, fire, ambulance)."""
StaffMode = Literal["listen", "whisper", "barge"]
Address = tuple[str, int]


class Codec(msgspec.Struct, frozen=True):
    """One RTP payload format as a line of SDP states it (RFC 8866 §6.6)."""

    name: str
    """Encoding name in upper case: PCMA, PCMU, G722, OPUS, TELEPHONE-EVENT, H264, VP8, H265 …"""
    payload_type: int
    """0…127."""
    clock_rate: int
    """Hz of the RTP timestamp (8000 for G722 though it samples at 16000, RFC 3551 §4.5.2)."""
    channels: int = 1
    fmtp: str = ""
    """Format parameters, the text behind `a=fmtp:<pt> `."""


class Sdes(msgspec.Struct, frozen=True, tag="sdes"):
    """SRTP keys that stood in the SDP (RFC 4568). Each is master key and salt; neither is ever shown."""

    suite: str
    """Of `rtp.suites.SUITES`."""
    send: bytes
    receive: bytes

    def __repr__(self) -> str:
        return f"Sdes({self.suite!r}, …)"


class Dtls(msgspec.Struct, frozen=True, tag="dtls"):
    """SRTP keys that a DTLS handshake will give (RFC 5763)."""

    active: bool
    """We send the ClientHello."""
    fingerprints: tuple[tuple[str, bytes], ...]
    """(hash such as `sha-256`, value) of the peer's certificate; one of them must fit."""
    association: str = ""
    """The peer's a=tls-id (RFC 8842): another one asks for another handshake."""


class Stream(msgspec.Struct, frozen=True):
    """One negotiated medium of a leg, seen from us."""

    index: int
    """Position of its m-line."""
    medium: Medium
    remote: Address | None
    """Where the peer wants RTP; None while it has told no usable address (0.0.0.0)."""
    remote_rtcp: Address | None
    send: tuple[Codec, ...]
    """What the peer accepts, best first, with the payload types *it* expects."""
    receive: tuple[Codec, ...]
    """What the peer may send, with the payload types it will use."""
    sending: bool
    """We may send (the peer's direction is sendrecv or recvonly)."""
    receiving: bool
    """The peer may send."""
    feedback: tuple[str, ...] = ()
    """Values of a=rtcp-fb that both took, such as "nack pli" and "ccm fir"."""
    crypto: Sdes | Dtls | None = None
    """How the packets of this medium are protected; None: not at all."""
    mux: bool = False
    """RTCP goes over the RTP port (RFC 5761)."""
    asymmetric: bool = False
    """The peer hears at `remote` and sends from elsewhere."""
    unproven: bool = False
    """Nobody has shown that the peer is at `remote`: nothing is sent there before it was heard from (bar S9)."""
    ptime: int | None = None
    """ms of sound the peer would like to get in a packet (RFC 8866 §6.4)."""
    max_ptime: int | None = None
    """ms it can take in one at most (§6.5)."""


class PortPair(msgspec.Struct, frozen=True):
    """The local UDP ports of one medium of a leg."""

    medium: Medium
    rtp: int
    rtcp: int


# --- commands ---------------------------------------------------------------------------------------------------


class OpenLeg(msgspec.Struct, frozen=True, tag=True):
    """Bind ports for a leg; answered with `LegOpened` or `Refused`. From here on packets are evidence."""

    leg: str
    media: tuple[Medium, ...]
    host: str
    """Local IP address to bind to."""
    evidence: str | None = None
    """Id of the call whose evidence holds this leg's packets (a caller's leg); None for a desk's or staff's leg, whose
    packets go to the evidence of the guest who is in its room."""
    ports: tuple[PortPair, ...] = ()
    """Ports to bind again, after a restart of the media process; others are taken only for media not named here."""
    urgent: bool = False
    """It may have the ports that are kept for emergencies."""


class ConfigureLeg(msgspec.Struct, frozen=True, tag=True):
    """State what was negotiated; sent after every offer/answer exchange, whole."""

    leg: str
    streams: tuple[Stream, ...]
    sources: tuple[str, ...]
    """IP addresses media may come from before latching: those of the SDP and of the signalling (bars S1)."""
    vouched: bool = True
    """Whether the peer is authenticated: only then may media come from yet another address (bars S1)."""


class CloseLeg(msgspec.Struct, frozen=True, tag=True):
    """Stop a leg, leave its room, drain its ports."""

    leg: str


class Join(msgspec.Struct, frozen=True, tag=True):
    """Put a leg into a room. A second host or a second guest is refused; of staff there may be any number."""

    room: str
    leg: str
    role: Role


class Leave(msgspec.Struct, frozen=True, tag=True):
    """Take a leg out of its room; it hears silence until it joins or something is played to it."""

    leg: str


class SetStaff(msgspec.Struct, frozen=True, tag=True):
    """Set what a leg that is, or will be, staff of a room may do: `listen` hears host and guest and is heard by nobody,
    `whisper` is heard by the host alone, `barge` is heard by everybody in the room. It belongs to the leg and survives joins.
    Where none was set: `listen`.
    """

    leg: str
    mode: StaffMode


class SetGates(msgspec.Struct, frozen=True, tag=True):
    """Set the gates of a leg that is, or will be, a guest. They belong to the leg and survive joins."""

    leg: str
    silent: bool
    """Silent mode: this leg is sent codec silence every 20 ms and nothing else, whatever is played or said."""
    host_picture: bool
    """Whether the host's picture may reach this leg."""
    held: bool = False
    """The host put the guest on hold: it hears the waiting tone, the host hears and sees nothing of it."""
    still: bool = False
    """The site's still image is sent in the place of the host's picture; also while nobody is host."""


class Play(msgspec.Struct, frozen=True, tag=True):
    """Play prompts to a leg, replacing what was being played. Ends with `PlayEnded` unless it loops.

    Relayed sound waits meanwhile; only `tone:zip` alone is laid over it, where the leg's codec is G.711.
    """

    leg: str
    play: str
    items: tuple[str, ...]
    """Names of prompts (`en/please-wait`), or `tone:zip`, `tone:waiting` (one period), `pause:MS`."""
    loop: bool = False
    """Repeat the last item for ever (the waiting tone after the prompt)."""


class StopPlay(msgspec.Struct, frozen=True, tag=True):
    """Fall silent."""

    leg: str


class PassDtmf(msgspec.Struct, frozen=True, tag=True):
    """The peer of a leg pressed these keys, as an INFO told: send them as RFC 4733 events to whoever hears it."""

    leg: str
    digits: str


class WantPicture(msgspec.Struct, frozen=True, tag=True):
    """The peer of a leg asks, by INFO (RFC 5168), for a key frame of the picture it is sent: ask whoever sends it."""

    leg: str


class AskPicture(msgspec.Struct, frozen=True, tag=True):
    """Ask the peer of a leg for a key frame of the picture it sends: somebody looks who was not there before."""

    leg: str


class RecordTalk(msgspec.Struct, frozen=True, tag=True):
    """While a leg has no guest, what it sends is evidence of this talk; None: of nothing."""

    leg: str
    call: str | None


class OpenEvidence(msgspec.Struct, frozen=True, tag=True):
    """Open `call.pcapng` in `folder`, before the first packet; answered with `EvidenceOpened`."""

    call: str
    folder: str
    near: str | None = None
    """A leg that is to be recorded in it though it does not name it (`RecordTalk`)."""


class NoteSip(msgspec.Struct, frozen=True, tag=True):
    """Put one SIP message of the call into its evidence as it stood on the wire."""

    call: str
    at: int
    """Wall clock, nanoseconds since 1970."""
    source: Address
    destination: Address
    transport: str
    data: bytes


class CloseEvidence(msgspec.Struct, frozen=True, tag=True):
    """Flush, fsync and close the call's capture; answered with `EvidenceClosed`."""

    call: str


class Query(msgspec.Struct, frozen=True, tag=True):
    """Ask what the media process holds; answered with `Holdings`."""

    ref: str


Command = (
    OpenLeg | ConfigureLeg | CloseLeg | Join | Leave | SetStaff | SetGates | Play | StopPlay | PassDtmf
    | WantPicture | AskPicture | RecordTalk | OpenEvidence | NoteSip | CloseEvidence | Query | MoveLegs | DrainPorts
)  # fmt: skip


AboutLeg = (
    ConfigureLeg
    | CloseLeg
    | Join
    | Leave
    | SetStaff
    | SetGates
    | Play
    | StopPlay
    | PassDtmf
    | WantPicture
    | AskPicture
    | RecordTalk
)
"""Commands about a leg that must exist."""


# --- events -----------------------------------------------------------------------------------------------------


class LegOpened(msgspec.Struct, frozen=True, tag=True):
    leg: str
    ports: tuple[PortPair, ...]
    fingerprint: bytes = b""
    """SHA-256 of the certificate that DTLS handshakes on these ports show (RFC 8122)."""


class Refused(msgspec.Struct, frozen=True, tag=True):
    """A command could not be carried out."""

    command: str
    """Name of the command's class."""
    id: str
    """The leg, room or call it named."""
    reason: str
    """`no_ports`, `unknown_leg`, `second_guest`, `second_host`, `disk` …"""


class MediaStarted(msgspec.Struct, frozen=True, tag=True):
    """The first packet of a medium was accepted from the peer (also after a loss)."""

    leg: str
    medium: Medium
    at: int
    """Wall clock, ns."""


class MediaLost(msgspec.Struct, frozen=True, tag=True):
    """A medium that should flow has brought nothing for `seconds`. Sent once per loss, and again each 5 s."""

    leg: str
    medium: Medium
    seconds: float


class Secured(msgspec.Struct, frozen=True, tag=True):
    """A medium of a leg has new SRTP keys: from here on nothing else is sent or believed."""

    leg: str
    medium: Medium
    suite: str
    by: Literal["sdes", "dtls"]
    """Where the keys came from."""


class SecurityFailed(msgspec.Struct, frozen=True, tag=True):
    """Whoever answers for a leg is not who its SDP says: the leg must end (RFC 5763 §5)."""

    leg: str
    medium: Medium
    reason: Literal["fingerprint"]
    source: Address


class Dtmf(msgspec.Struct, frozen=True, tag=True):
    leg: str
    digit: str


class PictureWanted(msgspec.Struct, frozen=True, tag=True):
    """A key frame is needed of this leg and its phone knows no RTCP feedback: signalling sends INFO (RFC 5168)."""

    leg: str


class PlayEnded(msgspec.Struct, frozen=True, tag=True):
    leg: str
    play: str


class Joined(msgspec.Struct, frozen=True, tag=True):
    """The leg is in the room and packets flow."""

    room: str
    leg: str


class FirstRelayed(msgspec.Struct, frozen=True, tag=True):
    """The first packet of a guest left on the host's leg after a join."""

    room: str
    leg: str
    medium: Medium
    at: int


class EvidenceOpened(msgspec.Struct, frozen=True, tag=True):
    call: str


class EvidenceClosed(msgspec.Struct, frozen=True, tag=True):
    call: str
    packets: int
    bytes: int


class LegHolding(msgspec.Struct, frozen=True):
    leg: str
    evidence: str | None
    room: str | None
    role: Role | None
    ports: tuple[PortPair, ...]


class Holdings(msgspec.Struct, frozen=True, tag=True):
    """Everything the media process holds, in answer to `Query`; also sent unasked when signalling connects."""

    ref: str
    legs: tuple[LegHolding, ...]
    evidence: tuple[str, ...]


Event = (
    LegOpened | Refused | MediaStarted | MediaLost | Dtmf | PictureWanted | PlayEnded | Joined | FirstRelayed
    | Secured | SecurityFailed | EvidenceOpened | EvidenceClosed | LegReport | SoundLoad | Holdings | LegsMoved
)  # fmt: skip
