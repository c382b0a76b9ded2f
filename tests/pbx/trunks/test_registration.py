"""A registration is kept, refreshed, and tried again ever more slowly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.sip.headers import Headers
from pbx.sip.message import Response
from pbx.trunks.registration import BASE_SECONDS, MAX_SECONDS, Register, Registration, State


def response(status=200, *headers):
    return Response(status, "", Headers(headers))


def half():
    return 0.5


def begun(seconds=3600):
    made = Registration(seconds)
    made.start(0.0)
    assert made.expire(0.0, half) == [Register(1, seconds)]
    return made


def test_it_is_refreshed_before_it_ends():
    made = begun()
    made.answered(1, response(200, ("Contact", "<sip:110@192.0.2.1>;expires=600")), "110", 1.0, half)
    assert made.state is State.REGISTERED
    assert made.until == 601.0
    assert made.expire(1.0 + 600 * 0.84, half) == []
    assert made.expire(1.0 + 600 * 0.86, half) == [Register(2, 3600)]
    assert made.registered, "the old one stands while the refresh is under way"


@pytest.mark.parametrize(
    ("headers", "granted"),
    [
        ((("Expires", "120"),), 120),
        ((("Contact", "<sip:other@192.0.2.9>;expires=30"), ("Expires", "120")), 120),
        ((), 3600),
        ((("Expires", "1"),), 20),
    ],
)
def test_what_is_granted(headers, granted):
    made = begun()
    made.answered(1, response(200, *headers), "110", 0.0, half)
    assert made.until == granted


def test_failures_wait_ever_longer():
    """RFC 5626 §4.5."""
    made, now, waits = begun(), 0.0, []
    for number in range(1, 12):
        made.answered(number, response(403), "110", now, lambda: 1.0)
        assert made.state is State.WAITING
        assert made.status == 403
        waits.append(made.next_due - now)
        now = made.next_due
        assert made.expire(now, half) == [Register(number + 1, 3600)]
    assert waits[:4] == [BASE_SECONDS, 60.0, 120.0, 240.0]
    assert waits[-1] == MAX_SECONDS


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_the_wait_is_drawn_between_half_and_all(draws):
    made, now = begun(), 0.0
    for number, draw in enumerate(draws, 1):
        made.unanswered(number, now, lambda draw=draw: draw)
        longest = min(MAX_SECONDS, BASE_SECONDS * 2 ** (number - 1))
        assert longest / 2 - 1e-6 <= made.next_due - now <= longest + 1e-6
        now = made.next_due
        made.expire(now, half)


def test_silence_is_a_failure():
    made = begun()
    assert made.expire(9.9, half) == []
    assert made.expire(10.0, half) == []
    assert (made.state, made.status) == (State.WAITING, 408)
    made.answered(1, response(200), "110", 10.1, half)
    assert made.state is State.WAITING, "it came too late"


def test_a_lapsed_registration_is_none():
    made = begun()
    made.answered(1, response(200, ("Expires", "100")), "110", 0.0, half)
    made.expire(made.next_due, half)
    made.answered(2, response(503), "110", 86.0, half)
    assert made.registered
    made.expire(100.0, half)
    assert not made.registered


def test_423_asks_for_longer():
    made = begun(60)
    assert made.answered(1, response(423, ("Min-Expires", "600")), "110", 0.0, half) == [Register(2, 600)]
    made.answered(2, response(200), "110", 0.0, half)
    assert made.until == 600
    other = begun(60)
    assert other.answered(1, response(423, ("Min-Expires", "x")), "110", 0.0, half) == []
    assert other.state is State.WAITING


def test_stopping_ends_what_stands():
    made = begun()
    assert Registration(60).stop() == []
    assert made.stop() == [], "nothing stood yet"
    made.start(5.0)
    made.expire(5.0, half)
    made.answered(2, response(200), "110", 5.0, half)
    assert made.stop() == [Register(3, 0)]
    assert made.next_due is None
    assert not made.registered
    assert made.answered(3, response(200), "110", 6.0, half) == []


def test_it_goes_on_after_a_restart():
    made = begun()
    made.answered(1, response(200, ("Expires", "100")), "110", 0.0, half)
    twin = Registration(3600)
    twin.resume(made.snapshot())
    assert twin.snapshot() == made.snapshot()
    assert twin.expire(made.next_due, half) == made.expire(made.next_due, half)
