"""Ports of legs that have ended, kept open and read into nothing until nobody can mistake their next call for the last one."""

import socket

from rtp.loop import Handler, Loop
from rtp.moving import DrainPorts
from rtp.ports import Pair, Ports
from rtp.road import DATAGRAM


class Draining:
    """The socket pairs that wait to be closed."""

    def __init__(self, loop: Loop, seconds: float) -> None:
        """`seconds`: how long each pair stays open after its leg."""
        self._loop = loop
        self._seconds = seconds
        self._pairs: dict[int, Pair] = {}

    def __len__(self) -> int:
        return len(self._pairs)

    def add(self, pair: Pair, now: float) -> None:
        """Take a pair whose sockets are in the loop; it is closed later."""
        for sock in (pair.rtp, pair.rtcp):
            self._loop.replace(sock.fileno(), _reader_into_nothing(sock), f"draining {pair.port}")
        self._pairs[pair.port] = pair
        self._loop.at(now + self._seconds, lambda _now: self._close(pair), f"drain {pair.port}")

    def take_over(self, order: DrainPorts, ports: Ports, host: str, now: float) -> None:
        """Go on with what a process that died was draining; `host`: where this one binds by itself."""
        try:
            pair = ports.again(order.host or host, order.port)
        except OSError:  # no such address here, or no file left: then nobody else is given it either
            pair = None
        if pair is None:
            return
        for sock in (pair.rtp, pair.rtcp):
            self._loop.add(sock.fileno(), _reader_into_nothing(sock), f"draining {pair.port}")
        self._pairs[pair.port] = pair
        due = now + min(order.seconds, self._seconds)
        self._loop.at(due, lambda _now: self._close(pair), f"drain {pair.port}")

    def end(self) -> None:
        """Close all now: the process is about to end."""
        for pair in tuple(self._pairs.values()):
            self._close(pair)

    def _close(self, pair: Pair) -> None:
        del self._pairs[pair.port]
        self._loop.remove(pair.rtp.fileno())
        self._loop.remove(pair.rtcp.fileno())
        pair.close()


def _reader_into_nothing(sock: socket.socket) -> Handler:
    def read() -> None:
        try:
            sock.recv(DATAGRAM)
        except OSError:
            pass

    return read
