"""Legs looked after now and then, of those that have reports to make only some at a time.

legs of one sweep ─▶ what is quickly done: at once ┄┄▶ those whose reports are due: some every 5 ms

Calls that began together have their reports due together, and 400 legs' take a tenth of a second: packets would wait for it.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from rtp.leg import Leg
from rtp.loop import Loop

PAUSE_SECONDS: Final = 0.005
"""Between two portions."""
PORTION: Final = 4
"""Legs whose reports are made in one go: about a millisecond, as long as packets may gather."""
LEGS_FOR_ONE_MORE: Final = 100
"""Where there are many legs portions are larger, so that no report waits for a second."""

PROMPT_SECONDS: Final = 0.15
"""A report made so soon after it was due has not waited for others, but for the sweep alone."""


class Sweeping:
    """One sweep at a time; whoever was not reached by the next is among those of that one, being due still."""

    def __init__(
        self, loop: Loop, legs: Mapping[str, Leg], look: Callable[[Leg, float, float], None]
    ) -> None:
        """`legs`: those there are, at each moment; `look(leg, now, late)` is called for each that is swept."""
        self._loop = loop
        self._legs = legs
        self._look = look
        self._waiting: deque[Leg] = deque()
        self._late = 0.0
        self._going_on = False

    def begin(self, legs: Iterable[Leg], now: float, *, late: float) -> None:
        """Sweep these legs. `late`: seconds this sweep comes later than it should; for `look`."""
        self._waiting.clear()
        self._late = late
        for leg in legs:
            if due(leg, now):
                self._waiting.append(leg)
            else:
                self._try(leg, now)
        if not self._going_on:
            self._portion(now)

    def _portion(self, now: float) -> None:
        for _ in range(max(PORTION, len(self._legs) // LEGS_FOR_ONE_MORE)):
            if not self._waiting:
                break
            leg = self._waiting.popleft()
            if self._legs.get(leg.leg) is leg:  # it was not closed meanwhile
                self._try(leg, now)
        self._going_on = bool(self._waiting)
        if self._going_on:
            self._loop.at(now + PAUSE_SECONDS, self._portion, "reports")

    def _try(self, leg: Leg, now: float) -> None:
        try:
            self._look(leg, now, self._late)
        except Exception as error:  # noqa: BLE001  # one leg's failure is logged and counted; the others go on
            self._loop.failed(f"{leg.leg}.sweep", error)


def due(leg: Leg, now: float) -> bool:
    """Whether a leg has a report to make."""
    return now >= leg.rtcp_due or now >= leg.report_due


def following(before: float, seconds: float, now: float) -> float:
    """When the next report is due: in step with the one before, unless that had to wait, so that those due together part."""
    return before + seconds if now - before < PROMPT_SECONDS else now + seconds
