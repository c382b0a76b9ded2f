"""One file, five variables, everything that is wrong named at once."""

import os
import re
from pathlib import Path

import msgspec
import pytest

from pbx.folders import SOCKET_PATH_LIMIT
from pbx.settings import SECTIONS, Settings, SettingsError, load, prepare


def read(tmp_path: Path, toml: str = "", **environ: str) -> Settings:
    (tmp_path / "at110.toml").write_text(toml, "utf-8")
    return load({"AT110_STATE": str(tmp_path), **environ})


def problems(tmp_path: Path, toml: str = "", **environ: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, toml, **environ)
    return [problem.removeprefix(f"{tmp_path}/at110.toml: ") for problem in caught.value.problems]


def test_without_a_file_there_are_defaults(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = load({})
    assert settings.state == tmp_path / "state"
    assert (settings.sip.host, settings.sip.port, settings.sip.realm) == ("127.0.0.1", 5060, "at110")
    assert (settings.http.port, settings.queue.wrap_up_seconds) == (8110, 5.0)
    assert settings.media.host_picture_in_silent is False
    assert settings.storage.database_url is None
    assert settings.evidence_folder == tmp_path / "state" / "evidence"


def test_the_file_is_read_whole(tmp_path):
    settings = read(
        tmp_path,
        """
        [sip]
        port = 5070
        advertised = "sip.example"
        [media]
        port_min = 30000
        port_max = 31000
        loss_seconds = 2
        [emergency]
        numbers = ["119", "+86110"]
        [queue]
        wrap_up_seconds = 0
        language = "en"
        [evidence]
        folder = "elsewhere"
        """,
    )
    assert (settings.sip.port, settings.sip.public_host) == (5070, "sip.example")
    assert (settings.media.loss_seconds, settings.queue.wrap_up_seconds) == (2.0, 0.0)
    assert settings.emergency.numbers == ("119", "+86110")
    assert settings.evidence_folder == tmp_path / "elsewhere"


def test_variables_win_over_the_file(tmp_path):
    settings = read(
        tmp_path,
        "[sip]\nport = 1\nhost = '127.0.0.9'\n[http]\nport = 2\n[storage]\ndatabase_url = 'postgres://file'",
        AT110_SIP_PORT="5066",
        AT110_HTTP_PORT="0",
        AT110_HOST="127.0.0.2",
        AT110_DATABASE_URL="postgresql://host/base",
    )
    assert (settings.sip.port, settings.http.port) == (5066, 0)
    assert (settings.sip.host, settings.http.host) == ("127.0.0.2", "127.0.0.2")
    assert settings.storage.database_url == "postgresql://host/base"


def test_empty_variables_say_nothing(tmp_path):
    assert (
        read(tmp_path, AT110_SIP_PORT="", AT110_HOST="", AT110_DATABASE_URL="", AT110_SETTINGS="").sip.port
        == 5060
    )


def test_every_wrong_thing_is_named_with_its_line(tmp_path):
    found = problems(
        tmp_path,
        "[sip]\nport = 70000\nprot = 1\n\n[media]\nport_min = 'low'\n[queue]\nlanguage = \"fr\"\n[quueue]\n[limits]\nfeed_readers = 0\n",
    )
    told = [re.match(r"(line \d+): (\[?[a-z_.]+\]?)", problem) for problem in found]
    assert [(m[1], m[2]) for m in told if m] == [
        ("line 2", "sip.port"),
        ("line 3", "sip.prot"),
        ("line 6", "media.port_min"),
        ("line 8", "queue.language"),
        ("line 9", "[quueue]"),
        ("line 11", "limits.feed_readers"),
    ]
    assert len(found) == 6


@pytest.mark.parametrize("section", SECTIONS)
def test_every_section_refuses_an_unknown_key_and_no_table(tmp_path, section):
    assert "is not a setting" in problems(tmp_path, f"[{section}]\nno_such_key = 1")[0]
    assert "must be a table" in problems(tmp_path, f"{section} = 1")[0]


def test_what_is_no_toml_is_said_with_its_line(tmp_path):
    assert "line 2" in problems(tmp_path, "[sip]\nport = = 1\n")[0]


def test_what_is_no_utf_8_is_said(tmp_path):
    (tmp_path / "at110.toml").write_bytes(b"[sip]\nrealm = '\xff'\n")
    with pytest.raises(SettingsError, match="can't be read"):
        load({"AT110_STATE": str(tmp_path)})


def test_a_named_file_must_be_there(tmp_path):
    with pytest.raises(SettingsError, match="does not exist"):
        load({"AT110_STATE": str(tmp_path), "AT110_SETTINGS": str(tmp_path / "nothing.toml")})


@pytest.mark.parametrize(
    "port", ["x", "-1", "1e3", "٣", " 5060", "5060 ", "1_000", "65536", "123456", "0x10"]
)
def test_a_port_is_digits_up_to_65535(tmp_path, port):
    assert "AT110_SIP_PORT" in problems(tmp_path, AT110_SIP_PORT=port)[0]


@pytest.mark.parametrize("host", ["localhost", "256.0.0.1", "1.2.3", "a b", ""])
def test_a_listening_host_is_an_address(tmp_path, host):
    assert "sip.host" in problems(tmp_path, f"[sip]\nhost = '{host}'")[0]


@pytest.mark.parametrize(
    ("toml", "named"),
    [
        ("[media]\nport_min = 20000\nport_max = 20002", "media.port_max"),
        ("[sip]\nport = 20500", "sip.port"),
        ("[queue]\nwrap_up_seconds = -1", "queue.wrap_up_seconds"),
        ("[queue]\nwrap_up_seconds = nan", "queue.wrap_up_seconds"),
        ("[sip]\nrealm = 'a\"b'", "sip.realm"),
        ("[sip]\nadvertised = 'a\\r\\nVia: x'", "sip.advertised"),
        ("[sip]\nport = true", "sip.port"),
        ("[emergency]\nnumbers = ['11 0']", "emergency.numbers"),
    ],
)
def test_values_out_of_reason_are_refused(tmp_path, toml, named):
    assert named in problems(tmp_path, toml)[0]


def test_the_smallest_port_range_is_one_call_with_picture(tmp_path):
    settings = read(tmp_path, "[media]\nport_min = 20000\nport_max = 20003")
    assert settings.media.port_max == 20003


def test_a_wrong_database_url_is_not_repeated(tmp_path):
    found = problems(tmp_path, AT110_DATABASE_URL="mysql://u:geheim@host/db")
    assert "AT110_DATABASE_URL" in found[0]
    assert "geheim" not in found[0]


def test_a_wildcard_is_never_told_to_phones(tmp_path):
    assert read(tmp_path, AT110_HOST="0.0.0.0").sip.public_host not in {"0.0.0.0", ""}
    assert read(tmp_path, AT110_HOST="::").sip.public_host not in {"::", ""}
    assert read(tmp_path, AT110_HOST="127.0.0.5").sip.public_host == "127.0.0.5"


def test_settings_can_not_be_changed_and_can_be_written_as_json(tmp_path):
    settings = read(tmp_path)
    with pytest.raises(AttributeError):
        settings.sip.port = 1  # type: ignore[misc]
    assert msgspec.to_builtins(settings.sip)["port"] == 5060


def test_folders_are_made_private_and_the_state_can_be_walked_through(tmp_path):
    settings = load({"AT110_STATE": str(tmp_path / "deep" / "state")})
    prepare(settings)
    prepare(settings)
    assert settings.state.stat().st_mode & 0o777 == 0o711
    for folder in (
        settings.journal,
        settings.spool,
        settings.logs,
        settings.run_folder,
        settings.evidence_folder,
    ):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_an_existing_state_folder_keeps_its_mode(tmp_path):
    state = tmp_path / "state"
    state.mkdir(mode=0o750)
    prepare(load({"AT110_STATE": str(state)}))
    assert state.stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize("length", [40, 80, 95, 100, 107, 108, 150, 230])
def test_the_media_socket_is_always_short_enough(tmp_path, length):
    state = Path("/" + "x" * (length - 1))
    for process in (0, 63):
        socket = load({"AT110_STATE": str(state)}).media_socket(process)
        assert len(os.fsencode(socket)) < SOCKET_PATH_LIMIT
        assert (state in socket.parents) == (
            len(os.fsencode(state / "run" / "media-99.sock")) < SOCKET_PATH_LIMIT
        )


def test_the_short_folder_belongs_to_one_state_only():
    first, second = (load({"AT110_STATE": "/" + c * 150}).run_folder for c in "ab")
    assert first != second


def test_where_tls_listens(tmp_path):
    assert read(tmp_path).tls_port == 5061
    assert read(tmp_path, AT110_SIP_PORT="5070").tls_port is None
    assert read(tmp_path, "[tls]\nport = 6000", AT110_SIP_PORT="5070").tls_port == 6000
    assert read(tmp_path, "[tls]\nenabled = false").tls_port is None


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        ("[tls]\ncertificate = 'a.pem'", "go together"),
        ("[tls]\nenabled = false\n[http]\ntls_port = 8443", "tls.enabled is false"),
        ("[[sip.listen]]\nhost = 'pbx.example'", "is not an IP address"),
        ("[[sip.listen]]\nhost = '192.0.2.1'\ntransports = ['sctp']", "sip.listen"),
        ("[[sip.listen]]\nhost = '127.0.0.1'", "two transports would listen on 127.0.0.1:5060"),
        (
            "[[sip.listen]]\nhost = '::1'\ntransports = ['tcp', 'tls']",
            "two transports would listen on ::1:5060",
        ),
        ("[sip]\nresolvers = ['dns.example']", "is not an IP address"),
        ("[websocket]\norigins = ['phone.example']", "websocket.origins"),
        ("[websocket]\npath = 'sip'", "websocket.path"),
    ],
)
def test_what_cannot_be_listened_to(tmp_path, toml, expected):
    assert expected in problems(tmp_path, toml)[0]


