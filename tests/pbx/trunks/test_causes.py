"""Q.850 and SIP, each made of the other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.trunks import causes


@pytest.mark.parametrize(
    ("cause", "status"), [(1, 404), (17, 486), (18, 408), (19, 480), (34, 503), (102, 504), (99, 500)]
)
def test_cause_to_status(cause, status):
    assert causes.status_of(cause) == status


@pytest.mark.parametrize(
    ("status", "cause"),
    [(404, 1), (486, 17), (408, 102), (480, 18), (503, 41), (603, 21), (499, 41), (699, 17), (302, 127)],
)
def test_status_to_cause(status, cause):
    assert causes.of_status(status) == cause


def test_what_the_peer_states_goes_first():
    reasons = [
        {"protocol": "SIP", "cause": 486, "text": None},
        {"protocol": "q.850", "cause": 20, "text": "x"},
    ]
    assert causes.told(486, reasons) == {"cause": 20, "zh": "对方不在服务区", "en": "Subscriber absent"}
    assert causes.told(486)["cause"] == 17
    assert causes.told(None)["cause"] == causes.NORMAL
    assert causes.told(None, [{"protocol": "Q.850", "cause": 99, "text": None}])["en"] == "Cause 99"


def test_every_cause_is_said_in_both_languages():
    assert all(cause.zh and cause.en.isascii() for cause in causes.CAUSES.values())
    assert all(400 <= cause.status < 700 for cause in causes.CAUSES.values())


def test_the_header():
    assert causes.header(1) == ("Reason", 'Q.850;cause=1;text="Unallocated number"')
    assert causes.header(99)[1].startswith("Q.850;cause=99;")


@given(st.integers(300, 699))
def test_every_status_has_a_cause(status):
    assert 1 <= causes.of_status(status) <= 127
