"""Socket addresses in and out."""

import socket

import pytest

from pbx.transport.address import canonical, for_socket, plain


@pytest.mark.parametrize(
    ("system", "ours"),
    [
        (("192.0.2.9", 5060), ("192.0.2.9", 5060)),
        (("2001:db8::9", 5060, 0, 0), ("2001:db8::9", 5060)),
        (("::ffff:192.0.2.9", 5060, 0, 0), ("192.0.2.9", 5060)),
        (("fe80::1", 5060, 0, 3), ("fe80::1%3", 5060)),
        (("fe80::1%eth0", 5060, 0, 3), ("fe80::1%eth0", 5060)),
    ],
)
def test_plain(system: tuple[object, ...], ours: tuple[str, int]) -> None:
    assert plain(system) == ours


@pytest.mark.parametrize(
    ("family", "address", "system"),
    [
        (socket.AF_INET, ("192.0.2.9", 5060), ("192.0.2.9", 5060)),
        (socket.AF_INET6, ("2001:db8::9", 5060), ("2001:db8::9", 5060, 0, 0)),
        (socket.AF_INET6, ("192.0.2.9", 5060), ("::ffff:192.0.2.9", 5060, 0, 0)),
        (socket.AF_INET6, ("fe80::1%3", 5060), ("fe80::1", 5060, 0, 3)),
        (socket.AF_INET, ("2001:db8::9", 5060), None),
        # A name would be looked up by the system, and the loop would stand still.
        (socket.AF_INET, ("localhost", 5060), None),
        (socket.AF_INET, ("192.0.2.9", 0), None),
        (socket.AF_INET, ("192.0.2.9", 65536), None),
        (socket.AF_INET, ("192.0.2.9 ", 5060), None),
    ],
)
def test_for_socket(family: int, address: tuple[str, int], system: tuple[object, ...] | None) -> None:
    assert for_socket(family, address) == system


def test_canonical() -> None:
    assert canonical(("2001:DB8::0:9", 5060)) == ("2001:db8::9", 5060)
    assert canonical(("192.0.2.9", 5060)) == ("192.0.2.9", 5060)
    assert canonical(("phone.example", 5060)) == ("phone.example", 5060)
