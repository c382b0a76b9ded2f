import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp.picture import INTERVAL_SECONDS, PATIENCE_SECONDS, TIMES, PictureRequests, way


@pytest.mark.parametrize(
    ("feedback", "expected"),
    [(("nack", "nack pli", "ccm fir"), "pli"), (("ccm fir",), "fir"), (("nack",), "info"), ((), "info")],
)
def test_way(feedback, expected):
    assert way(feedback) == expected


@given(st.lists(st.tuples(st.floats(0, 2), st.sampled_from(["want", "key", ""])), max_size=50))
def test_never_too_often_and_no_want_is_forgotten(steps):
    requests, now, asked, answered, open_since = PictureRequests(), 0.0, [], True, None
    for pause, what in steps:
        now += pause
        if what == "key":
            requests.answered()
            answered, open_since = True, None
        if what == "want":
            open_since = open_since if open_since is not None else now
        if requests.want(now) if what == "want" else requests.expire(now):
            least = INTERVAL_SECONDS if answered else min(INTERVAL_SECONDS, PATIENCE_SECONDS)
            assert not asked or now - asked[-1] >= least - 1e-9
            asked.append(now)
            answered, open_since = False, None
        if open_since is not None:
            assert now < requests.next_due <= asked[-1] + INTERVAL_SECONDS


def test_the_first_want_is_asked_at_once_and_nothing_without_a_want():
    requests = PictureRequests()
    assert not requests.expire(100.0)
    assert requests.next_due is None
    assert requests.want(0.5)
    requests.answered()
    assert not requests.want(0.6)
    assert not requests.expire(0.5 + INTERVAL_SECONDS - 0.01)
    assert requests.expire(0.5 + INTERVAL_SECONDS)
    requests.answered()
    assert not requests.expire(3.0)


def test_a_request_that_nobody_answers_is_made_again_a_few_times():
    requests = PictureRequests()
    assert requests.want(0.0)
    asked = [step / 100 for step in range(1, 1000) if requests.expire(step / 100)]
    assert asked == [pytest.approx(PATIENCE_SECONDS * n, abs=0.011) for n in range(1, TIMES + 1)]
    assert not requests.awaiting
    assert requests.next_due is None
    assert requests.want(20.0), "and whoever wants one later is served"
    assert requests.awaiting


def test_what_is_wanted_while_a_request_waits_is_part_of_it():
    requests = PictureRequests()
    requests.want(0.0)
    assert not requests.want(PATIENCE_SECONDS / 2)
    requests.answered()
    assert requests.next_due is None, "the key frame came after both"


def test_a_long_way_is_given_its_time():
    requests = PictureRequests()
    requests.patience = 0.9
    requests.want(0.0)
    assert not requests.expire(0.89)
    assert requests.expire(0.9)


def test_fir_numbers_count_on_and_wrap_and_a_repetition_has_that_of_its_command():
    requests, numbers = PictureRequests(), []
    for command in range(257):
        assert requests.want(10.0 * command)
        numbers.append(requests.fir_number())
        assert requests.expire(10.0 * command + PATIENCE_SECONDS)
        # RFC 5104 §4.3.1.1: the sequence number "SHALL NOT be incremented" for a repetition.
        assert requests.fir_number() == numbers[-1]
        requests.answered()
    assert numbers[-3:] == [254, 255, 0]


@pytest.mark.parametrize("answered", [False, True])
def test_restored_requests_go_on_alike(answered):
    one = PictureRequests()
    one.patience = 0.3
    one.want(1.0)
    one.fir_number()
    if answered:
        one.answered()
        one.want(1.2)
    two = PictureRequests.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(one.snapshot())))
    assert two.next_due == one.next_due == 1.0 + (INTERVAL_SECONDS if answered else 0.3)
    assert two.expire(2.0)
    assert two.fir_number() == int(answered)
    assert two.awaiting
