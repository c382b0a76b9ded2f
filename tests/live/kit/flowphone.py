"""A scripted phone whose signalling lives on one connection: TCP, TLS, WebSocket or secure WebSocket.

Written apart from `pbx` on purpose: a judge that shared the exchange's frames and parser would share their errors. It
says what RFC 7118 and RFC 5626 have such a phone say: a `.invalid` sent-by and
Contact, its instance, `reg-id`, `Supported: outbound`.
"""

import asyncio
import base64
import re
import secrets
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Self

from tests.live.kit import ports, wire

Address = tuple[str, int]

VIA = {"tcp": "TCP", "tls": "TLS", "ws": "WS", "wss": "WSS"}
PATIENCE = 8.0


def trusting() -> ssl.SSLContext:
    """A TLS context that takes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def frame(opcode: int, data: bytes, *, final: bool = True, masked: bool = True) -> bytes:
    """Write a client's WebSocket frame (RFC 6455 §5.2)."""
    size, mask = len(data), 0x80 if masked else 0
    head = bytes([(0x80 if final else 0) | opcode])
    if size < 126:
        head += bytes([mask | size])
    else:
        head += (
            bytes([mask | 126]) + size.to_bytes(2) if size < 65536 else bytes([mask | 127]) + size.to_bytes(8)
        )
    if not masked:
        return head + data
    key = secrets.token_bytes(4)
    return head + key + bytes(byte ^ key[n % 4] for n, byte in enumerate(data))


