"""What is fuzzed of packets: RTP, RTCP, digits in RTP, WebSocket frames (bars B5); as `targets`, bytes in, an exception out.

There is no STUN here to be fuzzed: candidates are ignored, and what begins like STUN is nobody's packet.
"""

from collections.abc import Callable
from typing import Final

from pbx.transport.frames import Closing, FrameReader, Message
from rtp import packet as rtp_packet
from rtp import rtcp as rtcp_packet
from rtp.dtmf import Detector
from rtp.packet import Packet, PacketError
from rtp.rtcp import (
    Bye,
    Description,
    FullIntra,
    Nack,
    Other,
    PictureLoss,
    ReceiverReport,
    ReportBlock,
    RtcpError,
    SenderReport,
)

BLOCK: Final = ReportBlock(0x11223344, 12, -3, 70_000, 9, 0x01020304, 65_536)


def rtp(data: bytes) -> None:
    """One datagram on an RTP port."""
    shaped = rtp_packet.is_rtp(data)
    try:
        first = rtp_packet.parse(data)
    except PacketError:
        return
    assert len(first.payload) <= len(data) - rtp_packet.HEADER_SIZE, "more payload than packet"
    if shaped:
        assert rtp_packet.payload_of(data) == first.payload, "two readers differ"
    again = rtp_packet.parse(first.encode())
    assert again == first, "written and read again it is another packet"


def rtcp(data: bytes) -> None:
    """One datagram on an RTCP port."""
    try:
        first = rtcp_packet.parse(data)
    except RtcpError:
        return
    assert len(first) <= len(data) // 4, "more packets than headers"
    said = [one for one in first if not isinstance(one, Other)]
    text = [one.reason for one in said if isinstance(one, Bye)]
    text += [name for one in said if isinstance(one, Description) for _, name in one.chunks]
    if any("\ufffd" in one for one in text):
        return  # what was no text reads as text, and that may be longer
    missing = [len(one.sequences) for one in said if isinstance(one, Nack)]
    assert sum(missing) <= 17 * len(data) // 4, "an amplifier of packets to be sent again"
    if said:
        again = rtcp_packet.parse(rtcp_packet.encode(said))
        assert list(again) == said, "written and read again they are other packets"


def digits(data: bytes) -> None:
    """Payloads of telephone-event, four bytes each, with rising timestamps."""
    detector = Detector()
    for at in range(0, len(data), 5):
        piece = data[at : at + 5]
        digit = detector.push(piece[:4], piece[-1] * 800)
        assert digit is None or digit in "0123456789*#ABCD", "no digit"


def frames(data: bytes) -> None:
    """What a WebSocket client sends, in one piece and in many."""
    whole, pieces = FrameReader(), FrameReader()
    events_whole = whole.feed(data)
    step = 1 + len(data) % 11
    events_cut = [e for at in range(0, len(data), step) for e in pieces.feed(data[at : at + step])]
    assert events_cut == events_whole, "cut differently it is another stream"
    assert whole.closed == pieces.closed == any(isinstance(event, Closing) for event in events_whole)
    assert not events_whole or whole.closed is isinstance(events_whole[-1], Closing), (
        "nothing follows the close"
    )
    assert sum(len(event.data) for event in events_whole if isinstance(event, Message)) <= len(data)
    for event in events_whole:
        if isinstance(event, Message) and event.text:
            event.data.decode()  # text is UTF-8, or the connection was closed


def masked(opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    """A client's frame, as browsers write it."""
    key = b"\x0f\xf0\x55\xaa"
    size = bytes((0x80 | len(payload),)) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    body = bytes(byte ^ key[n % 4] for n, byte in enumerate(payload))
    return bytes((opcode | 0x80 * final,)) + size + key + body


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "rtp": rtp,
    "rtcp": rtcp,
    "digits": digits,
    "frames": frames,
}

SEEDS: Final[dict[str, list[bytes]]] = {
    "rtp": [
        Packet(8, 65_535, 2**32 - 1, 7, b"\xd5" * 160, marker=True).encode(),
        Packet(
            96,
            1,
            90_000,
            8,
            b"\x67\x42\xe0\x1f" * 9,
            csrcs=(1, 2, 3),
            extension=(0xBEDE, b"\x10\xaa\x00\x00"),
        ).encode(),
        bytes((0xA0, 8)) + b"\0" * 10 + b"\xd5" * 8 + b"\0\0\0\x04",
    ],
    "rtcp": [
        rtcp_packet.encode(
            (
                SenderReport(1, 2**63, 3, 4, 5, (BLOCK, BLOCK)),
                Description(((1, "cname@host"),)),
                Bye((1, 2), "over"),
            )
        ),
        rtcp_packet.encode(
            (ReceiverReport(1, (BLOCK,)), PictureLoss(1, 2), FullIntra(1, ((2, 3),)), Nack(1, 2, (3, 65_535)))
        ),
    ],
    "digits": [bytes((5, 10, 0, 160, 1, 5, 0x8A, 3, 32, 1))],
    "frames": [
        masked(1, b"OPTIONS sip:110@at110 SIP/2.0\r\n\r\n") + masked(9, b"ping") + masked(8, b"\x03\xe8bye"),
        masked(2, b"x" * 300, final=False) + masked(0, b"y" * 9),
        masked(1, "接警".encode()),
    ],
}
