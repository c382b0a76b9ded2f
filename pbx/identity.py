"""Who is asking, and may they: the gate every request from outside passes before a call, a desk or the registrar sees it.

    request ─▶ Authenticator.check ─▶ Authenticated(account | None)   go on
                                   ├─▶ Challenge(response)             401: say who you are
                                   └─▶ Denied(response)                403, 405, 481, 501 …: no

An INVITE to an emergency target is never challenged and never denied: at worst it goes on without an account. All else is
denied unless `RULES` has a row for it.

Which trunk a request came over is decided before (`pbx.trunks.trust`); here it is a role like others.

Not done: proxy challenges (407).
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal
from urllib.parse import quote

from pbx.blocked import Blocked
from pbx.guard.guesses import Guesses
from pbx.sip.digest import (
    ALGORITHMS,
    Credentials,
    NonceCounts,
    Nonces,
    challenges,
    dummy_ha1,
    find_credentials,
    verify,
)
from pbx.sip.errors import SipError
from pbx.sip.grammar import lower
from pbx.sip.message import Request, Response
from pbx.sip.uri import Uri, parse_uri
from pbx.targets import (
    Emergency,
    EmergencySettings,
    FeatureCode,
    feature_code,
    is_emergency,
)

__all__ = [
    "Account",
    "Authenticated",
    "Authenticator",
    "Challenge",
    "Denied",
    "Emergency",
    "EmergencySettings",
    "FeatureCode",
    "IdentitySettings",
    "feature_code",
    "is_emergency",
]

Role = Literal["anonymous", "caller", "dispatcher", "trunk"]
Target = Literal["own", "emergency", "feature", "seat", "room", "phones", "number", "other"]
Proof = Literal["digest", "registration", "none"]
Trouble = Literal["missing", "wrong", "stale", "replayed", "malformed", "locked"]

_EVERYBODY: Final[frozenset[Role]] = frozenset({"anonymous", "caller", "dispatcher", "trunk"})
_ACCOUNTS: Final[frozenset[Role]] = frozenset({"caller", "dispatcher"})

# Who may open what outside a dialog. A missing row: nobody.
RULES: Final[dict[tuple[str, Target], frozenset[Role]]] = {
    ("INVITE",   "emergency"): _EVERYBODY,
    ("INVITE",   "feature"):   frozenset({"dispatcher"}),
    ("INVITE",   "seat"):      frozenset({"dispatcher"}),  # one desk talks to another
    ("INVITE",   "room"):      frozenset({"dispatcher"}),  # only with Replaces, and only the own one
    ("INVITE",   "number"):    frozenset({"dispatcher"}),  # beside the permanent call, to ask somebody outside
    ("MESSAGE",  "emergency"): _ACCOUNTS,
    # A desk's phone that sends texts outside dialogs sends them to whom it is talking with.
    ("MESSAGE",  "feature"):   frozenset({"dispatcher"}),
    ("MESSAGE",  "room"):      frozenset({"dispatcher"}),  # only the own one
    ("OPTIONS",  "own"):       _EVERYBODY,
    ("OPTIONS",  "emergency"): _EVERYBODY,
    ("OPTIONS",  "feature"):   _EVERYBODY,
    ("OPTIONS",  "other"):     _EVERYBODY,
    ("REGISTER", "own"):       _ACCOUNTS,
    # To the focus: somebody is to be added to the own room, or sent out. Callers move nobody.
    ("REFER",    "room"):      frozenset({"dispatcher"}),
    # Callers watch nothing, not even themselves: who is with whom is nobody's business but the centre's.
    ("SUBSCRIBE", "own"):      frozenset({"dispatcher"}),
    ("SUBSCRIBE", "seat"):     frozenset({"dispatcher"}),
    ("SUBSCRIBE", "room"):     frozenset({"dispatcher"}),
    ("SUBSCRIBE", "phones"):   frozenset({"dispatcher"}),  # an account's, by `reg`: administrators only
}  # fmt: skip

NUMBER: Final = re.compile(r"\+?[0-9]{3,15}")
"""What may be dialled over a trunk; who has an account of that name is not meant."""
ROOM: Final = "room-"
"""Begins the user part of a room's URI; the desk's user name follows."""
LOCKED: Final = 503
"""Answer to who guesses too much: with Retry-After it is the only refusal after which an honest phone tries again by itself."""
NO_LIMIT: Final = 1_000_000

# Methods that mean something only inside a dialog or a subscription that we know.
_IN_DIALOG: Final = frozenset({"BYE", "INFO", "NOTIFY", "PRACK", "UPDATE"})
_KNOWN: Final = _IN_DIALOG | {
    "ACK", "CANCEL", "INVITE", "MESSAGE", "OPTIONS", "PUBLISH", "REFER", "REGISTER", "SUBSCRIBE",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Account:
    """A person or desk this exchange knows."""

    user: str
    """Plain text, unescaped, case-sensitive."""
    realm: str
    ha1: Mapping[str, str] = field(repr=False)
    """Algorithm name (`SHA-256`, `MD5`) → lower-case hex of H(user:realm:password)."""
    kind: Literal["caller", "dispatcher"]
    display_name: str = ""
    verified_name: str | None = None
    """The name an identity document was seen for; None: none was."""
    verified_by: str | None = None
    verified_at: float | None = None
    """Seconds since 1970, if known."""
    phone: str | None = None
    language: str | None = None
    """What the person is spoken to in (BCP 47), where its phone names nothing."""
    needs: tuple[str, ...] = ()
    """`deaf`, `speech`: what the person needs to be understood."""

    @property
    def aor(self) -> str:
        """The address-of-record: one spelling, whatever host name or address the phone was given for us."""
        return Uri("sip", quote(self.user, safe="", errors="surrogateescape"), None, self.realm).aor


@dataclass(frozen=True, slots=True)
class IdentitySettings:
    realm: str
    domains: tuple[str, ...] = ()
    """Hosts (lower case) an address-of-record may have in REGISTER; empty: any, phones are given addresses and names alike."""
    emergency: EmergencySettings = field(default_factory=EmergencySettings)
    algorithms: tuple[str, ...] = ("SHA-256", "MD5")
    """Offered in challenges, strongest first (RFC 8760 §2.3)."""
    md5_agents: tuple[str, ...] = ("baresip v0.", "baresip v1.", "JsSIP")
    """Beginnings of User-Agent that are challenged with MD5 alone: these phones give up at a challenge they don't know
    instead of passing on to the next, as RFC 8760 §2.4 wants."""
    allow: tuple[str, ...] = (
        "INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REGISTER", "MESSAGE", "INFO", "SUBSCRIBE", "UPDATE", "PRACK", "REFER",
    )  # fmt: skip
    """The Allow header of refusals."""


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The request may go on."""

    account: Account | None
    """None: nobody we know, or a request that needs nobody (ACK, CANCEL, OPTIONS, inside a dialog)."""
    proof: Proof = "none"
    """`digest`: the request itself proved it; `registration`: it came on the flow the account registered from, just now
    and with digest, which a forger of UDP source addresses could imitate."""
    emergency: Emergency | None = None
    feature: FeatureCode | None = None
    trouble: Trouble | None = None
    """Why credentials that an emergency call carried, or did not, were not taken."""
    unsure: bool = False
    """The account it names is not among those we know, and nobody can be asked now whether there is one."""
    blocked: Blocked | None = None
    """The account its From names is blocked, and nothing is proved: of an emergency call, which goes on all the same."""

    @property
    def verified(self) -> bool:
        return self.proof != "none"


