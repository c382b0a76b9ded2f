"""The oracle phone: a scripted caller whose every packet says whose it is.

It speaks SIP over UDP from its own texts and RTP from its own socket in one thread, 20 ms apart, and keeps every
packet and message it was sent with the moment it came. What reached it is therefore known without decoding anything:
a packet of another caller is recognised by its mark.
"""

import re
import secrets
import selectors
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from tests.live.kit import ports, sound, wire
from tests.live.kit.wire import Message

Address = tuple[str, int]

PATIENCE = 20.0
"""Seconds to wait for anything that takes a fraction of one on an idle machine."""
T1 = 0.5
"""First retransmission of a request over UDP, seconds (RFC 3261 §17.1.1.1)."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One RTP packet that came. `at` is `time.monotonic`."""

    at: float
    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes


@dataclass(slots=True)
class _Pending:
    data: bytes
    again: float
    wait: float


class Oracle:
    """One phone, one call at a time. A context manager."""

    def __init__(self, mark: int, *, exchange: Address, user: str | None = None, video: bool = False) -> None:
        """`mark` is put into every payload this phone sends."""
        self.mark = mark
        self.user = user or f"oracle-{mark}"
        self.exchange = exchange
        first = ports.block(6)
        self.sip_port, self.audio_port, self.video_port = first, first + 2, first + 4
        self._sip = self._socket(first)
        self._audio = self._socket(first + 2)
        self._video = self._socket(first + 4)
        self._offer_video = video
        self.heard: list[Heard] = []
        self.pictures: list[Heard] = []
        self.came: list[tuple[float, Message]] = []
        """Every SIP message that came, with its moment."""
        self.sent = 0
        self.speaking = True
        """False: it sends no RTP at all."""
        self._pending: dict[str, _Pending] = {}
        self._change = threading.Condition()
        self._remote_audio = 0
        self._direction = "sendrecv"
        self._version = 1
        self._ssrc = secrets.randbits(32)
        self._due = 0.0
        self._forget()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=self.user, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @staticmethod
    def _socket(port: int) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((ports.ADDRESS, port))
        made.setblocking(False)
        return made

    def _forget(self) -> None:
        self._call_id = f"{secrets.token_hex(12)}@{self.user}"
        self._tag = secrets.token_hex(6)
        self._to = ""
        self._target = ""
        self._routes: list[str] = []
        self._sequence = 0
        self._invite_branch = ""
        self.up = False

    @property
    def bpf(self) -> str:
        """A capture filter for all the phone sends and receives."""
        return f"udp portrange {self.sip_port}-{self.video_port}"

    # --- verbs; each may be called from the test's thread ---

    def invite(self, target: str = "110", *, headers: tuple[str, ...] = ()) -> float:
        """Send an INVITE and give its moment; `target` is a user part or a whole URI."""
        self._forget()
        uri = target if ":" in target else f"sip:{target}@{self.exchange[0]}:{self.exchange[1]}"
        self._target, self._to = uri, f"<{uri}>"
        at = time.monotonic()
        self._invite_branch = self._request("INVITE", headers=headers, body=self._sdp())
        return at

    def call(self, target: str = "110", *, timeout: float = PATIENCE) -> float:
        """Call, wait for the answer and give the seconds from INVITE to 200. Raises AssertionError for another end."""
        at = self.invite(target)
        answer, came = self.final("INVITE", timeout=timeout)
        assert answer.status == 200, f"{self.user}: {answer.start}"
        return came - at

    def cancel(self) -> None:
        """Send CANCEL for the INVITE at once, with its branch (RFC 3261 §9.1)."""
        self._transmit(
            self._text("CANCEL", self._sequence, self._invite_branch), f"{self._invite_branch}CANCEL"
        )

    def reinvite(self, direction: str) -> Message:
        """Offer the same call with another direction (`sendonly` is hold) and give the final answer."""
        self._direction, self._version = direction, self._version + 1
        self._request("INVITE", body=self._sdp())
        return self.final("INVITE")[0]

    def bye(self) -> Message:
        """End the call and give the answer."""
        self._request("BYE")
        self.up = False
        return self.final("BYE")[0]

    def register(self, password: str, *, algorithm: str = "SHA-256") -> tuple[Message, Message]:
        """Register with digest and give the challenge and the answer to the authorised request."""
        self._forget()
        uri = f"sip:{self.exchange[0]}:{self.exchange[1]}"
        self._target, self._to = uri, f"<sip:{self.user}@{self.exchange[0]}:{self.exchange[1]}>"
        self._request("REGISTER", headers=("Expires: 60",))
        challenge = self.final("REGISTER")[0]
        value = wire.digest(
            challenge.all("www-authenticate"), user=self.user, password=password, method="REGISTER", uri=uri,
            algorithm=algorithm,
        )  # fmt: skip
        self._request("REGISTER", headers=("Expires: 60", f"Authorization: {value}"))
        return challenge, self.final("REGISTER")[0]

    def final(self, method: str, *, timeout: float = PATIENCE) -> tuple[Message, float]:
        """Wait for the final answer to the latest request of a method; give it and its moment. Raises TimeoutError."""
        number = self._sequence

        def answered(message: Message) -> bool:
            return message.status >= 200 and message.method == method and message.sequence == number

        at, message = self._wait_for(answered, f"no final answer to {method}", timeout)
        return message, at

    def wait_request(self, method: str, *, timeout: float = PATIENCE) -> tuple[Message, float]:
        """Wait until a request of a method came (BYE, MESSAGE …); give the first and its moment. Raises TimeoutError."""
        at, message = self._wait_for(lambda m: not m.status and m.method == method, f"no {method}", timeout)
        return message, at

    def wait_heard(
        self, condition: Callable[[Heard], bool], what: str, *, timeout: float = PATIENCE
    ) -> Heard:
        """Wait for an RTP packet. Raises TimeoutError."""
        with self._change:
            self._change.wait_for(lambda: any(map(condition, tuple(self.heard))), timeout)
            found = next(filter(condition, tuple(self.heard)), None)
        if found is None:
            raise TimeoutError(
                f"{self.user}: {what} did not come in {timeout:g} s; {len(self.heard)} packets came"
            )
        return found

    def wait_tone(self, tone: float, *, since: float = 0.0, timeout: float = PATIENCE) -> None:
        """Wait until 0.4 s in a row that came after a moment are a tone (PCMA). Raises TimeoutError."""

        def heard() -> bool:
            latest = [packet.payload for packet in tuple(self.heard) if packet.at > since][-20:]
            return len(latest) == 20 and abs(sound.alaw(b"".join(latest)).tone - tone) < 10

        with self._change:
            if not self._change.wait_for(heard, timeout):
                raise TimeoutError(f"{self.user}: doesn't hear {tone:g} Hz; {len(self.heard)} packets came")

    @property
    def texts(self) -> list[str]:
        """Bodies of the MESSAGEs that came."""
        return [m.body for _, m in tuple(self.came) if not m.status and m.method == "MESSAGE"]

    @property
    def strangers(self) -> list[tuple[int, int]]:
        """Marks of the packets of other callers that reached this one. Must be empty."""
        owners = [wire.owner(packet.payload) for packet in tuple(self.heard) + tuple(self.pictures)]
        return [mark for mark in owners if mark is not None and mark[0] != self.mark]

    def close(self) -> None:
        """Hang up when a call is up, and end."""
        if self._ended.is_set():
            return
        if self.up:
            try:
                self.bye()
            except TimeoutError:
                pass
        self._ended.set()
        self._thread.join(5)
        for one in (self._sip, self._audio, self._video):
            one.close()

    # --- texts ---

    def _sdp(self) -> str:
        video = self.video_port if self._offer_video else None
        return wire.offer(
            audio=self.audio_port, video=video, direction=self._direction, version=self._version
        )

    def _text(
        self, method: str, number: int, branch: str, headers: tuple[str, ...] = (), body: str = ""
    ) -> bytes:
        me = f"{ports.ADDRESS}:{self.sip_port}"
        lines = [
            f"{method} {self._target} SIP/2.0",
            f"Via: SIP/2.0/UDP {me};branch={branch};rport",
            *(f"Route: {route}" for route in self._routes),
            f"From: <sip:{self.user}@{self.exchange[0]}:{self.exchange[1]}>;tag={self._tag}",
            f"To: {self._to}",
            f"Call-ID: {self._call_id}",
            f"CSeq: {number} {method}",
            f"Contact: <sip:{self.user}@{me}>",
            "Max-Forwards: 70",
            "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, MESSAGE, INFO",
            *headers,
            *(("Content-Type: application/sdp",) if body else ()),
            f"Content-Length: {len(body.encode())}",
        ]
        return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()

    def _request(self, method: str, *, headers: tuple[str, ...] = (), body: str = "") -> str:
        self._sequence += 1
        branch = f"z9hG4bK{secrets.token_hex(8)}"
        self._transmit(self._text(method, self._sequence, branch, headers, body), f"{branch}{method}")
        return branch

    def _transmit(self, data: bytes, key: str) -> None:
        with self._change:
            self._pending[key] = _Pending(data, time.monotonic() + T1, T1)
        self._sip.sendto(data, self.exchange)

    def _wait_for(
        self, fits: Callable[[Message], bool], complaint: str, timeout: float
    ) -> tuple[float, Message]:
        def found() -> tuple[float, Message] | None:
            return next((pair for pair in tuple(self.came) if fits(pair[1])), None)

        with self._change:
            self._change.wait_for(lambda: found() is not None, timeout)
            pair = found()
        if pair is None:
            came = ", ".join(message.start for _, message in self.came[-6:]) or "nothing"
            raise TimeoutError(f"{self.user}: {complaint} in {timeout:g} s; last came: {came}")
        return pair

    # --- the thread ---

    def _run(self) -> None:
        readers = selectors.DefaultSelector()
        readers.register(self._sip, selectors.EVENT_READ, self._take_sip)
        readers.register(self._audio, selectors.EVENT_READ, lambda data: self._take_rtp(data, self.heard))
        readers.register(self._video, selectors.EVENT_READ, lambda data: self._take_rtp(data, self.pictures))
        while not self._ended.is_set():
            for key, _ in readers.select(max(0.0, min(0.01, self._due - time.monotonic()))):
                assert isinstance(key.fileobj, socket.socket)
                try:
                    data = key.fileobj.recv(65535)
                except OSError:  # ICMP port unreachable of a peer that has closed
                    continue
                key.data(data)
            self._speak(time.monotonic())
            self._repeat(time.monotonic())
        readers.close()

    def _speak(self, now: float) -> None:
        if now < self._due:
            return
        # A thread that was kept waiting goes on in step and sends what is due one after the other: nothing is left out.
        self._due = self._due + 0.02 if now - self._due < 1 else now + 0.02
        if not (self.up and self.speaking and self._remote_audio and self._direction != "recvonly"):
            return
        number = self.sent
        header = bytes([0x80, 8]) + (number & 0xFFFF).to_bytes(2, "big")
        header += (number * wire.FRAME & 0xFFFFFFFF).to_bytes(4, "big") + self._ssrc.to_bytes(4, "big")
        try:
            self._audio.sendto(
                header + wire.marked(self.mark, number), (self.exchange[0], self._remote_audio)
            )
        except OSError:
            return
        self.sent += 1

    def _repeat(self, now: float) -> None:
        with self._change:
            for pending in self._pending.values():
                if now >= pending.again and pending.wait < 8:
                    pending.wait *= 2
                    pending.again = now + pending.wait
                    self._sip.sendto(pending.data, self.exchange)

    def _take_rtp(self, data: bytes, into: list[Heard]) -> None:
        if len(data) < 12 or data[0] >> 6 != 2 or 192 <= data[1] <= 223:
            return
        packet = Heard(
            at=time.monotonic(),
            payload_type=data[1] & 0x7F,
            sequence=int.from_bytes(data[2:4], "big"),
            timestamp=int.from_bytes(data[4:8], "big"),
            ssrc=int.from_bytes(data[8:12], "big"),
            payload=data[12:],
        )
        with self._change:
            into.append(packet)
            self._change.notify_all()

    def _take_sip(self, data: bytes) -> None:
        message = wire.parse(data)
        if message is None:
            return
        if message.status:
            self._take_response(message)
        elif message.method != "ACK":
            self._answer(message)
        with self._change:
            self.came.append((time.monotonic(), message))
            self._change.notify_all()

    def _take_response(self, message: Message) -> None:
        match = re.search(r"branch=([^;,\s]+)", message.get("via"))
        branch = match[1] if match else ""
        with self._change:
            if message.status >= 200 or message.method == "INVITE":
                self._pending.pop(f"{branch}{message.method}", None)
        if message.method != "INVITE" or message.status < 200 or message.get("call-id") != self._call_id:
            return
        if message.status >= 300:
            to, self._to = self._to, message.get("to")
            self._sip.sendto(self._text("ACK", message.sequence, branch), self.exchange)
            self._to = to
            return
        self._to, self._target = message.get("to"), message.contact
        self._routes = list(reversed(message.all("record-route")))
        self._remote_audio = wire.media_port(message.body)
        self.up = True
        # RFC 3261 §13.2.2.4: the ACK to a 2xx is a new transaction, and is sent for every 2xx that comes.
        ack = self._text("ACK", message.sequence, f"z9hG4bK{secrets.token_hex(8)}")
        self._sip.sendto(ack, self.exchange)

    def _answer(self, request: Message) -> None:
        body = ""
        status = "200 OK"
        if request.method == "BYE":
            status = "200 OK" if self.up else "481 Call/Transaction Does Not Exist"
            self.up = False
        elif request.method == "INVITE":
            self._remote_audio = wire.media_port(request.body) or self._remote_audio
            self._version += 1
            body = self._sdp()
        lines = [f"SIP/2.0 {status}"]
        lines += [f"Via: {value}" for value in request.all("via")]
        lines += [f"Record-Route: {value}" for value in request.all("record-route")]
        to = request.get("to") if request.tag_to else f"{request.get('to')};tag={self._tag}"
        lines += [f"From: {request.get('from')}", f"To: {to}", f"Call-ID: {request.get('call-id')}"]
        lines += [
            f"CSeq: {request.get('cseq')}",
            f"Contact: <sip:{self.user}@{ports.ADDRESS}:{self.sip_port}>",
        ]
        lines += ["Content-Type: application/sdp"] if body else []
        lines += [f"Content-Length: {len(body.encode())}"]
        self._sip.sendto(("\r\n".join(lines) + "\r\n\r\n" + body).encode(), self.exchange)
