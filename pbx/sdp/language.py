"""Which human language is spoken (RFC 8373): the caller's wishes → our answer, one language for each way of each medium.

in → out: an offer, our answer to it, what can be spoken here → the answer with `a=hlang-send` and `a=hlang-recv`.
A caller whose languages nobody here speaks is answered without them: the call is never refused for it.
"""

import re
from typing import Final

from msgspec.structs import replace

from pbx.sdp.description import Description, Media
from pbx.sip.grammar import lower

SEND: Final = "hlang-send"
RECEIVE: Final = "hlang-recv"
_NAMES: Final = frozenset({SEND, RECEIVE})

MAX_LANGUAGES: Final = 20
"""Tags of one line that are looked at; people speak fewer."""

_TAG: Final = re.compile(r"[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*")


def wishes(media: Media, name: str) -> tuple[str, ...]:
    """The language tags of a line, best first; the asterisk that only says "rather without than not at all" left out."""
    words = (media.attribute(name) or "").replace("\t", " ").split(" ")
    return tuple(word for word in words if _TAG.fullmatch(word) is not None)[:MAX_LANGUAGES]


def choose(wanted: tuple[str, ...], spoken: tuple[str, ...]) -> str | None:
    """The first wanted tag that one of `spoken` covers: `zh` covers `zh-CN`, and is covered by it (RFC 4647 §3.3.1)."""
    ours = [lower(tag) for tag in spoken]
    for tag in wanted:
        theirs = lower(tag)
        if any(theirs == one or theirs.startswith(f"{one}-") or one.startswith(f"{theirs}-") for one in ours):
            return tag
    return None


def answer(offer: Description, answered: Description, spoken: tuple[str, ...]) -> Description:
    """Say in each answered medium which language we will send and want to receive, out of what was offered for it."""
    if not _says(offer):
        return answered
    pairs = zip(offer.media, answered.media, strict=True)
    return replace(answered, media=tuple(_media(theirs, ours, spoken) for theirs, ours in pairs))


def _media(theirs: Media, ours: Media, spoken: tuple[str, ...]) -> Media:
    if not ours.port:
        return ours
    # What they want to receive is what we send, and the other way round.
    sent, received = (choose(wishes(theirs, name), spoken) for name in (RECEIVE, SEND))
    lines = tuple((name, tag) for name, tag in ((SEND, sent), (RECEIVE, received)) if tag is not None)
    return replace(ours, attributes=(*ours.attributes, *lines)) if lines else ours


def _says(description: Description) -> bool:
    """Whether anything is said of languages; of few phones it is."""
    return not _NAMES.isdisjoint({name for media in description.media for name, _ in media.attributes})


def spoken_by(description: Description) -> list[dict[str, str | list[str]]]:
    """What a caller says it speaks and understands, medium by medium, for the people who take the call."""
    found: list[dict[str, str | list[str]]] = []
    if not _says(description):
        return found
    for media in description.media:
        sends, receives = wishes(media, SEND), wishes(media, RECEIVE)
        if sends or receives:
            found.append({"medium": media.kind[:20], "speaks": list(sends), "understands": list(receives)})
    return found
