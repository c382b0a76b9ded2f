"""What callers are told in writing, in the languages of the site."""

from collections.abc import Mapping, Sequence
from typing import Final

WAITS: Final = {
    "zh": "您好，这里是110视频报警。接警员正忙，请不要挂断，您排在第{n}位。您的声音和画面正在被接收和记录。",
    "en": "This is the 110 video emergency line. All dispatchers are busy, please stay on the line; you are number {n} "
    "in the queue. Your sound and picture are being received and recorded.",
}
LOST: Final = {
    "zh": "您与接警员的连接中断，您排在最前面，请不要挂断。",
    "en": "Your dispatcher was disconnected. You are first in the queue, please stay on the line.",
}


def say(texts: Mapping[str, str], languages: Sequence[str], place: int = 0) -> str:
    """Put a text together, one line for each language that has it; `place`: the caller's place in the queue."""
    return "\n".join(texts[lang].format(n=place) for lang in languages if lang in texts)
