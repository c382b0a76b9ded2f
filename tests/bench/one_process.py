"""What one short call costs signalling by itself: the real process, without sockets, media process and database.

    INVITE ─▶ 200 ─▶ ACK, attached to a free desk ─▶ BYE; event log, journal, outbox, routing log and log written

    python -m tests.bench.one_process [--calls 400] [--rounds 5] [--profile FILE] [--registered N]

`--obey`: a round of so many calls for each line on stdin, answered with ms of processor time of one call (`tests.bench.registered`).

For whoever works on that cost: the same Python runs as in `at110 serve`, on one core, and says where the time goes. Q6 is the
row that counts (`tests.bench.calls`).
"""

import argparse
import asyncio
import cProfile
import json
import logging
import os
import statistics
import sys
import tempfile
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvloop

from pbx import credentials, logs
from pbx.binding import Binding
from pbx.garbage import Keeper
from pbx.live import key
from pbx.scribe import Scribe
from pbx.settings import Settings, load, prepare
from pbx.signalling import Signalling
from pbx.sip.flow import Flow
from pbx.sip.uri import parse_name_addr
from rtp.control import (
    CloseEvidence,
    Command,
    Event,
    EvidenceClosed,
    EvidenceOpened,
    LegOpened,
    OpenEvidence,
    OpenLeg,
    PortPair,
)
from rtp.frames import decode_event, encode
from tests.bench.sip import Line, Phones

DESKS: Final = 80
UP: Final = 30
"""Calls that are up at a time: what 300 calls a second of 100 ms are."""
HERE: Final = ("127.0.0.1", 5060)
PHONE: Final = ("127.0.0.1", 40_000)
ROAD: Final = Flow("udp", HERE, PHONE)


class Wired(Phones):
    """The phones of the load, joined to the exchange by a list instead of a socket."""

    def __init__(self) -> None:
        self._exchange, (self._here, self._port) = HERE, PHONE
        self._label = "o"
        self._made = 0
        self.lines = {}
        self.on_answer = self.on_end = lambda _line: None
        self.out: deque[bytes] = deque()

    def close(self) -> None:
        """Nothing is open."""

    def _put(self, data: bytes) -> None:
        self.out.append(data)


@dataclass(slots=True)
class Round:
    """Processor time of one call, ms."""

    loop: float
    """Of the thread that does the signalling."""
    process: float
    """Of all threads."""
    threads: dict[str, float]
    """Of each, by its name."""


class Bench:
    """One exchange and its phones."""

    def __init__(self, settings: Settings, scribe: Scribe) -> None:
        self.signalling = Signalling(settings, "postgresql://nobody@127.0.0.1:1/none", scribe)
        self.phones = Wired()
        self._said: deque[tuple[str, Any]] = deque()
        self._ports = 20_000
        self._passwords = credentials.load_or_create(settings.credentials).dispatchers
        endpoint: Any = self.signalling._endpoint
        endpoint.send = self._sent
        media: Any = self.signalling._media
        media.send = self._commanded

    # --- the outside --------------------------------------------------------------------------------------------------

    def _sent(self, data: bytes, flow: Flow) -> None:
        assert flow.remote == PHONE, "everybody is behind one socket"
        self._said.append(("sip", data))

    def _commanded(self, command: Command) -> None:
        encode(command)
        match command:
            case OpenLeg(leg, media):
                pairs = []
                for medium in media:
                    self._ports += 2
                    pairs.append(PortPair(medium, self._ports, self._ports + 1))
                self._said.append(("media", encode(LegOpened(leg, tuple(pairs)))[4:]))
            case OpenEvidence(call):
                self._said.append(("media", encode(EvidenceOpened(call))[4:]))
            case CloseEvidence(call):
                self._said.append(("media", encode(EvidenceClosed(call, 4, 4000))[4:]))

    def settle(self) -> None:
        """Carry messages to and fro until nobody has anything to say; each is a turn of its own, as when few call."""
        s, out, said = self.signalling, self.phones.out, self._said
        beginning, reception = s._control.beginning, s._control.reception
        while out or said or not reception.empty:
            if not (out or said):
                beginning.begin()
            elif said:
                kind, data = said.popleft()
                if kind == "sip":
                    self.phones._receive(data, time.time_ns())
                else:
                    event: Event = decode_event(data)
                    s._on_media(event)
                    s._control.end_turn()
            else:
                s._endpoint._datagram(out.popleft(), ROAD)
                s._control.end_turn()

    # --- the load -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start what the process has beside the loop, and sign the desks in."""
        s: Any = self.signalling
        await s._outbox.start()
        left = s._survival.resume()
        s._survival.go_on(s._control, left)
        for task in (s._publish, s._reconcile):
            s._tasks.spawn(task(), name=task.__name__)
        for person in self._passwords[:DESKS]:
            line = self.phones.invite(person.user, "*10", 9, password=person.password)
            self.settle()
            assert line.answered, "a desk can't sign in"

    def register(self, count: int) -> None:
        """Let so many phones be registered, each with an address of its own, as after a restart."""
        now, wall = time.monotonic(), time.time()
        bindings = []
        for number in range(count):
            host = f"10.{number >> 16}.{number >> 8 & 0xFF}.{number & 0xFF}"
            contact = parse_name_addr(f"<sip:{number}@{host}:5060>")
            flow = Flow("udp", HERE, (host, 5060))
            bindings.append(
                Binding(
                    f"phone-{number}", contact, flow, f"r-{number}", 1, 1.0, wall, now, now + 3600.0, number
                )
            )
        s: Any = self.signalling
        s._adopt(bindings)
        self.settle()
        assert len(s._registrar) >= count, "not registered"

    async def calls(self, count: int) -> Round:
        """Have so many calls; return what one of them cost."""
        up: deque[Line] = deque()
        thread, process, before = time.thread_time(), time.process_time(), _threads()
        for _ in range(count):
            up.append(self.phones.invite("caller", "110", 9))
            self.settle()
            assert up[-1].answered, "not answered"
            if len(up) > UP:
                self._end(up.popleft())
            await asyncio.sleep(0)
        while up:
            self._end(up.popleft())
            await asyncio.sleep(0)
        thread = time.thread_time() - thread
        await asyncio.sleep(0.3)  # what the threads still write belongs to these calls
        threads = {name: (spent - before.get(name, 0.0)) / count * 1e3 for name, spent in _threads().items()}
        return Round(thread / count * 1e3, (time.process_time() - process) / count * 1e3, threads)

    def _end(self, line: Line) -> None:
        self.phones.bye(line)
        self.settle()
        assert line.ended, "the BYE was not answered"
        self.phones.forget(line)

    async def stop(self) -> None:
        """End in order."""
        s: Any = self.signalling
        s._control.hang_up_all()
        self.settle()
        await s._stop(ordered=False)


