"""Whether a medium that should come does come: when it begins, is lost, and is back. Pure."""

from typing import Any


class Presence:
    """What is known of the packets of one medium of a peer."""

    __slots__ = ("_expected_since", "_flowing", "_lost_at")

    def __init__(self) -> None:
        self._flowing = False
        self._expected_since: float | None = None
        self._lost_at: float | None = None

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

    def missed(self, heard: float, now: float, loss_seconds: float) -> float | None:
        """Give the seconds nothing has come, when that is to be told: after `loss_seconds`, and again each time they pass.

        `heard`: monotonic seconds of the newest packet.
        """
        if self._expected_since is None:
            return None
        silence = now - max(heard, self._expected_since)
        since_told = now - self._lost_at if self._lost_at is not None else silence
        if silence < loss_seconds or since_told < loss_seconds:
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
        }

    @classmethod
    def restore(cls, data: dict[str, Any]) -> "Presence":
        """Make what `snapshot` described."""
        presence = cls()
        presence._flowing = data["flowing"]
        presence._expected_since, presence._lost_at = data["expected_since"], data["lost_at"]
        return presence