class FlowPhone:
    """One phone. `await connect()` may be called again after `drop()`: it is the same instance on a new connection."""

    def __init__(self, user: str, transport: str, server: Address, *, path: str = "/sip") -> None:
        self.user, self.transport, self.server = user, transport, server
        self.host = f"{secrets.token_hex(6)}.invalid"
        self.instance = f"urn:uuid:00000000-0000-4000-8000-{secrets.token_hex(6)}"
        self.got: list[wire.Message] = []
        self.pongs = 0
        self.closed = asyncio.Event()
        self.sequence = 0
        self.reg_id = 1
        """Which of the instance's flows this is (RFC 5626 §4.2)."""
        self.binary = False
        """Send binary WebSocket messages."""
        self.kinds: set[str] = set()
        """Kinds of WebSocket messages received."""
        self._path = path
        self._news = asyncio.Event()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._running: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.drop()

    async def connect(self, source: str | None = None) -> None:
        """Connect, from the address `source` if given."""
        host, port = self.server
        self.closed.clear()
        context = trusting() if self.transport in ("tls", "wss") else None
        local = None if source is None else (source, 0)
        self._reader, self._writer = await asyncio.open_connection(host, port, ssl=context, local_addr=local)
        if self.transport in ("ws", "wss"):
            key = base64.b64encode(secrets.token_bytes(16)).decode()
            self._writer.write(
                f"GET {self._path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sip\r\n\r\n".encode()
            )
            answer = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
            assert answer.startswith("http/1.1 101 "), answer
            assert "sec-websocket-protocol: sip\r\n" in answer
        self._later(self._read())

    async def drop(self) -> None:
        """Cut the connection as a lost network does: no goodbye on any layer but TCP's reset."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._running.clear()
        if self._writer is not None:
            self._writer.transport.abort()
            await asyncio.gather(self._writer.wait_closed(), return_exceptions=True)
        self._reader = self._writer = None

    def deaf(self) -> None:
        """Read nothing more."""
        assert self._writer is not None
        transport = self._writer.transport
        assert isinstance(transport, asyncio.ReadTransport)
        transport.pause_reading()

    async def _read(self) -> None:
        try:
            async for data in self._frames() if self.transport in ("ws", "wss") else self._stream():
                self._take(data)
        except (asyncio.IncompleteReadError, OSError):
            pass
        self.closed.set()
        self._news.set()

    async def _stream(self) -> AsyncIterator[bytes]:
        reader = self._reader
        assert reader is not None
        while True:
            head = await reader.readuntil(b"\r\n")
            if head != b"\r\n":
                head += await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?i)\r\nContent-Length: *([0-9]+)", head)
                head += await reader.readexactly(int(length[1]) if length else 0)
            yield head

    async def _frames(self) -> AsyncIterator[bytes]:
        reader = self._reader
        assert reader is not None
        while True:
            first, size = await reader.readexactly(2)
            assert first & 0xF0 == 0x80, "whole, without extension"
            assert size < 128, "unmasked, as a server's frames are"
            if size > 125:
                size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8))
            data = await reader.readexactly(size)
            self.kinds.add({1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}[first & 15])
            if first & 15 in (1, 2):
                yield data

    def _take(self, data: bytes) -> None:
        message = wire.parse(data)
        if message is None:
            self.pongs += data == b"\r\n"
        else:
            self.got.append(message)
            if message.method in {"OPTIONS", "MESSAGE", "INFO", "BYE"} and not message.status:
                self._later(self._answer(message, 200))
        self._news.set()

    def _later(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._running.append(asyncio.get_running_loop().create_task(coroutine))

    async def raw(self, data: bytes) -> None:
        """Send bytes, over WebSocket as one message."""
        assert self._writer is not None
        if self.transport in ("ws", "wss"):
            data = frame(2 if self.binary else 1, data)
        self._writer.write(data)
        await self._writer.drain()

    async def until(self, found: Callable[[], object], what: str, *, timeout: float = PATIENCE) -> None:
        try:
            async with asyncio.timeout(timeout):
                while not found():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            starts = [message.start for message in self.got]
            raise AssertionError(f"{self.user}: no {what} in {timeout:g} s, but {starts}") from None

    # --- SIP ---

    @property
    def contact(self) -> str:
        token = "ws" if self.transport in ("ws", "wss") else self.transport
        named = f'reg-id={self.reg_id};+sip.instance="<{self.instance}>"'
        return f"<sip:{self.user}@{self.host};transport={token};ob>;{named}"

    async def ask(
        self, method: str, uri: str, *, call_id: str, to: str, sequence: int | None = None,
        headers: tuple[str, ...] = (), body: str = "", tag: str = "me",
    ) -> None:  # fmt: skip
        if sequence is None:
            self.sequence += 1
            sequence = self.sequence
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/{VIA[self.transport]} {self.host};branch=z9hG4bK{secrets.token_hex(8)};rport",
            "Max-Forwards: 70",
            f"From: <sip:{self.user}@at110>;tag={tag}",
            f"To: {to}",
            f"Call-ID: {call_id}",
            f"CSeq: {sequence} {method}",
            f"Contact: {self.contact}",
            "Supported: outbound",
            *headers,
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body)}",
        ]
        await self.raw(("\r\n".join(lines) + "\r\n\r\n" + body).encode())

    async def answer_to(self, method: str, sequence: int, *, timeout: float = PATIENCE) -> wire.Message:
        def found() -> wire.Message | None:
            return next(
                (m for m in self.got if m.status >= 200 and (m.method, m.sequence) == (method, sequence)),
                None,
            )

        await self.until(found, f"final answer to {method}", timeout=timeout)
        message = found()
        assert message is not None
        return message

    async def asked(self, method: str, *, timeout: float = PATIENCE) -> wire.Message:
        def found() -> wire.Message | None:
            return next((m for m in self.got if not m.status and m.method == method), None)

        await self.until(found, f"request {method}", timeout=timeout)
        message = found()
        assert message is not None
        return message

    async def _answer(
        self, request: wire.Message, status: int, *, headers: tuple[str, ...] = (), body: str = ""
    ) -> None:
        to = request.get("to")
        lines = [
            f"SIP/2.0 {status} OK",
            *(f"Via: {via}" for via in request.all("via")),
            *(f"Record-Route: {hop}" for hop in request.all("record-route")),
            f"From: {request.get('from')}",
            f"To: {to if ';tag=' in to else to + ';tag=me'}",
            f"Call-ID: {request.get('call-id')}",
            f"CSeq: {request.get('cseq')}",
            f"Contact: {self.contact}",
            *headers,
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body)}",
        ]
        await self.raw(("\r\n".join(lines) + "\r\n\r\n" + body).encode())

    async def accept(self, invite: wire.Message) -> None:
        """Answer an INVITE of the exchange with 200."""
        body = wire.offer(audio=ports.block(4), video=None, direction="sendrecv", version=1)
        body += "m=video 0 RTP/AVP 96\r\n" * invite.body.count("m=video ")
        await self._answer(invite, 200, headers=("Allow: INVITE, ACK, BYE, OPTIONS, MESSAGE",), body=body)

    async def register(self, password: str, *, expires: int = 300) -> wire.Message:
        """Register with digest; gives the 200."""
        uri, call_id = "sip:at110", f"reg-{self.host}"
        to = f"<sip:{self.user}@at110>"
        headers: tuple[str, ...] = (f"Expires: {expires}",)
        await self.ask("REGISTER", uri, call_id=call_id, to=to, headers=headers, tag=secrets.token_hex(4))
        challenge = await self.answer_to("REGISTER", self.sequence)
        assert challenge.status == 401, challenge.start
        value = wire.digest(
            challenge.all("www-authenticate"), user=self.user, password=password, method="REGISTER", uri=uri,
            algorithm="SHA-256",
        )  # fmt: skip
        headers = (*headers, f"Authorization: {value}")
        await self.ask("REGISTER", uri, call_id=call_id, to=to, headers=headers, tag=secrets.token_hex(4))
        answer = await self.answer_to("REGISTER", self.sequence)
        assert answer.status == 200, answer.start
        return answer

    async def call(self, target: str = "110") -> wire.Message:
        """Call and acknowledge; gives the 200."""
        call_id = f"call-{secrets.token_hex(8)}"
        body = wire.offer(audio=ports.block(4), video=None, direction="sendrecv", version=1)
        await self.ask(
            "INVITE", f"sip:{target}@at110", call_id=call_id, to=f"<sip:{target}@at110>", body=body
        )
        sequence = self.sequence
        answer = await self.answer_to("INVITE", sequence)
        assert answer.status == 200, answer.start
        await self.in_dialog("ACK", answer, sequence=sequence)
        return answer

    async def in_dialog(self, method: str, answer: wire.Message, *, sequence: int | None = None) -> None:
        """Send a request in the dialog that `answer` made, by the way its proxies recorded (RFC 3261 §12.1.2)."""
        hops = [hop for line in answer.all("record-route") for hop in line.split(",")]
        await self.ask(
            method,
            answer.contact,
            call_id=answer.get("call-id"),
            to=answer.get("to"),
            sequence=sequence,
            headers=tuple(f"Route: {hop.strip()}" for hop in reversed(hops)),
        )
