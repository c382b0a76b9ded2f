"""Persons may what their roles give them at this moment, at their own desk, and nothing that is not in the table."""

import contextlib

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

from pbx.api.app import build
from pbx.api.auth import COOKIE, FAILURES
from pbx.api.exchange import HAND_VERBS
from pbx.api.rights import DISPATCHER, EVERYTHING, RIGHTS, may
from pbx.api.roles import RoleRoutes
from tests.kit.exchange import BEARER, CALL, TOKEN, until
from tests.pbx.api.test_feed import Stream

D, S, AUDITOR, ADMIN = (
    frozenset({DISPATCHER, *more}) for more in ((), ("supervisor",), ("auditor",), ("admin",))
)


class People:
    """Li may what `held` says; the password is "secret"."""

    def __init__(self):
        self.held = {"8001": D}
        self.hear = None

    def proves(self, user, password):
        return user in self.held and password == "secret"

    def roles(self, user):
        return self.held.get(user, frozenset())

    def set(self, user, roles):
        self.held[user] = roles
        self.hear(frozenset({user}))


class Table:
    def __init__(self):
        self.told = []

    def roles(self):
        return [{"user": "8001", "roles": []}]

    async def role_changes(self):
        return []

    async def grant(self, user, role, by):
        self.told.append(("grant", user, role, by))

    async def revoke(self, user, role, by):
        self.told.append(("revoke", user, role, by))


@pytest.fixture
def people():
    return People()


@pytest.fixture
def table():
    return Table()


@pytest.fixture
async def client(exchange, metrics, clock, evidence, people, table):
    def changed(hear):
        people.hear = hear

    application = build(
        exchange, token=TOKEN, evidence=evidence, metrics=metrics, wall=clock, monotonic=clock,
        further=RoleRoutes(table).routes(), people=people, changed=changed,
    )  # fmt: skip
    async with TestClient(TestServer(application)) as started:
        await until(lambda: len(exchange.feed) == 1)
        yield started


async def login(client, user="8001", password="secret"):
    return await client.post("/api/login", json={"user": user, "password": password})


# --- the table ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "roles", [D, S, AUDITOR, ADMIN, frozenset({DISPATCHER, "supervisor", "auditor", "admin"})]
)
def test_what_is_not_in_the_table_is_nobodys(roles):
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH"):
        for path in ("/api/everything", "/api/desk/{desk}/hold", "/api/calls/{call}/new", ""):
            assert not may(method, path, roles, own=True)
            assert may(method, path, frozenset({EVERYTHING}), own=False), "the token may everything"


def test_without_a_role_nothing_is_allowed():
    assert not any(may(method, path, frozenset(), own=True) for method, path in RIGHTS)


@pytest.mark.parametrize("verb", [*HAND_VERBS, "sign-in", "sign-out", "pause", "resume", "end-call"])
def test_desks(verb):
    path = "/api/desks/{desk}/" + verb
    assert may("POST", path, D, own=True)
    assert not may("POST", path, D, own=False)
    assert may("POST", path, S, own=False) is (verb not in HAND_VERBS)
    assert not may("POST", path, frozenset({"auditor"}), own=True)


def test_who_reads_changes_nothing_and_who_sets_up_sees_no_evidence():
    auditor, admin = frozenset({"auditor"}), frozenset({"admin"})
    assert {
        path for (method, path) in RIGHTS if method != "GET" and may(method, path, auditor, own=True)
    } == {"/api/logout"}
    assert not may("GET", "/api/evidence/{call}", admin, own=True)
    assert may("GET", "/api/evidence/{call}", auditor, own=True)
    assert not may("GET", "/api/evidence/{call}", D, own=True)
    for path in ("/api/roles/{user}/{role}",):
        assert may("POST", path, admin, own=False)
        assert not any(may("POST", path, roles, own=True) for roles in (D, S, AUDITOR))


# --- with people ------------------------------------------------------------------------------------------------------------


