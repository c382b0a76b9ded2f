import errno
import socket
import struct
from types import SimpleNamespace

import pytest

from rtp import strangers
from rtp.overrun import SO_MEMINFO
from rtp.strangers import SO_ATTACH_FILTER, Strangers


class Kernel:
    """Sockets of a kernel that has no network: what is asked of them, and the counter of drops."""

    def __init__(self):
        self.dropped = 0
        self.made = []
        self.refuses = False

    def socket(self, family, kind):
        assert kind == socket.SOCK_DGRAM
        self.made.append(FakeSocket(self, family))
        return self.made[-1]


class FakeSocket:
    def __init__(self, kernel, family=socket.AF_INET6):
        self.kernel, self.family = kernel, family
        self.options, self.bound, self.closed = [], None, False

    def getsockname(self):
        return ("::1", 20000, 0, 0)

    def setsockopt(self, level, option, value):
        assert level == socket.SOL_SOCKET
        assert self.bound is None or option != SO_ATTACH_FILTER, "something might come in before the filter"
        self.options.append((option, value))

    def bind(self, address):
        if self.kernel.refuses:
            raise OSError(errno.EADDRINUSE, "in use")
        self.bound = address

    def getsockopt(self, _level, option, size):
        assert (option, size) == (SO_MEMINFO, 36)
        return struct.pack("9I", 1, 2, 3, 4, 5, 6, 7, 8, self.kernel.dropped & 0xFFFF_FFFF)

    def close(self):
        self.closed = True


@pytest.fixture
def kernel(monkeypatch):
    kernel = Kernel()
    names = ("SOCK_DGRAM", "SOL_SOCKET", "SO_REUSEADDR")
    module = SimpleNamespace(socket=kernel.socket, **{name: getattr(socket, name) for name in names})
    monkeypatch.setattr(strangers, "socket", module)
    return kernel


def test_what_the_kernel_refuses_is_counted_beside_the_connected_socket(kernel):
    port, connected = Strangers(), FakeSocket(kernel)
    port.refused = 3
    port.shut_out(connected)
    (beside,) = kernel.made
    assert beside.family == socket.AF_INET6
    assert beside.bound == ("::1", 20000, 0, 0)
    assert beside.options[0][0] == SO_ATTACH_FILTER
    # The port is shared for the moment of bind, and with nobody afterwards.
    assert [value for option, value in beside.options if option == socket.SO_REUSEADDR] == [1, 0]
    assert connected.options == [(socket.SO_REUSEADDR, 1), (socket.SO_REUSEADDR, 0)]
    kernel.dropped = 1000
    assert port.look() == 1003
    port.stated = 1003
    kernel.dropped = 1004
    assert port.look() == 4
    assert port.count == 1007


def test_the_kernels_counter_wraps(kernel):
    port = Strangers()
    port.shut_out(FakeSocket(kernel))
    kernel.dropped = 0xFFFF_FFFE
    assert port.look() == 0xFFFF_FFFE
    kernel.dropped = 0x1_0000_0003
    assert port.look() == 0x1_0000_0003


def test_it_counts_on_when_the_socket_was_open_in_between(kernel):
    port, connected = Strangers(), FakeSocket(kernel)
    port.shut_out(connected)
    port.shut_out(connected)
    assert len(kernel.made) == 1, "connected to another address of the peer"
    kernel.dropped = 5
    port.let_in()
    assert kernel.made[0].closed
    port.let_in()
    port.refused += 2
    kernel.dropped = 0
    port.shut_out(connected)
    kernel.dropped = 7
    assert port.look() == 14


def test_where_it_cannot_be_counted_the_call_goes_on(kernel):
    port, connected = Strangers(), FakeSocket(kernel)
    kernel.refuses = True
    port.shut_out(connected)
    assert kernel.made[0].closed
    assert connected.options[-1] == (socket.SO_REUSEADDR, 0), "the port is nobody else's"
    assert port.look() == 0
    port.let_in()
