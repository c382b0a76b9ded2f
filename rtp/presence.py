"""Whether a medium that should come does come: when it begins, is lost, and is back. Pure."""

from typing import Any, Final

PAUSE_SECONDS: Final = 15.0
"""How long a peer whose last packet was comfort noise may send nothing at all before it is missed: two reports of its own, which
come every 2.5 to 7.5 s (RFC 3550 §6.2, §6.3.1). How often the noise is to be repeated RFC 3389 leaves open; once is enough."""


class Presence:
    """What is known of the packets of one medium of a peer."""

    __slots__ = ("_expected_since", "_flowing", "_lost_at", "_paused_at")

    def __init__(self) -> None:
        self._flowing = False
        self._expected_since: float | None = None
        self._lost_at: float | None = None
        self._paused_at: float | None = None

    def expect(self, *, receiving: bool, now: float) -> None:
        """Take whether the peer may send; `now`: monotonic seconds."""
        if not receiving:
            self._expected_since = None
        elif self._expected_since is None:
            self._expected_since = now

    def began(self) -> bool:
        """Hear that a packet was believed; whether it is the first, or the first after a loss."""
        fresh, self._flowing, self._lost_at = not self._flowing, True, None
        return fresh

    def pause(self, now: float) -> None:
        """Hear comfort noise: nobody speaks there, and nothing may follow for as long as nobody does."""
        self._paused_at = now

    def missed(
        self,
        heard: float,
        now: float,
        loss_seconds: float,
        *,
        late: float = 0.0,
        sign: float | None = None,
    ) -> float | None:
        """Give the seconds nothing has come, when that is to be told: after `loss_seconds`, and again each time they pass.

        `heard`: monotonic seconds of the newest packet; `late`: seconds of these in which nobody looked; `sign`: when RTCP came.
        """
        if self._expected_since is None:
            return None
        silence = now - max(heard + late, self._expected_since)
        since_told = now - self._lost_at if self._lost_at is not None else silence
        if silence < loss_seconds or since_told < loss_seconds:
            return None
        if self._paused_at is not None and heard <= self._paused_at:
            quiet = now - max(self._paused_at, sign or self._paused_at)
            if quiet < max(PAUSE_SECONDS, loss_seconds) + late:
                return None
        self._lost_at = now
        self._flowing = False
        return round(silence, 3)

    def snapshot(self) -> dict[str, Any]:
        """Give the whole state as plain data."""
        return {
            "flowing": self._flowing,
            "expected_since": self._expected_since,
            "lost_at": self._lost_at,
            "paused_at": self._paused_at,
        }

    @classmethod
    def restore(cls, data: dict[str, Any]) -> "Presence":
        """Make what `snapshot` described."""
        presence = cls()
        presence._flowing = data["flowing"]
        presence._expected_since, presence._lost_at = data["expected_since"], data["lost_at"]
        presence._paused_at = data["paused_at"]
        return presence
