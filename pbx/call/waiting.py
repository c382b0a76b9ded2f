"""What a waiting caller hears and reads: the place, the expected wait, and now and then the question whether they still wait.

in → out: a place, time, a key → prompts for the caller's leg, texts for the caller's phone.

Whoever asked for help is never dropped for not answering: an answer may be impossible, and silence is a reason to hurry. What
comes of no answer is a note, and a number the people in the room see. A silent caller is told and asked nothing at all.
"""

from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, Final

from pbx.call import texts
from pbx.call.call_events import CallCommand, Say
from pbx.call.effects import Effect, Note, ToMedia
from rtp.control import Play

PLACE_SECONDS: Final = 15.0
"""Between two announcements of the place in the queue."""
UNANSWERED: Final = 3
"""Questions without an answer after which that is noted: three minutes by the usual settings."""

Told = list[Effect | CallCommand]


@dataclass(slots=True)
class Waits:
    """What one caller was told."""

    told_at: float
    tell_at: float | None = None
    """A new place waits to be told, or the time to ask again comes."""
    plays: int = 0
    returned: bool = False
    """Had a dispatcher, and was not told yet that the line was lost."""
    asked: int = 0
    """How often the caller was asked to stay since the last sign of life."""

    def pack(self) -> dict[str, Any]:
        """Return plain data."""
        return dict(zip(_NAMES, _VALUES(self), strict=True))


_NAMES: Final = tuple(field.name for field in fields(Waits))
_VALUES: Final = attrgetter(*_NAMES)


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told, as far as it matters here."""

    call: str
    leg: str
    languages: tuple[str, ...]
    position: int
    expected: float | None
    reads: bool
    """Its phone has confirmed the dialog, so it can be sent texts."""


def later(waits: Waits, now: float) -> bool:
    """Say whether it is too early to tell the place again; `tell_at` is when it will be told."""
    earliest = waits.told_at + PLACE_SECONDS
    if now >= earliest or waits.returned:
        return False
    waits.tell_at = earliest
    return True


def place(waits: Waits, who: Listener, now: float, *, stay: float) -> Told:
    """Tell the present place, but not so often that a caller hears nothing but numbers; `stay`: seconds until it is asked."""
    if later(waits, now):
        return []
    # Nothing has changed for so long that the caller may think nobody is there.
    asks = stay > 0 and waits.plays > 0 and now - waits.told_at >= stay and not waits.returned
    waits.asked += asks
    waits.told_at, waits.tell_at = now, now + stay if stay > 0 else None
    out: Told = [Note("position", who.call, {"position": who.position})]
    if waits.asked == UNANSWERED and asks:
        out.append(Note("no_sign_of_life", who.call, {"asked": waits.asked}))
    out += [*written(who), *sound(waits, who, asks=asks)]
    waits.returned = False
    return out


def written(who: Listener) -> list[CallCommand]:
    """Say the place in text."""
    return [Say(who.leg, texts.waits(who.languages, who.position, who.expected))] if who.reads else []


def sound(waits: Waits, who: Listener, *, asks: bool = False) -> list[Effect]:
    """Play what a waiting caller hears; `asks`: and ask whether they still wait."""
    first = waits.plays == 0
    waits.plays += 1
    items = texts.sounds(
        who.languages, who.position, who.expected, first=first, lost=waits.returned, asks=asks
    )
    return [ToMedia(Play(who.leg, f"{who.call}/{waits.plays}", items, loop=True))]


def answered(waits: Waits, who: Listener, by: str) -> Told:
    """Take a sign of life: it is noted, and somebody who pressed a key hears that it arrived."""
    before, waits.asked = waits.asked, 0
    if not before:
        return []
    waits.plays += 1
    beep = Play(who.leg, f"{who.call}/{waits.plays}", ("tone:zip", "tone:waiting"), loop=True)
    return [Note("caller_stays", who.call, {"by": by, "asked": before}), ToMedia(beep)]
