"""Q8: processor time of mixing 66 rooms of three voices at 8 kHz, packets in and out included.

    198 phones at 50 packets a second ─▶ a media process with 66 rooms: host, guest and staff who barge, each hears the two others

Beside it, in turn: the same phones through `floor.c`, which relays each packet to one other phone and does nothing else. So the
figure says what share of a core the whole of it takes, and how much of that no program can save.
"""

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from rtp.control import Codec, ConfigureLeg, Join, LegOpened, OpenLeg, Role, SetStaff, Stream
from tests.bench.cpu import keep_apart, wait_childless
from tests.bench.figures import Figure, median
from tests.bench.native import Floor, Sound
from tests.bench.relay import PROMPT_SECONDS, Worker
from tests.bench.spell import spell

ROOMS = 66
ROLES: tuple[Role, ...] = ("host", "guest", "staff")
PHONES = ROOMS * len(ROLES)
BAR = 0.15
ANCHOR = 0.76
"""Core that Asterisk's ConfBridge took for the same, on a machine of the same kind."""
PCMA = Codec("PCMA", 8, 8000)


class Mixed(Worker):
    """A media process with 66 rooms of three."""

    def set_up(self, phones: list[int]) -> list[int]:
        """Open, configure and join all legs for phones at these ports; give the ports they are to send to."""
        legs = [(f"{role}-{room}", role, f"room-{room}") for room in range(ROOMS) for role in ROLES]
        for leg, _, _ in legs:
            self.send(OpenLeg(leg, ("audio",), "127.0.0.1"))
        opened = self.wait(lambda event: isinstance(event, LegOpened), len(legs))
        where = {event.leg: event.ports[0].rtp for event in opened if isinstance(event, LegOpened)}
        for (leg, role, room), port in zip(legs, phones, strict=True):
            here = ("127.0.0.1", port)
            stream = Stream(0, "audio", here, here, (PCMA,), (PCMA,), sending=True, receiving=True)
            self.send(ConfigureLeg(leg, (stream,), ("127.0.0.1",)), Join(room, leg, role))
            if role == "staff":
                self.send(SetStaff(leg, "barge"))
        return [where[leg] for leg, _, _ in legs]


def measure(
    programs: dict[str, Path], folder: Path, *, rounds: int, seconds: float, say: Callable[[str], None]
) -> list[Figure]:
    """Measure Q8. `programs`: the compiled `floor` and `sound`; `rounds` of two spells of `seconds` each."""
    say(f"Q8: {ROOMS} rooms of three voices, {rounds} rounds of 2 × {seconds:g} s")
    shares: dict[str, list[float]] = {"floor": [], "mixed": []}
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="at110-bench-", dir=folder)))
        sound = stack.enter_context(Sound(programs["sound"], 2 * PHONES))
        floor = stack.enter_context(Floor(programs["floor"], PHONES))
        floor.relay(sound.ports[:PHONES])
        sound.to(0, floor.ports)
        worker = stack.enter_context(Mixed(work, "mixed", (30000, 31399), engine="auto", recorded=False))
        sound.to(PHONES, worker.set_up(sound.ports[PHONES:]))
        wait_childless(worker.pid, PROMPT_SECONDS)
        worker.drain()
        worker.pause()
        keep_apart([floor.pid, worker.pid], sound.pid)
        for number in range(rounds):
            shares["floor"].append(spell(sound, 0, PHONES - 1, floor.pid, seconds).share)
            worker.resume()
            mixed = spell(sound, PHONES, 2 * PHONES - 1, worker.pid, seconds)
            counts = mixed.counts
            shares["mixed"].append(mixed.share)
            worker.drain()
            worker.pause()
            told = ", ".join(f"{name} {values[-1]:.3f}" for name, values in shares.items())
            say(f"  round {number + 1}: {told} of a core; {counts.sent} in, {counts.received} out")
    return [
        Figure(
            "Q8", "66 rooms of three voices mixed at 8 kHz", median(shares["mixed"]), "core", BAR,
            note=f"Asterisk ConfBridge {ANCHOR}",
        ),
        Figure("Q8.floor", "  the same packets through a bare C relay", median(shares["floor"]), "core"),
        Figure("Q8.out", "  packets out for each packet in", counts.received / max(1, counts.sent), "×"),
    ]  # fmt: skip
