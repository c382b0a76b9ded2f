"""`at110 roles`: who may what, and changing it, by the running exchange's API.

in → out: arguments and settings → text in both languages on standard output. Changes take effect at once.
"""

import argparse
import datetime as dt
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

from pbx.settings import Settings, SettingsError, load
from pbx.storage.roles import ROLES

API_SECONDS: Final = 10.0
WORDS: Final = {
    "supervisor": "督导 supervisor",
    "auditor": "审计 auditor",
    "admin": "管理员 admin",
    "grant": "授予 grant",
    "revoke": "撤销 revoke",
}


def main(argv: Sequence[str]) -> int:
    """Run `at110 roles …`. 0 when it was done."""
    parser = argparse.ArgumentParser(prog="at110 roles", description="角色 · Who may what")
    acts = parser.add_subparsers(dest="act", required=True)
    acts.add_parser("list", help="所有角色 · everybody with a role")
    acts.add_parser("changes", help="变更记录 · who changed what, the newest first")
    for act, text in (("grant", "授予角色 · give a role"), ("revoke", "撤销角色 · take a role away")):
        one = acts.add_parser(act, help=text)
        one.add_argument("user", help="接警员账号 · a dispatcher's account")
        one.add_argument("role", choices=ROLES)
    wanted = parser.parse_args(argv)
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


def _done(settings: Settings, wanted: argparse.Namespace) -> list[str]:
    match wanted.act:
        case "list":
            return [_person(one) for one in _ask(settings, "GET", "")["roles"]]
        case "changes":
            return [_change(one) for one in _ask(settings, "GET", "/changes")["changes"]]
    method = "POST" if wanted.act == "grant" else "DELETE"
    _ask(settings, method, f"/{quote(wanted.user, safe='')}/{wanted.role}")
    return [f"{WORDS[wanted.act]}: {wanted.user} {WORDS[wanted.role]}"]


def _ask(settings: Settings, method: str, path: str) -> Any:
    token = json.loads(settings.credentials.read_bytes())["api_token"]
    host = settings.http.host if settings.http.host not in {"0.0.0.0", "::"} else "127.0.0.1"
    request = urllib.request.Request(
        f"http://{host}:{settings.http.port}/api/roles{path}",
        method=method,
        headers={"Authorization": f"Bearer {token}"},
    )
    with urllib.request.urlopen(request, timeout=API_SECONDS) as answer:  # noqa: S310 - our own address, from the settings
        return json.load(answer)


def _person(one: dict[str, Any]) -> str:
    fixed = set(one["settings"])
    roles = (WORDS[role] + ("（设置文件 settings）" if role in fixed else "") for role in one["roles"])
    return f"{one['user']}: {', '.join(roles)}"


def _change(one: dict[str, Any]) -> str:
    at = dt.datetime.fromtimestamp(one["at"], dt.UTC).isoformat(timespec="seconds")
    return f"{at}  {WORDS[one['act']]}  {one['user']}  {WORDS[one['role']]}  by {one['by']}"


def _reason(body: bytes) -> str:
    try:
        error = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return "the exchange refused it"
    return f"{error['zh']} · {error['en']}"
