"""An exchange that is only told things, for tests of the API and for looking at the console."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from pbx.api.exchange import ExchangeError, View
from pbx.api.feed import Feed

TOKEN = "t0ken-of-the-test"
CALL = "0123456789abcdef"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


class FakeExchange:
    """An exchange that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str | None, ...]] = []
        self.feed = Feed()
        self.ready = True
        self.live: list[dict[str, Any]] = [
            {"call": CALL, "state": "waiting", "caller": "sip:\udcff\x00<b>@x", "position": 1}
        ]
        self.error: Exception | None = None

    def _tell(self, *words: str | None) -> None:
        if self.error is not None:
            raise self.error
        self.told.append(words)

    def calls(self) -> list[View]:
        return [*self.live]

    def queue(self) -> list[View]:
        return [{"call": CALL, "position": 1}]

    def desks(self) -> list[View]:
        return [{"desk": "8001", "state": "free", "registered": True}]

    def health(self) -> View:
        return {"ready": self.ready, "database": "down"}

    async def sign_in(self, desk: str, user: str) -> None:
        self._tell("sign_in", desk, user)

    async def sign_out(self, desk: str) -> None:
        self._tell("sign_out", desk)

    async def pause(self, desk: str, reason: str = "") -> None:
        self._tell("pause", desk, *([reason] if reason else []))

    async def resume(self, desk: str) -> None:
        self._tell("resume", desk)

    async def end_call(self, desk: str) -> None:
        self._tell("end_call", desk)

    async def hand(self, desk: str, verb: str, target: str, role: str, first: str | None) -> None:
        self._tell("hand", desk, verb, target, role, first)

    async def silent_on(self, call: str) -> None:
        self._tell("silent_on", call)

    async def silent_off_request(self, call: str) -> float:
        self._tell("silent_off_request", call)
        return 1234.5

    async def silent_off_confirm(self, call: str) -> None:
        self._tell("silent_off_confirm", call)

    def subscribe(self) -> AsyncIterator[View]:
        return self.feed.subscribe()


class Clock:
    """Both clocks, set by hand."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


async def until(reached: Callable[[], bool]) -> None:
    """Let the loop run until something is so; five seconds is the end of patience."""
    async with asyncio.timeout(5):
        while not reached():
            await asyncio.sleep(0)


def impossible() -> ExchangeError:
    return ExchangeError(409, "signed_out", "该坐席没有签入", "The desk is not signed in")