@dataclass(frozen=True, slots=True)
class Challenge:
    response: Response
    why: Trouble
    """For the counters; the peer is told no more than whether its nonce was stale."""


@dataclass(frozen=True, slots=True)
class Denied:
    response: Response
    account: Account | None = None
    """Who was denied, if we know."""


Verdict = Authenticated | Challenge | Denied


class Authenticator:
    """The gate. It holds nothing but `counts`; `accounts` is read at each request."""

    def __init__(
        self,
        settings: IdentitySettings,
        accounts: Mapping[str, Account],
        nonces: Nonces,
        counts: NonceCounts,
        *,
        secret: bytes,
        guesses: Guesses | None = None,
        complete: Callable[[], bool] = lambda: True,
        blocked: Callable[[str], Blocked | None] = lambda _user: None,
    ) -> None:
        """`accounts` is looked up by user. `secret` makes unknown users look like known ones; keep it across restarts.

        `guesses` counts wrong passwords; None: nobody does. `complete`: whether `accounts` has all there are now.
        `blocked`: says of a user that `accounts` has not whether it is because the account is blocked.
        """
        self._settings = settings
        self._accounts = accounts
        self._nonces = nonces
        self._counts = counts
        self._secret = secret
        self._complete = complete
        self._blocked = blocked
        self._nobody = Account("nobody", settings.realm, dict.fromkeys(ALGORITHMS, ""), "caller")
        """Whom unknown users are taken for until the very end."""
        self._guesses = Guesses(limit=NO_LIMIT) if guesses is None else guesses

    def check(
        self,
        request: Request,
        now: float,
        source: str,
        *,
        to_tag: str,
        in_dialog: bool = False,
        registered: Collection[str] = (),
        trunk: bool = False,
    ) -> Verdict:
        """Judge a request that a peer sent us, which the parser found sound.

        `source` is the peer's IP address, `to_tag` fresh random text for a refusal. `in_dialog`: the request belongs to a dialog
        that exists; whoever knows its tags is its peer. `registered`: addresses-of-record with a live binding on the very flow
        the request came on (`Registrar.registered_from`). `trunk`: it came over a trunk, which may call for help as anybody
        may; for all else it proves an account like everybody.
        """
        method = request.method
        # RFC 3261 §22.1: an ACK takes no response that could carry a challenge, and "servers MUST NOT attempt to challenge
        # CANCEL requests since these requests cannot be resubmitted".
        if method in ("ACK", "CANCEL"):
            return Authenticated(None)
        if method not in _KNOWN:
            return self._refuse(request, 501, to_tag)
        if in_dialog:
            return Authenticated(None)
        if method in _IN_DIALOG:
            # RFC 3261 §12.2.2, RFC 6665 §4.1.3
            return Denied(request.response(481, to_tag=to_tag))
        emergency = is_emergency(request.uri, self._settings.emergency)
        feature = feature_code(request.uri)
        if trunk and method == "INVITE" and emergency is not None:
            return Authenticated(None, emergency=emergency)  # the trunk vouches; its callers have no accounts
        if method == "INVITE" and emergency is not None:
            return self._emergency(request, now, source, emergency, registered)
        target: Target = "emergency" if emergency else "feature" if feature else "other"
        if not any(key[0] == method for key in RULES):
            return self._refuse(request, 405, to_tag)
        if "anonymous" in RULES.get((method, target), ()):
            return Authenticated(None, emergency=emergency, feature=feature)
        try:
            account, trouble = self._prove(request, now, source, registered)
        except SipError as error:
            return Denied(request.response(error.status, to_tag=to_tag, headers=error.headers))
        if account is None or trouble is not None:
            return self._challenge(request, now, source, trouble or "missing", to_tag)
        if method == "REGISTER":
            target = "own" if self._is_own(request, account) else "other"
        elif method in {"SUBSCRIBE", "REFER"} or (method in {"INVITE", "MESSAGE"} and target == "other"):
            target, desk = self.seat(request.uri)
            target = "own" if target == "seat" and desk == account.user else target
            if method == "INVITE" and target == "other" and self._is_number(desk):
                target = "number"
            if method == "SUBSCRIBE" and target == "other" and desk in self._accounts:
                target = "phones"
        if account.kind not in RULES.get((method, target), ()):
            return Denied(request.response(403, to_tag=to_tag), account)
        return Authenticated(account, "digest", emergency, feature)

    def is_for_help(self, uri: Uri) -> bool:
        """Tell whether an INVITE to `uri` is an emergency call."""
        return is_emergency(uri, self._settings.emergency) is not None

    def account(self, user: str) -> Account | None:
        """Return an account by its user name."""
        return self._accounts.get(user)

    def seat(self, uri: Uri) -> tuple[Target, str]:
        """Tell what a SUBSCRIBE asks about: a seat or a room, and the desk it is of; `other` for all else."""
        user = uri.user_text or ""
        for desk in (user, user.removeprefix(ROOM)):
            found = self._accounts.get(desk)
            if found is not None and found.kind == "dispatcher":
                return ("seat" if desk == user else "room"), desk
        return "other", user

    def _is_number(self, user: str) -> bool:
        return NUMBER.fullmatch(user) is not None and self._accounts.get(user) is None

    def _emergency(
        self, request: Request, now: float, source: str, emergency: Emergency, registered: Collection[str]
    ) -> Authenticated:
        try:
            account, trouble = self._prove(request, now, source, registered)
        except SipError as error:
            account, trouble = None, "locked" if error.status == LOCKED else "malformed"
        if account is not None and trouble is None:
            return Authenticated(account, "digest", emergency)
        # A phone sends credentials only when challenged, and this call is not challenged: its registration speaks for it.
        named = request.from_.uri.user_text or ""
        account = self._accounts.get(named)
        if account is not None and account.aor in registered and trouble not in ("wrong", "malformed"):
            return Authenticated(account, "registration", emergency, trouble=trouble)
        blocked = self._blocked(named) if account is None else None
        unsure = account is None and blocked is None and not self._complete()
        return Authenticated(None, emergency=emergency, trouble=trouble, unsure=unsure, blocked=blocked)

    def _prove(
        self, request: Request, now: float, source: str, registered: Collection[str]
    ) -> tuple[Account | None, Trouble | None]:
        """Return the account whose password the request proves; with a trouble it is not to be believed (yet).

        Raises SipError 400 for malformed credentials, 503 while this identity guesses too much from this address. The way
        is the same for users we know and for those we don't.
        """
        found = find_credentials(request.headers.all("Authorization"), self._settings.realm)
        if found is None:
            return None, "missing"
        state = self._nonces.check(found.nonce, now, source)
        account = self._accounts.get(found.username)
        shown = self._nobody if account is None else account
        wait = self._guesses.wait(found.username, source, now)
        if wait and (shown.aor not in registered or account is None):
            # Right or wrong, it is not looked at: an answer that tells would make the limit worthless (bars S4).
            raise SipError(LOCKED, headers=[("Retry-After", str(1 + int(wait)))])
        dummy = dummy_ha1(self._secret, found.username, found.algorithm)
        stored = shown.ha1.get(found.algorithm, dummy)
        wanted = dummy if account is None else stored
        right = verify(found, request.method, request.body, {found.algorithm: wanted})
        if wanted is dummy or not right or not _same_resource(found, request):
            self._guesses.failed(found.username, source, now)
            return None, "wrong"
        # RFC 7616 §3.3: stale tells the phone that only its nonce was at fault, so it is said after a right digest only.
        # A nonce given to another address is an old one too: its phone may have moved, and a thief learns nothing.
        if state != "ok":
            return account, "stale"
        if not self._counts.accept(_countable(found)):
            return account, "replayed"
        return account, None

    def _is_own(self, request: Request, account: Account) -> bool:
        uri = request.to.uri
        if not uri.is_sip or uri.user_text != account.user:
            return False
        return not self._settings.domains or lower(uri.host) in self._settings.domains

    def _challenge(self, request: Request, now: float, source: str, why: Trouble, to_tag: str) -> Challenge:
        nonce = self._nonces.issue(now, source)
        stale = why in ("stale", "replayed")
        algorithms = self._settings.algorithms
        if "MD5" in algorithms and (request.headers.get("User-Agent") or "").startswith(
            self._settings.md5_agents
        ):
            algorithms = ("MD5",)
        values = challenges(self._settings.realm, nonce, stale=stale, algorithms=algorithms)
        headers = [("WWW-Authenticate", value) for value in values]
        return Challenge(request.response(401, to_tag=to_tag, headers=headers), why)

    def _refuse(self, request: Request, status: int, to_tag: str) -> Denied:
        allow = ("Allow", ", ".join(self._settings.allow))
        return Denied(request.response(status, to_tag=to_tag, headers=[allow]))


def _same_resource(credentials: Credentials, request: Request) -> bool:
    """Tell whether the digest was made for whom the request asks.

    RFC 7616 §3.4.6 wants the whole URI to be the same; hosts and parameters are not compared, for proxies and phones
    rewrite them on the way. Who is asked for stays, so credentials can't be carried from one target to another.
    """
    try:
        uri = parse_uri(credentials.uri)
    except SipError:
        return False
    if uri.is_sip and request.uri.is_sip:
        return uri.user_text == request.uri.user_text
    return uri.scheme == request.uri.scheme and lower(uri.host) == lower(request.uri.host)


def _countable(credentials: Credentials) -> Credentials:
    """Return the credentials as replay is to be counted: without qop the response covers no cnonce, so that says nothing."""
    return credentials if credentials.qop is not None else replace(credentials, cnonce=None, nc=None)
