"""RFC 7339 as client."""

import pytest

from pbx.sip.uri import parse_via
from pbx.trunks.overload import Overload


def via(text):
    return parse_via(f"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx{text}")


def test_the_share_it_names_for_as_long_as_it_says():
    overload = Overload()
    assert not overload.holds_back(0.0, 0.0)
    overload.heard(via(';oc=20;oc-algo="loss";oc-validity=1000;oc-seq=1282321615.782'), 10.0)
    assert overload.holds_back(10.9, 0.19)
    assert not overload.holds_back(10.9, 0.21)
    assert not overload.holds_back(11.1, 0.0)


def test_half_a_second_if_it_does_not_say():
    overload = Overload()
    overload.heard(via(";oc=100"), 0.0)
    assert overload.holds_back(0.49, 0.99)
    assert not overload.holds_back(0.51, 0.0)


def test_an_old_report_is_not_heard():
    overload = Overload()
    overload.heard(via(";oc=50;oc-validity=9000;oc-seq=7.2"), 0.0)
    overload.heard(via(";oc=0;oc-validity=9000;oc-seq=7.1"), 0.1)
    assert overload.holds_back(0.2, 0.49)
    overload.heard(via(";oc=0;oc-validity=9000;oc-seq=7.21"), 0.1)
    assert not overload.holds_back(0.2, 0.0)


def test_validity_0_ends_it():
    overload = Overload()
    overload.heard(via(";oc=50;oc-validity=9000;oc-seq=1"), 0.0)
    overload.heard(via(";oc=50;oc-validity=0;oc-seq=2"), 1.0)
    assert not overload.holds_back(1.0, 0.0)


@pytest.mark.parametrize(
    "text", ["", ";oc", ";oc=x", ";oc=101", ';oc=5;oc-algo="rate"', ";oc=5;oc-seq=x", ";oc=٣"]
)
def test_what_is_no_report(text):
    overload = Overload()
    overload.heard(via(text), 0.0)
    assert overload.share == 0.0


def test_nobody_is_believed_for_longer_than_a_minute():
    overload = Overload()
    overload.heard(via(";oc=50;oc-validity=99999999"), 0.0)
    assert not overload.holds_back(60.1, 0.0)
