"""Whether a leg needs its beat: asked of every leg 50 times a second. Pure."""

from typing import TYPE_CHECKING, Final

from rtp.control import Codec
from rtp.outstream import Numbering

if TYPE_CHECKING:
    from rtp.sender import Sender
    from rtp.track import Track

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
    """The sound that is sent to the leg; None while there is none: nobody knows where to, or the peer takes none."""
    rtcp_due: float
    report_due: float
    """When the leg's reports are due, monotonic seconds."""

    def __init__(self) -> None:
        self.busy = False
        self.out = None
        self.rtcp_due = self.report_due = 0.0

    def watch(self, track: "Track") -> None:
        """Hear of a further track of the leg, for an engine that looks by itself whether a sweep has anything to do."""

    def content(self, now: float) -> bool:
        """Whether a beat has nothing to do: a peer's packets flow, or there is no sound."""
        out = self.out
        return out is None or (out.relaying and not self.busy and now - (out.at or 0.0) <= FILL_SECONDS)

    def roll(  # noqa: PLR0917  # as `Sender.local_frame`, for all that follow
        self, sender: "Sender", source: int, codec: Codec, step: int, frames: tuple[bytes, ...], start: int, *, endless: bool
    ) -> None:  # fmt: skip
        """Hear what the coming beats would send if nothing happens: `frames` from `start` on; `endless`: the one again and again.

        An engine may send them by itself as long as nothing else was sent or decided; this one does not.
        """

    def unroll(self) -> int:
        """End that; how many frames were sent of it."""
        return 0


class Activity(Restlessness):
    """What a leg's sound is about."""

    __slots__ = ("busy", "out", "report_due", "rtcp_due")
