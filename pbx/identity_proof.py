"""Who a person is, as far as somebody checked it: the identity of one account, and how it may be changed (bars P1).

in → out: `receive(act, now)` → effects, which are also what is to be written down; `ProofError` when the act is not allowed.

    unverified ──Check──▶ verified ──Check, other facts──▶ verified, a change open ──Confirm by a second person──▶ verified
                                                               └──Withdraw, or CHANGE_SECONDS pass──▶ verified as before

Until a second person confirmed the change the old facts stand. Nobody checks or confirms the own account. Nothing here ends an identity:
whoever could take it away alone could give another one alone. `now` is wall-clock seconds since 1970, the database's: a change
outlives restarts and is seen by several exchanges.
"""

import re
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, Self, get_args

__all__ = [
    "CHANGE_SECONDS", "DOCUMENTS", "HOW", "Act", "Asked", "Change", "Check", "Checked", "Confirm", "Confirmed", "Effect",
    "Expired", "Facts", "Identity", "Proof", "ProofError", "Withdraw", "Withdrawn",
]  # fmt: skip

CHANGE_SECONDS: Final = 72 * 3600.0
"""How long a change waits for its second person: over a weekend; what nobody confirmed by then was not expected by anybody."""
MAX_NAME: Final = 64
"""Characters of a name: the longest names of identity documents (ICAO 9303: 39 letters) and room for two scripts."""
Kind = Literal["resident-id", "passport", "other"]
DOCUMENTS: Final[tuple[Kind, ...]] = get_args(Kind)
How = Literal["in-person", "records", "remote"]
HOW: Final[tuple[How, ...]] = get_args(How)
"""Seen in person with the document; compared with the authority's records; shown over a picture call."""

_PHONE: Final = re.compile(r"\+?[0-9]{3,15}", re.ASCII)
_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
# Controls, surrogates, separators of lines, and what turns the direction of writing: a name must not rearrange what is beside it.
_UNFIT: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)


class ProofError(Exception):
    """An act that is not allowed. `code`: `bad_facts`, `own_account`, `unchanged`, `change_open`, `no_change`, `same_person`."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Facts:
    """What a document says and where the person is called. `document`: a keyed digest, never the number."""

    name: str
    phone: str
    document: str | None
    """64 hexadecimal digits; None only for what was verified before digests were kept."""
    kind: str
    how: str

    def sound(self) -> bool:
        """Whether these can be the facts of a new proof."""
        named = (
            0 < len(self.name) <= MAX_NAME and self.name == self.name.strip() and not _UNFIT.search(self.name)
        )
        document = self.document is not None and _DIGEST.fullmatch(self.document)
        known = self.kind in DOCUMENTS and self.how in HOW
        return bool(named and _PHONE.fullmatch(self.phone) and document and known)

    def same(self, other: "Facts") -> bool:
        """Whether name, number and document are the same; how it was checked says nothing of the person."""
        mine = (self.name, self.phone, self.document, self.kind)
        return mine == (other.name, other.phone, other.document, other.kind)


@dataclass(frozen=True, slots=True)
class Proof:
    """What stands: the facts, who verified them, when."""

    facts: Facts
    by: str
    at: float
    asked_by: str | None = None
    """Who asked for the change that `by` confirmed; None: there was none before."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change that waits for its second person."""

    id: str
    facts: Facts
    by: str
    at: float
    until: float


@dataclass(frozen=True, slots=True)
class Check:
    """`by` looked at the document. `change`: a fresh random id, used if it becomes a change."""

    facts: Facts
    by: str
    change: str


@dataclass(frozen=True, slots=True)
class Confirm:
    change: str
    by: str


@dataclass(frozen=True, slots=True)
class Withdraw:
    change: str
    by: str


Act = Check | Confirm | Withdraw


@dataclass(frozen=True, slots=True)
class Checked:
    """There was no proof; now there is."""

    proof: Proof


@dataclass(frozen=True, slots=True)
class Asked:
    change: Change


@dataclass(frozen=True, slots=True)
class Confirmed:
    proof: Proof
    change: Change


@dataclass(frozen=True, slots=True)
class Withdrawn:
    change: Change
    by: str


@dataclass(frozen=True, slots=True)
class Expired:
    change: Change


Effect = Checked | Asked | Confirmed | Withdrawn | Expired


class Identity:
    """One account's."""

    def __init__(self, user: str, proof: Proof | None = None, change: Change | None = None) -> None:
        self.user = user
        self.proof = proof
        self.change = change

    @property
    def next_due(self) -> float | None:
        """When `expire` has something to do."""
        return None if self.change is None else self.change.until

    def receive(self, act: Act, now: float) -> list[Effect]:
        """Do it. Raises ProofError, also then after an open change whose time has passed was ended: call `expire` before."""
        ended = self.expire(now)
        match act:
            case Check():
                return [*ended, self._check(act, now)]
            case Confirm():
                return [*ended, self._confirm(act, now)]
            case Withdraw():
                change = self._open(act.change)
                self.change = None
                return [*ended, Withdrawn(change, act.by)]

    def expire(self, now: float) -> list[Effect]:
        """End a change nobody confirmed in time."""
        change = self.change
        if change is None or now < change.until:
            return []
        self.change = None
        return [Expired(change)]

    def snapshot(self) -> dict[str, Any]:
        """Return plain data."""
        proof = None if self.proof is None else asdict(self.proof)
        return {
            "user": self.user,
            "proof": proof,
            "change": None if self.change is None else asdict(self.change),
        }

    @classmethod
    def restore(cls, data: dict[str, Any]) -> Self:
        """Make the identity that `snapshot` described."""
        proof, change = data["proof"], data["change"]
        return cls(
            data["user"],
            None if proof is None else Proof(**{**proof, "facts": Facts(**proof["facts"])}),
            None if change is None else Change(**{**change, "facts": Facts(**change["facts"])}),
        )

    def _check(self, act: Check, now: float) -> Effect:
        if act.by == self.user:
            raise ProofError("own_account")
        if not act.facts.sound():
            raise ProofError("bad_facts")
        if self.proof is None:
            self.proof = Proof(act.facts, act.by, now)
            return Checked(self.proof)
        if self.proof.facts.same(act.facts):
            raise ProofError("unchanged")
        if self.change is not None:  # nobody may exchange what another is about to confirm
            raise ProofError("change_open")
        self.change = Change(act.change, act.facts, act.by, now, now + CHANGE_SECONDS)
        return Asked(self.change)

    def _confirm(self, act: Confirm, now: float) -> Effect:
        change = self._open(act.change)
        if act.by == self.user:
            raise ProofError("own_account")
        if act.by == change.by:
            raise ProofError("same_person")
        self.change = None
        self.proof = Proof(change.facts, act.by, now, change.by)
        return Confirmed(self.proof, change)

    def _open(self, change: str) -> Change:
        if self.change is None or self.change.id != change:
            raise ProofError("no_change")
        return self.change
