"""Looks at callers: who asks for a picture takes a lease, which the recorder serves once a second (`recordings.looks`).

in → out: a call's id → its newest picture, not older than `FRESH_SECONDS`; a note in the call's evidence for each row of looks.

The media process is only asked for a key frame. Nothing is decoded for a call nobody looks at.
"""

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from pbx.api.exchange import ExchangeError
from pbx.call import silence
from pbx.call.call import State
from pbx.call.control import Control
from pbx.call.effects import Effect, Note, ToMedia
from pbx.call.impossible import Impossible
from recordings.leases import FOLDER, LEASE_SECONDS, MAX_LOOKS
from rtp.control import AskPicture

FRESH_SECONDS: Final = 2.0
"""How old a picture may be: one is made each second, from what is on disk 100 ms after it came."""
PATIENCE_SECONDS: Final = 6.0
"""How long one request waits for its first picture: until the phone sends a key frame and the recorder has read the call."""
TOUCH_SECONDS: Final = 1.0
POLL_SECONDS: Final = 0.05
ASK_SECONDS: Final = 1.0


@dataclass(slots=True)
class Lease:
    """One call that is looked at."""

    by: set[str]
    touched: float


class Looking:
    """See the module."""

    def __init__(self, control: Control, state: Path, *, wall: Callable[[], float] = time.time) -> None:
        """`state`: the folder in which the recorder's spool lies."""
        self._control = control
        self._folder = state / FOLDER
        self._wall = wall
        self._leases: dict[str, Lease] = {}

    async def look(self, call: str, by: str) -> tuple[bytes, float, bool]:
        """See `pbx.api.snapshot.Looking`."""
        self._check(call)
        first = await self._touch(call, by)
        end = time.monotonic() + PATIENCE_SECONDS
        ask = time.monotonic() + ASK_SECONDS
        while True:
            found = await asyncio.to_thread(self._read, call)
            if found is not None:
                return *found, first
            self._check(call)
            now = time.monotonic()
            if now > end:
                raise ExchangeError(
                    503, "no_picture_yet", "暂时没有可显示的图像", "No picture can be shown yet"
                )
            if now > ask:
                ask = now + ASK_SECONDS
                self._ask(call)
                await self._touch(call, by)
            await asyncio.sleep(POLL_SECONDS)

    async def show_host(self, call: str, mode: str, by: str) -> None:
        """See `pbx.api.snapshot.Looking`."""
        try:
            self._control.act(lambda now: silence.show_host(self._control.exchange, call, mode, by, now))
        except Impossible as error:
            zh, en = error.texts
            status = 404 if error.code.startswith("unknown") else 409
            raise ExchangeError(status, error.code, zh, en) from error

    def _check(self, call: str) -> None:
        exchange = self._control.exchange
        found, media = exchange.calls.get(call), exchange.media.get(call)
        if found is None or media is None or found.state in {State.CLOSING, State.ENDED}:
            raise ExchangeError(404, "unknown_call", "没有这个呼叫", "There is no such call")
        if "video" not in media.flowing:
            raise ExchangeError(409, "no_picture", "报警人没有发来图像", "The caller sends no picture")

    async def _touch(self, call: str, by: str) -> bool:
        now = self._wall()
        self._leases = {
            one: lease for one, lease in self._leases.items() if now - lease.touched <= LEASE_SECONDS
        }
        lease = self._leases.get(call)
        if lease is None and len(self._leases) >= MAX_LOOKS:
            raise ExchangeError(
                503, "too_many_looks", "同时查看的图像过多", "Too many pictures are being looked at"
            )
        fresh = lease is None or by not in lease.by
        if lease is None:
            lease = self._leases[call] = Lease(set(), 0.0)
            self._ask(call)
        if fresh:
            lease.by.add(by)
            self._run([Note("looked_at", call, {"by": by})])
        if now - lease.touched >= TOUCH_SECONDS:
            lease.touched = now
            folder = f"{self._control.exchange.site.policy.folder}/{call}"
            await asyncio.to_thread(self._write, call, folder, now)
        return fresh

    def _ask(self, call: str) -> None:
        found = self._control.exchange.calls.get(call)
        if found is not None:
            self._run([ToMedia(AskPicture(found.leg))])

    def _run(self, effects: list[Effect]) -> None:
        self._control.act(lambda now: self._control.exchange.run(effects, now))

    def _write(self, call: str, folder: str, now: float) -> None:
        path = self._folder / f"{call}.json"
        try:
            os.utime(path, (now, now))
        except FileNotFoundError:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            fresh = path.with_suffix(".new")
            fresh.write_bytes(msgspec.json.encode({"folder": folder}))
            fresh.replace(path)

    def _read(self, call: str) -> tuple[bytes, float] | None:
        try:
            with (self._folder / f"{call}.jpg").open("rb") as file:
                taken = os.fstat(file.fileno()).st_mtime
                return (file.read(), taken) if self._wall() - taken <= FRESH_SECONDS else None
        except FileNotFoundError:
            return None
