"""Health, metrics, the page, and headers on everything."""

import logging

import pytest
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from pbx.api.app import PeersFaults, listen
from tests.kit.exchange import BEARER, CALL

OPEN = ["/", "/console.js", "/style.css", "/favicon.svg"]


async def test_healthz_is_200_only_when_ready_and_needs_no_token(client, exchange):
    answer = await client.get("/healthz")
    assert (answer.status, await answer.json()) == (200, {"ready": True, "database": "down"})
    exchange.ready = False
    answer = await client.get("/healthz")
    assert (answer.status, (await answer.json())["ready"]) == (503, False)


async def test_metrics_are_prometheus_text(client):
    answer = await client.get("/metrics", headers=BEARER)
    assert answer.status == 200
    assert 'at110_live_calls{state="waiting"} 0.0' in await answer.text()


@pytest.mark.parametrize("path", [*OPEN, "/api/calls", "/healthz", "/nothing", f"/api/calls/{CALL}"])
async def test_the_browsers_hands_are_tied_on_every_answer(client, path):
    headers = (await client.get(path)).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cache-Control"] in {"no-store", "no-cache"}


async def test_the_page_has_no_inline_script_or_style(client):
    page = await (await client.get("/")).text()
    assert page.count("<script") == page.count('<script src="/console.js" defer></script>') == 1
    assert "<style" not in page
    assert "style=" not in page
    assert " on" + "click" not in page


async def test_the_page_puts_what_phones_say_nowhere_but_into_text(client):
    script = await (await client.get("/console.js")).text()
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "setAttribute"):
        assert way not in script


async def test_every_text_of_the_page_is_there_in_both_languages(client):
    script = await (await client.get("/console.js")).text()
    page = await (await client.get("/")).text()
    chinese, english = script.split("\n  en: {", 1)[0], script.split("\n  en: {", 1)[1].split("\n};", 1)[0]
    names = {part.split('"', 1)[0] for part in page.split('data-text="')[1:]}
    assert names
    for name in names:
        assert f"{name}:" in chinese
        assert f"{name}:" in english


@pytest.mark.parametrize("path", OPEN)
async def test_the_page_is_not_sent_again_when_it_has_not_changed(client, path):
    tag = (await client.get(path)).headers["ETag"]
    answer = await client.get(path, headers={"If-None-Match": tag})
    assert (answer.status, await answer.read()) == (304, b"")


async def test_a_taken_port_is_named():
    first = await listen(web.Application(), "127.0.0.1", 0)
    try:
        with pytest.raises(OSError, match=f"127.0.0.1:{first.port}"):
            await listen(web.Application(), "127.0.0.1", first.port)
    finally:
        await first.close()


@pytest.mark.parametrize(
    ("fault", "kept"),
    [
        (LineTooLong(b"Range", 8190), False),
        (HttpProcessingError(code=500), True),
        (RuntimeError("ours"), True),
        (None, True),
    ],
)
def test_what_a_peer_wrote_wrong_is_no_line_of_our_log(fault, kept):
    record = logging.LogRecord(
        "aiohttp.server",
        logging.ERROR,
        "",
        1,
        "Error handling request",
        (),
        fault and (type(fault), fault, None),
    )
    assert PeersFaults().filter(record) is kept
