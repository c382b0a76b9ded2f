"""`[[trunk]]` of the settings file: one road to another exchange.

in → out: a table → `TrunkSettings`; `problems(…)` names what only shows when the tables are seen together. A password never
stands here: only where it is to be found.
"""

import ipaddress
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Final, Literal

import msgspec

from pbx.listen_settings import Name, Port
from pbx.section import Seconds, Section

__all__ = ["NumberRule", "PeerSettings", "TrunkSettings", "problems"]

MAX_PATTERN: Final = 200
"""Characters of a number pattern; the longest in use names all of a province's area codes."""

Pattern = Annotated[str, msgspec.Meta(max_length=MAX_PATTERN)]
Word = Annotated[str, msgspec.Meta(pattern=r"\A[^\x00-\x20\x7f\"\\]{1,128}\Z")]
Header = Literal["p-asserted-identity", "from", "remote-party-id"]
Codec = Literal["PCMA", "PCMU", "G722", "OPUS", "AMR"]


class PeerSettings(Section, frozen=True, kw_only=True):
    """One place of the other exchange: a table of `trunk.peers`."""

    host: Name
    """Host name (found by RFC 3263: SRV, A, AAAA) or IP address."""
    port: Port | None = None
    """None: what DNS says, else the usual one."""
    transport: Literal["udp", "tcp", "tls"] | None = None
    """None: what DNS says, else UDP."""
    priority: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 1
    """The lowest is tried first (RFC 2782)."""
    weight: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 1
    """Share of the calls among peers of one priority."""


class NumberRule(Section, frozen=True, kw_only=True):
    """A number that fits `match` as a whole becomes `give`."""

    match: Pattern
    """Regular expression."""
    give: Annotated[str, msgspec.Meta(max_length=MAX_PATTERN)]
    r"""What it becomes; `\1` is the first group."""


class TrunkSettings(Section, frozen=True, kw_only=True):
    """One trunk."""

    name: Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9][a-z0-9_.-]{0,31}\Z")]
    """Shown to people and in metrics."""
    peers: tuple[PeerSettings, ...] = ()
    """Where calls go; none: the trunk only brings calls."""
    sources: tuple[str, ...] = ()
    """IP addresses and networks whose requests are this trunk's. Over UDP a source address can be forged: name only what
    the network in front of us keeps strangers from using."""
    certificates: tuple[Name, ...] = ()
    """Names that a certificate checked with `tls.clients` must be for; a request over such a TLS connection is this trunk's."""
    account: Word | None = None
    """User name by which the other exchange registers with us, or signs its requests; they are this trunk's."""
    domain: Name | None = None
    """Host of our From and of the To of calls; None: the peer's host."""
    user: Word | None = None
    """User name of our account with them; None: they ask for none."""
    realm: Word | None = None
    """Realm of that account. Credentials leave for this realm and to these peers only."""
    password_file: str | None = None
    """File whose first line is the password."""
    password_env: Annotated[str, msgspec.Meta(pattern=r"\A[A-Z_][A-Z0-9_]{0,63}\Z")] | None = None
    """Variable of the environment that holds the password."""
    register: bool = False
    """Whether we register there, so that they know where to send calls."""
    register_seconds: Annotated[int, msgspec.Meta(ge=60, le=86400)] = 3600
    """How long a registration is asked for."""
    options_seconds: Seconds = 30.0
    """Between two questions (OPTIONS) to a peer whether it lives; 0: never asked."""
    attempt_seconds: Annotated[float, msgspec.Meta(ge=0.5, le=32)] = 4.0
    """A peer that has answered nothing by then is given up for the next one."""
    progress_seconds: Annotated[float, msgspec.Meta(ge=0.5, le=180)] = 12.0
    """A peer that took the call (100) and says nothing more by then is given up for the next one."""
    area: Annotated[str, msgspec.Meta(pattern=r"\A(0[1-9][0-9]{1,2})?\Z")] = ""
    """Area code of local numbers that come over this trunk, such as `0535`."""
    called: tuple[NumberRule, ...] = ()
    """What the numbers they dial mean here, such as `0535110` → `110`; the first that fits counts."""
    calling: tuple[NumberRule, ...] = ()
    """Rules for calling numbers, before those of China."""
    dial: tuple[NumberRule, ...] = ()
    """How numbers are dialled there, such as `\\+86(1[3-9].*)` → `0\\1`."""
    numbers: tuple[Pattern, ...] = ()
    """Numbers that may be called over it when no trunk is named; none: all."""
    identity: tuple[Header, ...] = ("p-asserted-identity", "from", "remote-party-id")
    """Where the calling number is looked for, in this order."""
    caller_id: Annotated[str, msgspec.Meta(pattern=r"\A\+?[0-9*#]{1,20}\Z")] = "110"
    """Number shown for calls of ours."""
    caller_id_in: Literal["p-asserted-identity", "remote-party-id", "from"] = "p-asserted-identity"
    """Where it stands beside From."""
    codecs: tuple[Codec, ...] = ("PCMA", "PCMU")
    """Sound offered there, best first."""
    video: bool = False
    """Whether a picture is offered there."""
    early_media: bool = False
    """Whether their callers hear us before we answer (183), and are answered when a dispatcher takes the call."""
    dtmf: Literal["rfc4733", "info"] = "rfc4733"
    """How keys are sent there; both are understood."""
    tells: tuple[Literal["number", "location"], ...] = ()
    """What their side is told of a caller whom our queue sends on over it: the proven number, the place. None by itself."""
    queue: Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9][a-z0-9_.-]{0,63}\Z")] = "default"
    """Queue their calls wait in."""
    capacity: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 0
    """Calls at once over it; 0: no limit. Calls for help that come in are taken beyond it."""


