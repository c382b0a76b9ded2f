"""`at110 identities`: who is verified, and verifying, by the running exchange's API.

in → out: arguments and settings → text in both languages on standard output. Who acts logs in by name; the password, and the number of
a document, are asked for (a line each of standard input when that is no terminal): arguments are seen by everybody on the machine.
"""

import argparse
import datetime as dt
import getpass
import sys
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

from pbx.api_command import ask, login, run
from pbx.identity_proof import DOCUMENTS, HOW
from pbx.settings import Settings

NEEDS: Final = ("deaf", "speech")
WORDS: Final = {
    "verified": "已核实 verified", "changed": "已变更 changed", "removed": "已删除 removed", "asked": "申请变更 change asked",
    "confirmed": "确认变更 change confirmed", "withdrawn": "撤回变更 change withdrawn", "expired": "变更过期 change expired",
    "dropped": "变更被删除 change dropped", "blocked": "已停用 blocked", "unblocked": "已恢复 unblocked", "noted": "沟通需要已记录 needs noted", "account": "账号标记 account marked", "waits": "等待另一人确认 waits for a second person",
    "resident-id": "居民身份证 resident-id", "passport": "护照 passport", "other": "其他证件 other",
    "in-person": "当面 in-person", "records": "比对档案 records", "remote": "远程 remote",
}  # fmt: skip


def main(argv: Sequence[str]) -> int:
    """Run `at110 identities …`. 0 when it was done."""
    wanted = _parser().parse_args(argv)
    return run(lambda settings: _done(settings, wanted))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="at110 identities", description="身份核实 · Who is verified")
    acts = parser.add_subparsers(dest="act", required=True)
    acts.add_parser(
        "list", help="已核实或停用的账号和待确认的变更 · who is verified or blocked, and open changes"
    )
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
    needs = acts.add_parser(
        "needs", help="沟通需要，从下次来电起 · what the person needs to be understood, from the next call on"
    )
    needs.add_argument("--deaf", action="store_true", help="听障，需要手语 · deaf, needs sign language")
    needs.add_argument("--speech", action="store_true", help="无法说话，需要文字 · can't speak, needs text")
    needs.add_argument("--language", metavar="TAG", help="语言，如 zh · language, such as zh")
    block = acts.add_parser(
        "block",
        help="停用报警人账号；其报警照常受理 · block a caller's account; its calls for help are answered as ever",
    )
    block.add_argument("--why", required=True, help="原因，接警员会看到 · why; dispatchers read it")
    unblock = acts.add_parser("unblock", help="恢复账号 · end a block")
    for one in (check, confirm, withdraw, needs, block, unblock):
        one.add_argument("user", help="账号 · account")
        one.add_argument("--as", dest="by", required=True, metavar="USER", help="办理人账号 · who does it")
    for one in (confirm, withdraw):
        one.add_argument("change", help="变更编号 · the change's id")
    return parser


def _done(settings: Settings, wanted: argparse.Namespace) -> list[str]:
    match wanted.act:
        case "list":
            found = ask(settings, "GET", "/api/identities")["identities"]
            return [line for one in found for line in _person(one)]
        case "changes":
            found = ask(settings, "GET", "/api/identities/changes")["changes"]
            return [_change(one) for one in found]
    cookie = login(settings, wanted.by, _secret(f"密码 password ({wanted.by}): "))
    path = f"/api/identities/{quote(wanted.user, safe='')}"
    if wanted.act == "check":
        body = {name: getattr(wanted, name) for name in ("name", "phone", "kind", "how")}
        body["number"] = _secret("证件号码 number of the document: ")
    elif wanted.act == "needs":
        # What is not said is not needed any more: the account holds what was said last.
        said = {"language": wanted.language, "needs": [need for need in NEEDS if getattr(wanted, need)]}
        ask(settings, "POST", f"{path}/needs", body=said, cookie=cookie)
        return [
            f"{wanted.user}: {WORDS['noted']}  {' '.join([*said['needs'], wanted.language or '']).strip()}".rstrip()
        ]
    elif wanted.act in {"block", "unblock"}:
        why = {"why": wanted.why} if wanted.act == "block" else None
        ask(settings, "POST", f"{path}/{wanted.act}", body=why, cookie=cookie)
        return [f"{wanted.user}: {WORDS[f'{wanted.act}ed']}"]
    else:
        path, body = f"{path}/{wanted.act}", {"change": wanted.change}
    done = ask(settings, "POST", path, body=body, cookie=cookie)
    waits = f"  {done['change']}  → {_time(done['until'])}" if done["state"] == "waits" else ""
    return [f"{wanted.user}: {WORDS[done['state']]}{waits}"]


def _secret(prompt: str) -> str:
    if sys.stdin.isatty():
        return getpass.getpass(prompt)
    return sys.stdin.readline().rstrip("\r\n")


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
    if (block := one["blocked"]) is not None:
        at = None if block["at"] is None else _time(block["at"])
        said = ", ".join(word for word in (block["by"], at, block["why"]) if word)
        lines.append(f"{one['user']}: {WORDS['blocked']}{f': {said}' if said else ''}")
    return lines


def _facts(facts: dict[str, Any]) -> str:
    seen = (WORDS.get(facts[name], facts[name]) for name in ("kind", "how"))
    return "  ".join(word for word in (facts["name"], facts["phone"], *seen) if word)


def _change(one: dict[str, Any]) -> str:
    about = "  ".join(one["facts"][word] for word in ("name", "why") if one["facts"].get(word))
    return f"{_time(one['at'])}  {WORDS[one['act']]}  {one['user']}  {about}  by {one['by']}"


def _time(at: float) -> str:
    return dt.datetime.fromtimestamp(at, dt.UTC).isoformat(timespec="seconds")
