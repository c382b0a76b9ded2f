"""A clock that moves only when told."""


class Clock:
    """Monotonic seconds of a test."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> float:
        """Let `seconds` pass; returns the new time."""
        return self.to(self.now + seconds)

    def to(self, moment: float) -> float:
        """Jump to `moment`, which is not in the past; returns it."""
        assert moment >= self.now, "time runs forward"
        self.now = moment
        return moment
