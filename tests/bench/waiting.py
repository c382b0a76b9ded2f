"""Q3 and Q4: how long a caller waits for the answer, and for the dispatcher's ear, while 200 others are in the exchange.

50 desks ◀─┬─ 50 callers talking        all of them send sound, 50 packets a second each
           └─ 150, later 200 waiting    (prompts and tone come back), evidence of all is being written
Q3: one more caller at a time: INVITE ─▶ first answer, ─▶ 200 with a media port
Q4: a caller hangs up: its BYE leaves ─▶ the next caller's sound arrives at the same desk
"""

import json
import queue
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.cpu import cpu_seconds, filesystem
from tests.bench.figures import Figure, quantile
from tests.bench.native import Heard, Sound
from tests.bench.sip import Line
from tests.bench.site import Site

DESKS = 50
UP = 200
"""Calls that are up while Q3 is measured."""
WAITING = 200
"""Callers in the queue while Q4 is measured."""
SPARE = 40
"""Sockets for the callers that come while others go."""
PROBE_EVERY = 0.1
PROBE_TALKS = 1.0
TRYING_BAR, ANSWER_BAR = 10.0, 50.0
SOUND_P50_BAR, SOUND_P99_BAR = 10.0, 40.0
BARS = {"Q3": ANSWER_BAR, "Q4": SOUND_P50_BAR}
"""What stands in `bench.json` when a row could not be measured at all."""
TRIALS_SECONDS = 90.0
"""The trials end here, however few they were: the whole bench is to take six minutes at most."""
MARKS_SECONDS = 2.0
"""How long a caller's sound may take to reach the desk before the trial counts as failed."""


@dataclass(slots=True)
class Crowd:
    """Callers with sound: each has a socket of `sound`."""

    site: Site
    sound: Sound
    free: deque[int]
    by_socket: dict[int, Line] = field(default_factory=dict)
    sockets: dict[str, int] = field(default_factory=dict)
    heard: dict[int, Heard] = field(default_factory=dict)
    """What each desk's socket hears now."""
    calls: int = 0

    def call(self) -> Line:
        """Let one more caller dial 110; its sound begins when it is answered."""
        socket = self.free.popleft()
        self.calls += 1
        line = self.site.phones.invite(f"caller{self.calls}", "110", self.sound.ports[socket])
        self.sockets[line.call_id] = socket
        self.by_socket[socket] = line
        return line

    def answered(self, line: Line) -> None:
        """Begin to send sound."""
        socket = self.sockets.get(line.call_id)
        if socket is not None:
            self.sound.to(socket, [line.remote_media])
            self.sound.go(socket, socket)

    def ended(self, line: Line) -> None:
        """Give the socket to the next one."""
        socket = self.sockets.pop(line.call_id, None)
        if socket is not None:
            self.sound.stop(socket, socket)
            self.by_socket.pop(socket, None)
            self.free.append(socket)
            self.site.phones.forget(line)

    def fill(self, count: int) -> None:
        """Let `count` callers dial, ten at a time, and wait until all are answered. Raises SetUpError."""
        for start in range(0, count, 10):
            lines = [self.call() for _ in range(min(10, count - start))]
            self.site.wait(lambda lines=lines: all(line.answered for line in lines), "callers not answered")  # type: ignore[misc]

    def listen(self) -> list[Heard]:
        """Take what desks have begun to hear."""
        found: list[Heard] = []
        while True:
            try:
                heard = self.sound.heard.get_nowait()
            except queue.Empty:
                return found
            if heard.socket < DESKS:
                self.heard[heard.socket] = heard
                found.append(heard)


def measure(
    programs: dict[str, Path],
    folder: Path,
    *,
    probes: int,
    trials: int,
    say: Callable[[str], None],
    rows: set[str],
) -> list[Figure]:
    """Measure Q3 with `probes` calls and Q4 with `trials` hang-ups. Raises SetUpError."""
    say(f"Q3, Q4: {DESKS} desks, {UP} callers with sound; state on {filesystem(folder.absolute())}")
    sockets = DESKS + DESKS + WAITING + SPARE
    figures: list[Figure] = []
    with (
        Sound(programs["sound"], sockets) as sound,
        Site(folder, desks=DESKS, sound=sound, label="w") as site,
    ):
        crowd = Crowd(site, sound, deque(range(DESKS, sockets)))
        site.phones.on_answer = crowd.answered
        site.phones.on_end = crowd.ended
        crowd.fill(UP)
        site.pump(3.0)
        if "Q3" in rows:
            figures += _probe(crowd, probes, say)
        if "Q4" in rows:
            crowd.fill(DESKS + WAITING - UP)
            site.pump(2.0)
            figures += _hang_ups(crowd, trials, say)
    return figures


# --- Q3 -----------------------------------------------------------------------------------------------------------


