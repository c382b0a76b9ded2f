"""Fixtures for the tests of media."""

import socket
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest

from rtp.ports import disconnect


@pytest.fixture(autouse=True)
def _disconnect() -> Iterator[None]:
    """Let sockets of a test's own making, which the kernel does not know, be opened to all sources again."""

    def either(sock: Any) -> None:
        if isinstance(sock, socket.socket):
            disconnect(sock)
        else:
            sock.connect(None)

    with patch("rtp.track.disconnect", either):
        yield
