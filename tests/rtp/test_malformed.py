"""Datagrams of every shape, whoever sends them, stop no call (bar B10): in the clear, with keys, and while keys are made."""

import random
from unittest.mock import patch

import pytest

from rtp.control import Dtls, Sdes
from rtp.dtls import Certificate, Handshake
from rtp.protection import Protection
from rtp.reports import Reports
from rtp.rtcp import Bye, FullIntra, Nack, PictureLoss, ReceiverReport, SenderReport, encode
from rtp.srtp import Sealer
from rtp.suites import SUITES
from tests.kit.media_wire import PHONE, Wire, packet, rtcp_socket, rtp_socket, stream

COUNT = 3_000
STRANGER = ("6.6.6.6", 666)
SUITE = SUITES["AES_CM_128_HMAC_SHA1_80"]
OURS, THEIRS = bytes(range(30)), bytes(range(100, 130))
CERTIFICATE = Certificate()
STUN = bytes.fromhex("000100002112a442") + bytes(12)
SHAPES = (
    packet(1),
    bytes([0x9F]) + packet(1)[1:],  # an extension and fifteen sources that are not there
    bytes([0xBF]) + packet(1)[1:-1] + b"\xff",  # padding longer than the packet
    encode([SenderReport(7, 1 << 63, 5, 6, 7), Bye((7,))]),
    encode([ReceiverReport(7), PictureLoss(7, 8), FullIntra(7, ((8, 1),)), Nack(7, 8, (1, 2, 3))]),
    bytes.fromhex("81c9ffff") + bytes(8),  # longer than it is
    bytes.fromhex("80c80000"),
    STUN,
    STUN[:2] + b"\xff\xff" + STUN[4:],
    bytes.fromhex("16feff000000000000000000ff01000000"),
    bytes.fromhex("17fefd0001000000000001ffff"),
    b"", b"\x00", b"\x80", b"\xff" * 1400,
)  # fmt: skip


def mutants(dice):
    for _ in range(COUNT):
        data = bytearray(dice.choice(SHAPES))
        for _ in range(dice.choice((0, 1, 1, 4, 30))):
            if data:
                data[dice.randrange(len(data))] = dice.randrange(256)
        if dice.random() < 0.3:
            data = data[: dice.randrange(len(data) + 1)]
        yield bytes(data), dice.choice((PHONE, PHONE, STRANGER)), dice.choice((rtp_socket, rtcp_socket))


@pytest.mark.parametrize("mux", [False, True])
@pytest.mark.parametrize("kind", ["clear", "sdes", "dtls"])
def test_no_shape_stops_a_call(kind, mux):
    dice = random.Random(f"{kind} {mux}")
    crypto = {
        "clear": None,
        "sdes": Sdes(SUITE.name, OURS, THEIRS),
        "dtls": Dtls(False, (("sha-256", CERTIFICATE.fingerprint),), "a"),
    }[kind]
    wire = Wire()
    guest, host = wire.track("guest"), wire.configured("host")
    reports = Reports(guest, "cname", lambda now: None)
    wire.loop.add(rtcp_socket(guest).fileno(), lambda: reports.read(wire.loop.now), "rtcp")
    protection = Protection(guest, reports, CERTIFICATE, wire.around)
    made = stream(crypto=crypto, mux=mux)
    with patch("rtp.track.disconnect", lambda sock: sock.connect(None)):
        protection.configure(made, wire.loop.now)
        guest.configure(made, frozenset({PHONE[0]}), wire.loop.now)
        guest.wire(host, wire.loop.now)
        for data, source, which in mutants(dice):
            wire.loop.now += 0.01
            wire.loop.read(which(guest), data, source)
            protection.expire(wire.loop.now)
            reports.send(wire.loop.now)
        wire.loop.now += 30.0
        guest.sweep(wire.loop.now, 2.5)
        before = len(rtp_socket(host).sent)
        if kind == "dtls":
            phone = Handshake(CERTIFICATE, Dtls(True, (("sha-256", CERTIFICATE.fingerprint),)))
            waiting = phone.start()
            for _ in range(8):
                rtp_socket(guest).sent.clear()
                for data in waiting:
                    wire.loop.read(rtp_socket(guest), data, PHONE)
                waiting = [d for data, _ in rtp_socket(guest).sent for d in phone.receive(data)]
            assert phone.keys is not None, "no handshake succeeds any more"
            seal = Sealer(phone.keys.suite, phone.keys.send).rtp
        else:
            seal = Sealer(SUITE, THEIRS).rtp if kind == "sdes" else lambda data: data
        for number in range(20_000, 20_010):
            wire.loop.now += 0.02
            wire.loop.read(rtp_socket(guest), seal(packet(number)), PHONE)
    assert wire.loop.failures == []
    assert len(rtp_socket(host).sent) - before >= 9, "its sound is not relayed any more"