def _probe(crowd: Crowd, probes: int, say: Callable[[str], None]) -> list[Figure]:
    say(f"  Q3: {probes} further calls, ten a second")
    phones, lines, up = crowd.site.phones, [], deque[Line]()
    used, start = cpu_seconds(crowd.site.roles["signalling"]), time.monotonic()
    due = start
    for _ in range(probes):
        line = crowd.call()
        lines.append(line)
        up.append(line)
        due += PROBE_EVERY
        phones.pump(due)
        while up and up[0].answered and time.time_ns() - up[0].answered > PROBE_TALKS * 1e9:
            phones.bye(up.popleft())
    share = (cpu_seconds(crowd.site.roles["signalling"]) - used) / (time.monotonic() - start)
    phones.pump(time.monotonic() + PROBE_TALKS, lambda: all(line.answered for line in lines))
    for line in up:
        if line.answered:
            phones.bye(line)
    phones.pump(time.monotonic() + 1.0)
    first = [(line.first - line.invited) / 1e6 for line in lines if line.first]
    answer = [(line.answered - line.invited) / 1e6 for line in lines if line.answered and line.remote_media]
    missed = len(lines) - len(answer)
    note = f"{missed} of {len(lines)} not answered" if missed else ""
    return [
        _late("Q3.trying_p99", "INVITE → first answer, p99, 200 calls up", first, 0.99, TRYING_BAR, note),
        _late("Q3.answer_p99", "INVITE → 200 with media port, p99", answer, 0.99, ANSWER_BAR, note),
        _late("Q3.trying_p50", "  INVITE → first answer, p50", first, 0.5),
        _late("Q3.answer_p50", "  INVITE → 200, p50", answer, 0.5),
        Figure("Q3.signalling", "  signalling meanwhile", share * 100, "% of a core"),
    ]


def _late(
    name: str, what: str, values: list[float], share: float, bar: float | None = None, note: str = ""
) -> Figure:
    value = quantile(values, share) if values else None
    return Figure(name, what, value, "ms", bar, note=note if values else "nothing arrived")


# --- Q4 -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Change:
    """One desk that changed from one caller to the next; ms since the BYE left the first one's phone."""

    relayed: float | None = None
    """The exchange's own time for the first packet of the next caller that left on the desk's leg."""
    changed: float | None = None
    """Something else than the first caller's sound arrived at the desk: the tone, or already the next caller."""
    marked: float | None = None
    """A packet of the next caller arrived untouched."""


def _hang_ups(crowd: Crowd, trials: int, say: Callable[[str], None]) -> list[Figure]:
    say(f"  Q4: {trials} hang-ups, {WAITING} waiting")
    site = crowd.site
    changes = []
    end = time.monotonic() + TRIALS_SECONDS
    for trial in range(trials):
        if time.monotonic() > end:
            break
        desk = trial % DESKS
        site.wait(lambda desk=desk: _talking(crowd, desk) is not None, f"desk {desk} hears nobody")  # type: ignore[misc]
        leaver = _talking(crowd, desk)
        assert leaver is not None, "just waited for"
        changes.append(_change(crowd, desk, leaver))
        new = crowd.call()
        site.wait(lambda new=new: bool(new.answered), "the next caller was not answered")  # type: ignore[misc]
    marked = [change.marked for change in changes if change.marked is not None]
    changed = [change.changed for change in changes if change.changed is not None]
    relayed = [change.relayed for change in changes if change.relayed is not None]
    failed = len(changes) - len(relayed)
    note = f"{failed} of {len(changes)} without sound" if failed else f"{len(changes)} hang-ups"
    return [
        _late(
            "Q4.p50",
            "desk free → next guest's sound leaves on its leg, p50",
            relayed,
            0.5,
            SOUND_P50_BAR,
            note,
        ),
        _late("Q4.p99", "the same, p99", relayed, 0.99, SOUND_P99_BAR, note),
        _late("Q4.changed_p50", "  → anything new arrives at the desk, p50", changed, 0.5),
        _late("Q4.changed_p99", "  the same, p99", changed, 0.99),
        _late("Q4.untouched_p50", "  → guest's sound without the 200 ms tone, p50", marked, 0.5),
        _late("Q4.untouched_p99", "  the same, p99", marked, 0.99),
        Figure("Q4.asterisk_p50", "  anchor: Asterisk app_queue, to the ACK, p50", 449.0, "ms"),
    ]


def _talking(crowd: Crowd, desk: int) -> Line | None:
    """The caller whose sound a desk hears."""
    crowd.listen()
    heard = crowd.heard.get(desk)
    return crowd.by_socket.get(heard.who) if heard is not None and heard.who >= 0 else None


def _change(crowd: Crowd, desk: int, leaver: Line) -> Change:
    """Let a caller hang up and see what its desk hears next."""
    old = crowd.sockets[leaver.call_id]
    crowd.listen()
    # As a phone does: no more sound once the receiver is down.
    crowd.sound.stop(old, old)
    crowd.site.phones.bye(leaver)
    change = Change()
    end = time.monotonic() + MARKS_SECONDS
    while change.marked is None and time.monotonic() < end:
        crowd.site.pump(0.005)
        for heard in crowd.listen():
            if heard.socket != desk or heard.at_ns < leaver.bye_sent or heard.who == old:
                continue
            late = (heard.at_ns - leaver.bye_sent) / 1e6
            change.changed = change.changed if change.changed is not None else late
            follower = crowd.by_socket.get(heard.who)
            if follower is not None:
                change.marked = late
                relayed = _first_relayed(crowd, follower)
                change.relayed = (relayed - leaver.bye_sent) / 1e6 if relayed is not None else None
    return change


def _first_relayed(crowd: Crowd, line: Line) -> int | None:
    """When the exchange says that a caller's first sound left on a desk's leg (wall clock, ns)."""
    events = crowd.site.exchange.state / "evidence" / line.evidence / "events.jsonl"
    end = time.monotonic() + MARKS_SECONDS
    while time.monotonic() < end:  # the packet may be here before the line is written
        for text in events.read_text().split("\n"):
            if '"first_relayed"' in text and '"audio"' in text:
                return int(json.loads(text)["media_at_ns"])
        crowd.site.pump(0.01)
    return None
