"""What is said about legs that go from one media process to another (`rtp.handover` is how they go), and of ports one leaves behind."""

import msgspec


class MoveLegs(msgspec.Struct, frozen=True, tag=True):
    """Hand legs to another media process: their open sockets, the state of their streams, and the captures of their calls.

    That process answers with `LegsMoved`; this one with `Refused` (the first leg named) when they stay: `unknown_leg`,
    `shaking_hands` (DTLS is under way; ask again), `unreachable`.
    """

    legs: tuple[str, ...]
    captures: tuple[str, ...]
    """Ids of the calls whose evidence goes with them."""
    process: int
    """Number of the process they go to."""


class LegsMoved(msgspec.Struct, frozen=True, tag=True):
    """These legs are here now, in the rooms they were in, and nothing was lost on the way."""

    legs: tuple[str, ...]


class DrainPorts(msgspec.Struct, frozen=True, tag=True):
    """Keep a pair of ports closed to all calls: a process that died was draining it. One that is not free is left as it is."""

    host: str
    """Local IP address; empty: where the process binds by itself."""
    port: int
    """Of RTP; the next one goes with it."""
    seconds: float
    """How long still."""
