import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp.picture import INTERVAL_SECONDS, PictureRequests, way


@pytest.mark.parametrize(
    ("feedback", "expected"),
    [(("nack", "nack pli", "ccm fir"), "pli"), (("ccm fir",), "fir"), (("nack",), "info"), ((), "info")],
)
def test_way(feedback, expected):
    assert way(feedback) == expected


@given(st.lists(st.tuples(st.floats(0, 2), st.booleans()), max_size=50))
def test_at_most_one_a_second_and_no_want_is_forgotten(steps):
    requests, now, asked, open_since = PictureRequests(), 0.0, [], None
    for pause, wanted in steps:
        now += pause
        if wanted:
            open_since = open_since if open_since is not None else now
        if requests.want(now) if wanted else requests.expire(now):
            asked.append(now)
            open_since = None
        if open_since is not None:
            assert requests.next_due == asked[-1] + INTERVAL_SECONDS > now
    assert all(after - before >= INTERVAL_SECONDS - 1e-9 for before, after in itertools.pairwise(asked))


def test_the_first_want_is_asked_at_once_and_nothing_without_a_want():
    requests = PictureRequests()
    assert not requests.expire(100.0)
    assert requests.next_due is None
    assert requests.want(0.5)
    assert not requests.want(0.6)
    assert requests.expire(1.5)
    assert not requests.expire(3.0)


def test_fir_numbers_count_on_and_wrap():
    requests = PictureRequests()
    assert [requests.fir_number() for _ in range(257)][-3:] == [254, 255, 0]


def test_restored_requests_go_on_alike():
    one = PictureRequests()
    one.want(1.0)
    one.want(1.5)
    one.fir_number()
    two = PictureRequests.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(one.snapshot())))
    assert two.next_due == one.next_due == 1.0 + INTERVAL_SECONDS
    assert two.expire(2.0)
    assert two.fir_number() == 1
