"""What callers hear: spoken prompts from files, tones and pauses, ready as 20 ms payloads of every codec.

folders ─▶ <language>/<name>.(opus|wav|flac) ─▶ samples ─▶ payloads, made once for each (item, codec)

The shipped folder (`prompts_data`, synthetic voices) lies under all others, so a site replaces one prompt or all by
putting files of the same names into a folder of its own.
"""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, cast

import av
import numpy as np
import structlog
from av.error import FFmpegError
from numpy.typing import NDArray

from rtp.codecs import PTIME_MS, Encoder, frame_samples, sampling_rate, variant
from rtp.codecs import silence as silence_payload
from rtp.control import Codec
from rtp.numbers import LANGUAGES, MAX_NUMBER, number_items

Samples = NDArray[np.int16]
log = structlog.get_logger()

SHIPPED: Final = Path(__file__).parent / "prompts_data"
SUFFIXES: Final = (".opus", ".wav", ".flac")  # the first one present wins
SENTENCES: Final = (
    "welcome",
    "please-wait",
    "you-are-number",
    "in-the-queue",
    "desk-lost",
    "goodbye",
    "expected-wait",
    "minute",
    "minutes",
    "stay",
    "silent-caller",
)
MAX_PROMPT_SECONDS: Final = 120  # a longer file is a mistake and would be kept in memory in four codecs
MAX_PAUSE_MS: Final = 60_000


class PromptMissing(LookupError):  # noqa: N818  # named as what is the case, as LookupError's own family is
    """No folder holds this prompt, or its file can't be read; the text names the prompt."""


class Prompts:
    """All prompts of a site."""

    def __init__(self, folders: Iterable[str | Path] = ()) -> None:
        """`folders`: the site's own, later ones override earlier ones and all override the shipped ones.

        A folder that is absent is logged and left out: an exchange without prompts still answers.
        """
        self._files: dict[str, Path] = {}
        self._samples: dict[tuple[str, int], Samples] = {}
        self._payloads: dict[tuple[str, str], tuple[bytes, ...]] = {}
        for folder in (SHIPPED, *map(Path, folders)):
            if not folder.is_dir():
                log.warning("prompt_folder_missing", folder=str(folder))
                continue
            self._files.update(_scan(folder))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the spoken prompts at hand, such as `zh/welcome`, sorted."""
        return tuple(sorted(self._files))

    def file(self, name: str) -> Path:
        """Where a spoken prompt comes from; raises PromptMissing."""
        if name not in self._files:
            raise PromptMissing(f"no prompt {name!r}")
        return self._files[name]

    def samples(self, item: str, rate: int) -> Samples:
        """One item as int16 mono at `rate` Hz, shape (n,); raises PromptMissing for an unknown or unreadable one."""
        key = (item, rate)
        if key not in self._samples:
            kind, colon, rest = item.partition(":")
            self._samples[key] = _made(kind, rest, rate) if colon else _read(item, self.file(item), rate)
        return self._samples[key]

    def frames(self, item: str, codec: Codec | str) -> tuple[bytes, ...]:
        """One item as 20 ms payloads, encoded once for each codec; empty (and logged, once) when it can't be played."""
        key = (item, variant(codec))
        if key not in self._payloads:
            try:
                self._payloads[key] = self._encode(item, key[1])
            except PromptMissing as error:
                log.warning("prompt_skipped", item=item, reason=str(error))
                self._payloads[key] = ()
        return self._payloads[key]

    def still(self, _codec: str) -> tuple[bytes, ...]:
        """The payloads of the site's still image; none here, for pictures are only ever prepared."""
        return ()

    def prepare(self, codecs: Sequence[Codec | str]) -> int:
        """Encode every prompt and tone for these codecs now, so that no call waits for it; returns how many."""
        items = (*self.names, "tone:zip", "tone:waiting")
        made = sum(bool(self.frames(item, codec)) for codec in codecs for item in items)
        self._samples.clear()  # only the payloads are played; the samples can be had again
        return made

    def _encode(self, item: str, codec: str) -> tuple[bytes, ...]:
        count = frame_samples(codec)
        if item.startswith("pause:"):
            return (silence_payload(codec),) * math.ceil(_pause_ms(item) / PTIME_MS)
        pcm = self.samples(item, sampling_rate(codec))
        pcm = np.concatenate([pcm, np.zeros(-len(pcm) % count, np.int16)])
        encoder = Encoder(codec)
        return tuple(encoder.encode(frame) for frame in pcm.reshape(-1, count))


