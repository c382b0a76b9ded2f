"""How many files connections may take."""

import resource
import sys

import pytest

from pbx.transport import files
from pbx.transport.files import highest_of_connections, number_of, raise_limit
from tests.kit.transports import StreamTransport


@pytest.mark.parametrize(
    ("count", "phones", "web"),
    [
        (0, 0, 0),
        (100, 0, 35),
        (256, 127, 191),
        (1024, 767, 895),
        (4096, 3071, 3583),
        (65_536, 49_151, 57_343),
    ],
)
def test_calls_and_then_dispatchers_are_left_some(count, phones, web):
    assert (highest_of_connections(count), highest_of_connections(count, web=True)) == (phones, web)


@pytest.mark.parametrize(
    ("limits", "given", "now"),
    [
        ((1024, 4096), 4096, (4096, 4096)),
        ((4096, 4096), 4096, None),
        ((1024, resource.RLIM_INFINITY), sys.maxsize, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)),
    ],
)
def test_the_soft_limit_is_raised(monkeypatch, limits, given, now):
    raised = []
    monkeypatch.setattr(files.resource, "getrlimit", lambda _what: limits)
    monkeypatch.setattr(files.resource, "setrlimit", lambda _what, to: raised.append(to))
    assert raise_limit() == given
    assert raised == ([] if now is None else [now])


def test_the_descriptor_of_a_connection():
    assert number_of(StreamTransport(("192.0.2.9", 5060), file=7)) == 7
    assert number_of(StreamTransport(("192.0.2.9", 5060))) == -1
