"""What callers are told, in writing and by prompts, in the languages of the site."""

from collections.abc import Mapping, Sequence
from typing import Final

from rtp.numbers import MAX_NUMBER, number_items

WAITS: Final = {
    "zh": "您好，这里是110视频报警。接警员正忙，请不要挂断，您排在第{n}位。您的声音和画面正在被接收和记录。",
    "en": "This is the 110 video emergency line. All dispatchers are busy, please stay on the line; you are number {n} "
    "in the queue. Your sound and picture are being received and recorded.",
}
LOST: Final = {
    "zh": "您与接警员的连接中断，您排在最前面，请不要挂断。",
    "en": "Your dispatcher was disconnected. You are first in the queue, please stay on the line.",
}
HANDED: Final = {
    "zh": "正在为您转接另一位接警员，请不要挂断。",
    "en": "You are being connected with somebody else, please stay on the line.",
}
EXPECTED: Final = {
    "zh": "预计还需等待约{minutes}分钟。",
    "en": "The wait is expected to take about {minutes} more min.",
}


def waits(languages: Sequence[str], place: int, expected: float | None) -> str:
    """Tell a waiting caller the place, and the seconds the wait is expected to take if anybody can say."""
    if expected is None:
        return say(WAITS, languages, place)
    minutes = max(1, round(expected / 60))
    known = [lang for lang in languages if lang in WAITS]
    return "\n".join(
        f"{WAITS[lang].format(n=place)} {EXPECTED[lang].format(minutes=minutes)}" for lang in known
    )


def say(texts: Mapping[str, str], languages: Sequence[str], place: int = 0) -> str:
    """Put a text together, one line for each language that has it; `place`: the caller's place in the queue."""
    return "\n".join(texts[lang].format(n=place) for lang in languages if lang in texts)


def sounds(
    languages: Sequence[str],
    place: int,
    expected: float | None = None,
    *,
    first: bool,
    lost: bool,
    asks: bool = False,
) -> tuple[str, ...]:
    """Return the prompts a waiting caller hears, and the tone that follows for ever.

    `expected`: seconds of the wait, None when nobody can say; `first`: for the first time; `lost`: had a dispatcher; `asks`: is
    asked whether it still waits.
    """
    items: list[str] = []
    minutes = None if expected is None else min(MAX_NUMBER, max(1, round(expected / 60)))
    for lang in languages:
        if lost:
            items.append(f"{lang}/desk-lost")
            continue
        items += [f"{lang}/welcome"] if first else []
        items += [f"{lang}/please-wait"]
        items += [f"{lang}/you-are-number", *_number(lang, place), f"{lang}/in-the-queue"]
        if minutes is not None:
            unit = "minute" if minutes == 1 else "minutes"
            items += [f"{lang}/expected-wait", *_number(lang, minutes), f"{lang}/{unit}"]
        items += [f"{lang}/stay"] if asks else []
    return (*items, "tone:waiting")


def _number(language: str, number: int) -> tuple[str, ...]:
    return number_items(language, min(MAX_NUMBER, number))
