"""Encrypted tracks on a wire of lists; phones are sessions of libsrtp, or OpenSSL, of their own."""

from unittest.mock import patch

import pytest

from rtp.control import MediaStarted, Sdes, Secured
from rtp.counts import stream_report
from rtp.flood import BURST_SECONDS, CHECKS, CHECKS_OF_OTHERS, SEARCHED, permitted
from rtp.packet import parse
from rtp.reports import Reports
from rtp.srtp import MAX_ROLLOVERS, Opener, Sealer
from tests.kit.media_wire import PHONE, Wire, packet, rtcp_socket, rtp_socket, sent
from tests.kit.protected import OURS, PHONE_RTCP, REPORT, SDES, STRANGER, SUITE, THEIRS, Side, dtls, pair


def test_encrypted_and_plain_hear_each_other():
    wire, guest, host = pair()
    assert wire.events == [Secured("guest", "audio", SUITE.name, "sdes")]
    phone, hears = Sealer(SUITE, THEIRS), Opener(SUITE, OURS)
    guest.say(phone.rtp(packet(5)), phone.rtp(packet(6)))
    assert [p.payload for p in sent(host.track)] == [b"x" * 160] * 2
    assert isinstance(wire.events[1], MediaStarted)
    assert guest.taken == [(PHONE, guest.track.local, packet(n)) for n in (5, 6)]  # as the phone said it
    out = []
    guest.track.sender.evidence = lambda _at, *row: out.append(row[2])
    host.say(packet(50), packet(51))
    left = guest.left()
    assert [hears.rtp(data, 0.0) for data in left] == out
    assert [parse(data).payload for data in out] == [b"x" * 160] * 2
    assert not any(b"x" * 20 in data for data in left)
    assert (guest.track.sender.packets, guest.track.sender.octets) == (2, 320)


def test_nothing_that_is_not_genuine_is_latched_relayed_or_recorded():
    """S3: bad tags, replays and old roll-over counts, 10,000 of them, from the phone's address and from elsewhere."""
    wire, guest, host = pair()
    phone, other = Sealer(SUITE, THEIRS), Sealer(SUITE, OURS)
    assert guest.track.latch.latched is None
    guest.say(other.rtp(packet(1)), packet(2), source=PHONE)  # before anything genuine: no latch
    assert guest.track.latch.latched is None
    assert guest.taken == []
    early = [phone.rtp(packet(number)) for number in range(64_000, 64_100)]
    guest.say(*early)
    count = guest.track.unauthentic
    assert count == 2
    for number in range(64_100, 66_600):  # the roll-over count grows in between
        wire.loop.now += 0.02
        genuine = phone.rtp(packet(number))
        broken = bytes([*genuine[:-1], genuine[-1] ^ 0x80])
        guest.say(broken, other.rtp(packet(number)), early[number % 100])
        guest.say(genuine)
        guest.say(genuine)
    assert guest.track.unauthentic == 2 + 10_000
    assert len(guest.taken) == len(sent(host.track)) == 2_600
    assert guest.track.latch.latched == PHONE
    report = stream_report(guest.track, Reports(guest.track, "name", lambda now: None), 0.0)
    assert (report.received, report.lost, report.unauthentic) == (2_600, 0, 10_002)
    assert wire.loop.failures == []


def test_forged_packets_take_nothing_from_the_phone_whose_address_they_bear():
    """S3 at 4,000 forged packets a second, all from the very address of the phone."""
    wire, guest, host = pair()
    phone, other = Sealer(SUITE, THEIRS), Sealer(SUITE, OURS)
    guest.say(phone.rtp(packet(0)))
    for number in range(1, 200):
        wire.loop.now += 0.02
        forged = other.rtp(packet(number))
        guest.say(*[forged] * 80, phone.rtp(packet(number)))
    assert guest.track.unauthentic == 80 * 199
    assert len(guest.taken) == len(sent(host.track)) == 200
    assert guest.track.flooded == 0


