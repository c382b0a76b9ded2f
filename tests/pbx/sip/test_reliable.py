"""Reliable provisional responses (RFC 3262)."""

import pytest

from pbx.sip.reliable import MAX_FIRST_RSEQ, Reliable, in_order, is_reliable, rack, rack_header
from pbx.sip.timers import Timers
from tests.kit import sip


def ringing(number=41):
    response = sip.request(cseq=7).response(180, to_tag="t")
    return Reliable.start("tx", response, 100.0, Timers(), number=number)


def prack(value):
    return sip.request("PRACK", to_tag="t", cseq=8, extra=f"RAck: {value}\r\n")


def test_response_says_that_it_wants_a_prack():
    held = ringing()
    assert held.response.headers.get("RSeq") == "42"
    assert is_reliable(held.response)


@pytest.mark.parametrize("number", [0, 1, 2**31 - 2, 2**31 - 1, 2**62])
def test_first_number_is_in_bounds(number):
    # RFC 3262 §3: between 1 and 2**31 - 1
    assert 1 <= ringing(number).rseq <= MAX_FIRST_RSEQ


def test_it_is_repeated_with_growing_intervals_and_then_given_up():
    held, times, now = ringing(), [], 100.0
    while not held.given_up(now):
        now = held.next_due
        if held.repeat(now):
            times.append(now - 100.0)
    # T1 doubling without a cap, for 64·T1
    assert times == [0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert now == 132.0


def test_prack_ends_the_repetitions():
    held = ringing()
    assert held.prack(prack("42 7 INVITE"))
    assert held.next_due is None
    assert not held.repeat(500.0)
    assert not held.given_up(500.0)
    assert held.prack(prack("42 7 INVITE")), "a second one is answered too"


@pytest.mark.parametrize("value", ["43 7 INVITE", "42 8 INVITE", "42 7 UPDATE", "42 INVITE", "x", "42 7", ""])
def test_prack_for_something_else(value):
    held = ringing()
    assert not held.prack(prack(value))
    assert held.next_due is not None


def test_final_response_stops_it_but_a_prack_still_counts():
    held = ringing()
    held.settle()
    assert held.next_due is None
    assert held.prack(prack("42 7 INVITE"))


def test_rack_is_read_by_its_grammar():
    assert rack(prack("42  7\tINVITE")) == (42, 7, "INVITE")
    assert rack(prack("٣ 7 INVITE")) is None
    assert rack(sip.request("PRACK")) is None


def response(rseq, status=183):
    extra = f"Require: 100rel\r\nRSeq: {rseq}\r\n"
    return sip.response(sip.cached_request().encode(), status, extra=extra)


def test_client_takes_them_in_order_only():
    assert in_order(None, response(900)) == 900
    assert in_order(900, response(901)) == 901
    assert in_order(900, response(900)) is None  # repeated
    assert in_order(900, response(902)) is None  # one was lost; it comes again
    assert in_order(None, response(0)) is None
    assert in_order(None, response("x")) is None
    assert rack_header(901, response(901)) == ("RAck", "901 1 INVITE")


@pytest.mark.parametrize(("status", "yes"), [(100, False), (180, True), (199, True), (200, False)])
def test_which_responses_want_a_prack(status, yes):
    assert is_reliable(response(1, status)) is yes


def test_snapshot():
    held = ringing()
    held.repeat(101.0)
    twin = Reliable.restore(held.snapshot())
    assert twin.snapshot() == held.snapshot()
    assert twin.prack(prack("42 7 INVITE"))
