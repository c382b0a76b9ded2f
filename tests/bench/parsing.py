"""The parser alone: messages a second on one core with typed headers and SDP, beside `aiosipua` in the same run.

Both read the messages of video calls and registrations as phones write them, half of them through a proxy, every call with ids
of its own, so that nothing is remembered that would not be in the field. Both read what a user agent needs of each: Request-URI, Via, From, To,
Call-ID, CSeq, Contact, Max-Forwards, Content-Type and the description down to its codecs. `aiosipua` keeps the Request-URI as
text and its From, To … are read when asked for; they are asked for here.
"""

import importlib
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from pbx.sdp import description
from pbx.sip import parser
from pbx.sip.message import Request
from tests.bench.figures import Figure, median

TIMES_BAR: Final = 2.0
CALLS: Final = 100
"""Different calls, each with its own ids."""
ROUNDS: Final = 15

_SDP: Final = (
    "v=0\r\no=- {n} 1 IN IP4 10.1.2.3\r\ns=call\r\nc=IN IP4 10.1.2.3\r\nt=0 0\r\na=tool:phone 4.2\r\n"
    "m=audio 4{p} RTP/AVP 8 0 9 107 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:9 G722/8000\r\n"
    "a=rtpmap:107 opus/48000/2\r\na=fmtp:107 useinbandfec=1\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n"
    "a=rtcp:4{p}\r\na=sendrecv\r\na=label:1\r\na=ssrc:{n} cname:{u}\r\na=ptime:20\r\n"
    "m=video 5{p} RTP/AVP 96 98\r\nb=AS:1024\r\na=rtpmap:96 H264/90000\r\n"
    "a=fmtp:96 profile-level-id=42e01f;packetization-mode=1\r\na=rtpmap:98 VP8/90000\r\n"
    "a=rtcp-fb:* nack pli\r\na=rtcp-fb:* ccm fir\r\na=rtcp:5{p}\r\na=sendrecv\r\na=label:2\r\na=ssrc:1{n} cname:{u}\r\n"
)
_PROXY: Final = "Via: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK{n:x}.{m}.1;i=7\r\n"
_ROUTE: Final = "Record-Route: <sip:192.0.2.1;transport=tcp;lr>\r\n"
_HEAD: Final = (
    "Via: SIP/2.0/UDP 10.1.2.3:5{p};branch=z9hG4bK{n:x}{m};rport\r\n"
    "Max-Forwards: 70\r\n"
    'From: "Zhang San" <sip:{u}@110.example>;tag={n:x}f\r\n'
    "To: <sip:110@110.example>{to}\r\n"
    "Call-ID: {n:x}-call@10.1.2.3\r\n"
    "CSeq: {c} {m}\r\n"
    "Contact: <sip:{u}@10.1.2.3:5{p};transport=udp>\r\n"
    "User-Agent: Phone/4.2 (aarch64/Linux)\r\n"
    "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, NOTIFY, SUBSCRIBE, INFO, MESSAGE, UPDATE, PRACK, REFER\r\n"
    "Supported: gruu, replaces, norefersub, timer, outbound, path\r\n"
)
_DIGEST: Final = (
    'Authorization: Digest username="{u}", realm="110.example", nonce="{n:032x}", uri="sip:192.0.2.110", '
    'response="{n:064x}", algorithm=SHA-256, cnonce="{n:x}", qop=auth, nc=00000001\r\n'
)


