"""Where RTP may go: never where a stranger points a weapon."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbx.sdp.addresses import Own, destination, literal, unicast


@pytest.mark.parametrize(
    "host",
    [
        None, "", "phone.example", "0.0.0.0", "::", "0.1.2.3", "224.2.1.1", "224.2.1.1/127", "239.255.255.255",
        "255.255.255.255", "240.0.0.1", "169.254.169.254", "169.254.1.1", "fe80::1", "fe80::1%lo", "ff02::1",
        "fd00:ec2::254", "1.2.3.04", "1.2.3", "2001:db8:::1", "::ffff:169.254.169.254", "::ffff:0.0.0.0",
        "٣.1.1.1", "1.1.1.1 ", "1" * 50,
    ],
)  # fmt: skip
def test_addresses_no_phone_has_are_no_destination(host):
    assert unicast(host) is None
    assert destination(host, 4000, local="192.0.2.1") is None
    assert destination(host, 4000, local="::1") is None


def test_ordinary_addresses_are():
    assert unicast("198.51.100.7") == "198.51.100.7"
    assert unicast("10.0.0.9") == "10.0.0.9"
    assert unicast("2001:DB8:0::1") == "2001:db8::1"
    assert destination("198.51.100.7", 4000, local="192.0.2.1") == ("198.51.100.7", 4000)
    assert destination("2001:db8::1", 4000, local="::") == ("2001:db8::1", 4000)
    assert destination("::ffff:198.51.100.7", 4000, local="192.0.2.1") == ("198.51.100.7", 4000)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1"])
def test_loopback_only_where_it_is_allowed(host):
    local = "::1" if ":" in host else "127.0.0.1"
    assert destination(host, 4000, local=local) == (host, 4000)
    assert destination(host, 4000, local=local, loopback_ok=False) is None


def test_mapped_loopback_is_loopback():
    assert unicast("::ffff:127.0.0.1", loopback_ok=False) is None


def test_the_family_must_be_ours():
    assert destination("2001:db8::1", 4000, local="192.0.2.1") is None
    assert destination("198.51.100.7", 4000, local="2001:db8::2") is None


@pytest.mark.parametrize(
    ("port", "good"), [(0, False), (1023, False), (1024, True), (65535, True), (65536, False)]
)
def test_ports_of_services_are_not_knocked_at(port, good):
    assert (destination("198.51.100.7", port, local="192.0.2.1") is not None) is good


def test_our_own_addresses_are_refused():
    own = Own(frozenset({"192.0.2.1"}), range(20000, 30000), frozenset({5060}))
    assert destination("192.0.2.1", 20000, local="192.0.2.1", own=own) is None
    assert destination("192.0.2.1", 29999, local="192.0.2.1", own=own) is None
    assert destination("::ffff:192.0.2.1", 5060, local="192.0.2.1", own=own) is None
    assert destination("192.0.2.1", 30000, local="192.0.2.1", own=own) == ("192.0.2.1", 30000)
    assert destination("192.0.2.2", 20000, local="192.0.2.1", own=own) == ("192.0.2.2", 20000)


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_judged(text):
    address = literal(text)
    assert address is None or unicast(text) in (None, str(address))


@settings(deadline=None)
@given(st.ip_addresses())
def test_what_is_let_through_is_the_same_address(address):
    result = unicast(str(address))
    assert result is None or literal(result) == literal(str(address))
