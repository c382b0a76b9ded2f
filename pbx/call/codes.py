"""Keys typed on a desk's phone, gathered into an order: `*17`, or `*158002#` for a code that wants to know whom.

in → out: one key and what was typed before → what is typed now, and the order when it is whole.
"""

from typing import Final

from pbx.hands_settings import TAKES_TARGET, HandsSettings

CODE_LENGTH: Final = 3
MAX_KEYS: Final = 32
"""Longer than any number; who types more has lost the thread and begins again with a star."""


def pressed(settings: HandsSettings, typed: str, key: str) -> tuple[str, tuple[str, str] | None]:
    """Take a key. Returns what is typed now, and (verb, target) when that is an order; target is "" for verbs without one."""
    if key == "*":
        return "*", None
    if not typed or len(typed) >= MAX_KEYS:
        return "", None
    verb = settings.codes().get(typed[:CODE_LENGTH])
    if key == "#":
        target = typed[CODE_LENGTH:]
        return "", ((verb, target) if verb in TAKES_TARGET and target else None)
    typed += key
    if len(typed) == CODE_LENGTH:
        verb = settings.codes().get(typed)
        if verb is None:
            return "", None
        if verb not in TAKES_TARGET:
            return "", (verb, "")
    return typed, None
