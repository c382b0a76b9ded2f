from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from structlog.testing import capture_logs

from pbx.api.app import build
from pbx.metrics import Metrics
from tests.kit.exchange import TOKEN, Clock, FakeExchange, until


@pytest.fixture
def exchange() -> FakeExchange:
    return FakeExchange()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    folder = tmp_path / "evidence"
    folder.mkdir()
    return folder


@pytest.fixture(autouse=True)
def told() -> Iterator[list[Any]]:
    """What was logged; nothing is printed."""
    with capture_logs() as lines:
        yield lines


@pytest.fixture
async def client(
    exchange: FakeExchange, metrics: Metrics, clock: Clock, evidence: Path
) -> AsyncIterator[TestClient[Any, Any]]:
    application = build(
        exchange, token=TOKEN, evidence=evidence, metrics=metrics, max_readers=3, wall=clock, monotonic=clock
    )
    async with TestClient(TestServer(application)) as started:
        await until(lambda: len(exchange.feed) == 1)  # the application's own subscription
        yield started
