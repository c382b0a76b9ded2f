"""The live feed: snapshot first, every event after it, nobody waits for the slow."""

import asyncio
import json
import socket

import pytest
from aiohttp import ClientPayloadError

from pbx.api.auth import COOKIE, SHIFT_SECONDS
from pbx.api.feed import KEEPALIVE, MAX_BEHIND, VANISHED_MS, Feed, ReaderDroppedError, _notice_vanished
from tests.kit.exchange import BEARER, CALL, TOKEN, until


class Stream:
    """Reads server-sent events."""

    def __init__(self, answer):
        self.answer = answer

    async def next(self):
        """Give (event name, data) of the next frame that has data."""
        name = data = None
        while True:
            line = (await asyncio.wait_for(self.answer.content.readline(), 5)).decode()
            if line == "":
                raise EOFError
            if line == "\n" and data is not None:
                return name, json.loads(data)
            field, _, value = line.rstrip("\n").partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                data = value


async def test_the_snapshot_comes_first_and_events_follow_in_order(client, exchange):
    async with client.get("/api/events", headers=BEARER) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        stream = Stream(answer)
        name, snapshot = await stream.next()
        assert name == "snapshot"
        assert set(snapshot) == {"type", "now", "calls", "queue", "desks", "health"}
        assert snapshot["calls"][0]["call"] == CALL
        for n in range(50):
            exchange.feed.publish({"type": "call", "call": {"call": CALL, "n": n, "text": "a\nevent: x\n\n"}})
        for n in range(50):
            name, event = await stream.next()
            assert (name, event["call"]["n"], event["call"]["text"]) == ("event", n, "a\nevent: x\n\n")


async def test_when_the_exchange_drops_us_everybody_gets_a_fresh_snapshot(client, exchange, monkeypatch):
    monkeypatch.setattr("pbx.api.feed.RESUBSCRIBE", 0.0)
    async with client.get("/api/events", headers=BEARER) as answer:
        stream = Stream(answer)
        await stream.next()
        exchange.feed.close()
        name, event = await stream.next()
        assert (name, event["type"]) == ("snapshot", "snapshot")
        await until(lambda: len(exchange.feed) == 1)
        exchange.feed.publish({"type": "desk", "desk": {}})
        assert (await stream.next())[0] == "event"


async def test_readers_are_limited_and_leaving_makes_room(client, metrics):
    open_feeds = [await client.get("/api/events", headers=BEARER) for _ in range(3)]
    assert metrics.registry.get_sample_value("at110_feed_readers") == 3
    refused = await client.get("/api/events", headers=BEARER)
    assert (refused.status, (await refused.json())["error"]["code"]) == (503, "too_many_readers")
    for answer in open_feeds:
        answer.close()
    await until(lambda: metrics.registry.get_sample_value("at110_feed_readers") == 0)


async def test_silence_says_that_the_road_is_alive(client, exchange, monkeypatch):
    """A browser hears nothing of a comment (HTML §9.2.6), so its page would take a dead road for a quiet one."""
    monkeypatch.setattr("pbx.api.feed.KEEPALIVE", 0.01)
    async with client.get("/api/events", headers=BEARER) as answer:
        stream = Stream(answer)
        assert (await stream.next())[0] == "snapshot"
        assert await stream.next() == ("alive", {})


async def test_who_vanishes_without_a_word_is_given_up_by_the_kernel(client, monkeypatch):
    """Nothing is acknowledged, so nothing fails before the kernel's patience ends: by itself after a quarter of an hour."""
    heard = []
    monkeypatch.setattr("pbx.api.feed._notice_vanished", lambda at: heard.append(at) or _notice_vanished(at))
    async with client.get("/api/events", headers=BEARER) as answer:
        await Stream(answer).next()
        connection = heard[0].get_extra_info("socket")
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == VANISHED_MS
    assert 2 * KEEPALIVE < VANISHED_MS / 1000 < 4 * KEEPALIVE


