"""The supervisor's decisions, without processes: what ends it, and what it starts again."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pbx import pulse, supervisor
from pbx.backoff import AT_ONCE, LAST_PAUSE, STEADY_SECONDS
from pbx.settings import keep, load
from pbx.supervisor import CANT_START, Child, Supervisor
from pbx.watchdog import Seen


class Process:
    """A process that did what the test says."""

    pid = 1

    def __init__(self, status=None):
        self.returncode = status

    def poll(self):
        return self.returncode

    def terminate(self):
        self.returncode = 0

    def kill(self):
        self.returncode = -9

    def wait(self, timeout=None):  # as Popen's
        return self.returncode


class Waiting:
    """A spare that waits, until the test says that it ended."""

    pid = 2

    def __init__(self, status=None):
        self.status = status
        self.gone = False

    def ended(self):
        return self.status

    def go(self):
        return None if self.status is not None else Process()

    def end(self):
        self.gone = True


class Clock:
    """Time passes only while the supervisor sleeps."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        assert self.now < 2000.0, "it never ends"


class Site:
    """A supervisor whose processes live as `lives` says: role → what each start gives."""

    def __init__(self, monkeypatch, lives, **how):
        self.clock = Clock()
        self.started = []
        self.lives = {role: list(all_of_them) for role, all_of_them in lives.items()}
        monkeypatch.setattr(supervisor, "time", self.clock)
        monkeypatch.setattr(supervisor.signal, "signal", lambda _number, _handler: None)
        monkeypatch.setattr(supervisor, "seen", lambda _pid: None)
        self.supervisor = Supervisor(Path("/nowhere"), None, "postgresql://", **how)
        monkeypatch.setattr(self.supervisor, "_start", self.start)
        monkeypatch.setattr(supervisor, "Spare", lambda *_told: Waiting())

    def start(self, child: Child, now: float) -> None:
        self.started.append(child.role)
        life = self.lives.get(child.role, [])
        child.popen = life.pop(0)(self) if life else Process()  # type: ignore[assignment]  # a process of the test
        child.started = now

    def ready(self):
        """Say that signalling is ready, as it does at the end of a pipe."""
        os.write(self.supervisor._ready_write, b"1")
        return Process()


def ready(site):
    return site.ready()


def ready_then_gone(site):
    site.ready()
    return Process(1)


def gone(_site):
    return Process(1)


def cant_start(_site):
    return Process(CANT_START)


def stop(site):
    site.supervisor._stop(15, None)
    return Process()


def test_process_that_cannot_start_at_first_is_the_end(monkeypatch):
    told = []
    site = Site(monkeypatch, {"signalling": [cant_start]})
    assert site.supervisor.run(lambda: told.append("ready")) == 1
    assert (site.started, told) == (["media", "signalling", "recorder"], [])


def test_process_that_cannot_start_later_is_tried_again(monkeypatch):
    told = []
    site = Site(monkeypatch, {"signalling": [ready_then_gone, cant_start, cant_start, stop]})
    assert site.supervisor.run(lambda: told.append("ready")) == 0
    assert site.started.count("signalling") == 4
    assert told == ["ready"]


@pytest.mark.parametrize("role", ["media", "recorder"])
def test_any_process_is_tried_again_once_the_exchange_was_ready(monkeypatch, role):
    # It ends once for any reason; when it is tried again, the exchange is ready.
    site = Site(monkeypatch, {"signalling": [ready], role: [gone, cant_start, stop]})
    assert site.supervisor.run(lambda: None) == 0
    assert site.started.count(role) == 3


def test_pause_grows_with_each_end_and_is_bounded(monkeypatch):
    site = Site(monkeypatch, {"signalling": [ready], "recorder": [gone] * 9 + [stop]})
    times = []
    started = site.start

    def timed(child, now):
        if child.role == "recorder":
            times.append(now)
        started(child, now)

    monkeypatch.setattr(site.supervisor, "_start", timed)
    site.supervisor.run(lambda: None)
    pauses = [b - a for a, b in itertools.pairwise(times)]
    assert pauses == sorted(pauses)
    assert [pause < 2 * supervisor.LOOK_SECONDS for pause in pauses] == [True] * AT_ONCE + [False] * 6
    assert max(pauses) <= LAST_PAUSE + 2 * supervisor.LOOK_SECONDS


