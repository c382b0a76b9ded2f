"""`[hands]` of the settings file: what dispatchers may do with calls, and which keys do it.

in → out: settings → `HandsSettings`, which every exchange has in its `Site`.
"""

from typing import Annotated, Final

import msgspec

from pbx.section import Section

__all__ = ["TAKES_TARGET", "HandsSettings"]

Code = Annotated[str, msgspec.Meta(pattern=r"\A\*[0-9]{2}\Z")]
Short = Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{1,8}\Z")]
Target = Annotated[str, msgspec.Meta(pattern=r"\A\S{1,80}\Z")]
User = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_.+-]{1,64}\Z")]

TAKES_TARGET: Final = frozenset(
    {"transfer", "consult", "take", "listen", "whisper", "barge", "add", "remove", "call"}
)
"""Verbs whose code is followed by whom it is about, and `#`."""
RESERVED: Final = frozenset({"*10", "*11", "*12", "*13"})
"""Sign in, pause, resume, end the call."""
_NO_CODES: Final = frozenset({"transfer_seconds", "supervisors", "short_numbers"})


class HandsSettings(Section, frozen=True, kw_only=True):
    """Transfers, consultations, supervision; the codes are typed on the desk's phone inside its permanent call."""

    transfer_seconds: Annotated[float, msgspec.Meta(ge=1, le=600)] = 20.0
    """How long a caller waits for one desk before the desk it came from, or any, gets it."""
    supervisors: tuple[User, ...] = ()
    """Dispatchers who may listen to, whisper to and barge into other desks."""
    short_numbers: dict[Short, Target] = msgspec.field(default_factory=dict)
    """What a number stands for as the target of `transfer`, `consult`, `add` and `call`, typed, in a REFER or by the API: keys have no
    letters, and districts and queues no numbers."""
    hold: Code = "*14"
    transfer: Code = "*15"
    consult: Code = "*16"
    complete: Code = "*17"
    cancel: Code = "*18"
    conference: Code = "*19"
    take: Code = "*20"
    listen: Code = "*21"
    whisper: Code = "*22"
    barge: Code = "*23"
    leave: Code = "*24"
    add: Code = "*25"
    remove: Code = "*26"
    call: Code = "*27"

    def codes(self) -> dict[str, str]:
        """Return code → verb."""
        return {
            getattr(self, field.name): field.name
            for field in msgspec.structs.fields(type(self))
            if field.name not in _NO_CODES
        }

    def problem(self) -> str | None:
        """Return what is wrong with the codes as a whole, None when nothing is."""
        codes = self.codes()
        if len(codes) != len(msgspec.structs.fields(type(self))) - len(_NO_CODES):
            return "two verbs of [hands] have the same code"
        taken = sorted(RESERVED & set(codes))
        return f"[hands]: {', '.join(taken)} means something else already" if taken else None
