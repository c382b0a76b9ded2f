import os
import socket
import stat

import pytest

from rtp.handover import Handover


class Loop:
    def __init__(self):
        self.handlers = {}

    def add(self, fd, handler, _name):
        self.handlers[fd] = handler

    def remove(self, fd):
        del self.handlers[fd]


class End:
    def __init__(self, paths, number):
        self.legs, self.closed, self.loop = [], [], Loop()
        self.handover = Handover(
            paths, number, self.loop, lambda *got: self.legs.append(got), lambda *got: self.closed.append(got)
        )


@pytest.fixture
def ends(tmp_path):
    paths = [str(tmp_path / f"{number}.sock") for number in range(2)]
    made = [End(paths, number) for number in range(2)]
    yield made
    for end in made:
        if end.loop.handlers:
            end.handover.close()


def test_state_and_open_sockets_arrive(ends):
    here, there = ends
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    far.send(b"what waits in the kernel's buffer")
    state = {"key": b"k" * 300_000, "legs": [1, None, "x"]}
    here.handover.legs(1, state, [near.fileno()])
    near.close()
    there.handover.read()
    ((got, descriptors),) = there.legs
    assert got == state
    with socket.socket(fileno=descriptors[0]) as moved, far:
        assert moved.recv(100) == b"what waits in the kernel's buffer"
        assert not os.get_inheritable(descriptors[0])
    assert not here.legs


def test_a_capture_that_is_closed_is_told_of(ends):
    ends[1].handover.closed(0, "call", 7, 1)
    ends[0].handover.read()
    assert ends[0].closed == [("call", 7, 1)]


def test_a_process_that_is_not_there_is_an_error_and_nothing_has_gone(ends):
    ends[1].handover.close()
    with pytest.raises(OSError, match="No such file"):
        ends[0].handover.legs(1, {}, [])
    ends[0].handover.closed(1, "call", 0, 0)  # it finds the lock free by itself


def test_nobody_else_may_write_to_it(ends, tmp_path):
    assert stat.S_IMODE((tmp_path / "0.sock").stat().st_mode) == 0o600


def test_what_is_not_understood_is_dropped_with_its_descriptors(ends, tmp_path):
    near, far = socket.socketpair()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        stranger.connect(str(tmp_path / "0.sock"))
        socket.send_fds(stranger, [b"\x91\xa3abc"], [near.fileno()])
    ends[0].handover.read()
    near.close()
    far.settimeout(5)
    assert far.recv(1) == b"", "the copy of the descriptor is closed"
    far.close()
    assert not ends[0].legs
