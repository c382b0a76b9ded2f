"""How a number is put together out of prompts. Signalling asks it too, so it needs no codec and no numpy."""

from typing import Final

LANGUAGES: Final = ("zh", "en")
MAX_NUMBER: Final = 999


def number_items(language: str, number: int) -> tuple[str, ...]:
    """Names of the prompts that say `number` (1…999) in `zh` or `en`; ValueError for another number or language."""
    if not 1 <= number <= MAX_NUMBER or language not in LANGUAGES:
        raise ValueError(f"can't say {number} in {language!r}")
    hundreds, rest = number - number % 100, number % 100
    words = [hundreds] if hundreds else []
    if language == "zh" and hundreds and rest:
        # 101 一百零一, 110 一百一十, 115 一百一十五: the empty place is said, and ten after a hundred is one-ten.
        words += [0] if rest < 10 else []
        words += [1] if 10 <= rest < 20 else []
    if language == "en" and 10 < rest < 20:
        words.append(rest)
    else:
        words += [part for part in (rest - rest % 10, rest % 10) if part]
    return tuple(f"{language}/{word}" for word in words)
