"""Several media processes, seen from signalling as if they were one (asyncio): a `MediaClient` for each, `Placement` between.

signalling ─ send(command) ─▶ Placement ─▶ MediaClient of the process that holds the leg
signalling ◀─ on_event ────── Placement ◀─ MediaClients
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from rtp.client import MediaClient, Spawner
from rtp.control import Command, Event, OpenEvidence, OpenLeg
from rtp.freed import Freed
from rtp.placed import Effect, Gone, Said, To, Up
from rtp.placement import Placement


class MediaClients:
    """As `MediaClient`, of several processes."""

    def __init__(
        self,
        paths: Sequence[str],
        on_event: Callable[[Event], None],
        tasks: Spawner,
        *,
        freed: Freed | None = None,
        late: Callable[[], frozenset[int]] = frozenset,
    ) -> None:
        """`paths`: the processes' Unix sockets, by number; `freed`: as in `MediaClient`; `late`: those that get nothing new now."""
        self._late = late
        self._freed = freed
        self._on_event = on_event
        self._tasks = tasks
        self._known = asyncio.Event()
        self._placement = Placement(len(paths))
        self._clients = [
            MediaClient(path, partial(self._said, number), tasks, on_lost=partial(self._lost, number))
            for number, path in enumerate(paths)
        ]
        self._todo: deque[Effect] = deque()
        self._running = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def connected(self) -> bool:
        """Whether every process is there."""
        return all(client.connected for client in self._clients)

    @property
    def processes(self) -> tuple[bool, ...]:
        """Which are there, by number."""
        return tuple(client.connected for client in self._clients)

    async def connect(self) -> None:
        """Return once it is known what each holds, or some don't come; lost connections are retried until `close`."""
        for number, client in enumerate(self._clients):
            self._tasks.spawn(client.connect(), name=f"media_client_{number}")
        await self._known.wait()

    def send(self, command: Command) -> None:
        """Give a command to the process it is for; it may wait until its leg has arrived there."""
        now = time.monotonic()
        if self._freed is not None:
            self._freed.sent(command, now)
        if isinstance(command, OpenLeg | OpenEvidence):
            self._placement.late = self._late()
        self._run(self._placement.receive(command, now))

    async def close(self) -> None:
        """Part from all; the processes go on."""
        if self._timer is not None:
            self._timer.cancel()
        for client in self._clients:
            await client.close()

    def _said(self, process: int, event: Event) -> None:
        self._run(self._placement.receive(Said(process, event), time.monotonic()))

    def _lost(self, process: int) -> None:
        self._run(self._placement.receive(Gone(process), time.monotonic()))

    def _expire(self) -> None:
        self._timer = None
        self._run(self._placement.expire(time.monotonic()))

    def _run(self, effects: Sequence[Effect]) -> None:
        """Carry effects out in order: what signalling answers to an event comes behind what is already to be done."""
        self._todo.extend(effects)
        if self._running:
            return
        self._running = True
        try:
            while self._todo:
                match self._todo.popleft():
                    case To(process, command):
                        self._clients[process].send(command)
                    case Up(event):
                        if self._freed is not None:
                            for command in self._freed.said(event, time.monotonic()):
                                self.send(command)
                        self._on_event(event)
        finally:
            self._running = False
        if self._placement.started:
            self._known.set()
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._placement.next_due
        if due is not None:
            delay = max(0.0, due - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._expire)