def test_whoever_holds_most_feeds_makes_room_for_who_holds_fewer():
    feed = Feed()
    script = [feed.reader("token") for _ in range(3)]
    browsers = [feed.reader("cookie", cookie) for cookie in ("one", "two")]
    assert not feed.make_room("token", ""), "it has most itself"
    for newcomer in ("three", "four"):
        assert feed.make_room("cookie", newcomer)
        browsers.append(feed.reader("cookie", newcomer))
    assert [one.dropped for one in script] == [True, True, False], "the oldest first"
    assert not feed.make_room("cookie", "five"), "everybody has one"
    assert not any(one.dropped for one in (script[2], *browsers))
    assert not Feed().make_room("token", "")


async def test_a_newcomer_is_let_in_where_a_browser_holds_all_places(client, metrics):
    await client.post("/api/login", json={"token": TOKEN})
    held = [await client.get("/api/events") for _ in range(3)]
    answer = await client.get("/api/events", headers=BEARER)
    assert answer.status == 200
    assert metrics.registry.get_sample_value("at110_feed_readers") == 3
    for one in (*held, answer):
        one.close()


async def test_a_feed_ends_with_the_right_to_read_it(client, clock, exchange):
    await client.post("/api/login", json={"token": TOKEN})
    async with client.get("/api/events") as answer:
        stream = Stream(answer)
        await stream.next()
        clock.now += SHIFT_SECONDS
        exchange.feed.publish({"type": "desk", "desk": {}})
        await stream.next()
        with pytest.raises(EOFError):
            await stream.next()


async def test_a_feed_ends_when_whoever_opened_it_logs_out_and_nobody_elses_does(client, exchange):
    """RFC 6265 §4.1.2.2 ends a cookie in one browser; its copy in another would go on seeing every caller for a shift."""
    one, another = [
        {
            "Cookie": f"{COOKIE}={(await client.post('/api/login', json={'token': TOKEN})).cookies[COOKIE].value}"
        }
        for _ in range(2)
    ]
    client.session.cookie_jar.clear()  # it would be sent beside
    async with (
        client.get("/api/events", headers=one) as left,
        client.get("/api/events", headers=another) as stays,
    ):
        gone, goes_on = Stream(left), Stream(stays)
        await gone.next()
        await goes_on.next()
        assert (await client.post("/api/logout", headers=one)).status == 200
        exchange.feed.publish({"type": "desk", "desk": {}})
        with pytest.raises((EOFError, ClientPayloadError)):
            await gone.next()
        assert (await goes_on.next())[0] == "event"


async def test_a_reader_who_takes_nothing_is_dropped(client, exchange, metrics, monkeypatch):
    monkeypatch.setattr("pbx.api.feed.WRITE_SECONDS", 0.05)
    answer = await client.get("/api/events", headers=BEARER)
    big = {"type": "call", "call": {"text": "x" * 60_000}}
    dropped = lambda: metrics.registry.get_sample_value("at110_feed_dropped_total")  # noqa: E731
    async with asyncio.timeout(10):
        while not dropped():  # until the kernel's buffers and our own are full
            exchange.feed.publish(big)
            await asyncio.sleep(0)
    assert metrics.registry.get_sample_value("at110_feed_readers") == 0
    answer.close()


async def test_one_reader_too_far_behind_is_dropped_and_the_other_is_not():
    feed = Feed()
    slow, quick = feed.reader(), feed.reader()
    for n in range(MAX_BEHIND):
        feed.publish({"n": n})
        assert (await quick.next())["n"] == n
    assert not slow.dropped
    feed.publish({"n": MAX_BEHIND})
    assert slow.dropped
    assert len(feed) == 1
    assert (await quick.next())["n"] == MAX_BEHIND
    with pytest.raises(ReaderDroppedError):
        await slow.next()


async def test_a_subscription_holds_what_came_before_it_was_first_read():
    feed = Feed()
    events = feed.subscribe()
    feed.publish({"n": 1})
    assert await anext(events) == {"n": 1}
    feed.close()
    with pytest.raises(StopAsyncIteration):
        await anext(events)
    assert len(feed) == 0