@pytest.mark.parametrize("source", [PHONE, STRANGER])
def test_a_flood_is_not_even_looked_into(source):
    """L9: 50,000 packets a second. What is too much for the processor is dropped before it is authenticated, and counted."""
    wire, guest, _ = pair()
    guest.say(Sealer(SUITE, THEIRS).rtp(packet(0)))
    forged = Sealer(SUITE, OURS).rtp(packet(1))
    for _ in range(100):
        wire.loop.now += 0.02
        guest.say(*[forged] * 1000, source=source)
    checked, limit = guest.track.unauthentic, CHECKS if source == PHONE else CHECKS_OF_OTHERS
    assert checked <= limit * (2.0 + BURST_SECONDS) + 10
    assert checked >= limit * 2
    if source == PHONE:
        assert checked + guest.track.flooded == 100_000
    else:
        assert guest.track.strangers.refused == 100_000


def test_genuine_packets_are_limited_to_twice_the_rate():
    """L9: a phone that sends 5,000 a second is relayed and recorded at twice what its codec needs."""
    wire, guest, host = pair()
    phone = Sealer(SUITE, THEIRS)
    for number in range(10_000):
        wire.loop.now += 1 / 5000
        guest.say(phone.rtp(packet(number)))
    passed = len(guest.taken)
    assert passed == len(sent(host.track))
    assert passed * 172 <= permitted(guest.track.stream) * (2.0 + BURST_SECONDS) + 2 * 172
    assert guest.track.flooded == 10_000 - passed
    assert guest.track.unauthentic == 0


def test_a_stranger_with_a_copy_is_not_believed():
    _, guest, host = pair()
    phone = Sealer(SUITE, THEIRS)
    guest.say(phone.rtp(packet(1)))
    guest.say(phone.rtp(packet(2)), source=STRANGER)
    assert guest.track.rejected == 1
    assert len(sent(host.track)) == 1


def test_other_bytes_are_counted_and_nothing_else():
    _, guest, host = pair()
    for data in (b"", b"\x80", b"\0\1" + bytes(18), b"\x40" + bytes(30), b"\x16" * 60, b"\xff" * 30):
        guest.say(data)
        guest.report(data)
    assert guest.track.rejected == 12
    assert guest.track.sender.failed == 0
    assert sent(host.track) == []
    guest.protection._read_rtp()  # nothing is there
    assert guest.track.rejected == 12


def test_rtcp_is_protected_both_ways():
    wire, guest, _ = pair()
    phone, hears = Sealer(SUITE, THEIRS), Opener(SUITE, OURS)
    guest.report(phone.rtcp(REPORT))
    assert guest.wanted == [wire.loop.now]
    guest.report(REPORT)
    assert (guest.track.unauthentic, len(guest.wanted)) == (1, 1)
    guest.reports.send(wire.loop.now)
    ((data, to),) = rtcp_socket(guest.track).sent
    assert to == PHONE_RTCP
    assert hears.rtcp(data, 0.0)[1] == 201
    assert guest.taken == [(PHONE_RTCP, guest.track.local_rtcp, REPORT)]


@pytest.mark.parametrize("crypto", [None, SDES])
def test_rtcp_on_the_rtp_port(crypto):
    """RFC 5761: one port for both, encrypted or not."""
    wire, guest, host = pair(crypto, mux=True)
    phone, hears = Sealer(SUITE, THEIRS), Opener(SUITE, OURS)
    seal = (lambda data: data) if crypto is None else phone.rtp
    guest.say(seal(packet(5)))
    guest.say(REPORT if crypto is None else phone.rtcp(REPORT))
    assert len(sent(host.track)) == 1
    assert guest.wanted == [wire.loop.now]
    guest.reports.send(wire.loop.now)
    assert rtcp_socket(guest.track).sent == []
    ((data, to),) = rtp_socket(guest.track).sent
    assert to == PHONE
    assert (data if crypto is None else hears.rtcp(data, 0.0))[1] in {200, 201}
    assert guest.taken[-1] == (PHONE, guest.track.local, REPORT)
    # Back to two ports: each is read for itself again.
    guest.configure(crypto=crypto)
    guest.report(REPORT if crypto is None else phone.rtcp(REPORT))
    assert len(guest.wanted) == 2


