"""The accounts as the gate and the exchange want them.

in → out: a user name → `identity.Account`, or that there is none.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pbx import identity
from pbx.blocked import Blocked
from pbx.credentials import Account
from pbx.storage.accounts import Accounts


class Directory(Mapping[str, identity.Account]):
    """The accounts as the gate wants them."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def __getitem__(self, user: str) -> identity.Account:
        found = self.account(user)
        if found is None:
            raise KeyError(user)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(account.user for account in self._accounts.all())

    def __len__(self) -> int:
        return len(self._accounts.all())

    def account(self, user: str) -> identity.Account | None:
        """Return one account, None if there is none.

        As much is done for who does not exist as for who does, or the time would tell (bars S5): some account is looked up and
        made in its place, and thrown away.
        """
        found, other = self._accounts.find(user), self._accounts.some(user)
        shown = other if found is None else found
        if shown is None:
            return None
        made = _made(shown)
        return None if found is None else made

    def get(self, user: str, default: Any = None) -> Any:
        """As of any mapping, but in the same time for who is not in it."""
        found = self.account(user)
        return default if found is None else found

    def blocked(self, user: str) -> Blocked | None:
        """Return who blocked an account, when and why; None: there is none, or it is not blocked."""
        return self._accounts.blocked(user)

    def desks(self) -> Sequence[str]:
        """Return the dispatchers' user names."""
        return [account.user for account in self._accounts.all("dispatcher")]


def _made(found: Account) -> identity.Account:
    return identity.Account(
        user=found.user,
        realm=found.realm,
        ha1=found.ha1_by_algorithm,
        kind=found.role,
        display_name=found.name or "",
        verified_name=(found.name or found.user) if found.verified else None,
        verified_by=found.verified_by if found.verified else None,
        verified_at=found.verified_at if found.verified else None,
        phone=found.phone or (found.user if found.role == "caller" else None),
        language=found.language,
        needs=found.needs,
    )
