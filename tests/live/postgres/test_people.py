"""Accounts, identities, marks and blocks in the real PostgreSQL, and known without it."""

import asyncio
import contextlib
import time

import asyncpg
import pytest

from pbx.credentials import Account, accounts, load_or_create
from pbx.identity_proof import Asked, Check, Confirm, Facts, ProofError, Withdraw
from pbx.storage.accounts import Accounts
from pbx.storage.blocks import BlockError, Blocks
from pbx.storage.histories import Histories, UnknownMarkError
from pbx.storage.proofs import Proofs
from tests.live.kit.postgres import drained, rows

pytestmark = [pytest.mark.usefixtures("told"), pytest.mark.beside]


@pytest.mark.may_block("the cache is read once, at the start")
async def test_accounts_are_seeded_kept_beside_and_known_without_a_database(database, tmp_path):
    demo = accounts(load_or_create(tmp_path / "credentials.json"), "at110")
    cache = tmp_path / "accounts.json"
    first = Accounts(cache, "at110", demo)
    assert first.find("8001") == demo[0]  # before any database
    await first.refresh(database)
    assert cache.stat().st_mode & 0o777 == 0o600

    await database.use(lambda c: c.execute("UPDATE accounts SET enabled = false WHERE username = '8002'"))
    await database.use(lambda c: c.execute("UPDATE accounts SET name = '李雷' WHERE username = '8003'"))
    await first.refresh(database)
    assert first.find("8002") is None

    second = Accounts(cache, "at110", demo)  # the next start, with a dead database
    assert second.find("8002") is None
    known = second.find("8001")
    assert known is not None
    assert (known.ha1_sha256, known.verified_by) == (demo[0].ha1_sha256, "demo")
    assert len(second.all("dispatcher")) == 2
    assert second.find("stranger") is None


@pytest.mark.may_block("the cache is read once, at the start")
async def test_new_passwords_of_demo_people_reach_the_database_but_not_other_accounts(database, tmp_path):
    cache = tmp_path / "accounts.json"
    await Accounts(cache, "at110", accounts(load_or_create(tmp_path / "a.json"), "at110")).refresh(database)
    await database.use(lambda c: c.execute("UPDATE accounts SET origin = 'police' WHERE username = '8002'"))
    renewed = accounts(load_or_create(tmp_path / "b.json"), "at110")
    later = Accounts(cache, "at110", renewed)
    await later.refresh(database)
    by_user = {account.user: account for account in renewed}
    found: Account | None = later.find("8001")
    assert found is not None
    assert found.ha1_sha256 == by_user["8001"].ha1_sha256
    kept = later.find("8002")
    assert kept is not None
    assert kept.ha1_sha256 != by_user["8002"].ha1_sha256


WANG = Facts("王丽", "13800000001", "a" * 64, "resident-id", "in-person")
LI = Facts("李雷", "13900000001", "b" * 64, "passport", "records")


@pytest.fixture
async def people(database, tmp_path):
    """Accounts and identities of a fresh database; nobody but the desks' demo people is verified."""
    found = Accounts(
        tmp_path / "accounts.json", "at110", accounts(load_or_create(tmp_path / "people.json"), "at110")
    )
    await found.refresh(database)
    sql = "UPDATE accounts SET verified = false, name = NULL WHERE role = 'caller'"
    await database.use(lambda c: c.execute(sql))
    return found


async def acts(database) -> list[tuple[str, str]]:
    found = await rows(
        database, "SELECT act, changed_by FROM identity_changes WHERE act <> 'account' ORDER BY id"
    )
    return [(row["act"], row["changed_by"]) for row in found]


@pytest.mark.may_block("the cache is read once, at the start")
async def test_an_identity_is_verified_changed_by_two_persons_and_known_without_a_database(
    database, people, tmp_path
):
    user, proofs = people.all("caller")[0].user, Proofs("at110")
    await proofs.act(database, user, Check(WANG, "8001", "c0"))
    await people.refresh(database)
    first = people.find(user)
    assert (first.name, first.phone, first.verified, first.verified_by) == (
        WANG.name,
        WANG.phone,
        True,
        "8001",
    )
    assert first.verified_at is not None
    await proofs.act(database, user, Check(LI, "8001", "c1"))
    with pytest.raises(ProofError, match="same_person"):
        await proofs.act(database, user, Confirm("c1", "8001"))
    await people.refresh(database)
    assert people.find(user) == first, "the old facts stand"
    # Two confirm at once: one does it.
    both = await asyncio.gather(
        *(proofs.act(database, user, Confirm("c1", by)) for by in ("8002", "8003")), return_exceptions=True
    )
    assert sorted(isinstance(one, ProofError) for one in both) == [False, True]
    await people.refresh(database)
    changed = people.find(user)
    assert (changed.name, changed.phone) == (LI.name, LI.phone)
    assert changed.verified_by in ("8002", "8003")
    assert await acts(database) == [
        ("verified", "8001"), ("asked", "8001"), ("changed", changed.verified_by), ("confirmed", changed.verified_by),
    ]  # fmt: skip
    later = Accounts(
        tmp_path / "accounts.json", "at110", accounts(load_or_create(tmp_path / "people.json"), "at110")
    )
    assert later.find(user) == changed, "the next start, with a dead database"
    shown = [one for one in await proofs.all(database) if one["user"] == user]
    assert [one["proof"]["asked_by"] for one in shown] == ["8001"]
    assert (await proofs.changes(database))[0]["act"] == "confirmed"
    with pytest.raises(ProofError, match="unknown_account"):
        await proofs.act(database, "nobody", Check(WANG, "8001", "c2"))


