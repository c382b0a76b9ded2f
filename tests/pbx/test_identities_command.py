"""`at110 identities` logs in as a person, asks for what is secret, and says in both languages what came of it."""

import io
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest

import server

FACTS = {"name": "王丽", "phone": "138", "document": "a" * 64, "kind": "passport", "how": "records"}
CHANGE = {"id": "c1", "facts": FACTS, "by": "8001", "at": 0.0, "until": 60.0}
ANSWERS = {
    "/api/login": {"ok": True},
    "/api/identities": {
        "identities": [
            {
                "user": "138",
                "proof": {"facts": FACTS, "by": "8002", "at": 0.0, "asked_by": "8001"},
                "change": CHANGE,
                "blocked": None,
            },
            {
                "user": "139",
                "proof": None,
                "change": None,
                "blocked": {"by": "8002", "at": 0.0, "why": "hoaxes"},
            },
            {"user": "140", "proof": None, "change": None, "blocked": {"by": None, "at": None, "why": ""}},
        ]
    },
    "/api/identities/changes": {
        "changes": [
            {"at": 0.0, "act": "expired", "user": "138", "by": "time limit", "facts": FACTS},
            {
                "at": 0.0,
                "act": "blocked",
                "user": "139",
                "by": "8002",
                "facts": {"name": None, "why": "hoaxes"},
            },
        ]
    },
    "/api/identities/1%2F8": {"ok": True, "state": "waits", "change": "c1", "until": 60.0},
    "/api/identities/138/confirm": {"ok": True, "state": "verified"},
    "/api/identities/138/withdraw": {"ok": True, "state": "withdrawn"},
    "/api/identities/138/needs": {"ok": True},
    "/api/identities/138/block": {"ok": True},
    "/api/identities/138/unblock": {"ok": True},
}


class Api(BaseHTTPRequestHandler):
    asked: ClassVar[list[tuple[object, ...]]] = []
    refuse: ClassVar[bool] = False

    def _answer(self):
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        who = self.headers["Authorization"] or self.headers["Cookie"]
        Api.asked.append((self.command, self.path, who, json.loads(body) if body else None))
        answer = {"error": {"code": "x", "zh": "不行", "en": "no"}} if Api.refuse else ANSWERS[self.path]
        data = json.dumps(answer).encode()
        self.send_response(403 if Api.refuse else 200)
        if self.path == "/api/login":
            self.send_header("Set-Cookie", "at110=mine; HttpOnly")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = _answer  # noqa: N815 - the names http.server calls

    def log_message(self, *_):
        pass


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    Api.asked, Api.refuse = [], False
    with HTTPServer(("127.0.0.1", 0), Api) as http:
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        (tmp_path / "credentials.json").write_text(json.dumps({"api_token": "secret"}))
        (tmp_path / "at110.toml").write_text(f"[http]\nport = {http.server_port}\n")
        monkeypatch.setenv("AT110_STATE", str(tmp_path))
        yield tmp_path
        http.shutdown()
        thread.join()


def run(monkeypatch, words, typed=""):
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    return server.main(["identities", *words])


def test_what_stands_is_shown(monkeypatch, capsys):
    assert run(monkeypatch, ["list"]) == 0
    assert run(monkeypatch, ["changes"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "138: 王丽  138  护照 passport  比对档案 records  已核实 verified: 8001 + 8002, 1970-01-01T00:00:00+00:00",
        (
            "138: 王丽  138  护照 passport  比对档案 records  等待另一人确认 waits for a second person: c1  8001, "
            "1970-01-01T00:00:00+00:00 → 1970-01-01T00:01:00+00:00"
        ),
        "139: 已停用 blocked: 8002, 1970-01-01T00:00:00+00:00, hoaxes",
        "140: 已停用 blocked",
        "1970-01-01T00:00:00+00:00  变更过期 change expired  138  王丽  by time limit",
        "1970-01-01T00:00:00+00:00  已停用 blocked  139  hoaxes  by 8002",
    ]
    assert {who for _, _, who, _ in Api.asked} == {"Bearer secret"}


def test_acts_are_a_persons_and_secrets_no_arguments(monkeypatch, capsys):
    words = ["check", "1/8", "--name", "王丽", "--phone", "138", "--kind", "passport", "--as", "8001"]
    assert run(monkeypatch, words, "pw\nE12345678\n") == 0
    assert run(monkeypatch, ["confirm", "138", "c1", "--as", "8002"], "pw2\n") == 0
    assert run(monkeypatch, ["withdraw", "138", "c1", "--as", "8002"], "pw2\n") == 0
    facts = {"name": "王丽", "phone": "138", "kind": "passport", "how": "in-person", "number": "E12345678"}
    assert Api.asked == [
        ("POST", "/api/login", None, {"user": "8001", "password": "pw"}),
        ("POST", "/api/identities/1%2F8", "at110=mine", facts),
        ("POST", "/api/login", None, {"user": "8002", "password": "pw2"}),
        ("POST", "/api/identities/138/confirm", "at110=mine", {"change": "c1"}),
        ("POST", "/api/login", None, {"user": "8002", "password": "pw2"}),
        ("POST", "/api/identities/138/withdraw", "at110=mine", {"change": "c1"}),
    ]
    assert "waits for a second person  c1  → 1970-01-01T00:01:00+00:00" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "body"),
    [
        (["--deaf", "--language", "zh"], {"language": "zh", "needs": ["deaf"]}),
        (["--speech", "--deaf"], {"language": None, "needs": ["deaf", "speech"]}),
        ([], {"language": None, "needs": []}),
    ],
)
def test_what_a_person_needs_is_said_anew(monkeypatch, capsys, words, body):
    assert run(monkeypatch, ["needs", "138", *words, "--as", "8001"], "pw\n") == 0
    assert Api.asked[-1] == ("POST", "/api/identities/138/needs", "at110=mine", body)
    said = capsys.readouterr().out.strip()
    assert said.startswith("138: 沟通需要已记录 needs noted")
    assert all(need in said for need in body["needs"])


def test_an_account_is_blocked_for_a_reason_and_unblocked(monkeypatch, capsys):
    assert run(monkeypatch, ["block", "138", "--why", "40 hoaxes", "--as", "8002"], "pw\n") == 0
    assert run(monkeypatch, ["unblock", "138", "--as", "8002"], "pw\n") == 0
    assert [asked for asked in Api.asked if "block" in asked[1]] == [
        ("POST", "/api/identities/138/block", "at110=mine", {"why": "40 hoaxes"}),
        ("POST", "/api/identities/138/unblock", "at110=mine", None),
    ]
    assert capsys.readouterr().out.splitlines() == ["138: 已停用 blocked", "138: 已恢复 unblocked"]
    with pytest.raises(SystemExit):
        run(monkeypatch, ["block", "138", "--as", "8002"])


def test_a_refusal_is_said_in_both_languages(monkeypatch, capsys):
    Api.refuse = True
    assert run(monkeypatch, ["confirm", "138", "c1", "--as", "8002"], "pw\n") == 1
    assert capsys.readouterr().err == "at110: 不行 · no\n"
