import socket
import stat
from pathlib import Path

import pytest

from rtp import control as c
from rtp.control_server import MAX_UNSENT, ControlServer
from rtp.frames import Frames, decode_event, encode
from rtp.loop import Loop

HELLO = c.Holdings("", (), ())


class Served:
    def __init__(self, path):
        self.loop = Loop()
        self.path = str(path)
        self.commands = []
        self.server = ControlServer(self.path, self.loop, self.commands.append, lambda: HELLO)

    def connect(self):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.connect(self.path)
        sock.setblocking(False)
        self.turn()
        return sock

    def turn(self, count=3):
        for _ in range(count):
            self.loop.turn(0)

    @staticmethod
    def events(sock):
        return list(map(decode_event, Frames().feed(sock.recv(1 << 20))))


@pytest.fixture
def served(tmp_path):
    made = Served(tmp_path / "media.sock")
    yield made
    assert made.loop.failures == 0
    made.server.close()
    made.loop.close()
    assert not Path(made.path).exists()


def test_who_connects_is_told_what_is_held(served):
    assert not served.server.connected
    with served.connect() as sock:
        assert served.server.connected
        assert served.events(sock) == [HELLO]


def test_a_command_that_fails_is_told_and_keeps_no_other_from_being_carried_out(tmp_path):
    served = Served(tmp_path / "media.sock")
    fail = [c.CloseLeg("b"), c.NoteSip("call", 1, ("h", 1), ("h", 2), "udp", b""), c.Query("q")]

    def carry_out(command):
        served.commands.append(command)
        if command in fail:
            raise KeyError("bug")

    served.server._on_command = carry_out
    commands = [c.CloseLeg("a"), *fail, c.Leave("c")]
    with served.connect() as sock:
        sock.send(b"".join(map(encode, commands)))
        served.turn()
        assert served.commands == commands
        assert served.events(sock)[1:] == [
            c.Refused("CloseLeg", "b", "failed"),
            c.Refused("NoteSip", "call", "failed"),
            c.Refused("Query", "", "failed"),
        ]
    assert served.loop.failures == 3
    served.server.close()
    served.loop.close()


def test_commands_arrive_however_they_are_cut(served):
    commands = [c.CloseLeg("a"), c.Query("q"), c.Leave("b")]
    data = b"".join(map(encode, commands))
    with served.connect() as sock:
        for index in range(len(data)):
            sock.send(data[index : index + 1])
            served.turn(1)
    assert served.commands == commands


def test_a_new_connection_takes_the_place_of_the_old(served):
    with served.connect() as old, served.connect() as new:
        served.events(new)
        served.server.send(c.EvidenceOpened("x"))
        served.turn()
        assert served.events(new) == [c.EvidenceOpened("x")]
        assert served.events(old) == [HELLO]
        assert old.recv(10) == b""


def test_events_without_a_connection_are_left_out(served):
    served.server.send(c.EvidenceOpened("x"))
    with served.connect() as sock:
        assert served.events(sock) == [HELLO]


def test_a_connection_that_ends_is_forgotten(served):
    served.connect().close()
    served.turn()
    assert not served.server.connected
    with served.connect() as sock:
        assert served.events(sock) == [HELLO]


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", b"\0\0\0\1\xc1"], ids=["length", "no command"])
def test_a_peer_that_speaks_something_else_is_cut_off(served, data):
    with served.connect() as sock:
        sock.send(data)
        served.turn()
        assert not served.server.connected


def test_a_slow_reader_gets_everything_in_order(served):
    with served.connect() as sock:
        served.events(sock)
        sent = [c.Dtmf(str(number), "1" * 1000) for number in range(1000)]
        for event in sent:
            served.server.send(event)
        frames, got = Frames(), []
        while len(got) < len(sent):
            got += map(decode_event, frames.feed(sock.recv(1 << 16)))
            served.turn(1)
        assert got == sent


def test_a_reader_that_never_reads_is_cut_off(served):
    with served.connect():
        big = c.Dtmf("x", "1" * 100_000)
        for _ in range(MAX_UNSENT // 100_000 + 20):
            served.server.send(big)
        assert not served.server.connected


def test_only_the_owner_may_connect(served):
    assert stat.S_IMODE(Path(served.path).stat().st_mode) == 0o600


def test_a_stale_socket_is_replaced(tmp_path):
    path = tmp_path / "media.sock"
    old = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old.bind(str(path))
    old.close()
    made = Served(path)
    with made.connect() as sock:
        assert made.events(sock) == [HELLO]
    made.server.close()
    made.loop.close()


def test_a_path_that_can_not_be_is_named(tmp_path):
    with pytest.raises(OSError, match="no-such-folder"):
        Served(tmp_path / "no-such-folder" / "media.sock")
    with pytest.raises(OSError, match="control socket"):
        Served(tmp_path / ("x" * 200))
