"""Marks and needs by the API: persons only, by role, and every refusal in both languages."""

import pytest
from aiohttp.test_utils import TestClient, TestServer

from pbx.api.app import build
from pbx.api.callers import CallerRoutes
from pbx.caller_service import CallerService
from pbx.storage.database import DatabaseAwayError
from pbx.storage.histories import UnknownMarkError
from tests.kit.exchange import BEARER, CALL, TOKEN, until
from tests.kit.signed_in import be, post
from tests.pbx.api.test_rights import ADMIN, AUDITOR, D, People, S

MARK = f"/api/calls/{CALL}/mark"
NEEDS = "/api/identities/13800000001/needs"


class Book:
    """Marks and needs in memory."""

    def __init__(self):
        self.acts, self.wrong, self.refreshed = [], None, 0

    def _did(self, *act):
        if self.wrong is not None:
            raise self.wrong
        self.acts.append(act)

    async def mark(self, _database, call, mark, note, by):
        self._did("mark", call, mark, note, by)
        return 7

    async def withdraw(self, _database, number, by):
        self._did("withdraw", number, by)

    async def marks(self, _database):
        self._did("marks")
        return [{"id": 7}]

    async def set_needs(self, _database, user, language, needs):
        self._did("needs", user, language, needs)

    async def refresh(self, _database):
        self.refreshed += 1
        if self.refreshed > 1:
            raise DatabaseAwayError


@pytest.fixture
def book():
    return Book()


@pytest.fixture
async def client(exchange, metrics, clock, evidence, book):
    people = People()
    people.held = {"8001": D, "8002": S, "8003": AUDITOR, "8004": ADMIN}
    service = CallerService(book, book, None)
    application = build(
        exchange, token=TOKEN, evidence=evidence, metrics=metrics, wall=clock, monotonic=clock,
        further=CallerRoutes(service).routes(), people=people,
    )  # fmt: skip
    async with TestClient(TestServer(application)) as started:
        await until(lambda: len(exchange.feed) == 1)
        yield started


async def test_a_dispatcher_marks_and_a_supervisor_takes_it_back(client, book):
    await be(client, "8001")
    assert await post(client, MARK, {"mark": "hoax", "note": "laughed"}) == (200, {"ok": True, "mark": 7})
    assert (await post(client, "/api/marks/7/withdraw"))[0] == 403
    await be(client, "8002")
    assert await post(client, "/api/marks/7/withdraw") == (200, {"ok": True, "mark": 7})
    assert await (await client.get("/api/marks")).json() == {"marks": [{"id": 7}]}
    assert book.acts == [("mark", CALL, "hoax", "laughed", "8001"), ("withdraw", 7, "8002"), ("marks",)]


async def test_the_token_is_nobody_in_particular(client, book):
    for path, body in ((MARK, {"mark": "hoax"}), ("/api/marks/7/withdraw", None), (NEEDS, {"needs": []})):
        status, told = await post(client, path, body, headers=BEARER)
        assert (status, told["error"]["code"]) == (403, "person_needed")
    assert book.acts == []


@pytest.mark.parametrize(
    ("user", "reads", "needs"),
    [("8001", 403, 403), ("8002", 200, 200), ("8003", 200, 403), ("8004", 403, 200)],
)
async def test_rights(client, user, reads, needs):
    await be(client, user)
    assert (await post(client, MARK, {"mark": "hoax"}))[0] == 200
    assert (await client.get("/api/marks")).status == reads
    assert (await post(client, NEEDS, {"needs": ["deaf"]}))[0] == needs


async def test_needs_are_of_effect_at_once_or_a_little_later(client, book):
    await be(client, "8002")
    body = {"language": "zh-CN", "needs": ["deaf", "deaf", "speech"]}
    assert await post(client, NEEDS, body) == (200, {"ok": True})
    assert await post(client, NEEDS, {}) == (200, {"ok": True}), "nobody could read the accounts again"
    assert book.acts == [
        ("needs", "13800000001", "zh-CN", ("deaf", "speech")),
        ("needs", "13800000001", None, ()),
    ]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (MARK, {"mark": "liar"}),
        (MARK, {"mark": "hoax", "note": "x" * 501}),
        (MARK, {}),
        (NEEDS, {"needs": ["rich"]}),
        (NEEDS, {"language": "zh; DROP"}),
        (NEEDS, {"blocked": True}),
    ],
)
async def test_what_is_no_mark_and_no_need(client, book, path, body):
    await be(client, "8002")
    status, told = await post(client, path, body)
    assert status == 400
    assert set(told["error"]) >= {"zh", "en"}
    assert book.acts == []


@pytest.mark.parametrize(
    ("wrong", "status"), [(UnknownMarkError("x"), 404), (DatabaseAwayError(), 503)]
)  # fmt: skip
async def test_refusals_are_said_in_both_languages(client, book, wrong, status):
    book.wrong = wrong
    await be(client, "8002")
    for path, body in ((MARK, {"mark": "hoax"}), ("/api/marks/7/withdraw", None), (NEEDS, {"needs": []})):
        said, told = await post(client, path, body)
        assert said == status
        assert told["error"]["zh"]
        assert told["error"]["en"]
