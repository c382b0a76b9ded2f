"""What is fuzzed: one function per target, bytes in, an exception out when a promise is broken (bars B5).

The promises, the same everywhere: only declared errors escape; what was read and written again reads the same; what a datagram
may be a stream may be; it takes 10 ms and 1 µs a byte at most. `run.py` drives them with atheris, `test_slice.py` with seeds.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pbx.guard.glance import Emergencies, call_id, method
from pbx.guard.refusal import refuse
from pbx.sdp import description
from pbx.sip import body, digest
from pbx.sip.errors import SipError
from pbx.sip.message import Request, Response
from pbx.sip.parser import ParseError, Ping, StreamFramer, parse
from pbx.sip.uri import parse_name_addr, parse_uri, parse_via
from pbx.targets import EmergencySettings, is_emergency
from tests.fuzz import packets

DATA: Final = Path(__file__).parents[1] / "data"
SETTINGS: Final = EmergencySettings(numbers=("110", "119"))
EMERGENCIES: Final = Emergencies(SETTINGS)
SOURCE: Final = ("192.0.2.9", 5062)


def text_of(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def message(data: bytes) -> None:
    """One datagram; and what the guard said of it before must be what the parser says."""
    asked = method(data.lstrip(b"\r\n")) == b"INVITE" and EMERGENCIES.asked(data.lstrip(b"\r\n"))
    refused = refuse(data, SOURCE, retry_after=1, share=0.5, sequence=1.0)
    if refused is not None:
        answer = refused[0]
        assert answer.count(b"\r\n\r\n") == 1, "an answer is one message"
        assert answer.endswith(b"\r\n\r\n"), "an answer ends"
    try:
        first = parse(data)
    except ParseError as error:
        answer = error.answer(*SOURCE) or b""
        assert len(answer) <= len(data) + 400, "an answer is no amplifier"
        return
    if isinstance(first, Request):
        emergency = first.method == "INVITE" and is_emergency(first.uri, SETTINGS) is not None
        assert asked == emergency, "the guard and the parser differ about an emergency call"
        assert call_id(data.lstrip(b"\r\n")) in ("", first.call_id) or len(data) > 4096, "another Call-ID"
    wire = first.encode()
    again = parse(wire)
    assert again.encode() == wire, "written, read and written again it is another message"
    first.headers.remove("Content-Length")  # it is written as it is, not as it was told
    again.headers.remove("Content-Length")
    assert list(again.headers.items()) == list(first.headers.items())
    assert again.body == first.body


def stream(data: bytes) -> None:
    """A byte stream in pieces: the same messages, however it is cut; the same as by datagram."""
    whole = StreamFramer()
    items = [_shown(item) for item in whole.feed(data)]
    step = 1 + len(data) % 7
    pieces = StreamFramer()
    apart = [_shown(i) for at in range(0, len(data), step) for i in pieces.feed(data[at : at + step])]
    assert apart == items, "cut differently it is another stream"
    assert whole.fatal == pieces.fatal
    assert whole.buffered <= len(data)


def _shown(item: Request | Response | ParseError | Ping) -> object:
    match item:
        case Request() | Response():
            return item.encode()
        case ParseError():
            return item.status, item.fatal, item.answer(*SOURCE)
    return "ping"


def uri(data: bytes) -> None:
    for read in (parse_uri, parse_name_addr, parse_via):
        try:
            first = str(read(text_of(data)))
        except SipError:
            continue
        assert str(read(first)) == first, "written and read again it is another URI"
        assert "\r" not in first or "\r" in text_of(data)


def credentials(data: bytes) -> None:
    """Credentials and challenges, as the value of a header: one without line ends."""
    text = text_of(data.replace(b"\r", b" ").replace(b"\n", b" "))
    try:
        found = digest.parse_credentials(text)
    except SipError:
        pass
    else:
        key = digest.ha1("anna", "at110", "secret", found.algorithm)
        assert not digest.verify(found, "REGISTER", b"", {found.algorithm: key}) or found.username, (
            "let in unnamed"
        )
        assert digest.Nonces(b"k" * 32).check(found.nonce, 1.0, "192.0.2.9") == "bad", "a nonce we never gave"
    try:
        answer = digest.authorize(
            text, user="anna", password="secret", method="REGISTER", uri="sip:x", cnonce="c", nc=1
        )
    except SipError:
        return
    assert "secret" not in answer or "secret" in text


def sdp(data: bytes) -> None:
    try:
        first = description.parse(data)
    except SipError as error:
        if error.status not in {400, 488}:
            raise
        return
    again = description.parse(first.encode())
    assert again.encode() == first.encode(), "written, read and written again it is another description"
    assert [m.port for m in again.media] == [m.port for m in first.media]


def multipart(data: bytes) -> None:
    """The first line is the Content-Type, the rest the body."""
    kind, _, rest = data.partition(b"\r\n")
    try:
        parts = body.parse_multipart(text_of(kind), rest)
    except SipError:
        return
    count = sum(1 for part in parts for _ in part.walk())
    assert count <= body.MAX_PARTS, "more parts than allowed"


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "message": message,
    "stream": stream,
    "uri": uri,
    "digest": credentials,
    "sdp": sdp,
    "multipart": multipart,
    **packets.TARGETS,
}


def timed(target: Callable[[bytes], None], data: bytes) -> None:
    """Run a target and hold it to its time: 10 ms and 1 µs a byte for each of its passes, a stall of the machine aside."""
    bound = 10 * (0.010 + 1e-6 * len(data))
    for _ in range(3):
        began = time.process_time()
        target(data)
        if time.process_time() - began <= bound:
            return
    raise AssertionError(f"{len(data)} bytes took more than {bound:.3f} s of processor time, three times")


def seeds(name: str) -> list[bytes]:
    """Inputs to begin with, always in the same order."""
    files = sorted(DATA.glob("rfc*/*.dat"))
    messages = [file.read_bytes() for file in files]
    if name in packets.SEEDS:
        return packets.SEEDS[name]
    match name:
        case "message" | "stream":
            return messages
        case "uri":
            return [
                b"sip:110@at110.example", b"sips:a%20b:pw@[2001:db8::1]:5061;transport=tcp;lr?Subject=x&To=y", b"tel:1-1-0",
                b"urn:service:sos.police", b'"A \\" B" <sip:a@b;x="y">;tag=1;q=0.5', b"SIP/2.0/UDP h:5060;branch=z9hG4bK1;rport",
                b"SIP / 2.0 / TCP [::1] ; received=192.0.2.1",
            ]  # fmt: skip
        case "digest":
            return [
                b'Digest username="anna", realm="at110", nonce="n", uri="sip:x", response="00", algorithm=MD5',
                b'Digest username="a", realm="r", nonce="n", uri="sip:x", response="0", algorithm=SHA-256, qop=auth, nc=00000001, cnonce="c"',
                b'Digest realm="at110", nonce="n", qop="auth,auth-int", algorithm=SHA-512-256, stale=true',
                b"Basic abc",
            ]
        case "sdp":
            found = [m.partition(b"\r\n\r\n")[2] for m in messages]
            rich = (
                b"v=0\r\no=- 1 1 IN IP6 2001:db8::1\r\ns=-\r\nc=IN IP6 2001:db8::1\r\nt=0 0\r\na=sendonly\r\n"
                b"m=audio 4000 RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\n"
                b"m=video 4002 RTP/AVPF 96\r\nb=AS:512\r\na=rtpmap:96 H264/90000\r\n"
                b"a=fmtp:96 profile-level-id=42e01f;packetization-mode=1\r\na=rtcp-fb:* nack pli\r\na=rtcp:4009 IN IP4 192.0.2.1\r\n"
            )
            return [rich, *[text for text in found if text.startswith(b"v=0")]]
    inner = b"--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--\r\n"
    deep = (
        b"multipart/mixed;boundary=a\r\n--a\r\nContent-Type: multipart/related;boundary=b\r\n\r\n"
        + inner
        + b"\r\n--a--\r\n"
    )
    return [b"multipart/mixed;boundary=b\r\n" + inner, deep, b"application/sdp\r\nv=0\r\n"]
