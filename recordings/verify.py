"""Check the evidence folder of a call: everything is there, unchanged and well-formed, or what is not is named.

This one file needs Python 3.11 and nothing else: copy it anywhere and run `python verify.py FOLDER` (with `--silence`: and silence.py).
Exit status: 0 intact, 1 not intact, 2 not an evidence folder or wrong usage.

What it checks: `manifest.json` is in its canonical form and fits its own digest; every file it names is there with
the size and SHA-256 it states; no other file is there; every block of `call.pcapng` is whole, and the IP and UDP
headers in it fit their payloads; every line of `events.jsonl` is JSON and `seq` counts from 1 without a hole.
What it can't tell: whether somebody made the whole folder anew, manifest included. That needs the signature, whose
place in the manifest is still empty.
"""

import argparse
import hashlib
import importlib
import json
import os
import stat
import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

MANIFEST: Final = "manifest.json"
CAPTURE: Final = "call.pcapng"
EVENTS: Final = "events.jsonl"
FORMAT: Final = 1
MAX_MANIFEST: Final = 16 << 20
"""Bytes; a day of seals per second is about 10 MB."""
MAX_BLOCK: Final = 1 << 20
CHUNK: Final = 1 << 20

What = Literal["changed", "missing", "unexpected", "damaged", "unreadable", "unsealed"]
TEXT: Final[dict[str, dict[str, str]]] = {
    "en": {
        "changed": "changed since it was recorded",
        "missing": "missing",
        "unexpected": "does not belong here",
        "damaged": "damaged",
        "unreadable": "can't be read",
        "unsealed": "no manifest: the call is not finished, or the manifest was removed",
        "intact": "INTACT: {folder}: {count} files, call {call}",
        "broken": "NOT INTACT: {folder}: {count} problems",
        "failed": "derived files could not be made when the call ended: {why}",
        "no_folder": "{folder} is not a folder",
        "no_evidence": "{folder} is not an evidence folder",
        "bytes": "bytes",
        "about": "Check the evidence folder of a call. Exit status: 0 intact, 1 not intact, 2 not an evidence folder.",
        "folder": "folder of one call",
        "json": "print one JSON object",
        "lang": "language of the text",
    },
    "zh": {
        "changed": "录制之后被改动",
        "missing": "缺失",
        "unexpected": "不属于本证据文件夹",
        "damaged": "已损坏",
        "unreadable": "无法读取",
        "unsealed": "没有清单:通话尚未结束,或清单已被移除",
        "intact": "完整:{folder}:{count} 个文件,通话 {call}",
        "broken": "不完整:{folder}:{count} 个问题",
        "failed": "通话结束后未能生成派生文件:{why}",
        "no_folder": "{folder} 不是文件夹",
        "no_evidence": "{folder} 不是证据文件夹",
        "bytes": "字节",
        "about": "校验一次通话的证据文件夹。退出码:0 完整,1 不完整,2 不是证据文件夹或用法错误。",
        "folder": "一次通话的文件夹",
        "json": "输出一个 JSON 对象",
        "lang": "文字的语言",
    },
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as it should be."""

    file: str
    what: What
    detail: str = ""
    """Where and how, in English, for an expert; may be empty."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the check of one folder found."""

    intact: bool
    problems: tuple[Problem, ...]
    files: dict[str, int]
    """Every file that was checked against the manifest, with its size in bytes."""
    call: str = ""
    failed: str = ""
    """Why derived files could not be made, as the manifest states it; no problem of integrity."""


class NotEvidenceError(Exception):
    """The path holds no evidence; `key` is a key of `TEXT`."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def canonical(value: object) -> bytes:
    """Render a JSON value in the one form a manifest may have: sorted keys, one space of indent, UTF-8, LF at the end."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1, sort_keys=True)
    return text.encode("utf-8", "surrogatepass") + b"\n"


def self_digest(manifest: dict[str, Any]) -> str:
    """Give the SHA-256 of the canonical form of a manifest without its `digest`."""
    return hashlib.sha256(canonical({k: v for k, v in manifest.items() if k != "digest"})).hexdigest()


def verify(folder: str | Path) -> Verdict:
    """Check one folder. Raises NotEvidenceError if the path holds nothing to check."""
    path = Path(folder)
    if not path.is_dir():
        raise NotEvidenceError("no_folder")
    try:
        present = sorted(entry.name for entry in os.scandir(path))
    except OSError as error:
        return Verdict(intact=False, problems=(Problem(".", "unreadable", _why(error)),), files={})
    if not {MANIFEST, CAPTURE, EVENTS} & set(present):
        raise NotEvidenceError("no_evidence")
    problems: list[Problem] = []
    sizes: dict[str, int] = {}
    manifest = _manifest(path, problems)
    stated = _stated(manifest, problems)
    for name, (size, digest) in sorted(stated.items()):
        if name in present:
            problems += _compare(path / name, size, digest, sizes)
        else:
            problems.append(Problem(name, "missing"))
    # Without a readable manifest nothing can be called foreign.
    if stated:
        problems += [
            Problem(name, "unexpected") for name in present if name != MANIFEST and name not in stated
        ]
    for name, check in ((CAPTURE, _capture), (EVENTS, _events)):
        if name in present:
            problems += [Problem(name, "damaged", detail) for detail in _reading(check, path / name)]
    call, derived = manifest.get("call"), manifest.get("derived")
    failed = str(derived.get("failed") or "") if isinstance(derived, dict) else ""
    return Verdict(
        not problems, tuple(dict.fromkeys(problems)), sizes, call if isinstance(call, str) else "", failed
    )


def _manifest(folder: Path, problems: list[Problem]) -> dict[str, Any]:
    """Read the manifest as far as it can be trusted to say anything; its faults go to `problems`."""
    path = folder / MANIFEST
    try:
        with _open_regular(path) as file:
            raw = file.read(MAX_MANIFEST + 1)
    except FileNotFoundError:
        problems.append(Problem(MANIFEST, "unsealed"))
        return {}
    except OSError as error:
        problems.append(Problem(MANIFEST, "unreadable", _why(error)))
        return {}
    try:
        manifest = json.loads(raw) if len(raw) <= MAX_MANIFEST else None
        same = canonical(manifest) == raw
    except (ValueError, RecursionError):
        problems.append(Problem(MANIFEST, "changed", "is not JSON"))
        return {}
    if not isinstance(manifest, dict):
        problems.append(Problem(MANIFEST, "changed", "is not a JSON object"))
        return {}
    if not same:
        problems.append(Problem(MANIFEST, "changed", "is not in canonical form"))
    elif manifest.get("digest") != self_digest(manifest):
        problems.append(Problem(MANIFEST, "changed", "does not fit its own digest"))
    elif manifest.get("format") != FORMAT:
        problems.append(Problem(MANIFEST, "unreadable", f"format {manifest.get('format')!r} is not known"))
    return manifest


def _stated(manifest: dict[str, Any], problems: list[Problem]) -> dict[str, tuple[int, str]]:
    """List the files a manifest names, originals and derived, with size and SHA-256."""
    stated: dict[str, tuple[int, str]] = {}
    for part in ("original", "derived"):
        group = manifest.get(part)
        files = group.get("files") if isinstance(group, dict) else None
        if not isinstance(files, dict):
            if manifest:
                problems.append(Problem(MANIFEST, "damaged", f"{part}.files is missing"))
            continue
        for name, entry in files.items():
            fields = entry if isinstance(entry, dict) else {}
            size, digest = fields.get("bytes"), fields.get("sha256")
            plain = "/" not in name and name not in ("", ".", "..", MANIFEST)
            if plain and isinstance(size, int) and isinstance(digest, str):
                stated[name] = (size, digest)
            else:
                problems.append(Problem(MANIFEST, "damaged", f"entry {name!r} of {part}.files"))
    return stated


def _compare(path: Path, size: int, digest: str, sizes: dict[str, int]) -> list[Problem]:
    try:
        with _open_regular(path) as file:
            actual = hashlib.sha256()
            length = 0
            while piece := file.read(CHUNK):
                actual.update(piece)
                length += len(piece)
    except OSError as error:
        return [Problem(path.name, "unreadable", _why(error))]
    sizes[path.name] = length
    if length != size:
        return [Problem(path.name, "changed", f"{length} bytes instead of {size}")]
    if actual.hexdigest() != digest:
        return [Problem(path.name, "changed", "SHA-256 differs")]
    return []


def _open_regular(path: Path) -> BinaryIO:
    """Open a file that is a plain one: evidence is no link to somewhere else, no device, no pipe."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError("not a regular file")
    return os.fdopen(handle, "rb")


def _why(error: OSError) -> str:
    return error.strerror or str(error)


def _reading(check: Any, path: Path) -> Iterator[str]:
    try:
        with _open_regular(path) as file:
            yield from check(file)
    except OSError as error:
        yield _why(error)


# --- call.pcapng ------------------------------------------------------------------------------------------------


def _capture(file: BinaryIO) -> Iterator[str]:
    """Name the first block that is not whole, and every packet whose headers do not fit it (at most 20)."""
    offset, order, interfaces, faults = 0, "", 0, 0
    while head := file.read(12):
        where = f"block at byte {offset}"
        if len(head) < 12:
            yield f"{where}: cut off"
            return
        if head[:4] == b"\x0a\x0d\x0d\x0a":
            order = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}.get(head[8:], "")
            interfaces = 0
        if not order:
            yield f"{where}: no section header"
            return
        kind, length = struct.unpack_from(order + "II", head)
        if length < 12 or length % 4 or length > MAX_BLOCK:
            yield f"{where}: impossible length {length}"
            return
        rest = head[8:] + file.read(length - 12)
        if len(rest) < length - 8:
            yield f"{where}: cut off"
            return
        if rest[-4:] != head[4:8]:
            yield f"{where}: its two lengths differ"
            return
        interfaces += kind == 1
        if kind == 6 and faults < 20 and (fault := _packet(order, rest[:-4], interfaces)):
            faults += 1
            yield f"{where}: {fault}"
        offset += length
    if not offset:
        yield "empty"


def _packet(order: str, body: bytes, interfaces: int) -> str:
    """Say what is wrong with the body of an Enhanced Packet Block; empty if nothing is."""
    if len(body) < 20:
        return "too short"
    interface, _high, _low, captured, original = struct.unpack_from(order + "IIIII", body)
    if interface >= interfaces:
        return "interface was not described"
    if captured > len(body) - 20 or captured > original:
        return "packet longer than its block"
    packet = body[20 : 20 + captured]
    version = packet[0] >> 4 if packet else 0
    if version == 4 and captured >= 28 and packet[0] & 15 == 5:
        if _sum(packet[:20]) or int.from_bytes(packet[2:4], "big") != captured:
            return "IPv4 header does not fit"
        pseudo, start = packet[12:20], 20
    elif version == 6 and captured >= 48:
        if int.from_bytes(packet[4:6], "big") != captured - 40:
            return "IPv6 header does not fit"
        pseudo, start = packet[8:40], 40
    else:
        return "no IP packet"
    datagram = packet[start:]
    length = int.from_bytes(datagram[4:6], "big")
    if length != len(datagram):
        return "UDP length does not fit"
    if _sum(pseudo + struct.pack(">HH", 17, length) + datagram):
        return "UDP checksum does not fit"
    return ""


def _sum(data: bytes) -> int:
    """Give the Internet checksum's sum (RFC 1071), 0 when it is right: the big number modulo 2^16 − 1."""
    return int.from_bytes(data + b"\0" * (len(data) & 1), "big") % 65_535


# --- events.jsonl -----------------------------------------------------------------------------------------------


def _events(file: BinaryIO) -> Iterator[str]:
    """Name the first line that is no event, or is not the next one."""
    for number, line in enumerate(file, 1):
        if not line.endswith(b"\n"):
            yield f"line {number}: cut off"
            return
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            yield f"line {number}: is not JSON"
            return
        if not isinstance(event, dict) or event.get("seq") != number:
            yield f"line {number}: is not event {number}"
            return


# --- command line -----------------------------------------------------------------------------------------------


def main(argv: Sequence[str]) -> int:
    """Run `verify [--silence] [--json] [--lang en|zh] FOLDER`; `argv` without the program's name. Gives the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that knows no Chinese shows escapes and ends nothing
            stream.reconfigure(errors="backslashreplace")
    if "--silence" in argv:
        proof = importlib.import_module(f"{__package__}.silence" if __package__ else "silence")
        return int(proof.main([word for word in argv if word != "--silence"], _language(argv)))
    text = TEXT[_language(argv)]
    parser = argparse.ArgumentParser(prog="verify", description=text["about"])
    parser.add_argument("folder", help=text["folder"])
    parser.add_argument("--json", action="store_true", help=text["json"])
    parser.add_argument("--lang", choices=sorted(TEXT), help=text["lang"])
    try:
        options = parser.parse_args(argv)
    except SystemExit as stop:  # argparse ends the process; here it is an exit status like any other
        return stop.code if isinstance(stop.code, int) else 2
    try:
        verdict = verify(options.folder)
    except NotEvidenceError as error:
        if options.json:
            _say(json.dumps({"folder": options.folder, "intact": None, "error": error.key}))
        else:
            _say(text[error.key].format(folder=options.folder), sys.stderr)
        return 2
    if options.json:
        _say(json.dumps({"folder": options.folder, **asdict(verdict)}, ensure_ascii=False))
    else:
        _tell(verdict, options.folder, text)
    return 0 if verdict.intact else 1


def _tell(verdict: Verdict, folder: str, text: dict[str, str]) -> None:
    for name, size in verdict.files.items():
        _say(f"  {name}  {size} {text['bytes']}")
    for problem in verdict.problems:
        detail = f" ({problem.detail})" if problem.detail else ""
        _say(f"✗ {problem.file}: {text[problem.what]}{detail}")
    if verdict.failed:
        _say(f"! {text['failed'].format(why=verdict.failed)}")
    if verdict.intact:
        _say(text["intact"].format(folder=folder, count=len(verdict.files), call=verdict.call))
    else:
        _say(text["broken"].format(folder=folder, count=len(verdict.problems)))


def _language(argv: Sequence[str]) -> str:
    """Take the language from `--lang`, else from the environment as POSIX orders it."""
    for word, following in zip(argv, (*argv[1:], ""), strict=False):
        asked = following if word == "--lang" else word.removeprefix("--lang=")
        if asked in TEXT and word.startswith("--lang"):
            return asked
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if value := os.environ.get(name, ""):
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"


def _say(line: str, stream: Any = None) -> None:
    (stream or sys.stdout).write(line + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
