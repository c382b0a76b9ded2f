"""Which trunk a request came over (RFC 3325: its Spec(T) is the table of trunks).

in → out: the flow, the names its certificate is for, who registered from it → the trunk, or None: a stranger.

Nothing in the request itself makes it a trunk's, save credentials that were checked (`Authenticator`).
"""

import ipaddress
from collections.abc import Callable, Collection, Sequence
from typing import Final
from urllib.parse import unquote

from pbx.sip.flow import Flow
from pbx.trunks.settings import TrunkSettings

Names = Callable[[Flow], Collection[str]]
"""The host names a checked certificate proved the peer of a flow to be; empty without one."""

MAX_KNOWN: Final = 4096
"""Addresses whose trunk is remembered."""


def nobody(_flow: Flow) -> Collection[str]:
    """Know no certificates."""
    return ()


class Trust:
    """Finds the trunk of a request."""

    def __init__(self, trunks: Sequence[TrunkSettings], names: Names = nobody) -> None:
        self._names = names
        self._networks = [
            (ipaddress.ip_network(text), trunk.name) for trunk in trunks for text in trunk.sources
        ]
        # The narrowest network is meant: a trunk may sit inside another's range.
        self._networks.sort(key=lambda item: item[0].prefixlen, reverse=True)
        self._certificates = {name.lower(): trunk.name for trunk in trunks for name in trunk.certificates}
        self._accounts = {trunk.account: trunk.name for trunk in trunks if trunk.account is not None}
        self._known: dict[str, str | None] = {}

    def of_flow(self, flow: Flow, registered: Collection[str] = ()) -> str | None:
        """Return the trunk that a flow is of. `registered`: addresses-of-record with a live binding on this very flow."""
        if not (self._networks or self._certificates or self._accounts):
            return None
        if self._certificates and flow.transport == "tls":
            for name in self._names(flow):
                if (found := self._certificates.get(name.lower())) is not None:
                    return found
        if (found := self._of_address(flow.remote[0])) is not None:
            return found
        users = (unquote(aor.removeprefix("sip:").rpartition("@")[0]) for aor in registered)
        return next((self._accounts[user] for user in users if user in self._accounts), None)

    def of_account(self, user: str) -> str | None:
        """Return the trunk whose account this is; the request must have proved it by digest."""
        return self._accounts.get(user)

    def _of_address(self, host: str) -> str | None:
        if host not in self._known:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[host] = self._find(host)
        return self._known[host]

    def _find(self, host: str) -> str | None:
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return None
        return next((name for network, name in self._networks if address in network), None)
