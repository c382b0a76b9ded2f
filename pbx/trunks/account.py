"""Our account with another exchange: the answer to its 401 and 407 (RFC 3261 §22, RFC 7616).

in → out: a request of ours, the response that wants credentials → the request once more with them, or None.

Credentials are made for the configured realm alone. Where the request may go is the business of `Trunk.leads`: both
together keep a password from ever being tried on a stranger (bars S6).
"""

from dataclasses import dataclass, field
from typing import Final

from pbx.sip import digest
from pbx.sip.errors import SipError
from pbx.sip.grammar import lower
from pbx.sip.message import CSeq, Request, Response

HEADERS: Final = {
    401: ("WWW-Authenticate", "Authorization"),
    407: ("Proxy-Authenticate", "Proxy-Authorization"),
}
"""Status → where the challenge stands, where its answer goes (RFC 3261 §22.2, §22.3)."""
MAX_NONCES: Final = 64
"""Nonces whose count is kept; a peer uses one or two at a time."""


@dataclass(frozen=True, slots=True)
class Account:
    """User, realm and password there."""

    user: str
    realm: str
    password: str = field(repr=False)


class Credentials:
    """Answers challenges for one account."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._counts: dict[str, int] = {}

    def answer(self, request: Request, response: Response, *, cseq: int, cnonce: str) -> Request | None:
        """Return `request` with credentials and CSeq number `cseq`; None when the response wants none that we have.

        `cnonce`: fresh random text. The same nonce is answered once: credentials that were refused are not tried again
        unless the peer says `stale` and gives another nonce.
        """
        names = HEADERS.get(response.status)
        if names is None:
            return None
        offered, name = names
        value = digest.choose_challenge(self._ours(response.headers.all(offered)))
        if value is None:
            return None
        stated = digest.read_challenge(value)
        stale = lower(stated.get("stale", "")) == "true"
        tried = digest.find_credentials(_sound(request.headers.all(name)), self._account.realm)
        # RFC 3261 §22.1 has rejected credentials not tried again; RFC 7616 §3.3: stale says that only the nonce was old.
        if tried is not None and (not stale or tried.nonce == stated["nonce"]):
            return None
        try:
            token = digest.authorize(
                value,
                user=self._account.user,
                password=self._account.password,
                method=request.method,
                uri=str(request.uri),
                cnonce=cnonce,
                nc=self._count(stated["nonce"]),
                body=request.body,
            )
        except SipError:
            return None
        again = request.copy()
        again.headers.set(name, token)
        again.headers.set("CSeq", str(CSeq(cseq, request.method)))
        return again

    def _ours(self, values: list[str]) -> list[str]:
        """Return the challenges of our realm; a malformed one is nobody's."""
        found = []
        for value in values:
            try:
                if digest.read_challenge(value).get("realm") == self._account.realm:
                    found.append(value)
            except SipError:
                continue
        return found

    def _count(self, nonce: str) -> int:
        count = self._counts.pop(nonce, 0) + 1
        self._counts[nonce] = count
        while len(self._counts) > MAX_NONCES:
            del self._counts[next(iter(self._counts))]
        return count

    def snapshot(self) -> list[list[str | int]]:
        """Return plain data: nonces and how often each was used, never the password."""
        return [[nonce, count] for nonce, count in self._counts.items()]

    def resume(self, data: list[list[str | int]]) -> None:
        """Undo `snapshot`."""
        self._counts = {str(nonce): int(count) for nonce, count in data}


def bare(request: Request) -> Request:
    """Return the request without credentials: for another peer than the one they were made for."""
    again = request.copy()
    for _, name in HEADERS.values():
        again.headers.remove(name)
    return again


def _sound(values: list[str]) -> list[str]:
    return [value for value in values if lower(value[:7]) == "digest "]