def _scan(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for suffix in reversed(SUFFIXES):
        for path in sorted(folder.glob(f"*/*{suffix}")):
            found[f"{path.parent.name}/{path.stem}"] = path
    return found


def _read(name: str, path: Path, rate: int) -> Samples:
    resampler = av.AudioResampler(format="s16", layout="mono", rate=rate)
    parts: list[Samples] = []
    left = rate * MAX_PROMPT_SECONDS
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(audio=0):
                parts += [cast("Samples", made.to_ndarray()[0]) for made in resampler.resample(frame)]
                left -= len(parts[-1]) if parts else 0
                if left < 0:
                    raise PromptMissing(f"prompt {name!r} is longer than {MAX_PROMPT_SECONDS} s")
            parts += [cast("Samples", made.to_ndarray()[0]) for made in resampler.resample(None)]
    except (FFmpegError, OSError, IndexError, ValueError) as error:
        raise PromptMissing(f"prompt {name!r} can't be read from {path}: {error}") from error
    if not parts:
        raise PromptMissing(f"prompt {name!r} is empty: {path}")
    return np.concatenate(parts)


def _pause_ms(item: str) -> int:
    digits = item.removeprefix("pause:")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 5 and int(digits) <= MAX_PAUSE_MS):
        raise PromptMissing(f"no such pause: {item!r}")
    return int(digits)


def _made(kind: str, rest: str, rate: int) -> Samples:
    if kind == "pause":
        return np.zeros(rate * _pause_ms(f"pause:{rest}") // 1000, np.int16)
    if (kind, rest) == ("tone", "zip"):
        return _zip(rate)
    if (kind, rest) == ("tone", "waiting"):
        return _waiting(rate)
    raise PromptMissing(f"no prompt {kind + ':' + rest!r}")


def _zip(rate: int) -> Samples:
    """200 ms of 1000 Hz with edges of 15 ms: tells a dispatcher that someone is through."""
    at = np.arange(rate // 5) / rate
    edges = np.minimum(1.0, np.minimum(at, 0.2 - at) / 0.015)
    wave = np.sin(2 * np.pi * 1000 * at) * np.sin(edges * np.pi / 2) ** 2
    tone: Samples = (wave * 6000).astype(np.int16)
    return tone


def _waiting(rate: int) -> Samples:
    """Two soft bells (E5, then C5) dying away, then quiet: 4.4 s.

    Nothing like China's ringback (450 Hz, 1 s on, 4 s off) or busy tone (450 Hz, 0.35 s on and off): the caller has been
    answered and must not take it for ringing.
    """
    at = np.arange(rate * 44 // 10) / rate
    wave = np.zeros(len(at))
    for start, hz in ((0.0, 659.26), (0.35, 523.25)):
        since = np.maximum(at - start, 0)
        swell = np.minimum(1.0, since / 0.01) * np.exp(-since / 0.22)
        swell *= np.clip((1.6 - since) / 0.2, 0, 1)
        wave += swell * (np.sin(2 * np.pi * hz * since) + 0.2 * np.sin(4 * np.pi * hz * since))
    bells: Samples = (wave * 3600).astype(np.int16)
    return bells


def required(language: str) -> tuple[str, ...]:
    """Every prompt the exchange may play in a language."""
    numbers = {item for number in range(1, MAX_NUMBER + 1) for item in number_items(language, number)}
    return tuple(f"{language}/{name}" for name in SENTENCES) + tuple(sorted(numbers))


def placeholder_prompts(folders: Iterable[str | Path]) -> bool:
    """Tell whether a caller could hear a shipped synthetic prompt because `folders` replace not all of them."""
    replaced = {name for folder in map(Path, folders) if folder.is_dir() for name in _scan(folder)}
    return any(name not in replaced for language in LANGUAGES for name in required(language))
