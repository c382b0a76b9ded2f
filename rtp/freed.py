"""Which ports were given back lately: a media process that begins anew keeps them closed for the rest of their time (bar F30c).

in → out: commands and events on their way between signalling and the media process → `DrainPorts` for one that has forgotten. Pure.

Who has them still, because it did not die, finds them taken and lets them be.
"""

from collections import deque
from collections.abc import Iterable

from rtp.control import CloseLeg, Command, Event, Holdings, LegOpened, OpenLeg, PortPair
from rtp.moving import DrainPorts

__all__ = ["Freed"]


class Freed:
    """The ports of legs that ended within the last seconds."""

    def __init__(self, seconds: float) -> None:
        """`seconds`: how long a port is given to nobody."""
        self._seconds = seconds
        self._hosts: dict[str, str] = {}
        self._held: dict[str, tuple[int, ...]] = {}
        self._freed: deque[tuple[float, str, int]] = deque()
        """(monotonic time, local address, RTP port), the oldest first."""

    def sent(self, command: Command, now: float) -> None:
        """Hear what signalling says, also while nobody is there to hear it."""
        match command:
            case OpenLeg(leg, host=host):
                self._hosts[leg] = host
            case CloseLeg(leg):
                host = self._hosts.pop(leg, "")
                self._freed.extend((now, host, port) for port in self._held.pop(leg, ()))
                self._forget(now)

    def said(self, event: Event, now: float) -> list[DrainPorts]:
        """Hear what the media process says, and give what it has to be told before anything else."""
        match event:
            case LegOpened(leg, ports):
                self._hold(leg, ports)
            case Holdings(legs=legs):
                for holding in legs:
                    self._hold(holding.leg, holding.ports)
                self._forget(now)
                held = {port for ports in self._held.values() for port in ports}
                return [
                    DrainPorts(host, port, freed + self._seconds - now)
                    for freed, host, port in self._freed
                    if port not in held
                ]
        return []

    def _hold(self, leg: str, ports: Iterable[PortPair]) -> None:
        self._held[leg] = tuple(pair.rtp for pair in ports)

    def _forget(self, now: float) -> None:
        while self._freed and self._freed[0][0] + self._seconds <= now:
            self._freed.popleft()
