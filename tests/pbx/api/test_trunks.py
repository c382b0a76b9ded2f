"""The trunks over HTTP: views, in and out of service, a call to try one; and the metrics."""

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from pbx.api.answers import error_middleware
from pbx.api.auth import USER
from pbx.api.exchange import ExchangeError
from pbx.api.trunks import Handlers
from pbx.call.trunk_service import TrunkService
from pbx.metrics import Metrics
from tests.kit.trunks import TrunkWorld, trunk


class Control:
    """Runs verbs on a world."""

    def __init__(self, world):
        self.world = world
        self.exchange = world.exchange

    def act(self, verb):
        self.world.run(verb(self.world.now))


@pytest.fixture
def world():
    return TrunkWorld(trunk(register=True, capacity=1))


@pytest.fixture
def service(world):
    return TrunkService(Control(world), Metrics())


@pytest.fixture
async def client(service):
    @web.middleware
    async def someone(request, handler):
        request[USER] = "token"
        return await handler(request)

    application = web.Application(middlewares=[error_middleware(Metrics()), someone])
    application.add_routes(Handlers(service).routes())
    async with TestClient(TestServer(application)) as made:
        yield made


async def test_the_trunks(client):
    answer = await client.get("/api/trunks")
    (view,) = (await answer.json())["trunks"]
    assert (view["trunk"], view["state"], view["calls"]) == ("t1", "unregistered", 0)


async def test_a_trial_plays_a_tone_and_hangs_up(client, world):
    answer = await client.post("/api/trunks/t1/try", json={"number": "13800138000"})
    assert answer.status == 200
    leg = (await answer.json())["leg"]
    world.accept(world.out("INVITE")[0])
    from rtp.control import PlayEnded

    world.says(PlayEnded(leg, f"{leg}/done"))
    assert world.out("BYE")


async def test_a_second_one_finds_the_trunk_full(client):
    await client.post("/api/trunks/t1/try", json={"number": "13800138000"})
    answer = await client.post("/api/trunks/t1/try", json={"number": "13800138000"})
    assert answer.status == 409
    said = await answer.json()
    assert "trunk_full" in str(said)
    assert "中继已满" in str(said)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/trunks/t9/try", {"number": "110"}, 404),
        ("/api/trunks/t9/in-service", None, 404),
        ("/api/trunks/t9/out-of-service", None, 404),
        ("/api/trunks/t1/try", {"number": "x"}, 400),
        ("/api/trunks/t1/try", {"number": "110\r\nX: y"}, 400),
        ("/api/trunks/t1/try", {}, 400),
    ],
)
async def test_what_is_refused(client, path, body, status):
    assert (await client.post(path, json=body)).status == status


async def test_out_of_service_and_back(client, world):
    assert (await client.post("/api/trunks/t1/out-of-service")).status == 200
    assert not world.trunk.in_service
    assert (await client.post("/api/trunks/t1/try", json={"number": "110"})).status == 409
    assert (await client.post("/api/trunks/t1/in-service")).status == 200
    assert world.trunk.in_service
    world.wait(0.1)
    assert world.out("REGISTER")


async def test_start_and_end(service, world):
    service.start()
    world.wait(0.1)
    world.respond(world.out("REGISTER")[0], 200)
    service.close()
    assert world.out("REGISTER")[-1][1].headers.get("Expires") == "0"
    with pytest.raises(ExchangeError):
        await service.try_out("t1", "110")


async def test_metrics(service, world):
    world.place()
    world.respond(world.out("INVITE")[0], 486)
    world.comes("13800138000")
    service.measure()
    text = service._metrics.render().decode()
    assert 'at110_trunk_live_calls{trunk="t1"} 1.0' in text
    assert 'at110_trunk_calls_since_start{trunk="t1",what="failed"} 1.0' in text
    assert 'at110_trunk_calls_since_start{trunk="t1",what="incoming"} 1.0' in text
    assert 'at110_trunk_peer_up{peer="198.51.100.1",trunk="t1"} 1.0' in text
    assert 'at110_trunk_registered{trunk="t1"} 0.0' in text
