"""`at110 identities`: who is verified, and verifying, by the running exchange's API.

in → out: arguments and settings → text in both languages on standard output. Who acts logs in by name; the password, and the number of
a document, are asked for (a line each of standard input when that is no terminal): arguments are seen by everybody on the machine.
"""

import argparse
import datetime as dt
import getpass
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

from pbx.identity_proof import DOCUMENTS, HOW
from pbx.settings import Settings, SettingsError, load

API_SECONDS: Final = 10.0
WORDS: Final = {
    "verified": "已核实 verified", "changed": "已变更 changed", "removed": "已删除 removed", "asked": "申请变更 change asked",
    "confirmed": "确认变更 change confirmed", "withdrawn": "撤回变更 change withdrawn", "expired": "变更过期 change expired",
    "dropped": "变更被删除 change dropped", "account": "账号标记 account marked", "waits": "等待另一人确认 waits for a second person",
    "resident-id": "居民身份证 resident-id", "passport": "护照 passport", "other": "其他证件 other",
    "in-person": "当面 in-person", "records": "比对档案 records", "remote": "远程 remote",
}  # fmt: skip


def main(argv: Sequence[str]) -> int:
    """Run `at110 identities …`. 0 when it was done."""
    wanted = _parser().parse_args(argv)
    try:
        settings = load(os.environ)
    except SettingsError as error:
        for problem in error.problems:
            print(f"at110: {problem}", file=sys.stderr)
        return 2
    try:
        print("\n".join(_done(settings, wanted)))
    except urllib.error.HTTPError as error:
        with error:
            print(f"at110: {_reason(error.read())}", file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
        print(f"at110: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="at110 identities", description="身份核实 · Who is verified")
    acts = parser.add_subparsers(dest="act", required=True)
    acts.add_parser("list", help="已核实的账号和待确认的变更 · who is verified, and open changes")
    acts.add_parser("changes", help="变更记录 · who did what, the newest first")
    check = acts.add_parser(
        "check", help="核实，或申请变更 · verify, or ask for a change of what is verified"
    )
    for option, text in (
        ("--name", "证件姓名 · as in the document"),
        ("--phone", "电话号码 · where the person is called"),
    ):
        check.add_argument(option, required=True, help=text)
    check.add_argument("--kind", choices=DOCUMENTS, default="resident-id", help="证件 · document")
    check.add_argument("--how", choices=HOW, default="in-person", help="方式 · how it was seen")
    confirm = acts.add_parser("confirm", help="由另一人确认变更 · confirm a change, as a second person")
    withdraw = acts.add_parser("withdraw", help="撤回变更 · withdraw a change")
    for one in (check, confirm, withdraw):
        one.add_argument("user", help="账号 · account")
        one.add_argument("--as", dest="by", required=True, metavar="USER", help="办理人账号 · who does it")
    for one in (confirm, withdraw):
        one.add_argument("change", help="变更编号 · the change's id")
    return parser


def _done(settings: Settings, wanted: argparse.Namespace) -> list[str]:
    match wanted.act:
        case "list":
            found = _ask(settings, "GET", "/api/identities", token=_token(settings))["identities"]
            return [line for one in found for line in _person(one)]
        case "changes":
            found = _ask(settings, "GET", "/api/identities/changes", token=_token(settings))["changes"]
            return [_change(one) for one in found]
    login = {"user": wanted.by, "password": _secret(f"密码 password ({wanted.by}): ")}
    cookie = _login(settings, login)
    path = f"/api/identities/{quote(wanted.user, safe='')}"
    if wanted.act == "check":
        body = {name: getattr(wanted, name) for name in ("name", "phone", "kind", "how")}
        body["number"] = _secret("证件号码 number of the document: ")
    else:
        path, body = f"{path}/{wanted.act}", {"change": wanted.change}
    done = _ask(settings, "POST", path, body=body, cookie=cookie)
    waits = f"  {done['change']}  → {_time(done['until'])}" if done["state"] == "waits" else ""
    return [f"{wanted.user}: {WORDS[done['state']]}{waits}"]


def _secret(prompt: str) -> str:
    if sys.stdin.isatty():
        return getpass.getpass(prompt)
    return sys.stdin.readline().rstrip("\r\n")


def _token(settings: Settings) -> str:
    return str(json.loads(settings.credentials.read_bytes())["api_token"])


def _request(
    settings: Settings, method: str, path: str, body: dict[str, Any] | None
) -> urllib.request.Request:
    host = settings.http.host if settings.http.host not in {"0.0.0.0", "::"} else "127.0.0.1"
    return urllib.request.Request(
        f"http://{host}:{settings.http.port}{path}",
        None if body is None else json.dumps(body).encode(),
        {"Content-Type": "application/json"},
        method=method,
    )


def _login(settings: Settings, login: dict[str, Any]) -> str:
    request = _request(settings, "POST", "/api/login", login)
    with urllib.request.urlopen(request, timeout=API_SECONDS) as answer:  # noqa: S310 - as above
        return str(answer.headers["Set-Cookie"]).partition(";")[0]


def _ask(
    settings: Settings,
    method: str,
    path: str,
    *,
    body: dict[str, Any] | None = None,
    token: str | None = None,
    cookie: str | None = None,
) -> Any:
    request = _request(settings, method, path, body)
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    if cookie is not None:
        request.add_header("Cookie", cookie)
    with urllib.request.urlopen(request, timeout=API_SECONDS) as answer:  # noqa: S310 - as above
        return json.load(answer)


def _person(one: dict[str, Any]) -> list[str]:
    lines = []
    if (proof := one["proof"]) is not None:
        by = proof["by"] if proof["asked_by"] is None else f"{proof['asked_by']} + {proof['by']}"
        lines.append(
            f"{one['user']}: {_facts(proof['facts'])}  {WORDS['verified']}: {by}, {_time(proof['at'])}"
        )
    if (change := one["change"]) is not None:
        lines.append(
            f"{one['user']}: {_facts(change['facts'])}  {WORDS['waits']}: {change['id']}  {change['by']}, "
            f"{_time(change['at'])} → {_time(change['until'])}"
        )
    return lines


def _facts(facts: dict[str, Any]) -> str:
    seen = (WORDS.get(facts[name], facts[name]) for name in ("kind", "how"))
    return "  ".join(word for word in (facts["name"], facts["phone"], *seen) if word)


def _change(one: dict[str, Any]) -> str:
    name = one["facts"].get("name") or ""
    return f"{_time(one['at'])}  {WORDS[one['act']]}  {one['user']}  {name}  by {one['by']}"


def _time(at: float) -> str:
    return dt.datetime.fromtimestamp(at, dt.UTC).isoformat(timespec="seconds")


def _reason(body: bytes) -> str:
    try:
        error = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return "the exchange refused it"
    return f"{error['zh']} · {error['en']}"
