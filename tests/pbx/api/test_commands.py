"""What dispatchers see and do, told to a fake exchange."""

from typing import get_args

import pytest

from pbx.api.exchange import HAND_VERBS
from pbx.call.hands import Verb
from tests.kit.exchange import BEARER, CALL, impossible


@pytest.mark.parametrize("act", ["sign-out", "pause", "resume", "end-call"])
async def test_desk_acts_reach_the_exchange(client, exchange, act):
    answer = await client.post(f"/api/desks/8001/{act}", headers=BEARER)
    assert (answer.status, await answer.json()) == (200, {"ok": True})
    assert exchange.told == [(act.replace("-", "_"), "8001")]


async def test_signing_in_without_a_body_seats_the_desks_own_account(client, exchange):
    assert (await client.post("/api/desks/8001/sign-in", headers=BEARER)).status == 200
    assert exchange.told == [("sign_in", "8001", "8001")]


async def test_signing_in_may_name_who_sits_there(client, exchange):
    answer = await client.post("/api/desks/8001/sign-in", headers=BEARER, json={"user": "li.wei"})
    assert answer.status == 200
    assert exchange.told == [("sign_in", "8001", "li.wei")]


async def test_lists_are_named_and_what_a_phone_sent_is_made_fit_for_json(client):
    calls = await (await client.get("/api/calls", headers=BEARER)).json()
    assert calls["calls"][0]["caller"] == "sip:\ufffd\ufffd<b>@x"
    assert await (await client.get("/api/queue", headers=BEARER)).json() == {
        "queue": [{"call": CALL, "position": 1}]
    }
    desks = await (await client.get("/api/desks", headers=BEARER)).json()
    assert desks["desks"][0]["desk"] == "8001"


async def test_one_call(client):
    answer = await client.get(f"/api/calls/{CALL}", headers=BEARER)
    assert (answer.status, (await answer.json())["state"]) == (200, "waiting")


@pytest.mark.parametrize(
    "call", ["ffffffffffffffff", "short", "UPPERCASE", "a" * 65, "0123456%2e", "..%2f..%2fetc"]
)
async def test_a_call_that_is_not_there_is_404_in_both_languages(client, call):
    answer = await client.get(f"/api/calls/{call}", headers=BEARER)
    assert answer.status == 404
    error = (await answer.json())["error"]
    assert error["zh"]
    assert error["en"]


async def test_silent_goes_on_at_once_and_off_in_two_acts(client, exchange):
    path = f"/api/calls/{CALL}/silent"
    assert (await client.post(path, headers=BEARER, json={"on": True})).status == 200
    asked = await client.post(path, headers=BEARER, json={"off": "request"})
    assert await asked.json() == {"ok": True, "expires": 1234.5}
    assert (await client.post(path, headers=BEARER, json={"off": "confirm"})).status == 200
    assert exchange.told == [("silent_on", CALL), ("silent_off_request", CALL), ("silent_off_confirm", CALL)]


@pytest.mark.parametrize(
    "body",
    [b"{}", b'{"on": false}', b'{"on": true, "off": "request"}', b'{"off": true}', b'{"off": "now"}',
     b'{"on": true, "x": 1}', b"[]", b"", b"\xff", b'{"on": true'],
)  # fmt: skip
async def test_anything_else_about_silence_does_nothing(client, exchange, body):
    headers = {**BEARER, "Content-Type": "application/json"}
    answer = await client.post(f"/api/calls/{CALL}/silent", headers=headers, data=body)
    assert answer.status == 400
    assert exchange.told == []


async def test_a_body_that_says_it_is_no_json_is_refused(client, exchange):
    answer = await client.post(
        f"/api/calls/{CALL}/silent", headers={**BEARER, "Content-Type": "text/plain"}, data=b'{"on": true}'
    )
    assert answer.status == 415
    assert exchange.told == []


async def test_a_body_beyond_the_limit_is_refused(client, exchange):
    headers = {**BEARER, "Content-Type": "application/json"}
    padding = b" " * (16 * 1024)
    answer = await client.post(f"/api/calls/{CALL}/silent", headers=headers, data=b'{"on": true}' + padding)
    assert answer.status == 413
    assert exchange.told == []


async def test_what_the_exchange_refuses_is_told_in_both_languages(client, exchange):
    exchange.error = impossible()
    answer = await client.post("/api/desks/8001/pause", headers=BEARER)
    assert answer.status == 409
    error = {"code": "signed_out", "zh": "该坐席没有签入", "en": "The desk is not signed in"}
    assert await answer.json() == {"error": error}


async def test_a_fault_of_ours_is_500_without_its_words(client, exchange, metrics):
    exchange.error = ZeroDivisionError("the secret inside")
    answer = await client.post("/api/desks/8001/pause", headers=BEARER)
    assert answer.status == 500
    assert "secret" not in await answer.text()
    assert metrics.registry.get_sample_value("at110_http_requests_total", {"status": "500"}) == 1


async def test_a_wrong_method_names_the_right_one(client):
    answer = await client.get("/api/desks/8001/pause", headers=BEARER)
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    assert (await answer.json())["error"]["code"] == "wrong_method"


@pytest.mark.parametrize("verb", HAND_VERBS)
async def test_what_hands_do_reaches_the_exchange(client, exchange, verb):
    answer = await client.post(f"/api/desks/8001/{verb}", headers=BEARER)
    assert (answer.status, await answer.json()) == (200, {"ok": True})
    wanted = {"target": "119", "role": "fire", "call": CALL}
    await client.post(f"/api/desks/8001/{verb}", headers=BEARER, json=wanted)
    assert exchange.told == [
        ("hand", "8001", verb, "", "helper", None),
        ("hand", "8001", verb, "119", "fire", CALL),
    ]


@pytest.mark.parametrize(
    "body", [{"target": "x" * 65}, {"role": "Fire"}, {"role": ""}, {"call": "../x"}, {"who": "8002"}]
)
async def test_what_hands_can_not_read(client, exchange, body):
    answer = await client.post("/api/desks/8001/transfer", headers=BEARER, json=body)
    assert answer.status == 400
    assert exchange.told == []


def test_the_api_knows_every_verb():
    assert set(HAND_VERBS) == set(get_args(Verb))
