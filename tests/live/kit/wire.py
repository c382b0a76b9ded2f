"""SIP and RTP as octets, as far as a scripted phone needs them.

Written apart from `pbx.sip` and `rtp` on purpose: a judge that shared the exchange's parser would share its errors.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass

MAGIC = b"at110"
"""Every marked payload begins with it."""

SILENCE = 0xD5
"""A-law for no sound (ITU-T G.711)."""

FRAME = 160
"""Octets, and samples, of 20 ms of G.711."""


@dataclass(frozen=True, slots=True)
class Message:
    """One SIP message: its first line, its header fields in order (names in lower case), its body."""

    start: str
    fields: tuple[tuple[str, str], ...]
    body: str

    @property
    def status(self) -> int:
        """The status code of a response, 0 for a request."""
        return int(self.start.split()[1]) if self.start.startswith("SIP/2.0 ") else 0

    @property
    def method(self) -> str:
        """The method of a request; of a response, that of its CSeq."""
        return self.get("cseq").split()[-1] if self.status else self.start.split()[0]

    @property
    def sequence(self) -> int:
        return int(self.get("cseq").split()[0])

    def get(self, name: str) -> str:
        """Give the first value of a field, empty when there is none."""
        return next((value for field, value in self.fields if field == name), "")

    def all(self, name: str) -> list[str]:
        return [value for field, value in self.fields if field == name]

    @property
    def tag_to(self) -> str:
        match = re.search(r";\s*tag=([^;>\s]+)", self.get("to"))
        return match[1] if match else ""

    @property
    def contact(self) -> str:
        """The URI of Contact."""
        match = re.search(r"<([^>]+)>", self.get("contact"))
        return match[1] if match else self.get("contact")


COMPACT = {
    "v": "via",
    "f": "from",
    "t": "to",
    "i": "call-id",
    "m": "contact",
    "l": "content-length",
    "c": "content-type",
}


def parse(data: bytes) -> Message | None:
    """Read one datagram; None for what is no SIP message (a keep-alive)."""
    head, _, body = data.decode("utf-8", "replace").partition("\r\n\r\n")
    start, *lines = head.split("\r\n")
    if "SIP/2.0" not in start:
        return None
    fields = []
    for line in lines:
        name, _, value = line.partition(":")
        name = name.strip().lower()
        fields.append((COMPACT.get(name, name), value.strip()))
    return Message(start, tuple(fields), body)


def digest(challenges: list[str], *, user: str, password: str, method: str, uri: str, algorithm: str) -> str:
    """Answer the challenge of one algorithm ("MD5" or "SHA-256") with qop=auth (RFC 7616 §3.4).

    Raises AssertionError when that algorithm was not offered.
    """
    chosen = [text for text in challenges if re.search(rf'algorithm="?{algorithm}"?\s*(,|$)', text)]
    assert chosen, f"{algorithm} is not offered: {challenges}"
    fields = dict(re.findall(r'(\w+)="([^"]*)"', chosen[0]))
    hashed = hashlib.md5 if algorithm == "MD5" else hashlib.sha256

    def h(text: str) -> str:
        return hashed(text.encode()).hexdigest()

    cnonce, count = secrets.token_hex(8), "00000001"
    first = h(f"{user}:{fields['realm']}:{password}")
    second = h(f"{method}:{uri}")
    response = h(f"{first}:{fields['nonce']}:{count}:{cnonce}:auth:{second}")
    return (
        f'Digest username="{user}", realm="{fields["realm"]}", nonce="{fields["nonce"]}", uri="{uri}", '
        f'response="{response}", algorithm={algorithm}, cnonce="{cnonce}", qop=auth, nc={count}'
    )


def offer(*, audio: int, video: int | None, direction: str, version: int) -> str:
    """Write the SDP of a phone that knows PCMA and, where a port is given, H.264."""
    lines = [
        "v=0", f"o=- 110 {version} IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0",
        f"m=audio {audio} RTP/AVP 8 101", "a=rtpmap:8 PCMA/8000", "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15", f"a={direction}",
    ]  # fmt: skip
    if video is not None:
        lines += [
            f"m=video {video} RTP/AVP 96", "a=rtpmap:96 H264/90000",
            "a=fmtp:96 profile-level-id=42e01f;packetization-mode=1", "a=rtcp-fb:* nack pli", f"a={direction}",
        ]  # fmt: skip
    return "".join(f"{line}\r\n" for line in lines)


def media_port(sdp: str, medium: str = "audio") -> int:
    """Give the port of the first m-line of a medium; 0 when it is refused or missing."""
    match = re.search(rf"(?m)^m={medium} ([0-9]+) ", sdp)
    return int(match[1]) if match else 0


def direction(sdp: str, medium: str = "audio") -> str:
    """Give the direction of a medium: its own attribute, or that of the description, or sendrecv (RFC 8866 §6.7)."""
    head, *media = re.split(r"(?m)^(?=m=)", sdp)
    chosen = next((part for part in media if part.startswith(f"m={medium} ")), "")
    for part in (chosen, head):
        if match := re.search(r"(?m)^a=(sendrecv|sendonly|recvonly|inactive)\s*$", part):
            return match[1]
    return "sendrecv"


def marked(caller: int, number: int) -> bytes:
    """Make 20 ms of payload that says whose it is: magic, caller (4 octets), number (8), a check of these, silence."""
    head = MAGIC + caller.to_bytes(4, "big") + number.to_bytes(8, "big")
    return (head + hashlib.sha256(head).digest()[:8]).ljust(FRAME, bytes([SILENCE]))


def owner(payload: bytes) -> tuple[int, int] | None:
    """Give (caller, number) of a marked payload; None when it is not marked. Looks inside longer payloads too."""
    start = payload.find(MAGIC)
    head = payload[start : start + len(MAGIC) + 12]
    if start < 0 or len(head) < len(MAGIC) + 12:
        return None
    check = payload[start + len(head) : start + len(head) + 8]
    if check != hashlib.sha256(head).digest()[:8]:
        return None
    body = head[len(MAGIC) :]
    return int.from_bytes(body[:4], "big"), int.from_bytes(body[4:], "big")
