"""Queues, decisions, statistics and a supervisor's hand over HTTP, told to a fake."""

from datetime import UTC

import pytest
from aiohttp.test_utils import TestClient, TestServer

from pbx.api.app import build
from pbx.api.exchange import ExchangeError
from tests.kit.exchange import BEARER, CALL, TOKEN, until


class FakeRouting:
    def __init__(self):
        self.told = []

    def queues(self):
        return [{"queue": "default", "waiting": 2}]

    async def why(self, call):
        if call != CALL:
            raise ExchangeError(404, "unknown_call", "没有这个呼叫", "There is no such call")
        return [{"event": "routed"}]

    async def statistics(self, since, until, period, zone):
        return {"asked": [since, until, period, str(zone)]}

    async def prioritise(self, call, name, by):
        self.told.append(("prioritise", call, name, by))

    async def hold_back(self, prefix, by, *, on):
        self.told.append(("hold", prefix, on))

    def held_back(self):
        return ["86139"]

    def callbacks(self):
        return [{"call": CALL}]

    async def callback_done(self, call):
        self.told.append(("done", call))


@pytest.fixture
def routing():
    return FakeRouting()


@pytest.fixture
async def client(exchange, metrics, clock, evidence, routing):
    application = build(
        exchange,
        token=TOKEN,
        evidence=evidence,
        metrics=metrics,
        wall=clock,
        monotonic=clock,
        routing=routing,
    )
    async with TestClient(TestServer(application)) as started:
        await until(lambda: len(exchange.feed) == 1)
        yield started


GETS = {
    "/api/queues": {"queues": [{"queue": "default", "waiting": 2}]},
    f"/api/calls/{CALL}/why": {"why": [{"event": "routed"}]},
    "/api/queue/hold": {"held": ["86139"]},
    "/api/callbacks": {"callbacks": [{"call": CALL}]},
    "/api/statistics?since=0&until=60": {"asked": [0.0, 60.0, "hour", str(UTC)]},
    "/api/statistics?since=0&until=60&period=day&zone=Asia/Shanghai": {
        "asked": [0.0, 60.0, "day", "Asia/Shanghai"]
    },
}


@pytest.mark.parametrize("path", GETS)
async def test_what_can_be_read(client, path):
    answer = await client.get(path, headers=BEARER)
    assert (answer.status, await answer.json()) == (200, GETS[path])
    assert (await client.get(path)).status == 401


@pytest.mark.parametrize(
    "query",
    ["", "since=0", "since=x&until=1", "since=5&until=1", "since=0&until=99999999", "since=nan&until=1",
     "since=0&until=1&period=week", "since=0&until=1&zone=../etc"],
)  # fmt: skip
async def test_statistics_refuse_what_makes_no_sense(client, query):
    assert (await client.get(f"/api/statistics?{query}", headers=BEARER)).status == 400


async def test_acts(client, routing):
    acts = (
        (f"/api/calls/{CALL}/priority", {"class": "danger"}),
        ("/api/queue/hold", {"prefix": "86139"}),
        ("/api/queue/hold", {"prefix": "86139", "on": False}),
        (f"/api/callbacks/{CALL}/done", None),
    )
    for path, body in acts:
        answer = await client.post(path, headers=BEARER, json=body)
        assert answer.status == 200, path
    assert [told[0] for told in routing.told] == ["prioritise", "hold", "hold", "done"]
    assert routing.told[0][1:3] == (CALL, "danger")
    assert routing.told[1:3] == [("hold", "86139", True), ("hold", "86139", False)]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"/api/calls/{CALL}/priority", {"class": "head"}),
        (f"/api/calls/{CALL}/priority", {}),
        ("/api/queue/hold", {"prefix": "1"}),
    ],
)
async def test_nobody_makes_himself_first_and_a_slip_does_not_hold_everybody(client, routing, path, body):
    assert (await client.post(path, headers=BEARER, json=body)).status == 400
    assert routing.told == []
