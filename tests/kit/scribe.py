"""A scribe for tests: what it is told of faults is raised when the test ends."""

from collections.abc import Iterator

import pytest

from pbx.scribe import Scribe


@pytest.fixture
def scribe() -> Iterator[Scribe]:
    """Give a scribe that has written everything by the end, and of whose sheets none raised."""
    faults: list[Exception] = []
    made = Scribe(faults.append)
    yield made
    made.close()
    assert faults == []
