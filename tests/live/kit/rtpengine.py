"""Debian's rtpengine between a phone that speaks in the clear and an exchange that is to speak SRTP with keys in the SDP.

phone ─ SIP ─▶ Gateway ─▶ exchange    each description goes to rtpengine, which puts its own ports and keys into it
phone ─ RTP ─▶ rtpengine ─ SRTP ─▶ exchange
exchange ─ SIP ─▶ Gateway ─▶ phone    the same for calls the other way

What it is here for: its SRTP is its own (key derivation, AES counter mode and tags over libcrypto), where ours and every phone's at
hand is libsrtp, and it speaks the suites of RFC 6188, which no phone at hand does. Nothing of Debian's service is used: own ports,
own process, no kernel module (`--table=-1`).
"""

import re
import secrets
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Final, Literal, Self

from tests.live.kit import ports
from tests.live.kit.road import Address, Road

START_SECONDS: Final = 30.0
PATIENCE: Final = 5.0
MEDIA_PORTS: Final = 20
SUITES: Final = (
    "AEAD_AES_256_GCM", "AEAD_AES_128_GCM", "AES_256_CM_HMAC_SHA1_80", "AES_256_CM_HMAC_SHA1_32", "AES_192_CM_HMAC_SHA1_80",
    "AES_192_CM_HMAC_SHA1_32", "AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32", "F8_128_HMAC_SHA1_80",
    "F8_128_HMAC_SHA1_32", "NULL_HMAC_SHA1_80", "NULL_HMAC_SHA1_32",
)  # fmt: skip
"""All it knows."""


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

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        first = ports.block(2 + MEDIA_PORTS)
        self._log = folder / "log"
        self._ng = (ports.ADDRESS, first)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["rtpengine", "--foreground", "--log-stderr", "--log-level=6", "--table=-1", "--num-threads=1",
                 "--media-num-threads=1", f"--interface={ports.ADDRESS}", f"--listen-ng={ports.ADDRESS}:{first}",
                 f"--port-min={first + 2}", f"--port-max={first + 1 + MEDIA_PORTS}", "--config-file=none"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
            )  # fmt: skip
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(0.2)
        self._wait_ready()

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

    def close(self) -> None:
        """End it."""
        self._socket.close()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)


class Gateway(Road):
    """A road on which media goes over rtpengine, encrypted by one suite on one side."""

    def __init__(
        self, onward: Address, engine: Rtpengine, suite: str, *, encrypted: Literal["near", "far"] = "far"
    ) -> None:
        """`onward`: who is called; `encrypted`: on the side of who calls, or of who is called."""
        super().__init__(onward)
        self.engine, self.suite, self.encrypted = engine, suite, encrypted
        self.call_id = ""
        self._done: dict[bytes, bytes] = {}  # what is repeated is described alike

    def _described(self, data: bytes, side: Literal["near", "far"]) -> bytes:
        head, gap, body = data.partition(b"\r\n\r\n")
        if not re.search(rb"(?m)^m=", body):
            return data
        if body not in self._done:
            self._done[body] = self._ask(head, body, side)
        body = self._done[body]
        head = re.sub(rb"(?im)^(Content-Length|l)( *: *)[0-9]+", rb"\g<1>\g<2>%d" % len(body), head)
        return head + gap + body

    def _ask(self, head: bytes, body: bytes, side: str) -> bytes:
        self.call_id = self._header(head, rb"Call-ID: *(\S+)")
        if side == self.encrypted:  # it stands for a peer that knows this suite and no other
            lines = (
                rb"a=(crypto:[0-9]+ (?!%b )|fingerprint:|setup:|tls-id:)[^\r\n]*\r\n" % self.suite.encode()
            )
            body = re.sub(lines, b"", body)
        words: dict[str, Any] = {
            "call_id": self.call_id,
            "from_tag": self._header(head, rb"From:.*;tag=([^;\s]+)"),
            "sdp": body,
            "ICE": "remove",
            "replace": ["origin", "session-connection"],
        }
        if head.startswith(b"SIP/2.0 "):
            answer = self.engine.command(
                "answer", to_tag=self._header(head, rb"To:.*;tag=([^;\s]+)"), **words
            )
        else:
            others = [f"no-{suite}" for suite in SUITES if suite != self.suite]
            profile = "RTP/AVP" if side == self.encrypted else "RTP/SAVP"
            answer = self.engine.command(
                "offer", transport_protocol=profile, DTLS="off", SDES=others, **words
            )
        described = answer["sdp"]
        assert isinstance(described, bytes)
        return described

    @staticmethod
    def _header(head: bytes, pattern: bytes) -> str:
        found = re.search(rb"(?im)^" + pattern, head)
        assert found is not None, (pattern, head)
        return found[1].decode()

    def carried(self, what: Literal["RTP", "RTCP"]) -> tuple[int, int]:
        """Packets rtpengine has carried in this call, and those it could not (no key fits, nobody to send to)."""
        totals = self.engine.command("query", call_id=self.call_id)["totals"][what]
        return totals["packets"], totals["errors"]