def test_new_keys_in_mid_call_and_packets_that_were_under_way():
    wire, guest, host = pair()
    phone = Sealer(SUITE, THEIRS)
    guest.say(phone.rtp(packet(1)))
    under_way = phone.rtp(packet(2))
    theirs, ours = bytes(range(50, 80)), bytes(range(60, 90))
    guest.configure(crypto=Sdes(SUITE.name, ours, theirs))
    assert [type(e) for e in wire.events].count(Secured) == 2
    guest.say(under_way, Sealer(SUITE, theirs).rtp(packet(3)))
    assert len(sent(host.track)) == 3
    host.say(packet(9))
    assert Opener(SUITE, ours).rtp(guest.left()[0], 0.0) is not None
    # The same keys again are no new ones: the list of replays stays.
    guest.configure(crypto=Sdes(SUITE.name, ours, theirs))
    assert [type(e) for e in wire.events].count(Secured) == 2
    assert guest.track.unauthentic == 0


def test_one_key_that_stays_keeps_its_count():
    _, guest, host = pair()
    phone = Sealer(SUITE, THEIRS)
    guest.say(phone.rtp(packet(1)))
    copy = phone.rtp(packet(2))
    guest.say(copy)
    guest.configure(crypto=Sdes(SUITE.name, bytes(30), THEIRS))
    guest.say(copy)
    assert (guest.track.unauthentic, len(sent(host.track))) == (1, 2)


def test_a_medium_that_rests_keeps_its_keys_and_one_that_is_clear_again_reads_itself():
    wire, guest, host = pair()
    guest.protection.configure(None, wire.loop.now)
    assert guest.protection.active
    guest.configure()
    assert not guest.protection.active
    guest.say(packet(1))
    assert len(sent(host.track)) == 1


def test_a_resealed_duplicate_is_not_sent():
    _, guest, host = pair()
    host.say(packet(1), packet(1))
    assert len(guest.left()) == 1
    assert guest.track.sender.failed == 1


def test_the_silent_gate_stands_before_the_seal():
    wire, guest, _ = pair()
    guest.track.sender.set_silent(silent=True)
    guest.track.sender.silence(wire.loop.now)
    (data,) = guest.left()
    assert Opener(SUITE, OURS).rtp(data, 0.0)[12:] == b"\xd5" * 160
    assert guest.track.sender.transmit(packet(77)) == 0
    assert guest.track.sender.gate.stopped == 1


def test_a_socket_that_takes_nothing_is_counted():
    wire = Wire()
    guest = Side(wire)
    rtp_socket(guest.track).error = OSError(101, "Network is unreachable")
    guest.configure(crypto=dtls(active=True), mux=True)
    assert guest.track.sender.failed == 1


def test_a_phone_that_has_talked_for_long_is_heard_by_a_process_that_knows_nothing_of_it():
    """A media process died: its successor has the keys from signalling, and nobody has the roll-over count."""
    phone = Sealer(SUITE, THEIRS)
    for number in range(0, 3 << 16, 0x4000):
        phone.rtp(packet(number))
    _, guest, host = pair()
    for number in range((3 << 16) + 1, (3 << 16) + 11):
        guest.say(phone.rtp(packet(number)))
    assert [one.payload for one in sent(host.track)] == [b"x" * 160] * 10
    assert guest.track.unauthentic == 0


def test_what_is_searched_for_is_limited_and_not_for_strangers():
    wire, guest, _ = pair()
    liar = Sealer(SUITE, OURS)
    forged = [liar.rtp(packet(number)) for number in range(1000)]
    with patch.object(Opener, "search", autospec=True, side_effect=Opener.search) as search:
        guest.say(*forged[:100], source=STRANGER)
        assert not search.called
        for data in forged:
            guest.say(data)
            wire.loop.now += 0.01
        assert search.call_count <= (10 + BURST_SECONDS) * SEARCHED / MAX_ROLLOVERS + 2
    assert guest.track.unauthentic == 1100
