"""Evidence over HTTP: the folder of a call, checked, and its files, byte for byte.

Names never reach the file system unchecked: a call id has its own narrow alphabet, and a file is found by listing the
folder and comparing, never by joining what was asked for. Every look is logged before data leaves.
"""

import asyncio
import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog
from aiohttp import hdrs, web

from pbx.api.answers import ApiError, json_answer
from pbx.api.auth import USER
from pbx.api.commands import CALL
from pbx.api.exchange import Exchange
from recordings.verify import NotEvidenceError, verify

__all__ = ["Evidence", "check"]

FILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
MAX_MANIFEST: Final = 16 * 1024 * 1024
CHECKS_AT_ONCE: Final = 2  # hashing gigabytes must leave the machine its other core
TYPES: Final = {
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".jpg": "image/jpeg",
    ".mkv": "video/x-matroska",
    ".pcapng": "application/x-pcapng",
}

Check = Callable[[Path], Mapping[str, object]]


def check(folder: Path) -> Mapping[str, object]:
    """Verify one folder: `{"intact": bool, "problems": [{"file", "what", "detail"}]}`. Blocks while it hashes."""
    verdict = verify(folder)
    return {"intact": verdict.intact, "problems": [asdict(problem) for problem in verdict.problems]}


class Evidence:
    """The handlers over one evidence folder."""

    def __init__(self, root: Path, exchange: Exchange, checker: Check = check) -> None:
        self._root = root
        self._exchange = exchange
        self._check = checker
        self._checks = asyncio.Semaphore(CHECKS_AT_ONCE)
        self._log = structlog.get_logger()

    def routes(self) -> list[web.RouteDef]:
        """Give the routes."""
        return [
            web.get(f"/api/evidence/{CALL}", self.folder),
            web.get(f"/api/evidence/{CALL}/{{file}}", self.file),
        ]

    async def folder(self, request: web.Request) -> web.Response:
        """`GET /api/evidence/{call}[?verify=no]`: files, manifest, verdict (None while the call is recorded)."""
        call = request.match_info["call"]
        folder = self._root / call
        files = await asyncio.to_thread(_files, folder)
        if files is None:
            raise _unknown()
        self._log.info("evidence_viewed", call=call, by=request[USER], address=request.remote)
        live = any(
            view.get("call") == call and view.get("state") != "ended" for view in self._exchange.calls()
        )
        verdict: Mapping[str, object] | None = None
        if not live and request.query.get("verify") != "no":
            verdict = await self._verdict(folder)
        return json_answer(
            {
                "call": call,
                "state": "recording" if live else "closed",
                "verdict": verdict,
                "manifest": await asyncio.to_thread(_manifest, folder / "manifest.json"),
                "files": list(files.values()),
            }
        )

    async def file(self, request: web.Request) -> web.StreamResponse:
        """`GET /api/evidence/{call}/{file}`: one file, also in ranges (RFC 9110 §14)."""
        call, name = request.match_info["call"], request.match_info["file"]
        folder = self._root / call
        files = await asyncio.to_thread(_files, folder)
        if files is None or name not in files:
            raise _unknown()
        self._log.info("evidence_taken", call=call, file=name, by=request[USER], address=request.remote)
        path = folder / name
        return web.FileResponse(
            path,
            headers={
                hdrs.CONTENT_TYPE: TYPES.get(path.suffix, "application/octet-stream"),
                hdrs.CONTENT_DISPOSITION: f'attachment; filename="{call}-{name}"',
            },
        )

    async def _verdict(self, folder: Path) -> Mapping[str, object] | None:
        async with self._checks:
            try:
                return await asyncio.to_thread(self._check, folder)
            except NotEvidenceError:
                return None


def _files(folder: Path) -> dict[str, dict[str, object]] | None:
    """List the regular files of a call's folder by name; None when there is no such folder."""
    try:
        if not stat.S_ISDIR(folder.lstat().st_mode):
            return None
        with os.scandir(folder) as entries:
            return {
                entry.name: {"name": entry.name, "bytes": found.st_size, "modified": found.st_mtime}
                for entry in sorted(entries, key=lambda entry: entry.name)
                if FILE_NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)
                for found in [entry.stat(follow_symlinks=False)]
            }
    except (FileNotFoundError, NotADirectoryError):
        return None


def _manifest(path: Path) -> Any:
    """Give the manifest as it stands, None when there is none that is JSON."""
    try:
        if path.stat().st_size > MAX_MANIFEST:
            return None
        return msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.MsgspecError):
        return None


def _unknown() -> ApiError:
    return ApiError(404, "unknown_evidence", "没有这份证据", "There is no such evidence")