def messages(turn: int) -> list[bytes]:
    """Make the messages both have to read; another `turn` has other callers with other ids."""
    found = []
    for call in range(CALLS * turn, CALLS * (turn + 1)):
        ids = {"n": 0x5EED_0000_0000 + call * 7919, "p": 100 + call % 900, "u": 13_800_000_000 + call}
        sdp = _SDP.format(**ids)
        body = f"Content-Type: application/sdp\r\nContent-Length: {len(sdp)}\r\n\r\n{sdp}"
        empty = "Content-Length: 0\r\n\r\n"
        tagged = f";tag={ids['n']:x}t"
        for start, method, to, extra, rest in (
            (
                "INVITE sip:110@192.0.2.110 SIP/2.0",
                "INVITE",
                "",
                "Session-Expires: 1800\r\nMin-SE: 90\r\n",
                body,
            ),
            ("SIP/2.0 200 OK", "INVITE", tagged, "Session-Expires: 1800;refresher=uas\r\n", body),
            ("ACK sip:110@192.0.2.110 SIP/2.0", "ACK", tagged, "", empty),
            ("INFO sip:110@192.0.2.110 SIP/2.0", "INFO", tagged, "", empty),
            ("BYE sip:110@192.0.2.110 SIP/2.0", "BYE", tagged, "Reason: Q.850;cause=16\r\n", empty),
            ("REGISTER sip:192.0.2.110 SIP/2.0", "REGISTER", "", _DIGEST.format(**ids), empty),
        ):
            way = (_PROXY + _HEAD + _ROUTE) if call % 2 else _HEAD
            head = way.format(**ids, m=method, c=1 + call % 50, to=to)
            found.append(f"{start}\r\n{head}{extra}{rest}".encode())
    return found


def ours(data: bytes) -> tuple[object, ...]:
    """Read a message with our parser; return what was read of it."""
    message = parser.parse(data)
    target = message.uri if isinstance(message, Request) else None
    sdp = description.parse(message.body) if message.content_type == "application/sdp" else None
    return (
        target, message.via, message.from_, message.to, message.call_id, message.cseq, message.contact,
        message.max_forwards, sdp,
    )  # fmt: skip


def theirs() -> Callable[[bytes], tuple[object, ...]]:
    """Return the same of `aiosipua`. Raises ImportError when it is not installed."""
    sip: Any = importlib.import_module("aiosipua.message")
    sdp_of: Any = importlib.import_module("aiosipua.sdp").parse_sdp
    uri_of: Any = importlib.import_module("aiosipua.headers").parse_uri

    def read(data: bytes) -> tuple[object, ...]:
        message = sip.SipMessage.parse(data)
        target = uri_of(message.uri) if isinstance(message, sip.SipRequest) else None
        sdp = sdp_of(message.text) if message.content_type == "application/sdp" else None
        hops = message.get_header("max-forwards")
        return (
            target, message.via[0], message.from_addr, message.to_addr, message.call_id, message.cseq,
            message.contact[0], None if hops is None else int(hops), sdp,
        )  # fmt: skip

    return read


def seconds(read: Callable[[bytes], tuple[object, ...]], data: list[bytes]) -> float:
    """Return the processor time this thread takes to read all messages once."""
    before = time.thread_time()
    for one in data:
        read(one)
    return time.thread_time() - before


def measure(rounds: int = ROUNDS) -> list[Figure]:
    """Read all messages with both, in turns. Raises ImportError without `aiosipua` (`pip install -e '.[bench]'`)."""
    pairs = list(_rounds(theirs(), rounds))
    count = len(messages(0))
    mine, others = (count / median([pair[side] for pair in pairs]) for side in (0, 1))
    times = median([pair[1] / pair[0] for pair in pairs])
    return [
        Figure("parser", "messages a second ÷ those of aiosipua", times, "×", TIMES_BAR, "more"),
        Figure("parser.ours", "  our messages a second and core, typed headers and SDP", mine, "msg/s"),
        Figure("parser.theirs", "  aiosipua's", others, "msg/s"),
    ]


def _rounds(other: Callable[[bytes], tuple[object, ...]], rounds: int) -> Iterator[tuple[float, float]]:
    for turn in range(rounds):
        data = messages(turn)
        if turn % 2:
            second = seconds(other, data)
            yield seconds(ours, data), second
        else:
            yield seconds(ours, data), seconds(other, data)
