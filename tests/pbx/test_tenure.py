"""One exchange on one state folder: who holds it, who is waited for, and who is killed."""

import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest

from pbx import tenure
from pbx.supervisor import Supervisor
from pbx.tenure import KILL_SECONDS, PATIENCE_SECONDS, SURE_SECONDS, Holder, TakenError, hold, holders


class Place:
    """A state folder and what is told of it; time passes only while somebody waits, and `then` happens at its moment."""

    def __init__(self, monkeypatch, folder):
        self.folder, self.now, self.then, self.told, self.killed = folder, 0.0, {}, [], []
        self.seen = []
        monkeypatch.setattr(tenure, "time", self)

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        assert self.now < 60, "it waits for ever"
        for at in sorted(at for at in self.then if at <= self.now):
            self.then.pop(at)()

    def kill(self, pid, number):
        self.killed.append((pid, number))

    def hold(self):
        tell = lambda event, fields: self.told.append((event, fields))  # noqa: E731
        return hold(self.folder, tell, look=lambda _state: self.seen, kill=self.kill)

    def taken(self):
        """Somebody else holds it; gives what ends that."""
        descriptor = os.open(self.folder, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return lambda: os.close(descriptor)


@pytest.fixture
def place(monkeypatch, tmp_path):
    return Place(monkeypatch, tmp_path)


def test_a_free_folder_is_held_at_once_and_until_the_descriptor_is_closed(place):
    first = place.hold()
    place.seen = [Holder(7, orphan=False)]
    with pytest.raises(TakenError):
        place.hold()
    os.close(first)
    now = place.now
    os.close(place.hold())
    assert (place.now, place.told) == (now, [])


def test_a_second_exchange_is_refused_and_told_whose_the_folder_is(place):
    free = place.taken()
    place.seen = [Holder(44, orphan=False), Holder(43, orphan=False)]
    with pytest.raises(TakenError, match="held by process 43") as taken:
        place.hold()
    assert taken.value.pid == 43
    assert place.now < SURE_SECONDS + 0.5
    assert not place.killed
    free()


def test_a_supervisor_that_was_killed_this_moment_refuses_nobody(place):
    """Its children are still seen as another's, then as nobody's, then they have ended."""
    free = place.taken()
    place.seen = [Holder(43, orphan=False)]
    place.then = {0.5: lambda: place.seen.__setitem__(0, Holder(43, orphan=True)), 3.0: free}
    os.close(place.hold())
    assert 3.0 <= place.now < 3.5
    assert place.told == [("waiting_for_processes", {"pids": [43]})]
    assert not place.killed


def test_processes_without_a_supervisor_that_do_not_end_are_killed(place):
    free = place.taken()
    place.seen = [Holder(43, orphan=True), Holder(44, orphan=True)]
    place.then = {PATIENCE_SECONDS + 0.5: free}
    os.close(place.hold())
    assert place.killed == [(43, signal.SIGKILL), (44, signal.SIGKILL)]
    assert [event for event, _ in place.told[1:]] == ["process_without_supervisor_killed"] * 2


def test_what_the_kernel_holds_is_not_begun_beside(place):
    free = place.taken()
    place.seen = [Holder(43, orphan=True)]
    with pytest.raises(TakenError):
        place.hold()
    assert place.killed == [(43, signal.SIGKILL)]
    assert place.now == pytest.approx(PATIENCE_SECONDS + KILL_SECONDS, abs=0.5)
    free()


def test_a_holder_nobody_sees_is_waited_for_and_not_begun_beside(place):
    free = place.taken()
    with pytest.raises(TakenError, match="can't be seen") as taken:
        place.hold()
    assert taken.value.pid is None
    free()


def test_one_that_ended_before_it_was_killed(place):
    free = place.taken()
    place.seen = [Holder(43, orphan=True)]

    def kill(_pid, _number):
        free()
        raise ProcessLookupError

    place.kill = kill
    os.close(place.hold())


def test_a_file_system_without_locks_keeps_no_exchange_from_starting(place, monkeypatch):
    def none(_descriptor, _how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(tenure.fcntl, "flock", none)
    os.close(place.hold())
    assert place.told == [("state_not_held", {"why": "[Errno 37] No locks available"})]


def test_every_process_of_the_exchange_keeps_the_folder_held(tmp_path):
    held = os.open(tmp_path, os.O_RDONLY)
    made = Supervisor(tmp_path, None, "postgresql://", held=held)
    assert all(held in made._told(child)[1] for child in made._children)
    os.close(held)


@pytest.mark.parametrize(
    ("stated", "word", "seen"),
    [("4194303", "process", [True]), ("me", "process", [False]), (None, "serve", [False]), (None, "ls", [])],
    ids=["whose supervisor is gone", "under its supervisor", "a supervisor", "somebody who looks"],
)
def test_who_has_the_folder_open(tmp_path, stated, word, seen):
    """Real processes: what /proc says of them decides."""
    environment = {name: value for name, value in os.environ.items() if name != "AT110_SUPERVISOR"}
    if stated is not None:
        environment["AT110_SUPERVISOR"] = str(os.getpid()) if stated == "me" else stated
    descriptor = os.open(tmp_path, os.O_RDONLY)
    program = "print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program, word],
        env=environment,
        pass_fds=[descriptor],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert [(one.pid == child.pid, one.orphan) for one in holders(tmp_path)] == [
            (True, orphan) for orphan in seen
        ]
        assert holders(tmp_path.parent) == []
        child.communicate(b"\n")
    os.close(descriptor)
