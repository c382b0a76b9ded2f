from rtp import rtcp as r
from rtp.counts import stream_report
from rtp.reports import Reports
from tests.kit.media_wire import PHONE, Wire, packet, rtcp_socket, rtp_socket, stream

PHONE_RTCP = (PHONE[0], PHONE[1] + 1)


class Setting:
    def __init__(self, **more):
        self.wire = Wire()
        self.track = self.wire.configured(**more)
        self.wished = []
        self.reports = Reports(self.track, "abc@at110", self.wished.append)
        self.evidence = []
        self.track.evidence = lambda *row: self.evidence.append(("in", *row[1:]))
        self.track.sender.evidence = lambda *row: self.evidence.append(("out", *row[1:]))

    def arrive(self, data, source=PHONE_RTCP, now=100.0):
        rtcp_socket(self.track).arriving.append((data, source))
        self.reports.read(now)

    def left(self):
        return [(r.parse(data), address) for data, address in rtcp_socket(self.track).sent]


def test_before_anything_was_sent_it_is_an_empty_receiver_report_with_a_name():
    setting = Setting()
    setting.reports.send(100.0)
    assert setting.left() == [
        ((r.ReceiverReport(0xABCD), r.Description(((0xABCD, "abc@at110"),))), PHONE_RTCP),
    ]
    assert setting.evidence[0][:3] == ("out", ("127.0.0.1", 20001), PHONE_RTCP)


def test_a_sender_report_maps_the_wall_clock_to_the_stream():
    setting = Setting()
    setting.track.sender.silence(100.0)
    setting.wire.loop.read(rtp_socket(setting.track), packet(1))
    sr = r.encode([r.SenderReport(7, 0x1111_2222_3333_4444, 0, 0, 0)])
    setting.arrive(sr, now=101.0)
    setting.reports.send(101.5)
    (((report, _), _),) = setting.left()
    assert (report.packets, report.octets) == (1, 160)
    assert report.rtp == (setting.track.sender.out.timestamp + 12000) & 0xFFFFFFFF
    (block,) = report.blocks
    assert (block.ssrc, block.last_sr, block.delay) == (7, 0x2222_3333, 32768)


def test_strangers_and_misshapen_packets_are_counted():
    setting = Setting()
    setting.arrive(r.encode([r.PictureLoss(1, 2)]), source=("6.6.6.6", 1))
    setting.arrive(b"\x80")
    assert setting.reports.rejected == 2
    assert setting.wished == []
    assert [row[3] for row in setting.evidence] == [b"\x80"]  # the stranger's is no evidence


def test_a_flood_of_reports_is_limited_before_evidence():
    """L9: what is too much is counted, and neither recorded nor obeyed."""
    setting = Setting()
    setting.reports.limit.permit(2000)
    report = r.encode([r.ReceiverReport(1), r.PictureLoss(1, 2)])
    for number in range(5000):
        setting.arrive(report, now=100.0 + number / 5000)
    taken = len(setting.evidence)
    assert len(setting.wished) == taken
    assert 40 <= taken <= 2 * 2000 // 40 + 1
    assert setting.track.flooded == 5000 - taken
    setting.arrive(report, source=("6.6.6.6", 1))
    assert setting.track.strangers.refused == 1


def test_wishes_for_a_key_frame():
    setting = Setting()
    setting.arrive(r.encode([r.ReceiverReport(1), r.PictureLoss(1, 2)]))
    setting.arrive(r.encode([r.ReceiverReport(1), r.FullIntra(1, ((2, 3),))]), now=100.5)
    assert setting.wished == [100.0, 100.5]


def test_requests_for_a_key_frame():
    setting = Setting()
    setting.wire.loop.read(rtp_socket(setting.track), packet(1))
    setting.reports.request_picture(100.0, way="pli")
    setting.reports.request_picture(101.0, way="fir")
    setting.reports.request_picture(102.0, way="fir")
    assert [packets[-1] for packets, _ in setting.left()] == [
        r.PictureLoss(0xABCD, 7),
        r.FullIntra(0xABCD, ((7, 0),)),
        r.FullIntra(0xABCD, ((7, 1),)),
    ]


def test_bye():
    setting = Setting()
    setting.reports.bye(100.0)
    assert setting.left()[0][0][-1] == r.Bye((0xABCD,))


def test_answers_go_where_reports_come_from():
    setting = Setting()
    setting.arrive(r.encode([r.ReceiverReport(1)]), source=(PHONE[0], 9999))
    setting.reports.send(100.0)
    assert setting.left()[0][1] == (PHONE[0], 9999)


def test_behind_nat_rtcp_goes_beside_the_latched_port():
    setting = Setting(remote=("192.168.0.5", 4000), remote_rtcp=("192.168.0.5", 4001))
    setting.wire.loop.read(rtp_socket(setting.track), packet(1), (PHONE[0], 6000))
    setting.reports.send(100.0)
    assert setting.left()[0][1] == (PHONE[0], 6001)