class Mortal(Process):
    """A process that lives for some seconds."""

    def __init__(self, clock, seconds):
        super().__init__()
        self.clock, self.end = clock, clock.now + seconds

    def poll(self):
        return 1 if self.clock.now > self.end else None


def test_what_ran_steadily_is_back_at_once_and_pauses_grow_anew(monkeypatch):
    long, short = STEADY_SECONDS + 1, 1.0
    lives = [
        lambda site, seconds=seconds: Mortal(site.clock, seconds)
        for seconds in (long, *[short] * (AT_ONCE + 2), long, long)
    ]
    site = Site(monkeypatch, {"signalling": [ready], "media": [*lives, stop]})
    ended, begun = [], []
    started = site.start

    def timed(child, now):
        if child.role == "media":
            begun.append(now)
        started(child, now)
        if child.role == "media" and isinstance(child.popen, Mortal):
            ended.append(child.popen.end)

    monkeypatch.setattr(site.supervisor, "_start", timed)
    site.supervisor.run(lambda: None)
    pauses = [again - end for end, again in zip(ended, begun[1:], strict=True)]
    looks = 2 * supervisor.LOOK_SECONDS
    late = [pause for pause in pauses if pause > looks]
    assert [pause < looks for pause in pauses] == [True] * (1 + AT_ONCE) + [False, False] + [True, True]
    assert late[1] > late[0]


