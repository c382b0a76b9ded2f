"""The settings file and the environment as plain tables, each key with where it stands, for messages.

in → out: a TOML file, `AT110_*` variables → tables, `{"sip.port": "line 4"}`, sentences about what is wrong.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

from pbx.section import Section


def read(file: Path, *, required: bool, problems: list[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the tables of a TOML file and where each key stands; what is wrong with it is added to `problems`."""
    try:
        text = file.read_text("utf-8")
    except FileNotFoundError:
        if required:
            problems.append(f"{file} does not exist (AT110_SETTINGS)")
        return {}, {}
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"can't be read: {error}")
        return {}, {}
    try:
        return tomllib.loads(text), _lines(text)
    except tomllib.TOMLDecodeError as error:
        problems.append(f"not TOML: {error}")
        return {}, {}


def _lines(text: str) -> dict[str, str]:
    """Where each `section.key` stands, for messages only: `{"sip.port": "line 4"}`."""
    found: dict[str, str] = {}
    section = ""
    for number, line in enumerate(text.split("\n"), 1):
        if match := re.match(r"\s*\[\s*([A-Za-z0-9_-]+)\s*\]", line):
            section = match[1]
            found.setdefault(section, f"line {number}")
        elif match := re.match(r"\s*([A-Za-z0-9_.-]+)\s*=", line):
            found.setdefault(f"{section}.{match[1]}" if section else match[1], f"line {number}")
    return found


def overrides(environ: Mapping[str, str], problems: list[str]) -> Iterator[tuple[str, str, object, str]]:
    """Yield section, key, value and variable of everything the environment sets."""
    for variable, section in (("AT110_SIP_PORT", "sip"), ("AT110_HTTP_PORT", "http")):
        text = environ.get(variable)
        if text:
            if re.fullmatch(r"[0-9]{1,5}", text, re.ASCII):
                yield section, "port", int(text), variable
            else:
                problems.append(f"{variable}: {text!r} is not a port")
    if host := environ.get("AT110_HOST"):
        yield "sip", "host", host, "AT110_HOST"
        yield "http", "host", host, "AT110_HOST"
    if url := environ.get("AT110_DATABASE_URL"):
        yield "storage", "database_url", url, "AT110_DATABASE_URL"


def where_of(sources: Mapping[str, str], key: str) -> str:
    """Return the beginning of a sentence about `key`: "line 4: ", "AT110_HOST: " or nothing."""
    return f"{sources[key]}: " if key in sources else ""


def section(
    name: str, kind: type[Section], table: dict[str, Any], sources: Mapping[str, str], problems: list[str]
) -> Section | None:
    """Check a table key by key, so that all its errors are told and not only the first."""
    types = get_type_hints(kind, include_extras=True)
    good: dict[str, Any] = {}
    for key, value in table.items():
        where = where_of(sources, f"{name}.{key}")
        if key not in types:
            problems.append(f"{where}{name}.{key} is not a setting; there are: {', '.join(types)}")
            continue
        try:
            good[key] = msgspec.convert(value, types[key])
        except msgspec.ValidationError as error:
            # A database URL may hold a password: the value itself is never repeated.
            problems.append(f"{where}{name}.{key}: {error}")
    return kind(**good)
