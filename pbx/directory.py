"""The accounts as the gate and the exchange want them.

in → out: a user name → `identity.Account`, or that there is none.
"""

from collections.abc import Iterator, Mapping, Sequence

from pbx import identity
from pbx.blocked import Blocked
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
        """Return one account, None if there is none."""
        found = self._accounts.find(user)
        if found is None:
            return None
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

    def blocked(self, user: str) -> Blocked | None:
        """Return who blocked an account, when and why; None: there is none, or it is not blocked."""
        return self._accounts.blocked(user)

    def desks(self) -> Sequence[str]:
        """Return the dispatchers' user names."""
        return [account.user for account in self._accounts.all("dispatcher")]
