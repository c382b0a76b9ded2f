"""SRTP against libsrtp used directly, as an independent phone would."""

import pylibsrtp
import pytest

from rtp.srtp import LARGEST, MAX_ROLLOVERS, OLD_KEY_SECONDS, Index, Opener, Sealer
from rtp.suites import SUITES
from tests.kit.media_wire import packet

PROFILES = {
    "AES_CM_128_HMAC_SHA1_80": (pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 10),
    "AES_CM_128_HMAC_SHA1_32": (pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_32, 4),
    "AEAD_AES_128_GCM": (pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 16),
    "AEAD_AES_256_GCM": (pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_256_GCM, 16),
}
RTCP = bytes.fromhex("80c90001") + b"\0\0\0\7"  # a receiver report without blocks
SUITE = SUITES["AES_CM_128_HMAC_SHA1_80"]
KEY, OTHER = bytes(range(30)), bytes(range(1, 31))


def phone(name, key, direction):
    policy = pylibsrtp.Policy(key=key, ssrc_type=direction, srtp_profile=PROFILES[name][0])
    return pylibsrtp.Session(policy)


@pytest.mark.parametrize("name", PROFILES)
def test_a_phone_with_the_same_key_understands_us_and_we_it(name):
    suite = SUITES[name]
    key = bytes(range(suite.length))
    hears = phone(name, key, pylibsrtp.Policy.SSRC_ANY_INBOUND)
    speaks = phone(name, key, pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
    sealer, opener = Sealer(suite, key), Opener(suite, key)
    for number in range(300):
        clear = packet(65_400 + number)  # the sequence number wraps: the roll-over counts
        sealed = sealer.rtp(clear)
        assert len(sealed) == len(clear) + PROFILES[name][1]
        assert clear[12:] not in sealed
        assert hears.unprotect(sealed) == clear
        assert opener.rtp(speaks.protect(clear), 0.0) == clear
    assert hears.unprotect_rtcp(sealer.rtcp(RTCP)) == RTCP
    assert opener.rtcp(speaks.protect_rtcp(RTCP), 0.0) == RTCP


def test_the_largest_packet_passes_and_a_larger_one_is_no_error():
    sealer, opener = Sealer(SUITE, KEY), Opener(SUITE, KEY)
    for size in (1344, 1460, LARGEST - 12):
        clear = packet(size, b"x" * size)
        assert opener.rtp(sealer.rtp(clear), 0.0) == clear
    assert sealer.rtp(packet(1, b"x" * (LARGEST + 200))) is None
    assert sealer.rtcp(RTCP + bytes(LARGEST + 200)) is None
    assert opener.rtp(b"\x80" + bytes(LARGEST + 400), 0.0) is None


def test_the_same_number_is_never_sealed_twice():
    sealer = Sealer(SUITE, KEY)
    assert sealer.rtp(packet(7)) is not None
    assert sealer.rtp(packet(7, b"another payload")) is None
    assert sealer.rtp(packet(6)) is not None  # one that is late is another number


def test_what_is_not_genuine_is_refused_and_leaves_no_trace():
    """S3: a wrong tag, a replay, an old roll-over count, noise; 10,000 of them, and the call goes on after each."""
    sealer, stranger, opener = Sealer(SUITE, KEY), Sealer(SUITE, OTHER), Opener(SUITE, KEY)
    before = [sealer.rtp(packet(number)) for number in range(65_000, 65_300)]
    assert all(opener.rtp(sealed, 0.0) for sealed in before)
    refused = 0
    for number in range(65_300, 65_300 + 2_000):
        genuine = sealer.rtp(packet(number))
        bad = (
            bytes([*genuine[:-1], genuine[-1] ^ 1]),
            bytes([*genuine[:20], genuine[20] ^ 1, *genuine[21:]]),
            stranger.rtp(packet(number)),
            before[number % len(before)],
        )
        for data in bad:
            assert opener.rtp(data, 0.0) is None
            refused += 1
        assert opener.rtp(genuine, 0.0) == packet(number)
        assert opener.rtp(genuine, 0.0) is None  # and not a second time
        refused += 1
    assert refused == 10_000
    for noise in (b"", b"\x80", b"\x80\x08" + bytes(9), bytes(200)):
        assert opener.rtp(noise, 0.0) is None
        assert opener.rtcp(noise, 0.0) is None
    genuine = sealer.rtcp(RTCP)
    assert opener.rtcp(bytes([*genuine[:-1], genuine[-1] ^ 1]), 0.0) is None
    assert opener.rtcp(genuine, 0.0) == RTCP
    assert opener.rtcp(genuine, 0.0) is None


def test_the_key_before_is_tried_for_a_while():
    old, new = Sealer(SUITE, KEY), Sealer(SUITE, OTHER)
    opener = Opener(SUITE, OTHER)
    opener.follow(Opener(SUITE, KEY), 10.0)
    assert opener.rtp(old.rtp(packet(5)), 10.0) == packet(5)
    assert opener.rtcp(old.rtcp(RTCP), 10.0) == RTCP
    assert opener.rtp(new.rtp(packet(6)), 10.0) == packet(6)
    assert opener.rtp(Sealer(SUITE, bytes(30)).rtp(packet(8)), 10.0) is None
    assert opener.rtcp(Sealer(SUITE, bytes(30)).rtcp(RTCP), 10.0) is None
    late = 10.0 + OLD_KEY_SECONDS
    assert opener.rtp(old.rtp(packet(7)), late) is None
    assert opener.rtp(new.rtp(packet(7)), late) == packet(7)


def test_a_key_too_short_is_our_error():
    with pytest.raises(ValueError, match="at least 30"):
        Sealer(SUITE, bytes(29))


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("sent", [3, 300, 140_000])
def test_another_process_goes_on_behind_the_last_number(name, sent):
    """The same keys in a fresh session: the phone takes what it is sent and is believed, however often the numbers wrapped."""
    suite = SUITES[name]
    key = bytes(range(suite.length))
    hears = phone(name, key, pylibsrtp.Policy.SSRC_ANY_INBOUND)
    speaks = phone(name, key, pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
    sealer, opener = Sealer(suite, key), Opener(suite, key)
    # Not each of so many: those that are left out were lost on the way.
    numbers = [*range(65_300, 65_300 + sent, max(1, sent // 300)), 65_300 + sent]
    for number in numbers:
        assert hears.unprotect(sealer.rtp(packet(number))) == packet(number)
        old = speaks.protect(packet(number))
        assert opener.rtp(old, 0.0) == packet(number)
    for _ in range(5):
        assert hears.unprotect_rtcp(sealer.rtcp(RTCP)) == RTCP
        old_report = speaks.protect_rtcp(RTCP)
        assert opener.rtcp(old_report, 0.0) == RTCP
    fresh, believed = Sealer(suite, key), Opener(suite, key)
    fresh.resume(Index.restore(sealer.index.snapshot()))
    believed.resume(suite, key, Index.restore(opener.index.snapshot()))
    assert believed.rtp(old, 0.0) is None, "what was believed once is not believed again"
    assert believed.rtcp(old_report, 0.0) is None
    assert fresh.rtp(packet(numbers[-1])) is None, "no number is used twice"
    for number in range(numbers[-1] + 1, numbers[-1] + 1500):
        assert hears.unprotect(fresh.rtp(packet(number))) == packet(number)
        assert believed.rtp(speaks.protect(packet(number)), 0.0) == packet(number)
    assert hears.unprotect_rtcp(fresh.rtcp(RTCP)) == RTCP
    assert believed.rtcp(speaks.protect_rtcp(RTCP), 0.0) == RTCP
    assert fresh.index.snapshot() != sealer.index.snapshot()


def test_a_session_that_nothing_went_through_begins_anew_elsewhere():
    fresh = Sealer(SUITE, KEY)
    fresh.resume(Index())
    assert fresh.rtp(packet(7)) is not None


@pytest.mark.parametrize("suite", SUITES.values(), ids=lambda suite: suite.name)
@pytest.mark.parametrize("numbers", [1, 2, 40])
def test_the_roll_over_count_of_a_long_stream_is_found(suite, numbers):
    key = bytes(range(suite.length))
    phone = Sealer(suite, key)
    for number in range(60_000, (numbers << 16) + 5, 0x4000):
        phone.rtp(packet(number))
    sealed = {
        number: phone.rtp(packet(number)) for number in range((numbers << 16) + 5, (numbers << 16) + 2000)
    }
    first = (numbers << 16) + 1005
    opener = Opener(suite, key)
    assert opener.rtp(sealed[first], 0.0) is None, "libsrtp begins at 0"
    assert opener.search(sealed[first]) == (packet(first), numbers)
    for number in range(first + 1, first + 900):
        assert opener.rtp(sealed[number], 0.0) == packet(number)
        assert opener.rtp(sealed[number], 0.0) is None, "a replay"
    assert opener.rtp(sealed[first - 1], 0.0) is None, (
        "what was sent to the other process is not taken once more"
    )
    assert opener.search(sealed[first + 950]) == (None, 0), "it is known now"
    assert opener.index.snapshot()[:3] == [7, (first + 899) & 0xFFFF, numbers]


def test_what_is_not_genuine_is_not_found_and_leaves_no_trace():
    speaks = phone("AES_CM_128_HMAC_SHA1_80", KEY, pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
    opener = Opener(SUITE, KEY)
    other = Sealer(SUITE, OTHER)
    assert opener.search(other.rtp(packet(1))) == (None, MAX_ROLLOVERS)
    assert opener.search(b"\x80" * 11) == (None, 0)
    assert opener.fresh
    assert opener.rtp(speaks.protect(packet(9)), 0.0) == packet(9)