def problems(trunks: Sequence[TrunkSettings]) -> Iterator[str]:
    """Name everything that is wrong, one sentence each; secrets are not repeated."""
    names = [trunk.name for trunk in trunks]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"trunk.name: two trunks are called {name!r}"
    accounts = [trunk.account for trunk in trunks if trunk.account is not None]
    for account in sorted({account for account in accounts if accounts.count(account) > 1}):
        yield f"trunk.account: two trunks have the account {account!r}"
    for trunk in trunks:
        yield from (f"trunk {trunk.name!r}: {text}" for text in _one(trunk))


def _one(trunk: TrunkSettings) -> Iterator[str]:
    if not (trunk.peers or trunk.sources or trunk.certificates or trunk.account):
        yield "no peers to call and no sources, certificates or account to know its calls by"
    for text in trunk.sources:
        try:
            ipaddress.ip_network(text)
        except ValueError:
            yield f"sources: {text!r} is neither an IP address nor a network"
    stated = trunk.password_file is not None, trunk.password_env is not None
    if all(stated):
        yield "password_file and password_env: give one of them"
    if trunk.user is not None and not any(stated):
        yield "user needs password_file or password_env"
    if trunk.user is None and any(stated):
        yield "a password without user"
    if (trunk.user is None) != (trunk.realm is None):
        yield "user and realm go together: credentials never leave for a realm that is not named"
    if trunk.register and (trunk.user is None or not trunk.peers):
        yield "register needs peers and user"
    if not trunk.codecs:
        yield "codecs: at least one"
    if trunk.progress_seconds < trunk.attempt_seconds:
        yield "progress_seconds must not be shorter than attempt_seconds"
    rules = {"called": trunk.called, "calling": trunk.calling, "dial": trunk.dial}
    for key, table in rules.items():
        for rule in table:
            if (wrong := _wrong(rule.match, rule.give)) is not None:
                yield f"{key}: {rule.match!r}: {wrong}"
    for pattern in trunk.numbers:
        if (wrong := _wrong(pattern)) is not None:
            yield f"numbers: {pattern!r}: {wrong}"


def _wrong(pattern: str, give: str | None = None) -> str | None:
    """Say why a rule can't be used; None when it can."""
    try:
        made = re.compile(pattern, re.ASCII)
        if give is not None:
            # Only a match tells whether every group the template names is there: an alternative of the pattern itself
            # that matches the empty text makes one.
            match = re.compile(f"(?:{pattern})|", re.ASCII).fullmatch("")
            assert match is not None, "the empty alternative fits"
            match.expand(give)
    except (re.error, IndexError) as error:
        return f"no such pattern: {error}"
    return "it fits the empty number" if made.fullmatch("") is not None else None
