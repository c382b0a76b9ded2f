"""A presence server that tells where somebody goes: SIP over UDP by hand, apart from `pbx` on purpose.

It accepts each SUBSCRIBE, sends the documents it was given one after the other, the next when the last was answered, and on
an Expires of 0 the NOTIFY that ends it (RFC 6665 §4.2).
"""

import re
import socket
import threading
from collections.abc import Sequence
from typing import Self

from tests.live.kit.ports import ADDRESS


class PresenceServer:
    """One server on a thread; `heard` holds what it received, a context manager."""

    def __init__(self, documents: Sequence[bytes]) -> None:
        self.heard: list[str] = []
        self._documents = documents
        self._left: dict[str, list[bytes]] = {}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((ADDRESS, 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.sendto(b"stop", (ADDRESS, self.port))
        self._thread.join()
        self._socket.close()

    def of(self, start: str) -> list[str]:
        """Return the messages that begin so."""
        return [message for message in self.heard if message.startswith(start)]

    def _run(self) -> None:
        while True:
            data, source = self._socket.recvfrom(65_535)
            if data == b"stop":
                return
            text = data.decode("utf-8", "replace")
            again = text in self.heard
            self.heard.append(text)
            if text.startswith("SUBSCRIBE "):
                self._subscribed(text, source, again=again)
            elif (
                text.startswith("SIP/2.0 200 ") and not again and (left := self._left[_get(text, "Call-ID")])
            ):
                self._notify(text, source, left.pop(0), "active;expires=300", ours="From", theirs="To")

    def _subscribed(self, text: str, source: tuple[str, int], *, again: bool) -> None:
        to = _get(text, "To")
        tagged = to if ";tag=" in to else f"{to};tag=presence"
        head = [f"{name}: {_get(text, name)}" for name in ("Via", "From", "Call-ID", "CSeq", "Expires")]
        lines = ["SIP/2.0 200 OK", *head, f"To: {tagged}", f"Contact: <sip:p@{ADDRESS}:{self.port}>"]
        self._socket.sendto(("\r\n".join([*lines, "Content-Length: 0"]) + "\r\n\r\n").encode(), source)
        if again:
            return
        text = text.replace(f"To: {to}", f"To: {tagged}")
        if _get(text, "Expires") == "0":
            self._left[_get(text, "Call-ID")] = []
            self._notify(text, source, b"", "terminated;reason=timeout", ours="To", theirs="From")
        else:
            self._left[_get(text, "Call-ID")] = list(self._documents)
            first = self._left[_get(text, "Call-ID")].pop(0)
            self._notify(text, source, first, "active;expires=300", ours="To", theirs="From")

    def _notify(
        self, text: str, source: tuple[str, int], body: bytes, state: str, *, ours: str, theirs: str
    ) -> None:
        number = len(self.heard)
        lines = [
            f"NOTIFY sip:110@{source[0]}:{source[1]} SIP/2.0",
            f"Via: SIP/2.0/UDP {ADDRESS}:{self.port};branch=z9hG4bK{self.port}n{number};rport",
            "Max-Forwards: 70",
            f"From: {_get(text, ours)}",
            f"To: {_get(text, theirs)}",
            f"Call-ID: {_get(text, 'Call-ID')}",
            f"CSeq: {number} NOTIFY",
            f"Contact: <sip:p@{ADDRESS}:{self.port}>",
            "Event: presence",
            f"Subscription-State: {state}",
            *(["Content-Type: application/pidf+xml"] if body else []),
            f"Content-Length: {len(body)}",
        ]
        self._socket.sendto(("\r\n".join(lines) + "\r\n\r\n").encode() + body, source)


def _get(text: str, name: str) -> str:
    found = re.search(rf"^{name}: *([^\r\n]*)", text, re.MULTILINE | re.IGNORECASE)
    assert found is not None, f"no {name} in {text}"
    return found[1]
