"""A phone that misses packets says so, and gets the very same ones again (RFC 4585 §6.2.1)."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from rtp import rtcp as r
from rtp.control import Sdes
from rtp.dtls import Certificate
from rtp.history import AGAIN_SECONDS, MAX_PACKETS, MAX_TIMES, PER_SECOND, History
from rtp.protection import Protection
from rtp.reports import Reports
from rtp.srtp import Opener, Sealer
from rtp.suites import SUITES
from tests.kit.media_wire import H264, PHONE, Wire, packet, rtcp_socket, rtp_socket, stream

PHONE_RTCP = (PHONE[0], PHONE[1] + 1)
SUITE = SUITES["AES_CM_128_HMAC_SHA1_80"]
OURS, THEIRS = bytes(range(30)), bytes(range(30, 60))


def sent_through(history, *numbers, seal=lambda data: data):
    wire = []

    def put(data):
        wire.append(data)
        return len(data)

    road = history.before(lambda data: history.after(put)(seal(data)))
    for number in numbers:
        road(packet(number))
    return wire


def numbers(found):
    return [int.from_bytes(clear[2:4], "big") for clear, _ in found]


def test_what_is_missed_is_given_as_it_left():
    history = History()
    wire = sent_through(history, 65_534, 65_535, 0, 1, seal=lambda data: data + b"tag")
    assert history.wanted([65_535, 1, 7], 10.0) == [(packet(65_535), wire[1]), (packet(1), wire[3])]


def test_the_same_packet_not_too_often():
    history = History()
    sent_through(history, 5)
    times = [10.0, 10.0 + AGAIN_SECONDS / 2, 10.1, 10.2, 10.3, 10.4]
    assert [bool(history.wanted([5], at)) for at in times] == [True, False, True, True, False, False]
    assert MAX_TIMES == 3
    sent_through(history, 5)  # 65,536 packets later
    assert history.wanted([5], 10.5)


def test_no_more_than_so_many_in_a_second():
    history = History()
    sent_through(history, *range(MAX_PACKETS))
    assert len(history.wanted(range(MAX_PACKETS), 10.0)) == PER_SECOND
    assert history.wanted(range(MAX_PACKETS), 10.9) == []
    assert len(history.wanted(range(MAX_PACKETS), 11.0)) == PER_SECOND


def test_the_oldest_make_room():
    history = History()
    sent_through(history, 0)
    assert numbers(history.wanted([0], 9.0)) == [0]
    sent_through(history, *range(1, MAX_PACKETS + 1))
    assert history.wanted([0], 10.0) == []
    assert numbers(history.wanted([1, MAX_PACKETS], 10.0)) == [1, MAX_PACKETS]
    assert 0 not in history._again


@given(st.lists(st.integers(0, 1000), max_size=600))
def test_it_is_bounded_and_gives_only_what_was_sent_last(order):
    history = History()
    sent_through(history, *order)
    last = list(dict.fromkeys(reversed(order)))[:MAX_PACKETS]
    assert len(history._kept) == len(last)
    assert set(numbers(history.wanted(range(1001), 1.0))) <= set(last)
    assert len(history._again) <= MAX_PACKETS


class Seen:
    """A phone with picture, in the clear or not."""

    def __init__(self, crypto=None, medium="video"):
        self.wire = Wire()
        self.track = self.wire.track(medium=medium)
        self.reports = Reports(self.track, "cname", lambda now: None)
        self.taken = []
        self.track.sender.evidence = lambda _at, *row: self.taken.append(row[2])
        self.seal = Sealer(SUITE, THEIRS).rtcp if crypto else lambda data: data
        codecs = (H264,) if medium == "video" else ()
        made = stream(medium, codecs, crypto=crypto) if codecs else stream(medium, crypto=crypto)
        self.protection = Protection(self.track, self.reports, Certificate(), self.wire.around)
        self.protection.configure(made, self.wire.loop.now)
        self.track.configure(made, frozenset({PHONE[0]}), self.wire.loop.now)

    def show(self, count):
        codec = self.track.stream.send[0]
        for _ in range(count):
            self.track.sender.local_frame(3, codec, b"picture", 3000, self.wire.loop.now)

    def left(self):
        rows = [data for data, _ in rtp_socket(self.track).sent]
        rtp_socket(self.track).sent.clear()
        return rows

    def misses(self, *sequences, ssrc=0xABCD):
        data = r.encode([r.ReceiverReport(7), r.Nack(7, ssrc, sequences)])
        rtcp_socket(self.track).arriving.append((self.seal(data), PHONE_RTCP))
        self.reports.read(self.wire.loop.now)


def test_a_leg_that_loses_nothing_keeps_nothing_and_the_first_nack_begins():
    seen = Seen()
    seen.show(3)
    assert seen.track.sender.history is None
    first = int.from_bytes(seen.left()[1][2:4], "big")
    seen.misses(first)
    assert seen.left() == []
    seen.show(3)
    later = seen.left()
    seen.taken.clear()
    seen.misses(*(int.from_bytes(data[2:4], "big") for data in later[1:]))
    assert seen.left() == later[1:] == seen.taken
    assert (seen.track.sender.packets, seen.track.sender.octets) == (8, 8 * 7)


def test_an_encrypted_packet_goes_again_as_it_was():
    seen = Seen(Sdes(SUITE.name, OURS, THEIRS))
    seen.misses(1)
    seen.show(2)
    sealed = seen.left()
    clear = seen.taken[:]
    seen.misses(int.from_bytes(sealed[0][2:4], "big"))
    assert seen.left() == sealed[:1]
    assert seen.taken == [*clear, clear[0]]
    assert Opener(SUITE, OURS).rtp(sealed[0], 0.0) == clear[0]
    assert seen.track.sender.octets == 3 * 7


def test_a_nack_about_another_stream_or_about_sound_begins_nothing():
    seen = Seen()
    seen.misses(1, ssrc=99)
    assert seen.track.sender.history is None
    sound = Seen(medium="audio")
    sound.misses(1)
    assert sound.track.sender.history is None


def test_without_an_address_nothing_is_sent_and_a_full_socket_is_counted():
    seen = Seen()
    seen.misses(1)
    seen.show(1)
    number = int.from_bytes(seen.left()[0][2:4], "big")
    rtp_socket(seen.track).error = OSError(11, "Resource temporarily unavailable")
    seen.misses(number)
    assert seen.track.sender.failed == 1
    rtp_socket(seen.track).error = None
    seen.wire.loop.now += 1
    seen.track.sender.target(None, connected=False)
    seen.track.sender.repeat([number], seen.wire.loop.now)
    assert seen.left() == []


def test_a_restored_history_goes_on_alike():
    one = History()
    sent_through(one, 1, 2, seal=lambda data: data + b"tag")
    sent_through(one, 3)
    assert numbers(one.wanted([1], 10.0)) == [1]
    two = History.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(one.snapshot())))
    for wanted, at in (([1, 2, 3], 10.01), ([1, 2, 3, 4], 10.1), ([1], 10.2), ([1], 10.3)):
        assert two.wanted(wanted, at) == one.wanted(wanted, at)
