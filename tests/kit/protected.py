"""Encrypted tracks on a wire of lists, side by side with a session of libsrtp that plays their phone."""

from rtp.control import Dtls, Sdes
from rtp.dtls import Certificate, Handshake
from rtp.protection import Protection
from rtp.reports import Reports
from rtp.rtcp import PictureLoss, ReceiverReport, encode
from rtp.suites import SUITES
from tests.kit.media_wire import H264, PHONE, Wire, rtcp_socket, rtp_socket, stream

STRANGER = ("6.6.6.6", 666)
SUITE = SUITES["AES_CM_128_HMAC_SHA1_80"]
OURS, THEIRS = bytes(range(30)), bytes(range(100, 130))
SDES = Sdes(SUITE.name, OURS, THEIRS)
EXCHANGE, PEER, LIAR = Certificate(), Certificate(), Certificate()
PHONE_RTCP = (PHONE[0], PHONE[1] + 1)
REPORT = encode((ReceiverReport(7), PictureLoss(7, 0xABCD)))


class Side:
    """A track with its reports and its protection, and what its phone hears."""

    def __init__(self, wire, leg="guest", medium="audio", **more):
        self.wire = wire
        self.track = wire.track(leg, medium)
        self.wanted = []
        self.reports = Reports(self.track, "cname", self.wanted.append)
        wire.loop.add(rtcp_socket(self.track).fileno(), lambda: self.reports.read(wire.loop.now), "rtcp")
        self.protection = Protection(self.track, self.reports, EXCHANGE, wire.around)
        self.taken = []
        self.track.evidence = lambda _at, *row: self.taken.append(row)
        self.configure(**more)

    def configure(self, **more):
        codecs = (H264,) if self.track.medium == "video" else {}
        fields = {"codecs": codecs} if codecs else {}
        made = stream(self.track.medium, **fields, **more)
        self.protection.configure(made, self.wire.loop.now)
        self.track.configure(made, frozenset({PHONE[0]}), self.wire.loop.now)

    def say(self, *packets, source=PHONE):
        for data in packets:
            self.wire.loop.read(rtp_socket(self.track), data, source)

    def report(self, data, source=PHONE_RTCP):
        self.wire.loop.read(rtcp_socket(self.track), data, source)

    def left(self):
        rows = [data for data, _ in rtp_socket(self.track).sent]
        rtp_socket(self.track).sent.clear()
        return rows


def pair(crypto=SDES, **more):
    """An encrypted guest and a plain host, in a room."""
    wire = Wire()
    guest, host = Side(wire, crypto=crypto, **more), Side(wire, "host")
    guest.track.wire(host.track, 100.0)
    host.track.wire(guest.track, 100.0)
    return wire, guest, host


# --- DTLS ---------------------------------------------------------------------------------------------------------


def dtls(active=False, certificate=PEER):
    return Dtls(active, (("sha-256", certificate.fingerprint),), "id")


class Handshaking:
    """A phone that shakes hands on one of its ports."""

    def __init__(self, side, *, rtcp=False, certificate=PEER, active=True, source=None):
        self.side = side
        self.socket = (rtcp_socket if rtcp else rtp_socket)(side.track)
        self.source = source or (PHONE_RTCP if rtcp else PHONE)
        self.shake = Handshake(certificate, Dtls(active, (("sha-256", EXCHANGE.fingerprint),)))

    def talk(self):
        waiting = self.shake.start()
        for _ in range(6):
            for data in waiting:
                self.side.wire.loop.read(self.socket, data, self.source)
            said = [data for data, to in self.socket.sent if to in {self.source, None}]
            self.socket.sent.clear()
            waiting = [answer for data in said for answer in self.shake.receive(data)]
        return self
