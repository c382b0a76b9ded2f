"""Rows reach the real PostgreSQL, each once and in order, whatever becomes of it meanwhile."""

import asyncio
import contextlib
import os
import signal
import socket
import time

import asyncpg
import pytest

from pbx.storage.database import Database, DatabaseAwayError
from pbx.storage.postmaster import attached
from tests.live.kit.postgres import as_owner, drained, rows, until

pytestmark = [pytest.mark.usefixtures("told"), pytest.mark.beside]


async def test_every_kind_of_record_becomes_its_row(database, outbox):
    outbox.append(
        "call", {"call": "c1", "state": "waiting", "caller": "sip:a@b", "started_at": 1795352400.0, "x": 1}
    )
    outbox.append("call", {"call": "c1", "state": "active", "desk": "8001", "y": [1]})
    outbox.append(
        "call_event", {"call": "c1", "at": 1795352400_000_000_000, "event": "queued", "position": 2}
    )
    outbox.append("message", {"call": "c1", "sender": "caller", "text": "help\x00 \udcff 救命"})
    outbox.append("desk", {"desk": "8001", "state": "busy", "call": "c1"})
    outbox.append("desk", {"desk": "8001", "state": "free", "call": None})
    outbox.append(
        "registration", {"aor": "sip:8001@at110", "contact": "sip:x@y" + "z" * 9000, "expires_at": 1.5}
    )
    await drained(outbox)
    (call,) = await rows(database, "SELECT *, started_at = '2026-11-22 13:00:00+00' AS right_time FROM calls")
    assert (call["state"], call["caller"], call["desk"], call["right_time"]) == (
        "active",
        "sip:a@b",
        "8001",
        True,
    )
    assert call["more"] == '{"x": 1, "y": [1]}'
    (event,) = await rows(database, "SELECT call, event, more->>'position' AS position FROM call_events")
    assert tuple(event) == ("c1", "queued", "2")
    assert (await rows(database, "SELECT text FROM messages"))[0]["text"] == "help\ufffd \ufffd 救命"
    assert tuple((await rows(database, "SELECT state, call FROM desks"))[0]) == ("free", None)
    assert (await rows(database, "SELECT length(contact) FROM registrations"))[0][0] == 300
    assert outbox.refused == 0


async def test_a_row_the_server_will_never_take_does_not_stop_the_others(database, outbox):
    await database.use(lambda c: c.execute("ALTER TABLE desks ADD CHECK (state <> 'impossible')"))
    for state in ("free", "impossible", "busy"):
        outbox.append("desk", {"desk": state, "state": state})
    await drained(outbox)
    assert sorted(row["desk"] for row in await rows(database, "SELECT desk FROM desks")) == ["busy", "free"]
    assert outbox.refused == 1


async def exactly_once(database, outbox, disturb) -> None:
    """Append 2,000 rows while `disturb` runs, and find each once, in order."""
    disturbing = asyncio.get_running_loop().create_task(disturb)
    for n in range(2000):
        outbox.append("call_event", {"call": "c1", "event": "n", "n": n})
        if n % 20 == 0:
            await asyncio.sleep(0.005)
    await disturbing
    await drained(outbox)
    found = await rows(database, "SELECT (more->>'n')::int AS n FROM call_events ORDER BY id")
    assert [row["n"] for row in found] == list(range(2000))


async def test_the_server_is_killed_again_and_again(server, database, outbox):
    async def disturb() -> None:
        for _ in range(3):
            await asyncio.sleep(0.1)
            os.kill(server.pid, signal.SIGKILL)
            await until(lambda: not server.poll())
            await asyncio.to_thread(server.start)
            await asyncio.sleep(0.3)

    await exactly_once(database, outbox, disturb())


async def test_every_connection_is_cut_again_and_again(server, database, outbox):
    async def disturb() -> None:
        cut = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'at110' AND pid <> pg_backend_pid()"
        )
        for _ in range(15):
            await asyncio.sleep(0.1)
            await as_owner(server, cut)

    await exactly_once(database, outbox, disturb())