def test_checking_evidence_loads_no_exchange():
    """`at110 verify` runs where nothing of the exchange may: it imports neither SIP, media nor the database."""
    program = (
        "import sys, server; server.main(['verify', '/nowhere']);"
        "print(*sorted(m for m in sys.modules if m.split('.')[0] in "
        "{'pbx', 'rtp', 'routing', 'uvloop', 'asyncio', 'asyncpg', 'aiohttp', 'av', 'numpy', 'structlog'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == []
    assert "is not a folder" in done.stderr


def test_of_several_media_processes_one_that_ends_is_started_again_alone(monkeypatch):
    site = Site(
        monkeypatch,
        {"signalling": [ready], "media-1": [gone, lambda s: s.supervisor._stop(0, None) or Process()]},
        media_processes=3,
    )
    assert site.supervisor.run(lambda: None) == 0
    assert sorted(site.started) == ["media", "media-1", "media-1", "media-2", "recorder", "signalling"]


class Kept:
    """A supervisor that starts processes and spares as ever, of which the test sees each."""

    def __init__(self, monkeypatch):
        self.clock = Clock()
        self.started, self.spares = [], []
        self.refuses = False
        """The machine has no memory for another process."""
        monkeypatch.setattr(supervisor, "time", self.clock)
        monkeypatch.setattr(supervisor.subprocess, "Popen", self.start)
        monkeypatch.setattr(supervisor, "Spare", self.spare)
        self.seen = None
        """What every process is seen to do, when it is looked at."""
        monkeypatch.setattr(supervisor, "seen", lambda _pid: self.seen)
        self.supervisor = Supervisor(Path("/nowhere"), None, "postgresql://secret")
        self.supervisor._ready = True

    def start(self, command, *, env, pass_fds, start_new_session):
        assert "secret" not in " ".join(command)
        if self.refuses:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        self.started.append(command[-1])
        return Process()

    def spare(self, role, environment, inherited):
        if self.refuses:
            raise OSError(12, "Cannot allocate memory")
        assert environment["AT110_SUPERVISOR"] == str(os.getpid())
        assert ("AT110_DATABASE_URL" in environment) == (role == "signalling") == (len(inherited) == 3)
        self.spares.append((role, Waiting()))
        return self.spares[-1][1]

    def look(self, seconds=0.0):
        self.clock.now += seconds
        for child in self.supervisor._children:
            self.supervisor._look_after(child)
            self.supervisor._keep_spare(child)

    def child(self, role):
        return next(child for child in self.supervisor._children if child.role == role)


def test_a_spare_waits_beside_each_process_that_callers_wait_for_once_it_runs_steadily(monkeypatch):
    kept = Kept(monkeypatch)
    kept.look()
    kept.look(STEADY_SECONDS)
    assert kept.spares == [], "a start needs the processors for itself"
    kept.look(0.1)
    kept.look(1000)
    assert [role for role, _ in kept.spares] == ["media", "signalling"]


def test_a_spare_takes_the_place_of_a_process_that_ended_and_has_a_follower(monkeypatch):
    kept = Kept(monkeypatch)
    kept.look()
    kept.look(STEADY_SECONDS + 1)
    before = kept.child("media").popen
    before.returncode = -9
    kept.look()
    after = kept.child("media").popen
    assert after is not before
    assert after.poll() is None
    assert kept.started.count("media") == 1, "nothing was loaded for it"
    assert kept.child("media").spare is None
    kept.look(supervisor.REPLACED_SECONDS)
    assert kept.child("media").spare is None, "calls get their sound again first"
    kept.look(supervisor.LOOK_SECONDS)
    assert [role for role, _ in kept.spares] == ["media", "signalling", "media"]
    kept.child("media").popen.returncode = -9
    kept.look()
    assert kept.started.count("media") == 1


def test_kills_close_to_each_other_find_a_spare_each_and_wait_for_nothing(monkeypatch):
    """Issue 4: a second without sound at most, also for one killed two seconds after the one before it."""
    kept = Kept(monkeypatch)
    kept.look()
    kept.look(STEADY_SECONDS + 1)
    child = kept.child("media")
    for _ in range(1 + AT_ONCE):
        before = child.popen
        before.returncode = -9
        kept.look()
        assert child.popen is not before, "it waited"
        kept.look(1.0)
        kept.look(1.0)
    assert kept.started.count("media") == 1, "nothing was loaded while a call had no sound"
    child.popen.returncode = -9
    kept.look()
    assert child.popen is None, "who goes on dying young waits, spare or not"
    kept.look(LAST_PAUSE)
    assert child.popen is not None
    assert len(kept.spares) == 2 + 1 + AT_ONCE, "one for each that was called"


def test_a_spare_that_ended_is_no_help_and_not_made_again_at_once(monkeypatch):
    kept = Kept(monkeypatch)
    kept.look()
    kept.look(STEADY_SECONDS + 1)
    kept.spares[0][1].status = -9
    kept.look(1)
    assert len(kept.spares) == 2
    kept.look(supervisor.SPARE_SECONDS)
    assert [role for role, _ in kept.spares] == ["media", "signalling", "media"]
    # It ends in the same moment as the process it waits for: there is one all the same.
    kept.spares[2][1].status = -9
    kept.child("media").popen.returncode = -9
    kept.supervisor._look_after(kept.child("media"))
    assert kept.started.count("media") == 2


@pytest.mark.parametrize("stuck", [True, False])
def test_a_spare_that_was_called_and_does_not_come_is_ended_and_replaced(monkeypatch, stuck):
    kept = Kept(monkeypatch)
    monkeypatch.setattr(supervisor, "sleeps", lambda _pid: stuck)
    kept.look()
    kept.look(STEADY_SECONDS + 1)
    kept.child("media").popen.returncode = -9
    kept.look()
    called = kept.child("media").popen
    kept.look(supervisor.WAKE_SECONDS - 0.1)
    assert called.poll() is None
    kept.look(0.2)
    assert (called.poll() == -9) == stuck
    kept.look(1.0)
    kept.look(1.0)
    assert (kept.child("media").popen is not called) == stuck
    assert kept.started.count("media") == 1 + stuck, "another one is loaded for it"


def test_a_process_that_was_no_spare_is_not_asked_whether_it_sleeps(monkeypatch):
    kept = Kept(monkeypatch)
    monkeypatch.setattr(supervisor, "sleeps", lambda _pid: pytest.fail("asked"))
    kept.look()
    kept.look(supervisor.WAKE_SECONDS + 1)
    assert kept.child("media").popen.poll() is None


def test_spares_end_with_the_exchange(monkeypatch):
    kept = Kept(monkeypatch)
    kept.look()
    kept.look(STEADY_SECONDS + 1)
    kept.supervisor._end_all()
    assert all(spare.gone for _, spare in kept.spares)


def test_a_machine_that_has_no_process_to_give_is_not_the_end(monkeypatch):
    kept = Kept(monkeypatch)
    kept.look()
    kept.refuses = True
    kept.look(STEADY_SECONDS + 1)
    assert kept.spares == []
    kept.refuses = False
    kept.look(1)
    assert kept.spares == [], "it is left alone for a while"
    kept.look(supervisor.SPARE_SECONDS)
    assert [role for role, _ in kept.spares] == ["media", "signalling"]

    kept.refuses = True
    kept.child("recorder").popen.returncode = -9
    for _ in range(8):
        kept.look(LAST_PAUSE)
    assert kept.child("recorder").popen is None
    kept.refuses = False
    kept.look(LAST_PAUSE)
    assert kept.child("recorder").popen.poll() is None


def test_an_exchange_that_can_not_start_its_first_processes_says_so(monkeypatch):
    kept = Kept(monkeypatch)
    kept.supervisor._ready = False
    kept.refuses = True
    with pytest.raises(OSError, match="temporarily"):
        kept.look()


def test_who_is_started_later_goes_by_the_settings_of_the_start(tmp_path):
    """The file is being edited, is wrong or gone; the exchange needs the process that died all the same."""
    file = tmp_path / "at110.toml"
    file.write_text("[sip]\nport = 5066\n")
    descriptor = keep({"AT110_STATE": str(tmp_path)})
    file.write_text("[sip\n")
    made = Supervisor(tmp_path, None, "postgresql://", settings=descriptor)
    for child in made._children:
        environment, inherited = made._told(child)
        assert descriptor in inherited
        told = {
            name: value for name, value in environment.items() if name in {"AT110_STATE", "AT110_SETTINGS"}
        }
        for _ in range(2):
            assert load(told).sip.port == 5066
    os.close(descriptor)


def test_an_exchange_without_a_settings_file_goes_on_without(tmp_path):
    descriptor = keep({"AT110_STATE": str(tmp_path)})
    (tmp_path / "at110.toml").write_text("[sip\n")
    assert (
        load({"AT110_STATE": str(tmp_path), "AT110_SETTINGS": f"/proc/self/fd/{descriptor}"}).sip.port == 5060
    )
    os.close(descriptor)


class Hanging:
    """A site whose media process has beaten once, and is then seen as the test says, twenty looks a second."""

    def __init__(self, monkeypatch):
        self.kept = Kept(monkeypatch)
        self.kept.look()
        self.kept.look(STEADY_SECONDS + 1)
        self.media = self.kept.child("media")
        self.kept.supervisor._pulses.beat(self.media.place)
        self.kept.look()
        self.process = self.media.popen

    def killed_after(self, seconds):
        for number in range(round(seconds / supervisor.LOOK_SECONDS)):
            self.kept.look(supervisor.LOOK_SECONDS)
            if self.process.returncode is not None:
                return (number + 1) * supervisor.LOOK_SECONDS
        return None


def test_a_process_that_hangs_is_killed_and_its_spare_takes_its_place(monkeypatch):
    site = Hanging(monkeypatch)
    site.kept.seen = Seen("TTT", 5.0)
    assert site.killed_after(5) == pytest.approx(1.05, abs=0.06)
    assert site.process.returncode == -9
    pulses, place = site.kept.supervisor._pulses, site.media.place
    last = pulses.last(place)
    site.kept.look(supervisor.LOOK_SECONDS)
    assert site.media.popen is not site.process
    assert site.kept.started.count("media") == 1, "a spare was called"
    assert (pulses.hangs(place), pulses.last(place)) == (1, 0)
    assert pulses.outage([place]) == (last, True)
    site.process = site.media.popen
    assert site.killed_after(0.9) is None, "what follows it is watched from its own start"


def test_a_process_that_only_waits_for_the_processor_is_left_alone(monkeypatch):
    site = Hanging(monkeypatch)
    site.kept.seen = Seen("RSS", 5.0)
    assert site.killed_after(120) is None


def test_a_process_that_died_by_itself_did_not_hang(monkeypatch):
    site = Hanging(monkeypatch)
    site.process.returncode = -11
    site.kept.look()
    pulses, place = site.kept.supervisor._pulses, site.media.place
    assert pulses.hangs(place) == 0
    assert pulses.outage([place])[1] is False


def test_every_process_is_told_where_its_pulse_is(monkeypatch, tmp_path):
    made = Supervisor(tmp_path, None, "postgresql://", media_processes=3)
    places = []
    for child in made._children:
        environment, inherited = made._told(child)
        assert int(environment[pulse.VARIABLE]) in inherited
        beat = pulse.own(environment)
        beat()
        places.append((child.role, int(environment[pulse.PLACE])))
        assert made._pulses.last(child.place) > 0
    assert places == [("media", 0), ("media-1", 1), ("media-2", 2), ("signalling", 3), ("recorder", 4)]
