"""`[[trunk]]` of the settings file; where the password is read."""

import msgspec
import pytest

from pbx.settings import SettingsError, load
from pbx.trunks.secret import SecretError, account, accounts
from pbx.trunks.settings import TrunkSettings, problems

WHOLE = """
[[trunk]]
name = "carrier"
peers = [{ host = "sip.carrier.example", transport = "tls", weight = 3 }]
user = "u"
realm = "r"
password_env = "P"

[[trunk]]
name = "existing"
sources = ["192.0.2.0/24"]
called = [{ match = "0535(110)", give = '\\1' }]
"""


def read(tmp_path, text):
    file = tmp_path / "at110.toml"
    file.write_text(text)
    return load({"AT110_STATE": str(tmp_path), "AT110_SETTINGS": str(file)})


def test_tables_are_read(tmp_path):
    carrier, existing = read(tmp_path, WHOLE).trunk
    assert (carrier.peers[0].weight, carrier.codecs, existing.queue) == (3, ("PCMA", "PCMU"), "default")
    assert read(tmp_path, "").trunk == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[trunk]\nname = 'x'", "[[trunk]]"),
        ("[[trunk]]\nname = 'X Y'", "name"),
        ("[[trunk]]\nname = 'x'\ncolour = 1", "colour"),
        ("[[trunk]]\nname = 'x'", "no peers"),
        ("[[trunk]]\nname = 'x'\nsources = ['x.example']", "neither"),
        (WHOLE + WHOLE, "two trunks are called 'carrier'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, said):
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, text)
    assert said in str(caught.value)


PEER = {"peers": [{"host": "h"}]}
ACCOUNT = {"user": "u", "realm": "r", "password_env": "P"}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({**PEER, "user": "u", "realm": "r"}, "needs password_file"),
        ({**PEER, "password_env": "P"}, "without user"),
        ({**PEER, "user": "u", "password_env": "P"}, "realm go together"),
        ({**PEER, **ACCOUNT, "password_file": "f"}, "give one"),
        ({"sources": ["192.0.2.1"], "register": True, **ACCOUNT}, "register needs"),
        ({**PEER, "codecs": []}, "at least one"),
        ({**PEER, "attempt_seconds": 20.0, "progress_seconds": 5.0}, "must not be shorter"),
        ({**PEER, "called": [{"match": "(", "give": ""}]}, "no such pattern"),
        ({**PEER, "dial": [{"match": "1", "give": r"\1"}]}, "no such pattern"),
        ({**PEER, "calling": [{"match": ".*", "give": ""}]}, "empty number"),
        ({**PEER, "numbers": ["["]}, "no such pattern"),
    ],
)
def test_what_shows_only_together(table, said):
    found = list(problems([msgspec.convert({"name": "t", **table}, TrunkSettings)]))
    assert len(found) == 1
    assert said in found[0]


def test_one_account_is_one_trunks():
    made = [msgspec.convert({"name": name, "account": "a"}, TrunkSettings) for name in "ab"]
    assert list(problems(made)) == ["trunk.account: two trunks have the account 'a'"]


# --- the password -----------------------------------------------------------------------------------------------------


def trunk(**more):
    return msgspec.convert({"name": "t", **PEER, "user": "u", "realm": "r", **more}, TrunkSettings)


@pytest.mark.parametrize("content", ["secret", "secret\n", "secret\r\nmore"])
def test_from_a_file(tmp_path, content):
    (tmp_path / "f").write_bytes(content.encode())
    found = account(trunk(password_file="f"), {}, lambda name: tmp_path / name)
    assert found is not None
    assert (found.user, found.realm, found.password) == ("u", "r", "secret")


def test_from_the_environment(tmp_path):
    made = trunk(password_env="P")
    assert accounts(
        [made, trunk(name="n", user=None, realm=None)], {"P": "secret"}, tmp_path.joinpath
    ).keys() == {"t"}


@pytest.mark.parametrize(
    "where", [{"password_file": "absent"}, {"password_file": "empty"}, {"password_env": "NOT_SET"}]
)
def test_no_password_is_said_with_its_place(tmp_path, where):
    (tmp_path / "empty").touch()
    with pytest.raises(SecretError, match=next(iter(where.values()))):
        account(trunk(**where), {}, lambda name: tmp_path / name)
