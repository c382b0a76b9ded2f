"""Of a blocked account nothing is left but that it is blocked, with and without a database."""

import msgspec
import pytest

from pbx.blocked import Blocked
from pbx.credentials import accounts, load_or_create
from pbx.directory import Directory
from pbx.storage.accounts import Accounts


@pytest.fixture
def demo(tmp_path):
    return accounts(load_or_create(tmp_path / "credentials.json"), "at110")


def kept(tmp_path, demo, **blocks):
    """Write the file beside the database as it is with some accounts blocked; give what a start without a database knows."""
    cache = tmp_path / "accounts.json"
    rows = [msgspec.structs.replace(one, blocked=blocks.get(f"u{one.user}")) for one in demo]
    cache.write_bytes(msgspec.json.encode(rows))
    return Accounts(cache, "at110", demo)


def test_a_blocked_account_is_nobodys_and_says_so(tmp_path, demo):
    block = Blocked("8003", 5.0, "hoaxes")
    found = kept(tmp_path, demo, u13800000001=block, u8002=Blocked())
    assert found.find("13800000001") is None
    assert (found.blocked("13800000001"), found.blocked("8002"), found.blocked("8001")) == (
        block,
        Blocked(),
        None,
    )
    assert found.blocked("stranger") is None
    users = {one.user for one in demo} - {"13800000001", "8002"}
    assert {one.user for one in found.all()} == users
    assert [one.user for one in found.all("dispatcher")] == ["8001", "8003"]
    directory = Directory(found)
    assert "13800000001" not in directory
    assert set(directory) == users
    assert len(directory) == len(users)
    assert (directory.blocked("13800000001"), list(directory.desks())) == (block, ["8001", "8003"])


def test_a_file_of_before_blocks_were_told_is_read(tmp_path, demo):
    cache = tmp_path / "accounts.json"
    rows = msgspec.to_builtins(demo)
    for row in rows:
        del row["blocked"]
    cache.write_bytes(msgspec.json.encode(rows))
    assert Accounts(cache, "at110", ()).find("8001") == demo[0]
