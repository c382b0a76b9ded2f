"""Sends the still image on one leg's picture: a key frame now and then, and whenever the phone asks for one.

payloads of one picture (prepared) ─▶ Badge.show ─▶ Sender.picture: one timestamp, marker on the last, numbers that go on
"""

from collections.abc import Callable
from typing import Final

from rtp.control import Codec
from rtp.track import Track

EACH_SECONDS: Final = 1.0
"""Between two pictures: whoever missed one waits no longer, and it costs less than a tenth of a moving picture."""
FIRST_RATE: Final = 30
"""The first picture follows a moving one as its next would."""
LEAST_SECONDS: Final = 0.3
"""Between two that are asked for."""

Payloads = Callable[[str], tuple[bytes, ...]]
"""Codec's name → payloads of one picture; none while it is not prepared."""


class Badge:
    """The still image on one track."""

    def __init__(self, track: Track, payloads: Payloads, number: int) -> None:
        """`number`: the image as a source of the track's sender."""
        self._track = track
        self._payloads = payloads
        self._number = number
        self._at: float | None = None

    def show(self, now: float, *, asked: bool = False) -> None:
        """Send it if it is time, or if it is `asked` for and was not sent just now."""
        pause = LEAST_SECONDS if asked else EACH_SECONDS
        if self._at is not None and now - self._at < pause:
            return
        stream = self._track.stream
        if stream is None or not stream.sending or self._track.sender.remote is None:
            return
        found = self._find(stream.send)
        if found is None:
            return
        codec, payloads = found
        sender, rate = self._track.sender, codec.clock_rate
        goes_on = self._at is not None and sender.out.source == self._number
        step = int((now - (self._at or now)) * rate) if goes_on else rate // FIRST_RATE
        sender.picture(self._number, codec, payloads, step, now)
        self._at = now

    def _find(self, accepted: tuple[Codec, ...]) -> tuple[Codec, tuple[bytes, ...]] | None:
        for codec in accepted:
            if payloads := self._payloads(codec.name):
                return codec, payloads
        return None
