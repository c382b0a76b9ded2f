"""`at110 why`, `statistics` and `simulate`, from files, in both languages."""

import json
import time
from pathlib import Path

import pytest

import server
from pbx import routing_command
from pbx.call.ledger import read, write
from recordings.events import encode
from routing.statistics import Event


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("AT110_STATE", str(tmp_path))
    for name in ("AT110_SETTINGS", "AT110_SIP_PORT", "AT110_HTTP_PORT", "AT110_HOST", "AT110_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def events(folder: Path, *said: tuple[str, dict[str, object]]) -> None:
    folder.mkdir(parents=True)
    lines = [
        encode(number, folder.name, event, fields, wall_ns=1_800_000_000_000_000_000, mono=float(number))
        for number, (event, fields) in enumerate(said, 1)
    ]
    (folder / "events.jsonl").write_bytes(b"".join(lines))


def test_why_prints_the_decision_and_its_candidates_in_both_languages(state, capsys):
    candidate = {"desk": "8001", "score": 5.0, "level": 1, "idle": 12.5, "served": 3}
    decision = {"queue": "north", "desk": "8001", "rule": "longest-idle", "class": "danger", "position": 1,
                "candidates": [candidate], "others": {"busy": 4, "skill": 2}}  # fmt: skip
    folder = state / "evidence" / "20261122-143706-aa"
    events(
        folder,
        ("call_arrived", {"queue": "north"}),
        ("text", {"text": "not a decision"}),
        ("routed", {**decision, "desk": None, "rule": "waits"}),
        ("routed", decision),
        ("put_through", {"desk": "8001\x1b[31m", "waited_ms": 1500}),
        ("call_ended", {"cause": "bye"}),
    )
    assert server.main(["why", folder.name]) == 0
    out = capsys.readouterr().out
    assert "waits in north at 1, class: in danger" in out
    assert "chosen 8001: idle longest" in out
    assert "选中 8001：空闲最久，类别：危险" in out
    assert "4 × 通话中 · in a call" in out
    assert "技能分 score 5.0" in out
    assert "after 1.5 s" in out
    assert "not a decision" not in out
    assert "\x1b" not in out, "what a name says never reaches the terminal as a command"
    assert server.main(["why", str(folder)]) == 0


def test_why_of_an_unknown_call_asks_the_exchange_and_says_so(state, capsys):
    (state / "credentials.json").write_text(json.dumps({"api_token": "x"}))
    (state / "at110.toml").write_text("[http]\nport = 1\n")
    assert server.main(["why", "nobody"]) == 1
    assert "at110:" in capsys.readouterr().err


def test_statistics_read_the_routing_log(state, capsys):
    now = time.time() - 1.0
    log = state / "routing" / f"{time.strftime('%Y-%m-%d', time.gmtime(now))}.jsonl"
    for number, record in enumerate(
        (
            {"at": now - 0.5, "what": "arrived", "call": "a", "queue": "north"},
            {"at": now - 0.25, "what": "through", "call": "a", "queue": "north", "desk": "d", "agent": "li"},
        )
    ):
        write(log, json.dumps(record).encode() + (b"" if number else b"\n"))
    write(log, b'{"at": 1, "what": "torn')
    write(log, json.dumps({"at": now, "what": "ended", "call": "a"}).encode() + b"\n")
    found = list(read(state / "routing", now - 10, now + 10))
    assert [event.what for event in found] == ["arrived", "through", "ended"]
    assert found[0] == Event(now - 0.5, "arrived", "a", "north")
    assert server.main(["statistics", "--json", "--zone", "UTC", "--since", f"{time.strftime('%Y-%m-%d', time.gmtime(now))}"]) == 0  # fmt: skip
    total = json.loads(capsys.readouterr().out)["total"]
    assert (total["arrived"], total["answered"], total["service_level"]) == (1, 1, 1.0)
    assert server.main(["statistics", "--zone", "UTC"]) == 0
    assert "呼入 arrived" in capsys.readouterr().out
    assert server.main(["statistics", "--zone", "Nowhere/At-All"]) == 2
    assert server.main(["statistics", "--since", "yesterday"]) == 2


def test_simulate_prints_figures_and_a_plot_and_writes_svg(state, capsys):
    svg = state / "day.svg"
    argv = ["simulate", "--calls", "300", "--seats", "5", "--burst", "60", "--svg", str(svg)]
    assert server.main(argv) == 0
    first = capsys.readouterr().out
    assert "service_level" in first
    assert "lost              0" in first
    assert "█" in first
    assert svg.read_text().startswith("<svg")
    server.main(argv)
    assert capsys.readouterr().out == first, "the same seed gives the same day"
    with pytest.raises(SystemExit):
        routing_command.simulate(["--seats", "0"])
