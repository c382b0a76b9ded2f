import json

import pytest

from pbx.location.writing import Circle
from pbx.phone import caller, command, desk
from pbx.phone.phone import Plan
from pbx.phone.user_agent import Account


@pytest.fixture
def planned(monkeypatch):
    """Plans instead of phones: what the command line would have started."""
    plans: list[tuple[Plan, bool]] = []

    def run(plan, language, *, quiet):
        del language
        plans.append((plan, quiet))
        return 0

    for module in (caller, desk):
        monkeypatch.setattr(module, "run", run)
    monkeypatch.delenv("AT110_SIP_PORT", raising=False)
    for name in ("LC_ALL", "LC_MESSAGES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "C.UTF-8")
    return plans


def test_a_call_without_arguments(planned):
    assert caller.main([]) == 0
    ((plan, quiet),) = planned
    assert (plan.server, str(plan.target), plan.account, plan.seconds) == (
        ("127.0.0.1", 5060),
        "sip:110@127.0.0.1",
        None,
        None,
    )
    assert (plan.role, plan.tone_hz, plan.with_picture, plan.location, quiet) == (
        "caller",
        440.0,
        True,
        None,
        False,
    )


def test_a_call_with_all_of_them(planned):
    line = "--to tel:110 --server [::1]:5070 --user anna --password p --seconds 2.5 --silent --audio-only --location 37.46,121.44,25 --json"
    assert caller.main(line.split()) == 0
    ((plan, quiet),) = planned
    assert (plan.server, str(plan.target)) == (("::1", 5070), "tel:110;mode=silent")
    assert (plan.account, plan.seconds) == (Account("anna", "p"), 2.5)
    assert (plan.with_picture, plan.location, quiet) == (False, Circle(37.46, 121.44, 25), True)


def test_a_desk(planned, monkeypatch):
    monkeypatch.setenv("AT110_SIP_PORT", "15060")
    assert desk.main(["--user", "d1", "--password", "p", "--seconds", "60"]) == 0
    ((plan, _),) = planned
    assert (plan.role, plan.server, str(plan.target)) == ("desk", ("127.0.0.1", 15060), "sip:*10@127.0.0.1")
    assert (plan.tone_hz, plan.with_picture, plan.seconds) == (1000.0, True, 60)


@pytest.mark.parametrize(
    ("to", "silent", "target"),
    [
        ("110", False, "sip:110@127.0.0.1"),
        ("110", True, "sip:110-silent@127.0.0.1"),
        ("sip:110@example.org", True, "sip:110-silent@example.org"),
        ("sip:help@example.org", True, "sip:help@example.org;mode=silent"),
        ("urn:service:sos.police", False, "urn:service:sos.police"),
        ("urn:service:sos", True, "urn:service:sos;mode=silent"),
        ("anna@example.org", False, "sip:anna@example.org"),
    ],
)
def test_whom_it_calls(planned, to, silent, target):
    caller.main(["--to", to, *(["--silent"] if silent else [])])
    assert str(planned[0][0].target) == target


@pytest.mark.parametrize(
    "line",
    [
        "--nonsense", "extra", "--server nowhere:99999", "--server :5060", "--server a:0", "--server h:٣",
        "--user anna", "--password p", "--seconds 0", "--seconds -1", "--seconds 1_0", "--seconds inf", "--seconds 9999999",
        "--location 1,2", "--location 91,0,1", "--to sip:", "--to <>", "--seconds",
    ],
)  # fmt: skip
@pytest.mark.parametrize(("language", "word"), [("C.UTF-8", "wrong arguments"), ("zh_CN.UTF-8", "参数错误")])
def test_wrong_arguments(planned, monkeypatch, capsys, line, language, word):
    monkeypatch.setenv("LANG", language)
    assert caller.main(line.split()) == 2
    assert not planned
    told = capsys.readouterr()
    assert told.out == ""
    assert word in told.err


def test_a_desk_needs_an_account(planned, capsys):
    assert desk.main([]) == 2
    assert "--user" in capsys.readouterr().err


def test_help(planned, monkeypatch, capsys):
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert caller.main(["--help"]) == 0
    assert "静默" in capsys.readouterr().out


class _Phone:
    def __init__(self, plan, say):
        self.say = say

    async def run(self):
        self.say("answered")
        self.say("ended", "peer")
        return {"role": "caller", "ended_by": "peer"}, False


@pytest.mark.parametrize("quiet", [True, False])
def test_the_report_is_all_there_is_on_stdout(monkeypatch, capsys, planned, quiet):
    monkeypatch.setattr(command, "Phone", _Phone)
    monkeypatch.setattr(command.logs, "configure", lambda *_, **__: None)
    caller.main([])
    assert command.run(planned[0][0], "zh", quiet=quiet) == command.NOT_ANSWERED
    told = capsys.readouterr()
    assert json.loads(told.out) == {"role": "caller", "ended_by": "peer"}
    assert told.err == ("" if quiet else "at110: 已接通\nat110: 通话结束（对方挂断）\n")
