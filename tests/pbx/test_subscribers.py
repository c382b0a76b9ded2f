"""The operator's service: what it says, and everything it may do instead, within 0.3 s."""

import asyncio
import time

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from pbx.subscriber_settings import TIMEOUT, SubscriberSettings
from pbx.subscribers import MAX_AT_ONCE, MAX_BYTES, HttpSubscribers, SubscriberError

KNOWN = {"name": "王丽", "address": "滨海路1号", "language": "zh", "needs": ["deaf"], "credit": "bad"}


@pytest.fixture
async def service():
    """A server that answers as the number asks; gives a function that makes a client."""
    asked = []

    async def answer(request):
        asked.append(request.match_info["number"])
        match request.match_info["number"]:
            case "+86404":
                raise web.HTTPNotFound
            case "+86500":
                raise web.HTTPInternalServerError
            case "+86302":
                raise web.HTTPFound("http://192.0.2.1/")
            case "+86999":
                await asyncio.sleep(30)
            case "+861":
                return web.Response(text="nonsense")
            case "+862":
                return web.json_response({"name": "x" * 201})
            case "+863":
                return web.Response(body=b" " * (MAX_BYTES + 1))
            case "+864":
                return web.json_response({"needs": ["wheelchair"]})
        return web.json_response(KNOWN)

    application = web.Application()
    application.router.add_get("/by/{number}", answer)
    async with TestServer(application) as server:

        def client(seconds=TIMEOUT):
            made = HttpSubscribers(
                SubscriberSettings(url=f"{server.make_url('/by/')}{{number}}", seconds=seconds)
            )
            made.asked = asked
            return made

        yield client


async def test_facts_with_who_says_them_and_when(service):
    client = service()
    before = time.time()
    found = await client.find("+8613800138000")
    assert client.asked == ["+8613800138000"]
    assert before - 1 <= found.pop("at") <= time.time() + 1
    assert found == {
        "name": "王丽",
        "address": "滨海路1号",
        "language": "zh",
        "needs": ["deaf"],
        "by": "127.0.0.1",
    }


@pytest.mark.parametrize(
    ("number", "why"),
    [
        ("+86404", "unknown there"),
        ("+86500", "answers 500"),
        ("+86302", "answers 302"),
        ("+86999", "no answer within 0.05 s"),
        ("+861", "no facts"),
        ("+862", "no facts"),
        ("+863", "answer too long"),
        ("+864", "no facts"),
    ],
)
async def test_what_it_may_do_instead(service, number, why):
    client = service(0.05 if number == "+86999" else TIMEOUT)
    with pytest.raises(SubscriberError, match=why):
        await client.find(number)


async def test_a_service_that_is_not_there():
    client = HttpSubscribers(SubscriberSettings(url="http://127.0.0.1:9/{number}"))
    with pytest.raises(SubscriberError):
        await client.find("+86110")


async def test_a_number_is_a_number_and_no_path(service):
    client = service()
    await client.find("+86/../secret?x=1")
    assert client.asked == ["+86/../secret?x=1"], "all of it is the one part of the path"


async def test_a_crowd_of_questions_is_bounded(service):
    client = service(0.2)
    waiting = asyncio.gather(*(client.find("+86999") for _ in range(MAX_AT_ONCE)), return_exceptions=True)
    await asyncio.sleep(0)
    with pytest.raises(SubscriberError, match="too many"):
        await client.find("+86138")
    for one in await waiting:
        assert isinstance(one, SubscriberError)
    assert (await client.find("+86138"))["name"] == "王丽"


@pytest.mark.parametrize(
    "url",
    ["ftp://x/{number}", "https://{number}/x", "https://x/", "https://u:p@x/{number}", "x/{number}",
     "https://x/{number}/{number}"],
)  # fmt: skip
def test_a_url_that_is_none_is_named(url):
    (problem,) = SubscriberSettings(url=url).problems()
    assert repr(url) in problem


def test_urls():
    assert SubscriberSettings().problems() == []
    assert SubscriberSettings(url="https://x.example/?n={number}").problems() == []
