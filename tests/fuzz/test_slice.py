"""A slice of `make fuzz` in every test run: the same mutants each time, without atheris."""

import random

import pytest

from tests.fuzz.mutate import mutants
from tests.fuzz.targets import TARGETS, seeds, timed

COUNT = 1500
"""Mutants per target: one to three seconds."""


@pytest.mark.parametrize("name", TARGETS)
def test_mutants_keep_every_promise(name: str) -> None:
    dice = random.Random(f"slice {name}")
    for data in mutants(seeds(name), COUNT, dice):
        try:
            timed(TARGETS[name], data)
        except Exception as error:
            raise AssertionError(f"{name} broke its promise on {data!r}") from error


def test_mutants_are_the_same_each_time() -> None:
    one, other = (mutants(seeds("uri"), 50, random.Random(5)) for _ in range(2))
    assert one == other
    assert len(set(one)) > 40


def test_a_broken_promise_is_noticed() -> None:
    def broken(data: bytes) -> None:
        raise AssertionError("seen")

    with pytest.raises(AssertionError, match="seen"):
        timed(broken, b"x")
