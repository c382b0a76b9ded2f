"""A slice of `make soak` on both engines: random calls with real sockets, every packet accounted for."""

from pathlib import Path

import pytest

from tests.kit.native_engine import demand
from tests.soak.run import ENGINES, soak

SECONDS = 2.0
"""After which no further call begins; those under way are ended in order."""


@pytest.mark.limit(180)
def test_every_packet_of_some_random_calls_is_accounted_for(tmp_path: Path) -> None:
    demand("native")
    assert soak(ENGINES, seconds=SECONDS, rooms=2, seed=1103, folder=tmp_path) == []
