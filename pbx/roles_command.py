"""`at110 roles`: who may what, and changing it, by the running exchange's API.

in → out: arguments and settings → text in both languages on standard output. Changes take effect at once.
"""

import argparse
import datetime as dt
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

from pbx.api_command import ask, run
from pbx.settings import Settings
from pbx.storage.roles import ROLES

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
    return run(lambda settings: _done(settings, wanted))


def _done(settings: Settings, wanted: argparse.Namespace) -> list[str]:
    match wanted.act:
        case "list":
            return [_person(one) for one in ask(settings, "GET", "/api/roles")["roles"]]
        case "changes":
            return [_change(one) for one in ask(settings, "GET", "/api/roles/changes")["changes"]]
    method = "POST" if wanted.act == "grant" else "DELETE"
    ask(settings, method, f"/api/roles/{quote(wanted.user, safe='')}/{wanted.role}")
    return [f"{WORDS[wanted.act]}: {wanted.user} {WORDS[wanted.role]}"]


def _person(one: dict[str, Any]) -> str:
    fixed = set(one["settings"])
    roles = (WORDS[role] + ("（设置文件 settings）" if role in fixed else "") for role in one["roles"])
    return f"{one['user']}: {', '.join(roles)}"


def _change(one: dict[str, Any]) -> str:
    at = dt.datetime.fromtimestamp(one["at"], dt.UTC).isoformat(timespec="seconds")
    return f"{at}  {WORDS[one['act']]}  {one['user']}  {WORDS[one['role']]}  by {one['by']}"
