"""What sound costs beyond relaying: processor time of mixing and transcoding, since the process began."""

import time
from dataclasses import dataclass
from typing import Final

from rtp.control import SoundLoad

thread_time: Final = time.thread_time
"""Processor time of the calling thread: waiting, and other processes, are not counted."""


@dataclass(slots=True)
class Load:
    """Seconds of processor time, and frames of 20 ms made."""

    mixing: float = 0.0
    transcoding: float = 0.0
    mixed: int = 0
    transcoded: int = 0
    concealed: int = 0
    """Frames made up in the place of lost ones."""
    voices: int = 0
    """Voices that are being mixed now."""

    def report(self) -> SoundLoad:
        """Give the sums as an event."""
        return SoundLoad(
            mixing_seconds=round(self.mixing, 6),
            transcoding_seconds=round(self.transcoding, 6),
            mixed=self.mixed,
            transcoded=self.transcoded,
            concealed=self.concealed,
            voices=self.voices,
        )