def test_a_refused_medium_and_one_without_address_get_no_reports():
    setting = Setting(remote_rtcp=None)
    setting.reports.send(100.0)
    setting.track.configure(None, frozenset(), 101.0)
    setting.reports.send(101.0)
    assert setting.left() == []


def test_a_socket_that_refuses_is_counted():
    setting = Setting()
    rtcp_socket(setting.track).error = OSError(111, "refused")
    setting.reports.send(100.0)
    assert setting.track.sender.failed == 1


def test_round_trip():
    setting = Setting()
    sent_at = r.ntp_middle(r.ntp_time(__import__("time").time_ns() - 300_000_000))
    block = r.ReportBlock(0xABCD, 0, 0, 0, 0, sent_at, 6554)  # 0.1 s at the peer
    other = r.ReportBlock(0x9999, 0, 0, 0, 0, sent_at, 0)
    setting.arrive(r.encode([r.ReceiverReport(1, (other, block))]))
    assert 0.19 < setting.reports.round_trip < 0.5
    before = setting.reports.round_trip
    setting.arrive(r.encode([r.ReceiverReport(1, (r.ReportBlock(0xABCD, 0, 0, 0, 0, sent_at, 0x7FFF0000),))]))
    assert setting.reports.round_trip == before  # below zero: no round trip
    setting.track.configure(stream(), frozenset({PHONE[0]}), 100.0)


def test_what_the_peer_says_of_what_it_is_sent():
    setting = Setting()
    setting.track.sender.silence(100.0)
    assert stream_report(setting.track, setting.reports, 100.0).far_mos is None
    other = r.ReportBlock(0x9999, 255, 0, 0, 0, 0, 0)
    block = r.ReportBlock(0xABCD, 64, 3, 0, 80, 0, 0)
    setting.arrive(r.encode([r.ReceiverReport(1, (other, block))]))
    report = stream_report(setting.track, setting.reports, 100.0)
    assert (report.far_loss_percent, report.far_jitter_ms) == (25.0, 10.0)
    assert 1 < report.far_mos < 3
    assert report.mos is None  # nothing has been heard of this phone yet


def test_bandwidth_and_quality_of_what_is_heard():
    setting = Setting()
    setting.reports.meter.take(0, 0, 0, 0, 100.0)
    for number in range(50):
        setting.wire.loop.now = 100.0 + number / 50
        setting.wire.loop.read(rtp_socket(setting.track), packet(1 + number))
    report = stream_report(setting.track, setting.reports, 101.0)
    assert report.bytes_received == 50 * 172
    assert report.bits_received == 50 * 172 * 8
    assert (report.codec, report.loss_percent) == ("PCMA", 0.0)
    assert 90 < report.rating < 93.2
    assert report.mos > 4.3


def test_goodbye_ends_a_stream_until_it_sends_again():
    setting = Setting()
    setting.wire.loop.read(rtp_socket(setting.track), packet(1))
    setting.arrive(r.encode([r.ReceiverReport(1), r.Bye((1234,))]))
    assert not setting.reports.ended
    setting.arrive(r.encode([r.ReceiverReport(7), r.Bye((7,), "moved")]))
    assert stream_report(setting.track, setting.reports, 100.0).ended
    setting.reports.send(101.0)
    assert setting.left()[-1][0][0].blocks == ()
    setting.wire.loop.read(rtp_socket(setting.track), packet(2))
    assert not setting.reports.ended
    setting.reports.send(102.0)
    assert [block.ssrc for block in setting.left()[-1][0][0].blocks] == [7]


def test_a_bandwidth_estimate_of_a_browser_changes_nothing():
    # draft-alvestrand-rmcat-remb: PT 206, FMT 15, "REMB"
    remb = bytes([0x8F, 206, 0, 5]) + bytes(8) + b"REMB" + bytes([1, 0, 0, 100]) + (7).to_bytes(4, "big")
    setting = Setting()
    setting.arrive(r.encode([r.ReceiverReport(1)]) + remb)
    assert (setting.reports.rejected, setting.wished, setting.left()) == (0, [], [])


def test_how_long_a_peer_has_been_quiet_whatever_it_sends():
    setting = Setting()
    assert stream_report(setting.track, setting.reports, 100.0).quiet_ms is None
    setting.arrive(r.encode([r.ReceiverReport(7)]), source=("6.6.6.6", 1), now=100.0)
    assert stream_report(setting.track, setting.reports, 100.0).quiet_ms is None, "a stranger's"
    setting.arrive(r.encode([r.ReceiverReport(7)]), now=101.0)
    assert stream_report(setting.track, setting.reports, 103.5).quiet_ms == 2500.0
    setting.wire.loop.now = 104.0
    setting.wire.loop.read(rtp_socket(setting.track), packet(1))
    assert stream_report(setting.track, setting.reports, 104.5).quiet_ms == 500.0
    setting.wire.loop.now = 106.0
    setting.wire.loop.read(rtp_socket(setting.track), b"\0")  # RFC 6263: keep-alives of no RTP shape
    assert stream_report(setting.track, setting.reports, 106.5).quiet_ms == 500.0
