"""That an account is blocked: who said so, when and why. Plain values.

A blocked account registers nothing and proves nothing; whoever calls for help under its name is answered like anybody. So what
follows from it is a word beside the caller's identity: that the account it names, and did not prove, is blocked.
"""

import datetime as dt
from typing import Any

import msgspec

__all__ = ["Blocked", "moment", "sentence"]


class Blocked(msgspec.Struct, frozen=True):
    """A block that stands."""

    by: str | None = None
    """Who blocked it; None: it was blocked before anybody kept that."""
    at: float | None = None
    """Seconds since 1970."""
    why: str = ""

    def of(self, account: str) -> dict[str, Any]:
        """Return what stands beside the identity of a caller who names this account: plain data."""
        return {"account": account, "by": self.by, "at": self.at, "why": self.why}


def sentence(blocked: dict[str, Any]) -> tuple[str, str]:
    """Say what `Blocked.of` gave, in both languages."""
    said = "，".join(word for word in (blocked["by"], moment(blocked["at"]), blocked["why"]) if word)
    say = ", ".join(word for word in (blocked["by"], moment(blocked["at"]), blocked["why"]) if word)
    account = blocked["account"]
    return (
        f"所称账号{account}已停用{f'（{said}）' if said else ''}，未证实为本人，照常接警。",
        f"the account it names, {account}, is blocked{f' ({say})' if say else ''}; whether it is that person is not proved.",
    )


def moment(at: float | None) -> str:
    """Write a time for people: UTC to the minute, nothing when it is not known."""
    return "" if at is None else f"{dt.datetime.fromtimestamp(at, dt.UTC):%Y-%m-%d %H:%M} UTC"
