"""The console: three static files and an icon, served from memory."""

import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from aiohttp import hdrs, web

import pbx

__all__ = ["routes"]

FOLDER: Final = Path(pbx.__file__).parent / "console"
FILES: Final = {
    "/": ("index.html", "text/html"),
    "/console.js": ("console.js", "text/javascript"),
    "/style.css": ("style.css", "text/css"),
}
ICON: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="6" fill="#12397a"/>'
    '<path d="M9 8c-2 8 7 17 15 15l1-5-5-2-2 2c-2-1-4-3-5-5l2-2-2-5z" fill="#fff"/></svg>'
)
CONTENT: Final = {name: (FOLDER / name).read_bytes() for name, _ in FILES.values()}
"""A part of the program, like code: read with it, so that no event loop waits for a disk."""


def routes() -> list[web.RouteDef]:
    """Give the routes of the page."""
    files = [
        web.get(path, _serve(CONTENT[name], content_type)) for path, (name, content_type) in FILES.items()
    ]
    return [*files, web.get("/favicon.svg", _serve(ICON.encode(), "image/svg+xml"))]


def _serve(content: bytes, content_type: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    # Asked again each time: after an upgrade no browser may run the old page against the new API.
    headers = {hdrs.CACHE_CONTROL: "no-cache", hdrs.ETAG: tag}

    async def handle(request: web.Request) -> web.Response:
        if request.headers.get(hdrs.IF_NONE_MATCH) == tag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=content, content_type=content_type, charset="utf-8", headers=headers)

    return handle
