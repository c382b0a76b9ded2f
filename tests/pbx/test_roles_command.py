"""`at110 roles` asks the running exchange and says what came of it in both languages."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest

import server


class Told:
    """What was asked, and how it is answered."""

    asked: ClassVar[list[tuple[str, str, str]]] = []
    refuse = False


class Api(BaseHTTPRequestHandler):
    def _answer(self):
        Told.asked.append((self.command, self.path, self.headers["Authorization"]))
        known = {
            "/api/roles": {"roles": [{"user": "8001", "roles": ["admin", "supervisor"], "settings": ["supervisor"]}]},
            "/api/roles/changes": {"changes": [{"at": 0.0, "act": "grant", "user": "8001", "role": "admin", "by": "token"}]},
        }  # fmt: skip
        body = known.get(self.path, {"ok": True})
        if Told.refuse:
            body = {"error": {"code": "x", "zh": "不行", "en": "no"}}
        data = json.dumps(body).encode()
        self.send_response(409 if Told.refuse else 200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - the names http.server calls

    def log_message(self, *_):
        pass


@pytest.fixture
def state(tmp_path, monkeypatch):
    Told.asked, Told.refuse = [], False
    with HTTPServer(("127.0.0.1", 0), Api) as http:
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        (tmp_path / "credentials.json").write_text(json.dumps({"api_token": "secret"}))
        (tmp_path / "at110.toml").write_text(f"[http]\nport = {http.server_port}\n")
        monkeypatch.setenv("AT110_STATE", str(tmp_path))
        yield tmp_path
        http.shutdown()
        thread.join()


def test_each_act(state, capsys):
    for words in (["list"], ["changes"], ["grant", "80 01", "admin"], ["revoke", "8001", "admin"]):
        assert server.main(["roles", *words]) == 0
    assert Told.asked == [
        ("GET", "/api/roles", "Bearer secret"),
        ("GET", "/api/roles/changes", "Bearer secret"),
        ("POST", "/api/roles/80%2001/admin", "Bearer secret"),
        ("DELETE", "/api/roles/8001/admin", "Bearer secret"),
    ]
    out = capsys.readouterr().out
    assert "督导 supervisor（设置文件 settings）" in out
    assert "1970-01-01T00:00:00+00:00  授予 grant  8001  管理员 admin  by token" in out
    assert "secret" not in out


def test_a_refusal_is_told_in_both_languages(state, capsys):
    Told.refuse = True
    assert server.main(["roles", "revoke", "8001", "admin"]) == 1
    assert "不行 · no" in capsys.readouterr().err


def test_nobody_there(state, capsys):
    (state / "at110.toml").write_text("[http]\nport = 1\n")
    assert server.main(["roles", "list"]) == 1
    assert "at110:" in capsys.readouterr().err


def test_no_such_role(state):
    with pytest.raises(SystemExit):
        server.main(["roles", "grant", "8001", "king"])