async def test_the_server_is_stopped_and_started(server, database, outbox):
    changes: list[bool] = []
    database._on_change = changes.append  # the fixture gave none

    async def disturb() -> None:
        await asyncio.sleep(0.1)
        await asyncio.to_thread(server.stop)
        await until(lambda: not database.up)
        with pytest.raises(DatabaseAwayError):
            await database.use(lambda c: c.fetchval("SELECT 1"))
        await asyncio.sleep(1)
        await asyncio.to_thread(server.start)

    await exactly_once(database, outbox, disturb())
    assert changes[:2] == [False, True]


async def test_a_server_that_hangs_is_noticed_in_time_and_nobody_waits(server, database, outbox):
    everybody = await asyncio.to_thread(attached, server.place.data, server.place.user)
    for pid in everybody:
        os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        outbox.append("call_event", {"call": "c1", "event": "while hanging"})
        assert time.monotonic() - began < 1.0  # the limit of a query is two seconds
        with pytest.raises(DatabaseAwayError):
            await database.use(lambda c: c.fetchval("SELECT 1"))
        assert time.monotonic() - began < 6
        assert not database.up
        await outbox.durable()
    finally:
        for pid in everybody:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    await drained(outbox)
    assert len(await rows(database, "SELECT 1 FROM call_events")) == 1


async def test_a_lock_held_for_long_delays_rows_and_nothing_else(server, database, outbox):
    name = await database.use(lambda c: c.fetchval("SELECT current_database()"))
    holder = await asyncpg.connect(server.dsn.replace("/at110?", f"/{name}?"), password="")
    transaction = holder.transaction()
    await transaction.start()
    await holder.execute("LOCK TABLE call_events")
    outbox.append("call_event", {"call": "c1", "event": "waits"})
    await asyncio.sleep(3)
    assert outbox.pending == 1
    await transaction.rollback()
    await holder.close()
    await drained(outbox)
    assert len(await rows(database, "SELECT 1 FROM call_events")) == 1


async def test_a_server_that_became_read_only_is_away_until_it_is_not(server, database, outbox):
    name = await database.use(lambda c: c.fetchval("SELECT current_database()"))
    await as_owner(server, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    await as_owner(
        server, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'at110'"
    )
    await until(lambda: not database.up)
    outbox.append("call_event", {"call": "c1", "event": "later"})
    await asyncio.sleep(1.5)
    assert outbox.pending == 1
    await as_owner(server, f"ALTER DATABASE {name} SET default_transaction_read_only = off")
    await drained(outbox)
    assert len(await rows(database, "SELECT 1 FROM call_events")) == 1


async def test_a_dropped_table_is_said_and_rows_wait_for_it(database, outbox, told):
    await database.use(lambda c: c.execute("ALTER TABLE desks RENAME TO gone"))
    outbox.append("desk", {"desk": "8001"})
    await until(lambda: "outbox_not_carried" in [line["event"] for line in told])
    await database.use(lambda c: c.execute("ALTER TABLE gone RENAME TO desks"))
    await drained(outbox)
    assert len(await rows(database, "SELECT 1 FROM desks")) == 1
    assert outbox.refused == 0


async def test_a_database_that_is_not_there_at_all_is_waited_for(tasks, tmp_path):
    listener = socket.socket(socket.AF_UNIX)
    path = tmp_path / ".s.PGSQL.5432"
    listener.bind(str(path))  # accepts nothing, answers nothing
    database = Database(f"postgresql:///x?user=x&host={tmp_path}&port=5432", tasks)
    database.start()
    await asyncio.sleep(0.5)
    assert not database.up
    with pytest.raises(DatabaseAwayError):
        await database.use(lambda c: c.fetchval("SELECT 1"))
    await database.close()
    listener.close()