def test_several_addresses(tmp_path):
    toml = "[[sip.listen]]\nhost = '::1'\n[[sip.listen]]\nhost = '192.0.2.1'\nport = 5070\nadvertised = 'pbx.example'"
    listen = read(tmp_path, toml).sip.listen
    assert [(p.host, p.port, p.transports, p.advertised) for p in listen] == [
        ("::1", 5060, ("udp", "tcp"), None),
        ("192.0.2.1", 5070, ("udp", "tcp"), "pbx.example"),
    ]


def test_files_are_found_from_the_state_folder(tmp_path):
    settings = read(tmp_path)
    assert settings.file("tls/own.pem") == tmp_path / "tls/own.pem"
    assert settings.file("/etc/ssl/own.pem") == Path("/etc/ssl/own.pem")


def test_who_is_encrypted(tmp_path):
    settings = read(tmp_path, '[media]\nencryption = "mandatory"\n[media.encryption_for]\n8001 = "dtls"\n')
    assert (settings.media.encryption, settings.media.encryption_for) == ("mandatory", {"8001": "dtls"})
    assert (Settings(state=tmp_path).media.encryption, Settings(state=tmp_path).media.encryption_for) == (
        "opportunistic",
        {},
    )
    found = problems(tmp_path, '[media]\nencryption = "perhaps"\n[media.encryption_for]\n8001 = "never"\n')
    assert len(found) == 2
    assert "media.encryption:" in found[0]
    assert "media.encryption_for:" in found[1]


def test_codes_of_hands_are_distinct_and_leave_the_others_alone(tmp_path):
    assert problems(tmp_path, "[hands]\nhold = '*15'\n") == [
        "line 1: two verbs of [hands] have the same code"
    ]
    assert problems(tmp_path, "[hands]\nhold = '*13'\n") == [
        "line 1: [hands]: *13 means something else already"
    ]
    assert len(problems(tmp_path, "[hands]\nhold = '14'\ntransfer_seconds = 0\nsupervisors = ['a b']\n")) == 3
    settings = read(tmp_path, "[hands]\nsupervisors = ['8001']\ntransfer_seconds = 5\nlisten = '*31'\n")
    assert settings.hands.supervisors == ("8001",)
    assert settings.hands.codes()["*31"] == "listen"


def test_short_numbers_are_digits_that_stand_for_one_word(tmp_path):
    settings = read(tmp_path, "[hands.short_numbers]\n71 = 'district:harbour'\n")
    assert settings.hands.short_numbers == {"71": "district:harbour"}
    for wrong in ("7a = 'x'", "71 = ''", "71 = 'two words'", "123456789 = 'x'"):
        assert len(problems(tmp_path, f"[hands.short_numbers]\n{wrong}\n")) == 1, wrong
