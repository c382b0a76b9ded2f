"""Roles in memory follow the database, whoever changes it; without it nobody gains anything."""

import asyncio

import pytest

from pbx.storage.database import DatabaseAwayError
from pbx.storage.roles import RoleError, Roles
from pbx.tasks import Tasks
from tests.kit.exchange import until


class Server:
    """A PostgreSQL that knows the statements of `roles`."""

    def __init__(self):
        self.accounts = {"8001", "8002"}
        self.disabled = set()
        self.rows = set()
        self.changes = []
        self.up = True
        self.by = ""

    async def wait_up(self):
        while not self.up:
            await asyncio.sleep(0)

    async def use(self, work):
        if not self.up:
            raise DatabaseAwayError("away")
        return await work(self)

    def transaction(self):
        return self

    async def __aenter__(self):
        return self

    async def __aexit__(self, *error):
        return None

    async def fetchval(self, query, *values):
        if "set_config" in query:
            self.by = values[0]
            return self.by
        return 1 if values[1] in self.accounts else None

    async def execute(self, query, realm, user, role):
        before = set(self.rows)
        (self.rows.add if "INSERT" in query else self.rows.discard)((user, role))
        if self.rows != before:
            self.changes.append((user, role, "grant" if "INSERT" in query else "revoke", self.by))

    async def fetch(self, query, *values):
        if "role_changes" in query:
            rows = [
                {"at": n, "username": u, "role": r, "act": a, "changed_by": b}
                for n, (u, r, a, b) in enumerate(self.changes)
            ]
            return rows[::-1]
        return [{"username": u, "role": r} for u, r in sorted(self.rows) if u not in self.disabled]


@pytest.fixture
def server():
    return Server()


def made(tmp_path, first=None):
    return Roles(tmp_path / "roles.json", "at110", first or {})


async def test_nobody_has_a_role_that_nobody_gave(tmp_path):
    roles = made(tmp_path, {"8003": ("supervisor",)})
    assert roles.of("8001") == frozenset()
    assert roles.of("8003") == {"supervisor"}
    assert roles.holders("supervisor") == {"8003"}
    assert roles.holders("admin") == frozenset()


async def test_granted_at_once_and_gone_at_once_and_both_are_kept(tmp_path, server):
    roles, heard = made(tmp_path), []
    roles.on_change(heard.append)
    await roles.grant(server, "8001", "supervisor", "token")
    assert roles.of("8001") == {"supervisor"}
    await roles.grant(server, "8001", "supervisor", "token")
    await roles.revoke(server, "8001", "supervisor", "8009")
    assert roles.of("8001") == frozenset()
    assert heard == [{"8001"}, {"8001"}], "what changes nothing is told to nobody"
    told = await roles.changes(server)
    assert [(c["user"], c["role"], c["act"], c["by"]) for c in told] == [
        ("8001", "supervisor", "revoke", "8009"),
        ("8001", "supervisor", "grant", "token"),
    ]


async def test_what_can_not_be_done(tmp_path, server):
    roles = made(tmp_path, {"8001": ("supervisor",)})
    with pytest.raises(RoleError, match="unknown_account"):
        await roles.grant(server, "nobody", "admin", "token")
    with pytest.raises(RoleError, match="in_settings"):
        await roles.revoke(server, "8001", "supervisor", "token")
    server.up = False
    with pytest.raises(RoleError, match="database_away"):
        await roles.grant(server, "8002", "admin", "token")
    with pytest.raises(RoleError, match="database_away"):
        await roles.changes(server)
    assert roles.of("8002") == frozenset()


async def test_a_change_by_somebody_else_is_seen_by_itself(tmp_path, server):
    roles, tasks = made(tmp_path), Tasks("test")
    roles.start(server, tasks)
    try:
        server.rows.add(("8002", "auditor"))
        await until(lambda: roles.of("8002") == {"auditor"})
        server.disabled.add("8002")
        await until(lambda: roles.of("8002") == frozenset())
    finally:
        await tasks.close()


def test_a_start_without_database_knows_what_it_knew_and_no_more(tmp_path, server):
    asyncio.run(made(tmp_path).grant(server, "8001", "auditor", "token"))
    assert made(tmp_path).of("8001") == {"auditor"}
    assert Roles(tmp_path / "roles.json", "elsewhere", {}).of("8001") == frozenset()
    (tmp_path / "roles.json").write_text('{"realm": "at110", "roles": {"8001": ["king"]}}')
    assert made(tmp_path).of("8001") == frozenset()
    (tmp_path / "roles.json").write_text("torn")
    assert made(tmp_path).of("8001") == frozenset()
