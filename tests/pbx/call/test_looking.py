"""Looks at callers over HTTP: who may have a picture, when, and what is written down of it."""

import json
import os
import time
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from pbx.api.answers import error_middleware
from pbx.api.auth import USER
from pbx.api.snapshot import SnapshotRoutes
from pbx.call import looking as module
from pbx.call.effects import ToMedia
from pbx.call.looking import Looking
from pbx.metrics import Metrics
from recordings.leases import FOLDER, MAX_LOOKS
from rtp.control import AskPicture, MediaStarted
from tests.kit.world import World


class Control:
    """Runs verbs on a world."""

    def __init__(self, world):
        self.world = world
        self.exchange = world.exchange
        world.asked = []

    def act(self, verb):
        effects = verb(self.world.now)
        self.world.asked += [e.command for e in effects if isinstance(e, ToMedia)]
        self.world.run(effects)


@pytest.fixture
def world():
    made = World()
    made.invite("bob")
    made.ack("bob")
    made.says(MediaStarted(made.call("bob").leg, "video", 1))
    return made


@pytest.fixture
def shown(tmp_path, world):
    """Write a picture as the recorder does."""
    folder = tmp_path / FOLDER
    folder.mkdir()

    def show(data=b"\xff\xd8picture", age=0.5, call=None) -> Path:
        path = folder / f"{call or world.call('bob').id}.jpg"
        path.write_bytes(data)
        os.utime(path, (time.time() - age,) * 2)
        return path

    return show


@pytest.fixture
async def client(world, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(module, "ASK_SECONDS", 0.1)
    monkeypatch.setattr("pbx.api.snapshot.CALL", "{call:[0-9a-z-]{1,64}}")  # ids of the world are short

    @web.middleware
    async def someone(request, handler):
        request[USER] = request.headers.get("who", "token")
        return await handler(request)

    application = web.Application(middlewares=[error_middleware(Metrics()), someone])
    application.add_routes(SnapshotRoutes(Looking(Control(world), tmp_path)).routes())
    async with TestClient(TestServer(application)) as made:
        yield made


def path(world):
    return f"/api/calls/{world.call('bob').id}/snapshot"


async def test_a_fresh_picture_is_given_and_the_look_is_evidence(client, world, shown, tmp_path):
    shown()
    for _ in range(3):
        answer = await client.get(path(world))
        assert (answer.status, answer.content_type) == (200, "image/jpeg")
        assert await answer.read() == b"\xff\xd8picture"
        assert abs(float(answer.headers["X-At110-Taken"]) - time.time()) < 60
    assert [note.fields for note in world.noted("looked_at")] == [{"by": "token"}], "a row of looks is one"
    await client.get(path(world), headers={"who": "8002"})
    assert [note.fields["by"] for note in world.noted("looked_at")] == ["token", "8002"]
    lease = json.loads((tmp_path / FOLDER / f"{world.call('bob').id}.json").read_bytes())
    assert lease["folder"].endswith(world.call("bob").id)
    assert world.asked == [AskPicture(world.call("bob").leg)]


async def test_an_old_picture_is_not_shown_and_a_key_frame_is_asked_again(client, world, shown):
    shown(age=60.0)
    answer = await client.get(path(world))
    assert answer.status == 503
    assert (await answer.json())["error"]["code"] == "no_picture_yet"
    assert len(world.asked) >= 2


async def test_calls_that_are_not_there_or_show_nothing(client, world, shown):
    shown()
    answer = await client.get("/api/calls/20260101-000000-ffff/snapshot")
    assert (answer.status, (await answer.json())["error"]["code"]) == (404, "unknown_call")
    world.exchange.media[world.call("bob").id].flowing.discard("video")
    answer = await client.get(path(world))
    assert (answer.status, (await answer.json())["error"]["code"]) == (409, "no_picture")
    assert world.noted("looked_at") == []


async def test_only_so_many_are_looked_at_together(client, world, shown, monkeypatch):
    assert MAX_LOOKS > 1
    monkeypatch.setattr(module, "MAX_LOOKS", 0)
    shown()
    answer = await client.get(path(world))
    assert (answer.status, (await answer.json())["error"]["code"]) == (503, "too_many_looks")
