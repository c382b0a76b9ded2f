from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs


@pytest.fixture(autouse=True)
def told() -> Iterator[list[Any]]:
    """What was logged; nothing is printed."""
    with capture_logs() as lines:
        yield lines