@pytest.mark.may_block("the cache is read once, at the start")
async def test_a_change_that_is_withdrawn_or_late_is_written_down_and_changes_nothing(database, people):
    user, proofs = people.all("caller")[0].user, Proofs("at110")
    await proofs.act(database, user, Check(WANG, "8001", "c0"))
    await proofs.act(database, user, Check(LI, "8001", "c1"))
    await proofs.act(database, user, Withdraw("c1", "8002"))
    for change in ("c2", "c3"):
        await proofs.act(database, user, Check(LI, "8001", change))
        sql = "UPDATE identity_pending SET until = now() - interval '1 second'"
        await database.use(lambda c, sql=sql: c.execute(sql))
        if change == "c2":
            await proofs.look(database)
        else:
            with pytest.raises(ProofError, match="no_change"):
                await proofs.act(database, user, Confirm(change, "8002"))
    assert [one for one in await acts(database) if one[0] != "asked"] == [
        ("verified", "8001"), ("withdrawn", "8002"), ("expired", "time limit"), ("expired", "time limit"),
    ]  # fmt: skip
    await people.refresh(database)
    assert people.find(user).name == WANG.name


@pytest.mark.may_block("the cache is read once, at the start")
async def test_statements_by_hand_are_written_down_and_never_one_persons_change(database, people):
    user, desk, proofs = people.all("caller")[0].user, people.all("dispatcher")[0].user, Proofs("at110")
    await proofs.act(database, user, Check(WANG, "8001", "c0"))
    for sql in (
        "UPDATE identity_proofs SET name = '鬼'",
        "UPDATE identity_changes SET changed_by = 'nobody'",
        "DELETE FROM identity_changes",
        "TRUNCATE identity_changes",
    ):
        with pytest.raises(asyncpg.RaiseError):
            await database.use(lambda c, sql=sql: c.execute(sql))
    # What `accounts` says is verified is a proof like others.
    (asked,) = await proofs.act(database, desk, Check(LI, "8002", "c1"))
    assert isinstance(asked, Asked)
    await database.use(lambda c: c.execute("UPDATE accounts SET verified = true WHERE username = '8002'"))
    await database.use(lambda c: c.execute(f"UPDATE accounts SET verified = true WHERE username = '{user}'"))
    (last,) = await rows(database, "SELECT act, changed_by FROM identity_changes ORDER BY id DESC LIMIT 1")
    assert tuple(last) == ("account", "sql:at110")


@pytest.mark.may_block("the cache is read once, at the start")
async def test_earlier_calls_and_marks_are_counted_for_whom_somebody_vouches(database, outbox, people):
    user, histories, now = people.all("caller")[0].user, Histories("at110"), time.time()
    for number, account, caller, trunk, age in (
        (1, user, user, None, 7200), (2, user, user, None, 60), (3, user, user, None, 0),
        (4, None, "+8613900000001", "carrier", 60), (5, None, "+8613900000001", None, 60),
    ):  # fmt: skip
        row = {"call": f"c{number}", "account": account, "caller": caller, "trunk": trunk}
        outbox.append("call", {**row, "started_at": now - age})
    await drained(outbox)
    assert await histories.of(database, "c3", user, user) == {
        "calls": 2, "recent": 1, "last": pytest.approx(now - 60, abs=0.01), "marks": {}, "marked": {},
    }  # fmt: skip
    found = await histories.of(database, "c9", None, "+8613900000001")
    assert found["calls"] == 1, "nobody vouched for the other one"

    first = await histories.mark(database, "c1", "hoax", "laughed", "8001")
    assert await histories.mark(database, "c1", "hoax", "again", "8002") == first, "a call is marked once"
    await histories.mark(database, "c4", "nuisance", "", "8001")
    for call in ("c5", "nothing"):
        with pytest.raises(UnknownMarkError):
            await histories.mark(database, call, "hoax", "", "8001")
    await histories.mark(database, "c2", "hoax", "again\0", "8002")
    marks = await histories.of(database, "c3", user, user)
    assert marks["marks"] == {"hoax": 2}
    assert marks["marked"] == {
        "hoax": {"by": "8002", "at": pytest.approx(time.time(), abs=60), "note": "again\ufffd"}
    }
    assert (await histories.of(database, "c9", None, "+8613900000001"))["marks"] == {"nuisance": 1}
    for sql in (
        "UPDATE caller_marks SET mark = 'nuisance'",
        "UPDATE caller_marks SET marked_by = 'nobody'",
        "DELETE FROM caller_marks",
        "TRUNCATE caller_marks",
    ):
        with pytest.raises(asyncpg.RaiseError):
            await database.use(lambda c, sql=sql: c.execute(sql))
    await histories.withdraw(database, first, "8003")
    with pytest.raises(UnknownMarkError):
        await histories.withdraw(database, first, "8003")
    assert (await histories.of(database, "c3", user, user))["marks"] == {"hoax": 1}
    shown = {(one["call"], one["mark"]): one["withdrawn_by"] for one in await histories.marks(database)}
    assert shown == {("c1", "hoax"): "8003", ("c2", "hoax"): None, ("c4", "nuisance"): None}


