"""Port pairs on the real system."""

import os
import socket

import pytest

from rtp.ports import NoPorts, Ports, disconnect

pytestmark = pytest.mark.beside

FIRST = 33000 + os.getpid() % 400 * 4


def test_pairs_are_even_and_odd_and_go_round():
    ports = Ports(FIRST + 1, FIRST + 6)
    first = ports.bind("127.0.0.1")
    second = ports.bind("127.0.0.1")
    assert [first.port, second.port] == [FIRST + 2, FIRST + 4]
    assert first.rtp.getsockname() == ("127.0.0.1", FIRST + 2)
    assert first.rtcp.getsockname() == ("127.0.0.1", FIRST + 3)
    assert not first.rtp.getblocking()
    with pytest.raises(NoPorts):
        ports.bind("127.0.0.1")
    first.close()
    third = ports.bind("127.0.0.1")
    assert third.port == FIRST + 2
    third.close()
    second.close()


def test_a_pair_with_one_port_taken_by_another_program_is_passed_over():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", FIRST + 1))
        pair = Ports(FIRST, FIRST + 3).bind("127.0.0.1")
    assert pair.port == FIRST + 2
    pair.close()


def test_an_address_that_is_not_ours_is_an_error():
    with pytest.raises(OSError, match="assign") as caught:
        Ports(FIRST, FIRST + 3).bind("203.0.113.1")
    assert not isinstance(caught.value, NoPorts)


@pytest.mark.parametrize(("low", "high"), [(5, 5), (5, 6), (9, 3)])
def test_a_range_without_a_pair_is_refused(low, high):
    with pytest.raises(ValueError, match="no port pair"):
        Ports(low, high)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_connected_socket_can_hear_all_again(host):
    pair = Ports(FIRST, FIRST + 3).bind(host)
    family = pair.rtp.family
    with (
        socket.socket(family, socket.SOCK_DGRAM) as peer,
        socket.socket(family, socket.SOCK_DGRAM) as stranger,
    ):
        peer.bind((host, 0))
        pair.rtp.connect(peer.getsockname())
        stranger.sendto(b"x", (host, pair.port))
        with pytest.raises(BlockingIOError):
            pair.rtp.recv(10)
        disconnect(pair.rtp)
        stranger.sendto(b"y", (host, pair.port))
        assert pair.rtp.recv(10) == b"y"
        assert pair.rtp.getsockname()[1] == pair.port
    pair.close()
    with pytest.raises(OSError, match="descriptor"):
        disconnect(pair.rtp)
