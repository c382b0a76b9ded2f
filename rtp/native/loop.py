"""The media loop whose waiting is done in C: lent sockets are served there, the rest comes up to Python."""

from rtp.loop import MAX_WAIT, Loop
from rtp.native._relay import Flow, NativePhase, RelayLoop
from rtp.parts import Restless


class NativeLoop(Loop):
    """`Loop` with `relay.c` in front of it."""

    def __init__(self) -> None:
        super().__init__()
        self.relay = RelayLoop(self._epoll.fileno(), self._later.fileno())
        self._tell_restless: Restless

    def run(self) -> None:
        """Go round until stopped. Gathering is C's."""
        self.relay.be_prompt()
        while self._running:
            self.turn(MAX_WAIT)

    def turn(self, wait: float) -> int:
        """One round of Python; C may have gone round many times before. How much there was to do here."""
        due = self.now + wait
        if self._timers:
            due = min(due, self._timers[0][0])
        ready, odd = self.relay.turn(due)
        self.now = self.relay.now
        self.looked, self.vacant = self.relay.looks
        self._carry(odd)
        self._serve([(fd, 0) for fd in ready])
        restless = self.relay.restless(self.now)
        if restless is not None:
            self._tell_restless(restless[0], self.now, restless[1])
        if self._timers and self._timers[0][0] <= self.now:
            self._run_timers()
        return len(ready) + len(odd)

    def keep_beats(
        self, phases: tuple[NativePhase, ...], started: float, step: float, tell: Restless
    ) -> None:
        """Keep the beats of these phases, one each `step` seconds, and tell of legs that have one to do in Python."""
        self.relay.keep_beats(phases, started, step)
        self._tell_restless = tell

    def _carry(self, odd: list[tuple[Flow, bytes]]) -> None:
        for flow, data in odd:
            owner = flow.owner
            if owner is None:
                continue  # its leg was closed by what came before it in this round
            try:
                owner.odd(data)
            except Exception as error:  # noqa: BLE001  # logged and counted: one leg's failure must not end the others
                self.failed(f"{owner.leg}.{owner.medium}", error)

    def defer(self, fd: int, *, deferred: bool) -> None:
        """As in Python; a socket that is lent stays C's."""
        flow = self.relay.find(fd)
        if flow is None or flow.deferred == deferred:
            super().defer(fd, deferred=deferred)
            return
        self.relay.lend(flow, False)
        super().defer(fd, deferred=deferred)
        flow.deferred = deferred
        if flow.owner is not None:
            flow.owner.publish()

    def _take_deferred(self) -> int:
        count, ready, odd = self.relay.collect(self.now, self.looked, self.vacant)
        self._carry(odd)
        self._serve([(fd, 0) for fd in ready])
        return count
