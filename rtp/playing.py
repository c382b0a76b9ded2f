"""One play as it goes on: in the place of what is relayed, or laid over it.

Play ─▶ Playing.next_frame, each 20 ms ─▶ payload        relayed sound comes ─▶ Playing.overlay takes its place up
"""

from typing import Final

from rtp.control import Codec, Play
from rtp.overlay import RATE, Overlay, can_mix
from rtp.player import Player
from rtp.prompts import Prompts

OVERLAID: Final = ("tone:zip",)
"""What is played over relayed sound and not in its place: who is put through is heard at once, with the tone (bar Q4)."""
FRAME: Final = RATE // 50
"""Samples of 20 ms of what is laid over."""


class Playing:
    """One `Play` as it goes on."""

    def __init__(self, play: Play, codec: Codec, prompts: Prompts, number: int) -> None:
        """`number`: the play as a source of the sender."""
        self.play = play
        self.number = number
        self.overlay: Overlay | None = None
        """What is laid over relayed sound; None for a play that goes in its place."""
        if play.items == OVERLAID and not play.loop:
            self.overlay = Overlay(prompts.samples(play.items[0], RATE))
        self._prompts = prompts
        self.encode(codec)

    def encode(self, codec: Codec) -> None:
        """Go on in this codec: from the beginning, or behind what was heard over relayed sound."""
        self.codec = codec
        self.player = Player(self.play.items, self.play.loop, codec, self._prompts)
        self.given = 0
        """Frames the player gave or left out."""
        if not can_mix(codec):
            self.overlay = None

    def next_frame(self) -> bytes | None:
        """The next 20 ms, behind what was heard over relayed sound."""
        if self.overlay is not None:
            while (self.given + 1) * FRAME <= self.overlay.used:
                self.given += 1
                self.player.next_frame()
            self.overlay.skip(FRAME)
        self.given += 1
        return self.player.next_frame()

    def skip(self, frames: int) -> None:
        """Take note that so many of the present item were sent without us."""
        self.given += frames
        self.player.skip(frames)
        if self.overlay is not None:
            self.overlay.skip(frames * FRAME)

    @property
    def position(self) -> tuple[int, int, int, int]:
        """Where it stands, for `seek`."""
        used = 0 if self.overlay is None else self.overlay.used
        return (*self.player.position, self.given, used)

    def seek(self, item: int, frame: int, given: int, used: int) -> None:
        """Go on where `position` was asked."""
        self.player.position = (item, frame)
        self.given = given
        if self.overlay is not None:
            self.overlay.skip(used)
