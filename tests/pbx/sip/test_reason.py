"""Reason (RFC 3326)."""

import pytest

from pbx.sip import reason
from tests.kit import sip


def said(*values):
    return reason.read(sip.request("BYE", to_tag="t", extra="".join(f"Reason: {v}\r\n" for v in values)))


def test_several_reasons_in_one_line_or_many():
    both = [
        {"protocol": "SIP", "cause": 200, "text": "Call completed elsewhere"},
        {"protocol": "Q.850", "cause": 16, "text": None},
    ]
    assert said('SIP ;cause=200 ;text="Call completed elsewhere", Q.850;cause=16') == both
    assert said('SIP ;cause=200 ;text="Call completed elsewhere"', "Q.850;cause=16") == both


@pytest.mark.parametrize("value", ["", ";cause=1", "a b;cause=1", 'SIP;text="', "SIP;;;\x01"])
def test_malformed_is_left_out(value):
    assert said(value) == []


def test_numbers_are_ascii_and_texts_are_short():
    [one] = said(f'SIP;cause=٣;text="{"x" * 5000}"')
    assert one["cause"] is None
    assert len(one["text"]) == reason.MAX_TEXT
    assert len(said(*[f"P{n};cause={n}" for n in range(20)])) == reason.MAX_REASONS


def test_ours_are_read_back():
    for name, value in (
        reason.CLEARED,
        reason.NO_ANSWER,
        reason.NO_ACK,
        reason.SESSION_EXPIRED,
        reason.ELSEWHERE,
    ):
        assert name == "Reason"
        assert said(value)[0]["cause"] is not None
