"""A phone on a bad radio link asks for less, and is sent less from then on (RFC 4867 §4.3.1)."""

import numpy as np

from rtp import amr
from rtp.codecs import Encoder
from rtp.control import Codec
from tests.kit.media_wire import PCMA, Wire, packet, rtp_socket, sent

AMR = Codec("AMR", 97, 8000, 1, "octet-align=1")


def test_a_mode_request_holds_for_what_its_sender_hears():
    wire = Wire()
    mobile, desk = wire.configured("mobile", codecs=(AMR,)), wire.configured("desk", codecs=(PCMA,))
    mobile.wire(desk, wire.loop.now)
    desk.wire(mobile, wire.loop.now)
    speech = Encoder(AMR).encode(np.zeros(160, np.int16))
    modes = []
    for number, asked in enumerate((None, None, 2, None, 15, 9, 0)):
        if asked is not None:
            speech = bytes([asked << 4]) + speech[1:]
        elif number:
            speech = bytes([0xF0]) + speech[1:]
        wire.loop.read(rtp_socket(mobile), packet(number, speech, payload_type=97))
        wire.loop.read(rtp_socket(desk), packet(number, b"\xd5" * 160))
        wire.loop.now += 0.02
        newest = sent(mobile)[-1]
        modes.append(amr.unpack(amr.form("AMR", AMR.fmtp), newest.payload)[0][0] >> 3 & 15)
    assert modes == [7, 7, 2, 2, 2, 2, 0], "until it asks for another one"
