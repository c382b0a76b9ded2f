"""Logs: one JSON object a line, to standard error and to one file per process.

in → out: `configure("signalling", …)` once per process; then `structlog.get_logger()` anywhere. Events are
constant snake_case names with fields. Fields that could hold a secret are masked by name; a log that can't be
written is counted, never raised: a full disk must not end a call.
"""

import logging
import re
import sys
import time
from collections.abc import Mapping, MutableMapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TextIO

import structlog

from pbx.scribe import Scribe
from pbx.storage.plain import encoded

__all__ = ["MASK", "Sink", "configure", "mask"]

MASK: Final = "***"
SECRET: Final = re.compile(
    r"(?:.*_)?(?:passwords?|passwd|digest|authorization|keys?|ha1(?:_[a-z0-9]+)?|c?nonce|body|tokens?|secrets?|cookie)",
    re.ASCII,
)
"""Field names, lower-cased with `-` as `_`, whose values nobody may read in a log."""
MAX_FILE: Final = 64 * 1024 * 1024  # bytes; four of them keep about a week of a busy centre
KEPT: Final = 3  # older files beside the present one

_SIMPLE: Final = frozenset({str, int, float, bool, type(None)})

Event = MutableMapping[str, Any]


class Sink:
    """Where lines go: standard error and a file that is renamed away when it is full. Never raises OSError."""

    def __init__(self, file: Path | None, stream: TextIO | None, max_bytes: int = MAX_FILE) -> None:
        self._path = file
        self._stream = stream
        self._max_bytes = max_bytes
        self._file: TextIO | None = None
        self._size = 0
        self.behind: Scribe | None = None
        """Writes for us, once it is there; until then each line is written at once."""
        self.lost = 0
        """Lines that could not be written somewhere."""

    def msg(self, line: str) -> None:
        """Write one line, at once or within some milliseconds."""
        if self.behind is None:
            self.write((line,))
        else:
            self.behind.put(self, line)

    def write(self, items: Sequence[str]) -> None:
        """Write lines (`scribe.Sheet`)."""
        text = "\n".join(items) + "\n"
        self._to_stream(text)
        if self._path is not None:
            self._to_file(self._path, text)

    log = debug = info = warn = warning = error = critical = exception = fatal = failure = err = msg

    def close(self) -> None:
        """Close the file; a later line opens it again."""
        if self._file is not None:
            try:
                self._file.close()
            except OSError:
                self.lost += 1
            self._file = None

    def _to_stream(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # ValueError: the stream was closed
            self.lost += 1

    def _to_file(self, path: Path, text: str) -> None:
        try:
            if self._file is None:
                self._file = path.open("a", encoding="utf-8", errors="replace")
                self._size = path.stat().st_size
            self._file.write(text)
            self._file.flush()
            self._size += len(text)
            if self._size >= self._max_bytes:
                self.close()
                for number in range(KEPT, 0, -1):
                    older = path if number == 1 else path.with_name(f"{path.name}.{number - 1}")
                    if older.exists():
                        older.replace(path.with_name(f"{path.name}.{number}"))
        except OSError:
            self.lost += 1
            self.close()


class _Forward(logging.Handler):
    """Carries records of the standard library's loggers (asyncio, aiohttp) into the same lines."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = structlog.get_logger()
        error = record.exc_info if record.exc_info and record.exc_info[0] else None
        logger.log(
            record.levelno, "library_log", logger=record.name, text=record.getMessage(), exc_info=error
        )


def mask(_logger: object, _method: str, event: Event) -> Event:
    """Replace the values of secret fields, at any depth. A structlog processor."""
    return {
        name: (MASK if _is_secret(name) else value) if type(value) in _SIMPLE else _masked(name, value)
        for name, value in event.items()
    }


def configure(
    process: str,
    *,
    file: Path | None = None,
    stream: TextIO | None = sys.stderr,
    level: int = logging.INFO,
) -> Sink:
    """Set up logging of this process; every line carries `process`. Calling it again replaces the set-up."""
    sink = Sink(file, stream)
    structlog.configure(
        processors=[_lines_of(process)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: sink,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for old in [handler for handler in root.handlers if isinstance(handler, _Forward)]:
        root.removeHandler(old)
    root.addHandler(_Forward(level=max(level, logging.WARNING)))
    return sink


def _lines_of(process: str) -> structlog.typing.Processor:
    """Make lines: level, time and process added, secrets masked. One step, for some lines are written in every call."""

    def line(logger: object, method: str, event: Event) -> str:
        event["level"] = "error" if method == "exception" else method
        second, rest = divmod(time.time_ns(), 1_000_000_000)
        event["timestamp"] = f"{_second(second)}.{rest // 1000:06d}Z"
        event["process"] = process
        if "exc_info" in event:
            event = structlog.processors.format_exc_info(logger, method, event)
        return encoded(mask(logger, method, event)).decode()

    return line


@lru_cache(2)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()[:-6]


@lru_cache(1024)
def _is_secret(name: str) -> bool:
    return SECRET.fullmatch(name.lower().replace("-", "_")) is not None


def _masked(name: object, value: object) -> object:
    if isinstance(name, str) and _is_secret(name):
        return MASK
    if isinstance(value, Mapping):
        return {key: _masked(key, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(None, item) for item in value]
    return value