async def test_a_mark_that_is_withdrawn_while_another_sets_it_is_set(database, outbox):
    """Between two statements of one marking, another person's withdrawal fits; it must not end in a fault."""
    histories = Histories("at110")
    outbox.append("call", {"call": "c1", "account": "alice", "caller": "alice", "started_at": time.time()})
    await drained(outbox)

    async def withdraw(number: int) -> None:
        with contextlib.suppress(UnknownMarkError):
            await histories.withdraw(database, number, "8003")

    stands, given = await histories.mark(database, "c1", "hoax", "", "8001"), set[int]()
    for _ in range(100):
        again, _gone, also = await asyncio.gather(
            histories.mark(database, "c1", "hoax", "", "8001"),
            withdraw(stands),
            histories.mark(database, "c1", "hoax", "", "8002"),
        )
        given |= {again, also}
        stands = await histories.mark(database, "c1", "hoax", "", "8001")
    marks = {one["id"]: one["withdrawn_at"] for one in await histories.marks(database)}
    assert given <= marks.keys()
    assert [number for number, ended in marks.items() if ended is None] == [stands], "one stands at most"


@pytest.mark.may_block("the cache is read once, at the start")
async def test_a_block_states_by_whom_when_and_why_and_is_written_down(database, people, tmp_path):
    user, blocks = people.all("caller")[0].user, Blocks("at110")
    await blocks.block(database, user, " forty\n hoaxes\0 ", "8003")
    await people.refresh(database)
    assert people.find(user) is None
    block = people.blocked(user)
    assert (block.by, block.why) == ("8003", "forty hoaxes\ufffd")
    assert block.at == pytest.approx(time.time(), abs=60)
    later = Accounts(
        tmp_path / "accounts.json", "at110", accounts(load_or_create(tmp_path / "people.json"), "at110")
    )
    assert later.blocked(user) == block, "the next start, with a dead database"
    shown = {one["user"]: one["blocked"] for one in await Proofs("at110").all(database)}
    assert shown[user] == {"by": block.by, "at": block.at, "why": block.why}
    assert shown["8001"] is None

    for wrong, code in ((user, "blocked_already"), ("nobody", "unknown_account"), ("8001", "not_a_caller")):
        with pytest.raises(BlockError, match=code):
            await blocks.block(database, wrong, "x", "8003")
    sql = f"UPDATE accounts SET blocked_by = 'nobody' WHERE username = '{user}'"
    with pytest.raises(asyncpg.RaiseError, match="made anew"):
        await database.use(lambda c: c.execute(sql))

    await blocks.unblock(database, user, "8002")
    with pytest.raises(BlockError, match="not_blocked"):
        await blocks.unblock(database, user, "8002")
    await database.use(lambda c: c.execute("UPDATE accounts SET enabled = false WHERE username = '8002'"))
    await people.refresh(database)
    assert people.find(user) is not None
    assert (people.find("8002"), people.blocked("8002").by) == (None, "sql:at110")
    acts = [(one["act"], one["user"], one["by"], one["facts"]["why"]) for one in await Proofs("at110").changes(database)
            if one["act"] in {"blocked", "unblocked"}]  # fmt: skip
    assert acts == [
        ("blocked", "8002", "sql:at110", ""), ("unblocked", user, "8002", ""), ("blocked", user, "8003", "forty hoaxes\ufffd"),
    ]  # fmt: skip


@pytest.mark.may_block("the cache is read once, at the start")
async def test_needs_of_an_account_are_known_without_a_database(database, people, tmp_path):
    user, histories = people.all("caller")[0].user, Histories("at110")
    await histories.set_needs(database, user, "zh", ("deaf",))
    with pytest.raises(UnknownMarkError):
        await histories.set_needs(database, "nobody", None, ())
    await people.refresh(database)
    later = Accounts(
        tmp_path / "accounts.json", "at110", accounts(load_or_create(tmp_path / "people.json"), "at110")
    )
    assert (later.find(user).language, later.find(user).needs) == ("zh", ("deaf",))
    with pytest.raises(asyncpg.CheckViolationError):
        await database.use(lambda c: c.execute("UPDATE accounts SET needs = '{rich}'"))