def _threads() -> dict[str, float]:
    """Seconds of processor time of each thread, by name."""
    found: dict[str, float] = {}
    for thread in threading.enumerate():
        spent = int(Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text().split()[0]) / 1e9
        found[thread.name] = found.get(thread.name, 0.0) + spent
    return found


async def _run(settings: Settings, scribe: Scribe, chosen: argparse.Namespace) -> None:
    calls, rounds, profile = chosen.calls, chosen.rounds, chosen.profile
    bench = Bench(settings, scribe)
    await bench.start()
    bench.register(chosen.registered)
    await bench.calls(200)
    Keeper().start()
    sys.setswitchinterval(0.001)
    found = []
    if chosen.obey:
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            print((await bench.calls(int(line))).process, flush=True)
        rounds = 0
    if profile is not None:
        profiler = cProfile.Profile(time.thread_time)
        profiler.enable()
        await bench.calls(calls)
        profiler.disable()
        profiler.dump_stats(profile)
    for number in range(rounds):
        found.append(await bench.calls(calls))
        print(
            f"  round {number + 1}: loop {found[-1].loop:.2f} ms, process {found[-1].process:.2f} ms a call",
            flush=True,
        )
    if found:
        loop, process = (
            statistics.median(getattr(one, what) for one in found) for what in ("loop", "process")
        )
        best = min(one.process for one in found)
        print(f"median: loop {loop:.2f} ms, process {process:.2f} ms a call (best {best:.2f})")
        threads = {
            name: statistics.median(one.threads.get(name, 0.0) for one in found) for name in found[0].threads
        }
        print("  " + ", ".join(f"{name} {spent:.2f}" for name, spent in threads.items()))
    await bench.stop()


def main() -> None:
    """Run it; the state folder is made for it and left to the system's cleaning."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--calls", type=int, default=400)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--profile")
    options.add_argument("--registered", type=int, default=0)
    options.add_argument("--obey", action="store_true")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="at110-bench-") as folder:
        state = Path(folder)
        people = {
            "dispatchers": [{"user": str(8001 + n), "password": "secret-secret"} for n in range(DESKS)],
            "callers": [],
            "api_token": "0" * 32,
        }
        (state / "credentials.json").touch(mode=0o600)
        (state / "credentials.json").write_text(json.dumps(people))
        (state / "at110.toml").write_text('[queue]\nwrap_up_seconds = 0.0\nlanguage = "en"\n')
        os.environ[key.VARIABLE] = str(key.make())
        settings = load({"AT110_STATE": folder})
        prepare(settings)
        scribe = Scribe(lambda error: print(f"not written: {error!r}", file=sys.stderr))
        sink = logs.configure(
            "signalling", file=settings.logs / "signalling.log", stream=None, level=logging.INFO
        )
        sink.behind = scribe
        try:
            uvloop.run(_run(settings, scribe, chosen))
        finally:
            scribe.close()


if __name__ == "__main__":
    main()
