"""Session timers (RFC 4028): who refreshes, when, and when it is over."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.sip.errors import SipError
from pbx.sip.session_timer import Expired, Refresh, SessionSettings, SessionTimer, read_minimum, read_wish
from tests.kit import sip

SETTINGS = SessionSettings(1800, 90)


def asked(value=None, *, knows=True, minimum=None):
    lines = "Contact: <sip:c@192.0.2.9>\r\n"
    lines += "Supported: timer\r\n" if knows else ""
    lines += f"Session-Expires: {value}\r\n" if value is not None else ""
    lines += f"Min-SE: {minimum}\r\n" if minimum is not None else ""
    return sip.request(extra=lines)


def answered(status=200, value=None, *, minimum=None):
    lines = f"Session-Expires: {value}\r\n" if value is not None else ""
    lines += f"Min-SE: {minimum}\r\n" if minimum is not None else ""
    return sip.response(sip.cached_request().encode(), status, extra=lines)


# RFC 4028 §9, table 2: (peer knows timers, what it says, our 2xx says, we refresh)
TABLE = [
    (False, "600", "600;refresher=uas", True),
    (False, "600;refresher=uas", "600;refresher=uas", True),
    (False, "600;refresher=uac", "600;refresher=uas", True),  # not allowed; it could not refresh
    (True, "600", "600;refresher=uac", False),
    (True, "600;refresher=uac", "600;refresher=uac", False),
    (True, "600;refresher=uas", "600;refresher=uas", True),
    (True, "600;REFRESHER=UAS", "600;refresher=uas", True),
    (True, "600;refresher=nobody", "600;refresher=uac", False),
    (True, None, "1800;refresher=uas", True),
]


@pytest.mark.parametrize(("knows", "says", "answer", "ours"), TABLE)
def test_answer_names_the_refresher(knows, says, answer, ours):
    timer = SessionTimer(SETTINGS)
    headers = dict(timer.answering(asked(says, knows=knows), 0.0))
    assert headers["Session-Expires"] == answer
    assert timer.ours is ours
    # §9: the 2xx requires `timer` of a peer that is to refresh.
    assert headers.get("Require") == (None if ours else "timer")


def test_no_timer_for_who_knows_none_and_asks_for_none():
    timer = SessionTimer(SETTINGS)
    assert timer.answering(asked(knows=False), 0.0) == ()
    assert timer.next_due is None
    assert timer.refreshing() == ()


def test_minimum_of_the_peer_is_kept():
    timer = SessionTimer(SETTINGS)
    headers = dict(timer.answering(asked(minimum=4000), 0.0))
    assert headers["Session-Expires"] == "4000;refresher=uas"
    assert dict(timer.refreshing())["Min-SE"] == "4000"


@pytest.mark.parametrize(("seconds", "refused"), [(89, True), (90, False), (0, True)])
def test_too_short_is_422_with_what_we_want(seconds, refused):
    timer = SessionTimer(SETTINGS)
    if not refused:
        timer.check(asked(str(seconds)))
        return
    with pytest.raises(SipError) as caught:
        timer.check(asked(str(seconds)))
    assert caught.value.status == 422
    assert caught.value.headers == (("Min-SE", "90"),)


def test_too_short_goes_on_without_a_timer_for_who_could_not_read_422_and_for_an_emergency():
    plain = SessionTimer(SETTINGS)
    plain.check(asked("10", knows=False))
    assert plain.answering(asked("10", knows=False), 0.0) == ()
    patient = SessionTimer(SETTINGS, patient=True)
    patient.check(asked("10"))
    assert patient.answering(asked("10"), 0.0) == ()
    assert patient.next_due is None


@pytest.mark.parametrize("value", ["", "x", "-1", "٣", "1_000", "99999999999", "12 34", ";refresher=uac"])
def test_malformed_reads_as_none(value):
    assert read_wish(asked(value)) is None


def test_malformed_parameters_and_minimum_are_no_reason_to_refuse():
    assert read_wish(asked('600;"')).seconds == 600
    assert read_minimum(asked(minimum="x")) == 90
    assert read_minimum(asked(minimum="120;x=y")) == 120


def test_we_refresh_at_half_and_give_up_before_the_end():
    timer = SessionTimer(SETTINGS)
    timer.answering(asked("600;refresher=uas"), 1000.0)
    assert timer.next_due == 1300.0
    assert timer.expire(1299.9) == []
    assert timer.expire(1300.0) == [Refresh()]
    # §10: 32 seconds before the end, that is less than a third.
    assert timer.next_due == 1568.0
    assert timer.expire(1568.0) == [Expired()]
    assert timer.next_due is None
    assert timer.expire(9999.0) == []


def test_a_third_counts_when_it_is_less():
    timer = SessionTimer(SETTINGS)
    timer.answering(asked("90;refresher=uac"), 0.0)
    assert timer.expire(59.9) == []
    assert timer.expire(60.0) == [Expired()]


def test_a_patient_one_lets_the_whole_interval_pass():
    timer = SessionTimer(SETTINGS, patient=True)
    timer.answering(asked("90;refresher=uac"), 0.0)
    assert timer.expire(89.9) == []
    assert timer.expire(90.0) == [Expired()]


def test_peer_that_refreshes_starts_it_anew():
    timer = SessionTimer(SETTINGS)
    timer.answering(asked("600;refresher=uac"), 0.0)
    timer.answering(asked("600;refresher=uac"), 500.0)
    assert timer.expire(1067.0) == []
    assert timer.expire(1068.0) == [Expired()]


def test_our_refresh_names_the_same_refresher():
    timer = SessionTimer(SETTINGS)
    timer.answering(asked("600;refresher=uas"), 0.0)
    assert timer.refreshing() == (("Session-Expires", "600;refresher=uac"),)
    timer.answering(asked("600;refresher=uac"), 0.0)
    assert timer.refreshing() == (("Session-Expires", "600;refresher=uas"),)


def test_our_invite_asks_and_the_answer_decides():
    timer = SessionTimer(SETTINGS)
    assert dict(timer.asking()) == {"Session-Expires": "1800", "Min-SE": "90"}
    timer.accepted(answered(value="1200;refresher=uac"), 0.0)
    assert (timer.interval, timer.ours) == (1200, True)
    timer.accepted(answered(value="1200;refresher=uas"), 0.0)
    assert timer.ours is False
    timer.accepted(answered(value="1200"), 0.0)
    assert timer.ours is True
    timer.accepted(answered(), 0.0)
    assert timer.next_due is None


def test_answer_below_our_minimum_does_not_make_us_refresh_all_the_time():
    timer = SessionTimer(SETTINGS)
    timer.accepted(answered(value="1;refresher=uac"), 0.0)
    assert timer.interval == 90


def test_422_raises_what_we_ask():
    timer = SessionTimer(SETTINGS)
    assert timer.too_small(answered(422, minimum=3600), 0.0)
    assert dict(timer.asking()) == {"Session-Expires": "3600", "Min-SE": "3600"}
    assert not timer.too_small(answered(422, minimum=3600), 0.0), "nothing to be won by asking again"


def test_422_to_a_refresh_is_tried_again_at_once():
    timer = SessionTimer(SETTINGS)
    timer.answering(asked("600;refresher=uas"), 0.0)
    timer.expire(300.0)
    assert timer.too_small(answered(422, minimum=900), 301.0)
    assert timer.expire(301.0) == [Refresh()]
    assert timer.refreshing() == (("Session-Expires", "900;refresher=uac"), ("Min-SE", "900"))


def test_refresh_that_failed_is_tried_again_while_there_is_time():
    timer = SessionTimer(SETTINGS, patient=True)
    timer.answering(asked("90;refresher=uas"), 0.0)
    now, tries = 45.0, 0
    while (due := timer.expire(now)) != [Expired()]:
        if due == [Refresh()]:
            tries += 1
            timer.failed(now + 1.0)
        now = timer.next_due
    assert now == 90.0
    assert 3 <= tries <= 9


def test_failure_of_what_is_not_ours_to_refresh_changes_nothing():
    timer = SessionTimer(SETTINGS)
    timer.answering(asked("600;refresher=uac"), 0.0)
    before = timer.snapshot()
    timer.failed(100.0)
    assert timer.snapshot() == before


@given(
    st.lists(
        st.tuples(st.sampled_from(["ask", "answer", "fail", "422", "time"]), st.integers(0, 5000)),
        max_size=30,
    )
)
def test_never_due_in_the_past_and_never_without_an_end(steps):
    timer, now = SessionTimer(SETTINGS), 0.0
    for what, number in steps:
        match what:
            case "ask":
                timer.answering(asked(f"{number};refresher=uas"), now)
            case "answer":
                timer.accepted(answered(value=f"{number}"), now)
            case "fail":
                timer.failed(now)
            case "422":
                timer.too_small(answered(422, minimum=number), now)
            case "time":
                now += number / 10
                timer.expire(now)
                timer.expire(now)
                assert timer.next_due is None or timer.next_due > now
        assert (timer.interval is None) == (timer.next_due is None)
        assert SessionTimer.restore(timer.snapshot(), SETTINGS).snapshot() == timer.snapshot()
