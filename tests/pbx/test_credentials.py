"""Demo accounts: fresh, private, stable."""

import hashlib
import json
import os
import subprocess
from dataclasses import replace

import msgspec
import pytest

from pbx import identity
from pbx.credentials import NO_MD5, Account, accounts, ha1, load_or_create, write_private
from pbx.sip.digest import Credentials, NonceCounts, Nonces, authorize, verify
from tests.kit.world import REALM, World


def test_the_file_has_the_promised_shape_and_is_private(tmp_path):
    path = tmp_path / "credentials.json"
    load_or_create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    found = json.loads(path.read_text())
    assert set(found) == {"dispatchers", "callers", "api_token"}
    assert [person["user"] for person in found["dispatchers"]] == ["8001", "8002", "8003"]
    assert [person["user"] for person in found["callers"]] == ["13800000001", "13800000002", "13800000003"]
    secrets = [person["password"] for person in found["dispatchers"] + found["callers"]] + [
        found["api_token"]
    ]
    assert len(set(secrets)) == 7
    assert min(len(secret) for secret in secrets) >= 16


def test_a_second_start_finds_the_same_and_another_folder_makes_others(tmp_path):
    first = load_or_create(tmp_path / "a.json")
    assert load_or_create(tmp_path / "a.json") == first
    assert load_or_create(tmp_path / "b.json").api_token != first.api_token


def test_a_file_that_became_readable_is_closed_again(tmp_path):
    path = tmp_path / "credentials.json"
    load_or_create(path)
    path.chmod(0o644)
    load_or_create(path)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"dispatchers":[],"callers":[]}', b'{"dispatchers":[],"callers":[],"api_token":""}'],
)
def test_a_damaged_file_is_said_and_left_alone(tmp_path, content):
    path = tmp_path / "credentials.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="remove it"):
        load_or_create(path)
    assert path.read_bytes() == content


def test_ha1_is_the_example_of_the_rfc():
    # RFC 7616 §3.9.1: user "Mufasa", realm "http-auth@example.org", password "Circle of Life".
    assert (
        ha1("Mufasa", "http-auth@example.org", "Circle of Life", "MD5") == "3d78807defe7de2157e2b0b6573a855f"
    )
    assert (
        ha1("Mufasa", "http-auth@example.org", "Circle of Life", "SHA-256")
        == "7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232"
    )


def test_ha1_agrees_with_another_implementation():
    printed = subprocess.run(["md5sum"], input=b"8001:at110:geheim", capture_output=True, check=True).stdout
    assert ha1("8001", "at110", "geheim", "MD5") == printed.split()[0].decode()


def test_accounts_hold_no_password(tmp_path):
    credentials = load_or_create(tmp_path / "c.json")
    made = accounts(credentials, "at110")
    assert [(a.user, a.role) for a in made] == [(p.user, "dispatcher") for p in credentials.dispatchers] + [
        (p.user, "caller") for p in credentials.callers
    ]
    written = msgspec.json.encode(made).decode()
    for person in (*credentials.dispatchers, *credentials.callers):
        assert person.password not in written
    assert set(made[0].ha1_by_algorithm) == {"SHA-256", "MD5"}


def test_secrets_are_not_in_what_a_log_would_show(tmp_path):
    credentials = load_or_create(tmp_path / "c.json")
    account = Account("8001", "dispatcher", "at110", "a" * 64, "b" * 32)
    shown = f"{credentials} {credentials!r} {credentials.dispatchers} {account} {[account]!r}"
    for secret in (credentials.api_token, credentials.dispatchers[0].password, "a" * 64, "b" * 32):
        assert secret not in shown


def test_replacing_a_private_file_is_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "f"
    write_private(path, b"old")

    def broken(_descriptor):
        raise OSError(5, "made to fail")

    monkeypatch.setattr("os.fsync", broken)
    with pytest.raises(OSError, match="made to fail"):
        write_private(path, b"new")
    assert path.read_bytes() == b"old"
    monkeypatch.undo()
    write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["f"]


@pytest.mark.parametrize("takes", [True, False])
def test_an_account_may_take_no_md5(takes):
    """Bars S4. Not even of who knows what stands in its place."""
    kept = Account(
        user="alice",
        role="caller",
        realm=REALM,
        ha1_sha256=ha1("alice", REALM, "pw", "SHA-256"),
        ha1_md5=ha1("alice", REALM, "pw", "MD5") if takes else NO_MD5,
    )
    assert set(kept.ha1_by_algorithm) == ({"SHA-256", "MD5"} if takes else {"SHA-256"})
    known = {"alice": identity.Account("alice", REALM, kept.ha1_by_algorithm, "caller")}
    nonces = Nonces(b"n" * 32)
    settings = identity.IdentitySettings(REALM)
    gate = identity.Authenticator(settings, known, nonces, NonceCounts(), secret=b"s" * 32)

    def asked(algorithm, user="alice", password="pw"):
        uri = f"sip:{REALM}"
        value = f'Digest realm="{REALM}", nonce="{nonces.issue(1.0, "h")}", algorithm={algorithm}, qop="auth"'
        token = authorize(value, user=user, password=password, method="REGISTER", uri=uri, cnonce="c", nc=1)
        request = World().request("REGISTER", uri, "alice", headers=(("Authorization", token),))
        request.headers.set("To", f"<sip:alice@{REALM}>")
        return gate.check(request, 1.0, "h", to_tag="t")

    assert isinstance(asked("SHA-256"), identity.Authenticated)
    found = asked("MD5")
    assert isinstance(found, identity.Authenticated) is takes
    if not takes:
        wrong = asked("MD5", password="guessed")
        assert (found.why, wrong.why) == ("wrong", "wrong")
        assert [name for name, _ in found.response.headers] == [name for name, _ in wrong.response.headers]


def test_what_stands_for_no_md5_is_no_password():
    """Who makes a response of it gets as far as with any guess."""
    said = Credentials("alice", REALM, "n", "sip:at110", "", "MD5", qop="auth", cnonce="c", nc=1)
    a2 = hashlib.md5(b"REGISTER:sip:at110").hexdigest()
    response = hashlib.md5(f"{NO_MD5}:n:00000001:c:auth:{a2}".encode()).hexdigest()
    forged = replace(said, response=response)
    assert verify(forged, "REGISTER", b"", {"MD5": NO_MD5}), "which is why it must not be stored as one"
    kept = Account(user="alice", role="caller", realm=REALM, ha1_sha256="0" * 64, ha1_md5=NO_MD5)
    assert not verify(forged, "REGISTER", b"", kept.ha1_by_algorithm)


def test_a_full_disk_keeps_the_file_that_is_there_and_no_half_of_another(tmp_path, monkeypatch):
    path = tmp_path / "accounts.json"
    write_private(path, b"[1]")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_private(path, b"[2]")
    assert [one.name for one in tmp_path.iterdir()] == ["accounts.json"]
    assert path.read_bytes() == b"[1]"
