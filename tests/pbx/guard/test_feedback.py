"""Overload reports in Via (RFC 7339)."""

import pytest

from pbx.guard.feedback import asks, report
from pbx.sip.uri import parse_via

TOP = "SIP/2.0/UDP proxy.example:5060;branch=z9hG4bK1;rport"


@pytest.mark.parametrize(
    ("params", "wanted"),
    [
        ("", False),
        (';oc-algo="loss"', False),
        (";oc", True),
        (';oc;oc-algo="loss"', True),
        (';oc;oc-algo="rate,loss"', True),
        (';OC;OC-ALGO="LOSS"', True),
        (';oc;oc-algo="rate"', False),
    ],
)
def test_who_asks(params, wanted):
    assert asks(parse_via(TOP + params)) is wanted


def test_a_report_replaces_what_was_asked():
    via = report(parse_via(TOP + ';oc;oc-algo="loss,rate";x=y'), 0.204, 1_700_000_000.25)
    assert str(via) == TOP + ';x=y;oc=20;oc-algo="loss";oc-validity=500;oc-seq=1700000000.250'


def test_no_overload_is_a_report_too():
    via = report(parse_via(TOP + ";oc"), 0.0, 1.0)
    assert (via.param("oc"), via.param("oc-validity")) == ("0", "0")


def test_reports_can_be_told_apart_by_time():
    one, other = (report(parse_via(TOP + ";oc"), 0.5, at).param("oc-seq") for at in (100.0, 100.1))
    assert float(one) < float(other)
