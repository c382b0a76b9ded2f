"""Who came in and has not shown itself yet: few per host, few in all (bars F19).

in → out: connections that come, speak and go → whether one may stay, and which older one makes room. Pure.
"""

from collections import Counter

__all__ = ["Crowd"]


class Crowd:
    """Incoming connections that have not proved anything, oldest first."""

    def __init__(self, *, per_host: int, in_all: int) -> None:
        self._per_host, self._in_all = per_host, in_all
        self._hosts: dict[int, str] = {}
        self._crowd: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._hosts)

    def admit(self, number: int, host: str) -> tuple[bool, int | None]:
        """Take in connection `number` of `host`. Returns whether it may stay, and the one to be closed for it.

        Many phones behind one address are many phones: each leaves this crowd with its first whole message, so the limit
        per host is only for those that say nothing.
        """
        if self._crowd[host] >= self._per_host:
            return False, None
        oldest = next(iter(self._hosts)) if len(self._hosts) >= self._in_all else None
        if oldest is not None:
            self.leave(oldest)
        self._hosts[number] = host
        self._crowd[host] += 1
        return True, oldest

    def leave(self, number: int) -> None:
        """Hear that a connection has proved itself, or is gone; harmless for one that is not here."""
        host = self._hosts.pop(number, None)
        if host is None:
            return
        self._crowd[host] -= 1
        if not self._crowd[host]:
            del self._crowd[host]
