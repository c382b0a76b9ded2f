"""Accounts are blocked by the API: persons only, by role, and every refusal in both languages."""

import pytest
from aiohttp.test_utils import TestClient, TestServer

from pbx.api.app import build
from pbx.api.blocks import BlockRoutes
from pbx.block_service import REASONS, BlockService
from pbx.storage.blocks import BlockError
from pbx.storage.database import DatabaseAwayError
from tests.kit.exchange import BEARER, TOKEN, until
from tests.kit.signed_in import be, post
from tests.pbx.api.test_rights import ADMIN, AUDITOR, D, People, S

BLOCK = "/api/identities/13800000001/block"
UNBLOCK = "/api/identities/13800000001/unblock"


class Book:
    """Blocks in memory."""

    def __init__(self):
        self.acts, self.wrong, self.refreshed = [], None, 0

    async def block(self, _database, user, why, by):
        self._did("block", user, why, by)

    async def unblock(self, _database, user, by):
        self._did("unblock", user, by)

    def _did(self, *act):
        if self.wrong is not None:
            raise self.wrong
        self.acts.append(act)

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
    application = build(
        exchange, token=TOKEN, evidence=evidence, metrics=metrics, wall=clock, monotonic=clock,
        further=BlockRoutes(BlockService(book, book, None)).routes(), people=people,
    )  # fmt: skip
    async with TestClient(TestServer(application)) as started:
        await until(lambda: len(exchange.feed) == 1)
        yield started


async def test_it_is_of_effect_at_once_or_a_little_later(client, book):
    await be(client, "8002")
    assert await post(client, BLOCK, {"why": "40 hoaxes"}) == (200, {"ok": True})
    assert book.refreshed == 1
    assert await post(client, UNBLOCK) == (200, {"ok": True}), "nobody could read the accounts again"
    assert book.acts == [("block", "13800000001", "40 hoaxes", "8002"), ("unblock", "13800000001", "8002")]


@pytest.mark.parametrize(("user", "status"), [("8001", 403), ("8002", 200), ("8003", 403), ("8004", 200)])
async def test_rights(client, book, user, status):
    await be(client, user)
    assert (await post(client, BLOCK, {"why": "x"}))[0] == status
    assert (await post(client, UNBLOCK))[0] == status
    assert len(book.acts) == (2 if status == 200 else 0)


async def test_the_token_is_nobody_in_particular(client, book):
    for path, body in ((BLOCK, {"why": "x"}), (UNBLOCK, None)):
        status, told = await post(client, path, body, headers=BEARER)
        assert (status, told["error"]["code"]) == (403, "person_needed")
    assert book.acts == []


@pytest.mark.parametrize(
    "body", [{}, {"why": ""}, {"why": " \n"}, {"why": "x" * 501}, {"why": "x", "by": "8001"}]
)
async def test_nobody_is_blocked_without_a_reason(client, book, body):
    await be(client, "8002")
    assert (await post(client, BLOCK, body))[0] == 400
    assert book.acts == []


async def test_no_account_has_a_control_character(client, book):
    await be(client, "8002")
    assert (await client.post("/api/identities/1%00/block", json={"why": "x"})).status == 404
    assert book.acts == []


@pytest.mark.parametrize("code", REASONS)
async def test_refusals_are_said_in_both_languages(client, book, code):
    book.wrong = DatabaseAwayError() if code == "database_away" else BlockError(code)
    await be(client, "8002")
    for path, body in ((BLOCK, {"why": "x"}), (UNBLOCK, None)):
        status, told = await post(client, path, body)
        assert (status, told["error"]["code"]) == (REASONS[code][0], code)
        assert told["error"]["zh"]
        assert told["error"]["en"]
    assert book.refreshed == 0
