"""Identities by the API: only by persons with the right, no number of a document beyond its digest, every refusal in both languages."""

import pytest
from aiohttp.test_utils import TestClient, TestServer
from structlog.testing import capture_logs

from pbx.api.app import build
from pbx.api.identities import IdentityRoutes
from pbx.identity_documents import DocumentKey
from pbx.identity_proof import Identity, ProofError
from pbx.identity_service import REASONS, IdentityService
from tests.kit.exchange import BEARER, TOKEN, until
from tests.kit.signed_in import be, post
from tests.pbx.api.test_rights import ADMIN, AUDITOR, D, People, S

NUMBER = "11010519491231002X"
SAID = {"name": "王丽", "phone": "13800000001", "kind": "resident-id", "number": NUMBER, "how": "in-person"}
CALLER = "/api/identities/13800000001"


class Store:
    """Identities in memory, decided as in the database."""

    def __init__(self):
        self.one, self.acts, self.wrong, self.refreshed = Identity("13800000001"), [], None, 0

    async def act(self, _database, user, act):
        self.acts.append((user, act))
        if self.wrong is not None:
            raise ProofError(self.wrong)
        return self.one.receive(act, 5.0)

    async def all(self, _database):
        if self.wrong is not None:
            raise ProofError(self.wrong)
        return [self.one.snapshot()]

    async def changes(self, _database):
        if self.wrong is not None:
            raise ProofError(self.wrong)
        return [{"act": "verified"}]

    async def refresh(self, _database):
        self.refreshed += 1


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def people():
    found = People()
    found.held = {"8001": S, "8002": ADMIN, "8003": AUDITOR, "8004": D}
    return found


@pytest.fixture
async def client(exchange, metrics, clock, evidence, people, store, tmp_path):
    service = IdentityService(store, store, None, DocumentKey(tmp_path / "document.key"))
    application = build(
        exchange, token=TOKEN, evidence=evidence, metrics=metrics, wall=clock, monotonic=clock,
        further=IdentityRoutes(service).routes(), people=people,
    )  # fmt: skip
    async with TestClient(TestServer(application)) as started:
        await until(lambda: len(exchange.feed) == 1)
        yield started


@pytest.mark.may_block("the key is made once, at the start")
async def test_two_persons_by_name(client, store):
    await be(client, "8001")
    with capture_logs() as lines:
        assert await post(client, CALLER, SAID) == (200, {"ok": True, "state": "verified"})
        status, waits = await post(client, CALLER, {**SAID, "phone": "13900000001"})
        assert (status, waits["state"]) == (200, "waits")
        named = {"change": waits["change"]}
        assert (await post(client, f"{CALLER}/confirm", named))[1]["error"]["code"] == "same_person"
        await be(client, "8002")
        assert await post(client, f"{CALLER}/confirm", named) == (200, {"ok": True, "state": "verified"})
        assert (await post(client, f"{CALLER}/withdraw", named))[1]["error"]["code"] == "no_change"
    assert store.one.proof.facts.phone == "13900000001"
    assert (store.one.proof.by, store.one.proof.asked_by) == ("8002", "8001")
    assert store.refreshed == 3
    shown = await (await client.get("/api/identities")).text()
    assert NUMBER not in shown + repr(store.acts) + repr(lines)
    assert "王丽" not in repr(lines)


@pytest.mark.may_block("the key is made once, at the start")
async def test_the_token_is_nobody_in_particular(client, store):
    for path, body in (
        (CALLER, SAID),
        (f"{CALLER}/confirm", {"change": "x"}),
        (f"{CALLER}/withdraw", {"change": "x"}),
    ):
        status, told = await post(client, path, body, headers=BEARER)
        assert (status, told["error"]["code"]) == (403, "person_needed")
    await client.post("/api/login", json={"token": TOKEN})
    assert (await post(client, CALLER, SAID))[1]["error"]["code"] == "person_needed"
    assert store.acts == []
    assert (await client.get("/api/identities", headers=BEARER)).status == 200


@pytest.mark.may_block("the key is made once, at the start")
@pytest.mark.parametrize(("user", "reads", "acts"), [("8001", 200, 200), ("8002", 200, 200), ("8003", 200, 403), ("8004", 403, 403)])  # fmt: skip
async def test_rights(client, store, user, reads, acts):
    await be(client, user)
    for path in ("/api/identities", "/api/identities/changes"):
        assert (await client.get(path)).status == reads
    assert (await post(client, CALLER, SAID))[0] == acts
    assert len(store.acts) == (acts == 200)


@pytest.mark.may_block("the key is made once, at the start")
@pytest.mark.parametrize("wrong", [
    {"number": NUMBER[:-1] + "1"}, {"number": ""}, {"name": "王\n丽"}, {"name": ""}, {"phone": "110;x"}, {"kind": "card"},
    {"how": "hearsay"}, {"verified": True},
])  # fmt: skip
async def test_wrong_facts(client, store, wrong):
    await be(client, "8001")
    assert (await post(client, CALLER, {**SAID, **wrong}))[0] == 400
    assert store.one.proof is None


@pytest.mark.may_block("the key is made once, at the start")
@pytest.mark.parametrize("code", REASONS)
async def test_each_refusal_is_told_in_both_languages(client, store, code):
    await be(client, "8001")
    store.wrong = code
    status, told = await post(client, CALLER, SAID)
    assert (status, told["error"]) == (
        REASONS[code][0],
        {"code": code, "zh": REASONS[code][1], "en": REASONS[code][2]},
    )
    for path in ("/api/identities", "/api/identities/changes"):
        assert (await client.get(path)).status == REASONS[code][0]