async def test_a_dispatcher_does_the_own_work_and_no_more(client, exchange):
    assert (await login(client)).status == 200
    assert (await client.get("/api/calls")).status == 200
    assert (await client.post("/api/desks/8001/pause", json={})).status == 200
    refused = await client.post("/api/desks/8002/pause", json={})
    assert (refused.status, (await refused.json())["error"]["code"]) == (403, "not_your_role")
    assert (await client.get(f"/api/evidence/{CALL}")).status == 403
    assert (await client.post("/api/roles/8001/admin")).status == 403
    assert (await client.get("/metrics")).status == 403
    assert (await client.get("/no/such/thing")).status == 404
    assert exchange.told == [("pause", "8001")]


async def test_nobody_sits_down_as_somebody_else(client, people, exchange):
    await login(client)
    assert (await client.post("/api/desks/8001/sign-in", json={"user": "8002"})).status == 403
    assert (await client.post("/api/desks/8001/sign-in", json={"user": "8001"})).status == 200
    people.set("8001", S)
    assert (await client.post("/api/desks/8002/sign-in", json={"user": "8003"})).status == 200
    assert exchange.told == [("sign_in", "8001", "8001"), ("sign_in", "8002", "8003")]


async def test_a_role_counts_from_the_next_request_and_until_it_is_taken(client, people, table):
    await login(client)
    people.set("8001", ADMIN)
    assert (await client.post("/api/roles/8002/supervisor")).status == 200
    assert (await client.delete("/api/roles/8002/supervisor")).status == 200
    assert table.told == [("grant", "8002", "supervisor", "8001"), ("revoke", "8002", "supervisor", "8001")]
    assert (await client.get("/api/roles")).status == 200
    assert (await client.get("/api/roles/changes")).status == 200
    people.set("8001", D)
    assert (await client.post("/api/roles/8001/admin")).status == 403
    assert (await client.post("/api/roles/8001/king", headers=BEARER)).status == 404


async def test_an_open_stream_ends_when_the_role_changes_and_others_stay(client, people):
    await login(client)
    async with client.get("/api/events") as mine, client.get("/api/events", headers=BEARER) as other:
        stream, rest = Stream(mine), Stream(other)
        assert (await stream.next())[0] == (await rest.next())[0] == "snapshot"
        people.set("8001", frozenset())
        with contextlib.suppress(EOFError, aiohttp.ClientError):
            while True:  # ends with the stream; `next` gives up after five seconds
                await stream.next()
        assert not other.content.at_eof()
    assert (await client.get("/api/events")).status == 401, "nobody any more"


async def test_wrong_passwords_are_refused_and_limited(client):
    for _ in range(FAILURES):
        answer = await login(client, password="guess")
        assert answer.status == 401
    assert (await login(client, password="guess")).status == 429
    assert (await login(client)).status == 429, "the right one too"


@pytest.mark.parametrize(
    "body",
    [{}, {"user": "8001"}, {"password": "secret"}, {"token": "x", "user": "8001", "password": "secret"}, {"user": "9", "password": "secret"},
     {"token": TOKEN, "user": "8001"}],
)  # fmt: skip
async def test_half_a_login_is_none(client, body):
    assert (await client.post("/api/login", json=body)).status == 401


async def test_a_cookie_is_one_persons(client, people):
    """Its user stands in it under the HMAC: whoever writes another name there has no cookie."""
    people.held["8002"] = ADMIN
    await login(client)
    value = next(cookie.value for cookie in client.session.cookie_jar if cookie.key == COOKIE)
    end, chance, _, seal = value.split(".")
    forged = f"{end}.{chance}.ODAwMg.{seal}"
    assert (await client.get("/api/calls", cookies={COOKIE: forged})).status == 401
    bare = f"{end}.{chance}.{seal}"
    assert (await client.get("/api/calls", cookies={COOKIE: bare})).status == 401
    assert (await client.post("/api/logout")).status == 200
    assert (await client.get("/api/calls", cookies={COOKIE: value})).status == 401
