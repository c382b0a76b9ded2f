"""Telephone numbers as they come over trunks of China, in one spelling.

in → out: what stood in a URI → `Number`: +86… for everything with a country code, short codes as they are dialled.

Numbering plan: ITU-T E.164 (country code 86), the Chinese telephone network numbering plan (MIIT): mobiles are eleven digits
from 13 to 19; area codes 010, 02x (two digits behind the 0 for 02x, and 010) and three digits for the rest; local numbers
of seven or eight digits that begin with 2 to 8; services 1xx, 95xxx, 96xxx, 123xx and 400/800.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from pbx.sip.grammar import lower

Kind = Literal["mobile", "fixed", "service", "international", "withheld", "other"]

MAX_DIGITS: Final = 32
"""Characters of a number that are looked at: E.164 has fifteen digits, prefixes and separators add some."""

WITHHELD: Final = frozenset({
    "", "anonymous", "unknown", "unavailable", "restricted", "withheld", "private", "invalid", "-", "0",
})  # fmt: skip
"""User parts, in lower case, that say no number is given (RFC 3323 §4.1.1.3 has the first)."""

EMERGENCY: Final = frozenset({"110", "119", "120", "122"})
"""Police, fire, ambulance, traffic police."""

_SEPARATORS: Final = re.compile(r"[ ().\-/]")
_DIGITS: Final = re.compile(r"\+?[0-9*#]{1,31}")
_MOBILE: Final = r"1[3-9][0-9]{9}"
_AREA: Final = r"(?:10|2[0-9]|[3-9][0-9]{2})"
_LOCAL: Final = r"[2-8][0-9]{6,7}"
_RULES: Final[tuple[tuple[re.Pattern[str], str, Kind], ...]] = (
    (re.compile(r"(?:\+|00)86(1[0-9]{2}|400[0-9]{7}|800[0-9]{7}|9[56][0-9]{3,6}|12[0-9]{3})"), r"\1", "service"),
    # With a country code, however it is written; the 0 of an area code does not follow one, yet some send it.
    (re.compile(rf"(?:\+|00)?860?({_MOBILE})"), r"+86\1", "mobile"),
    (re.compile(rf"(?:\+|00)860?({_AREA}{_LOCAL})"), r"+86\1", "fixed"),
    # An emergency number of another district: area code and 110.
    (re.compile(rf"(?:\+86|0086|0)({_AREA})(110|119|120|122)"), r"0\1\2", "service"),
    (re.compile(r"(?:\+|00)([1-9][0-9]{6,14})"), r"+\1", "international"),
    # As dialled inside the country.
    (re.compile(rf"0?({_MOBILE})"), r"+86\1", "mobile"),
    (re.compile(rf"0({_AREA}{_LOCAL})"), r"+86\1", "fixed"),
    (re.compile(r"(1[0-9]{2}|400[0-9]{7}|800[0-9]{7}|9[56][0-9]{3,6}|12[0-9]{3}|1[0-9]{3,4})"), r"\1", "service"),
)  # fmt: skip


class Rule(Protocol):
    """A number that fits `match` as a whole becomes `give` (`settings.NumberRule`)."""

    @property
    def match(self) -> str: ...
    @property
    def give(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Number:
    """One number in one spelling."""

    text: str
    """Empty when it is withheld."""
    kind: Kind


def normalise(said: str | None, *, rules: Iterable[Rule] = (), area: str = "") -> Number:
    """Bring a number to one spelling: the trunk's own `rules` first, then those of China. Any text gives a value.

    `area`: area code, with its 0, of local numbers.
    """
    # RFC 3261 §19.1.6: the user part of a SIP URI made of a tel URI carries its parameters.
    text = (said or "").partition(";")[0]
    if len(text) > MAX_DIGITS or lower(text) in WITHHELD:
        return Number("", "withheld" if len(text) <= MAX_DIGITS else "other")
    plain = rewritten(_SEPARATORS.sub("", text), rules)
    for pattern, give, kind in _RULES:
        match = pattern.fullmatch(plain)
        if match is not None:
            return Number(match.expand(give), kind)
    if area and re.fullmatch(_LOCAL, plain):
        return Number(f"+86{area.removeprefix('0')}{plain}", "fixed")
    return Number(plain, "other")


def rewritten(text: str, rules: Iterable[Rule]) -> str:
    """Return the number as the first rule that fits has it, else as it is."""
    for rule in rules:
        match = re.fullmatch(rule.match, text, re.ASCII)
        if match is not None:
            return match.expand(rule.give)
    return text


def fits(pattern: str, text: str) -> bool:
    """Whether a number fits a pattern of the settings as a whole."""
    return re.fullmatch(pattern, text, re.ASCII) is not None


def is_number(text: str) -> bool:
    """Whether a text can be dialled: digits, `*`, `#`, a `+` in front."""
    return _DIGITS.fullmatch(text) is not None
