"""Whether a leg needs its beat: asked of every leg 50 times a second. Pure."""

from typing import Final

from rtp.outstream import Numbering

FILL_SECONDS: Final = 0.040
"""A leg that got no relayed sound for so long is sent silence until it comes again: no gap above 60 ms."""


NO_FIELDS: Final = ()
"""Slots of a class whose fields are its subclasses'."""


class Restlessness:
    """What is asked of an activity; where its fields lie is the subclass's."""

    __slots__ = NO_FIELDS
    busy: bool
    """Something is played, digits are sent, or a tone is due."""
    out: Numbering | None
    """The sound that is sent to the leg."""

    def __init__(self) -> None:
        self.busy = False
        self.out = None

    def content(self, now: float) -> bool:
        """Whether a beat has nothing to do: a peer's packets flow, or there is no sound."""
        out = self.out
        return out is None or (out.relaying and not self.busy and now - (out.at or 0.0) <= FILL_SECONDS)


class Activity(Restlessness):
    """What a leg's sound is about."""

    __slots__ = ("busy", "out")
