"""What a caller is living through (`call`). A plain value."""

from enum import StrEnum


class State(StrEnum):
    """What the caller is living through."""

    ARRIVING = "arriving"
    RINGING = "ringing"
    """We call, and nobody has picked up yet (`calling`)."""
    WAITING = "waiting"
    TALKING = "talking"
    CLOSING = "closing"
    ENDED = "ended"
