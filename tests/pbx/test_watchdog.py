"""Who hangs, and who is only kept waiting: on simulated time, twenty looks a second as the supervisor's."""

import os
import subprocess
import sys
import time

import pytest

from pbx.pulse import BEAT_SECONDS, LATE_SECONDS
from pbx.watchdog import MOST_SECONDS, PATIENCE, START_SECONDS, Patience, Seen, Watchdog, patience, seen

LOOK = 0.05
MEDIA = PATIENCE["media"]


class Watched:
    """A process that beats as long as the test lets it, and does what the test says when it is looked at."""

    def __init__(self, patience=MEDIA, *, beaten=True):
        self.now = 100.0
        self.dog = Watchdog(patience)
        self.dog.begin(self.now)
        self.beat, self.worked, self.states = 0, 3.0, "SSS"
        self.asked = 0
        if beaten:
            self.beats(1.0)

    def threads(self):
        self.asked += 1
        return Seen(self.states, self.worked)

    def look(self, seconds=LOOK):
        self.now += seconds
        return self.dog.look(self.beat, self.now, self.threads)

    def beats(self, seconds):
        every = round(BEAT_SECONDS / LOOK)
        for number in range(round(seconds / LOOK)):
            if number % every == every - 1:
                self.beat += 1
            assert self.look() is None

    def until_killed(self, most, *, works=0.0):
        """Without a beat; `works`: its share of a processor. Seconds since the last look before, None: it lives."""
        began = self.now
        while self.now - began < most:
            self.worked += works * LOOK
            if self.look() is not None:
                return self.now - began
        return None


@pytest.mark.parametrize(
    ("states", "works", "bound"),
    [
        ("TTT", 0.0, MEDIA.stopped),  # kill -STOP
        ("tSS", 0.0, MEDIA.stopped),  # a debugger
        ("SSS", 0.0, MEDIA.own),  # it waits for what never comes
        ("RSS", 1.0, MEDIA.own),  # an endless loop
        ("SRS", 0.5, 2 * MEDIA.own),  # one that has half a processor
        ("DSS", 0.0, MEDIA.disk),
    ],
)
def test_who_hangs_is_killed_in_its_time(states, works, bound):
    watched = Watched()
    watched.states = states
    took = watched.until_killed(60, works=works)
    assert LATE_SECONDS + bound - 0.01 <= took <= LATE_SECONDS + bound + 3 * LOOK


def test_a_stopped_media_process_is_known_within_about_a_second():
    assert LATE_SECONDS + MEDIA.stopped == pytest.approx(1.0)
    assert LATE_SECONDS + MEDIA.own == pytest.approx(2.0)


def test_it_is_told_why_and_once():
    watched = Watched()
    watched.states = "TTT"
    why = None
    while why is None:
        why = watched.look()
    assert why == {"stopped": pytest.approx(0.5, abs=0.06)}
    assert all(watched.look() is None for _ in range(1000)), "the kernel may hold it for long"


def test_who_is_kept_from_the_processor_lives_however_long_that_takes():
    """Load 30 on two processors: the media loop was seen to be late by seconds."""
    watched = Watched()
    watched.states = "RSR"
    assert watched.until_killed(600.0) is None


def test_a_thirtieth_of_a_processor_and_a_beat_every_five_seconds_is_enough():
    watched = Watched()
    watched.states = "RSS"
    for _ in range(100):
        assert watched.until_killed(5.0, works=1 / 30) is None
        watched.beat += 1
        assert watched.look() is None


def test_a_beat_makes_good_for_everything_before_it():
    watched = Watched()
    for _ in range(50):
        watched.states = "SSS"
        assert watched.until_killed(LATE_SECONDS + MEDIA.own - 4 * LOOK) is None
        watched.beat += 1
        assert watched.look() is None


def test_a_machine_that_sleeps_or_stands_still_is_nobodys_fault():
    """A suspend, a frozen container, a virtual machine being moved: one look, hours after the one before it."""
    watched = Watched()
    for _ in range(5):
        assert watched.look(3600.0) is None
        assert watched.look() is None
        watched.beat += 1
        assert watched.look() is None
    # Also when it is late already, and an account of its work comes all at once.
    watched.states = "RSS"
    watched.until_killed(LATE_SECONDS + 2 * LOOK)
    watched.worked += 3600.0
    assert watched.look(3600.0) is None
    assert watched.until_killed(60.0) is None


def test_a_supervisor_that_is_late_itself_counts_little_of_it():
    watched = Watched()
    looks = 0
    while watched.look(2.0) is None:
        looks += 1
    assert looks >= MEDIA.own / MOST_SECONDS - 2


def test_nobody_is_looked_at_who_beats():
    watched = Watched()
    watched.beats(60.0)
    assert watched.asked == 0


def test_who_has_not_beaten_yet_has_its_start_before_it():
    watched = Watched(beaten=False)
    assert watched.until_killed(START_SECONDS - 1.0) is None
    assert watched.until_killed(5.0) is not None
    stopped = Watched(beaten=False)
    stopped.states = "T"
    assert stopped.until_killed(5.0) is not None


def test_who_follows_starts_anew():
    watched = Watched()
    watched.states = "TTT"
    assert watched.until_killed(5.0) is not None
    watched.dog.begin(watched.now)
    watched.beat = 0
    assert watched.until_killed(0.9) is None
    assert watched.until_killed(5.0) is not None


def test_a_process_that_is_gone_when_it_is_looked_at_is_not_killed():
    dog = Watchdog(MEDIA)
    dog.begin(0.0)
    assert all(dog.look(0, number * LOOK, lambda: None) is None for number in range(10_000))


def test_each_role_has_its_patience():
    assert patience("media-3") is patience("media") is MEDIA
    assert patience("signalling").own > MEDIA.own, "a journal of live calls is taken up in one turn"
    assert patience("recorder").own > 60.0
    assert all(isinstance(one, Patience) and one.disk > one.stopped for one in PATIENCE.values())


def test_what_the_kernel_says_of_a_process_that_works_and_of_none():
    child = subprocess.Popen(
        [sys.executable, "-c", "import time; print(1, flush=True); time.sleep(600)"], stdout=subprocess.PIPE
    )
    try:
        child.stdout.read(1)
        until = time.monotonic() + 20
        while set((found := seen(child.pid)).states) != {"S"}:
            assert time.monotonic() < until
        assert found.worked >= 0.0
        os.kill(child.pid, 19)
        while seen(child.pid).states != "T":
            assert time.monotonic() < until
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    assert seen(child.pid) is None
    before = seen(os.getpid()).worked
    while time.process_time() < before + 0.1:
        pass
    assert seen(os.getpid()).worked > before
