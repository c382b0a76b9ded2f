"""Who may stay before it has said anything (bars F19)."""

from hypothesis import given
from hypothesis import strategies as st

from pbx.transport.crowd import Crowd


def test_few_per_host() -> None:
    crowd = Crowd(per_host=2, in_all=10)
    assert [crowd.admit(n, "a") for n in range(3)] == [(True, None), (True, None), (False, None)]
    assert crowd.admit(3, "b") == (True, None)
    crowd.leave(0)
    assert crowd.admit(4, "a") == (True, None)


def test_the_oldest_of_all_makes_room() -> None:
    crowd = Crowd(per_host=2, in_all=3)
    for n in range(3):
        crowd.admit(n, f"host{n}")
    assert crowd.admit(3, "host3") == (True, 0)
    assert crowd.admit(4, "host0") == (True, 1), "its place at host0 is free again"
    assert len(crowd) == 3


def test_leaving_twice_is_harmless() -> None:
    crowd = Crowd(per_host=1, in_all=1)
    crowd.admit(1, "a")
    crowd.leave(1)
    crowd.leave(1)
    assert (len(crowd), dict(crowd._crowd)) == (0, {})


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abc"), st.booleans()), max_size=200))
def test_the_limits_always_hold(steps: list[tuple[int, str, bool]]) -> None:
    crowd = Crowd(per_host=3, in_all=5)
    inside: dict[int, str] = {}
    for number, host, comes in steps:
        if comes and number not in inside:
            welcome, evicted = crowd.admit(number, host)
            if evicted is not None:
                del inside[evicted]
            if welcome:
                inside[number] = host
        elif not comes:
            crowd.leave(number)
            inside.pop(number, None)
        assert len(crowd) == len(inside) <= 5
        assert all(list(inside.values()).count(it) <= 3 for it in "abc")
