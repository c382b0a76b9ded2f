"""Debian's rtpengine, driven by its ng protocol: commands as dictionaries in bencoding, a cookie before each (its docs/ng_control_protocol.md).

A process with own ports, relaying in user space without its kernel module (`--table=-1`), and nothing of Debian's service.
"""

import os
import secrets
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Final, Self

START_SECONDS: Final = 30.0
PATIENCE: Final = 5.0


def bencode(value: Any) -> bytes:
    """Strings, lists and dictionaries, as the ng protocol has them."""
    match value:
        case str():
            return bencode(value.encode())
        case bytes():
            return b"%d:%b" % (len(value), value)
        case list():
            return b"l" + b"".join(bencode(item) for item in value) + b"e"
        case dict():
            items = sorted((key.encode(), item) for key, item in value.items())
            return b"d" + b"".join(bencode(key) + bencode(item) for key, item in items) + b"e"
    raise TypeError(f"{type(value).__name__} is not in the ng protocol")


def bdecode(data: bytes) -> Any:
    """What `bencode` made, and integers; strings come as bytes but for the keys of dictionaries."""
    value, rest = _bdecode(data)
    assert not rest, rest
    return value


def _bdecode(data: bytes) -> tuple[Any, bytes]:
    kind = data[:1]
    if kind == b"i":
        number, _, rest = data[1:].partition(b"e")
        return int(number), rest
    if kind not in {b"l", b"d"}:
        length, _, rest = data.partition(b":")
        return rest[: int(length)], rest[int(length) :]
    items, rest = [], data[1:]
    while not rest.startswith(b"e"):
        item, rest = _bdecode(rest)
        items.append(item)
    if kind == b"l":
        return items, rest[1:]
    return {key.decode(): item for key, item in zip(items[::2], items[1::2], strict=True)}, rest[1:]


class Rtpengine:
    """One process. Use as a context manager."""

    def __init__(self, folder: Path, ng: tuple[str, int], media: tuple[int, int], *options: str) -> None:
        """`folder`: made for it, its log goes there; `ng`: where commands are heard; `media`: first and last port of RTP and RTCP.

        Raises AssertionError with its log when it does not come up, OSError when it can't be started.
        """
        folder.mkdir(parents=True)
        self._log = folder / "log"
        self._ng = ng
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["rtpengine", "--foreground", "--log-stderr", "--table=-1", "--config-file=none",
                 f"--interface={ng[0]}", f"--listen-ng={ng[0]}:{ng[1]}",
                 f"--port-min={media[0]}", f"--port-max={media[1]}", *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
            )  # fmt: skip
        self.pid = self._process.pid
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(0.2)
        try:
            self._wait_ready()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait_ready(self) -> None:
        end = time.monotonic() + START_SECONDS
        while True:
            assert self._process.poll() is None, self._log.read_text(errors="replace")
            try:
                if self.command("ping")["result"] == b"pong":
                    return
            except TimeoutError:
                assert time.monotonic() < end, self._log.read_text(errors="replace")

    def command(self, name: str, **words: Any) -> dict[str, Any]:
        """Give a command and return its answer. Words are written with `_` for `-`. AssertionError when it is refused."""
        cookie = secrets.token_hex(8).encode()
        message = {"command": name, **{word.replace("_", "-"): value for word, value in words.items()}}
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                # The same cookie again is the same command: it is carried out once.
                self._socket.sendto(cookie + b" " + bencode(message), self._ng)
                while True:
                    found, _, answer = self._socket.recv(65535).partition(b" ")
                    if found == cookie:
                        break
            except OSError:  # nobody listens there yet, or the answer takes its time
                time.sleep(0.05)
                continue
            decoded: dict[str, Any] = bdecode(answer)
            assert decoded["result"] != b"error", (name, decoded)
            return decoded
        raise TimeoutError(f"rtpengine does not answer {name}")

    def pause(self) -> None:
        """Stop the whole process."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """End it."""
        self._socket.close()
        self._process.terminate()
        if self._process.poll() is None:
            self.resume()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)
