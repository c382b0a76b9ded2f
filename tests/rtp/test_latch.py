import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp.latch import (
    FOREIGN_SECONDS,
    MAX_CANDIDATES,
    MOVED_SECONDS,
    PREFER_SECONDS,
    REQUEST_SECONDS,
    Latch,
    canonical,
)

PHONE = ("10.0.0.1", 4000)
STRANGER = ("6.6.6.6", 666)
EXPECTED = frozenset({"10.0.0.1", "10.0.0.2"})


def configured(now=0.0, **more):
    latch = Latch()
    latch.configure(EXPECTED, **{"receiving": True, "moved": False, "now": now, **more})
    return latch


def latched(at=1.0, sequence=100):
    latch = configured()
    assert latch.receive(PHONE, 1, sequence, at)
    latch.heard(1, sequence, at)
    return latch


def believed(latch, source, ssrc, first, count, start, step=0.02):
    """The index of the first packet that is believed, else None."""
    for index in range(count):
        if latch.receive(source, ssrc, (first + index) & 0xFFFF, start + index * step):
            return index
    return None


def test_nobody_is_believed_before_an_offer_was_answered():
    assert not Latch().receive(PHONE, 1, 1, 0.0)


@pytest.mark.parametrize("ip", sorted(EXPECTED))
def test_an_expected_address_is_believed_at_once_with_any_port(ip):
    latch = configured()
    assert latch.receive((ip, 12345), 1, 1, 0.1)
    assert latch.latched == (ip, 12345)


def test_the_port_in_the_sdp_goes_before_another_port_of_the_same_address():
    latch = configured(named=PHONE)
    other = (PHONE[0], 666)
    assert believed(latch, other, 9, 1, 14, 5.0) is None
    assert latch.receive(PHONE, 1, 1, 5.28)
    assert latch.latched == PHONE


def test_another_port_is_believed_when_the_named_one_stays_silent():
    latch = configured(named=PHONE)
    other = (PHONE[0], 666)
    assert not latch.receive(other, 1, 1, 5.0)
    assert not latch.receive(other, 1, 2, 5.0 + PREFER_SECONDS - 0.01)
    assert latch.receive(other, 1, 3, 5.0 + PREFER_SECONDS + 0.01)


def test_a_phone_behind_nat_is_believed_at_once():
    latch = configured(named=("192.168.1.7", 4000))
    assert latch.receive(("10.0.0.2", 31_000), 1, 1, 0.1), "its SDP names an address nobody can send from"


def test_a_new_named_port_has_its_own_time():
    latch = configured(named=PHONE)
    other = (PHONE[0], 666)
    assert not latch.receive(other, 1, 1, 5.0)
    latch.configure(EXPECTED, receiving=True, moved=True, now=6.0, named=(PHONE[0], 4002))
    assert not latch.receive(other, 1, 2, 6.0)


def test_a_spray_from_before_the_call_is_refused_and_the_phone_believed():
    latch = configured()
    for index in range(1000):
        assert not latch.receive(STRANGER, 9, index, index * 0.0001)
    assert latch.receive(PHONE, 1, 1, 0.2)


def test_a_stranger_needs_three_seconds_of_silence_and_four_packets_in_a_row():
    latch = configured()
    assert believed(latch, STRANGER, 9, 65534, 145, 0.0) is None  # until 2.88 s
    assert latch.receive(STRANGER, 9, (65534 + 145) & 0xFFFF, FOREIGN_SECONDS)
    fresh = configured()
    assert believed(fresh, STRANGER, 9, 65534, 10, FOREIGN_SECONDS) == 3


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param([(9, 1)] * 50, id="the same packet again and again"),
        pytest.param([(9, i * 2) for i in range(50)], id="gaps"),
        pytest.param([(i, i) for i in range(50)], id="another SSRC each time"),
    ],
)
def test_what_is_not_in_a_row_never_counts(packets):
    latch = configured()
    assert not any(latch.receive(STRANGER, ssrc, sequence, 10.0) for ssrc, sequence in packets)


def test_a_stranger_is_too_late_when_the_last_request_is_old():
    latch = configured()
    assert believed(latch, STRANGER, 9, 1, 50, REQUEST_SECONDS + 0.1) is None


def test_nobody_foreign_is_believed_for_a_peer_that_proved_nothing():
    latch = Latch()
    latch.vouched = False
    latch.configure(EXPECTED, receiving=True, moved=False, now=0.0)
    assert believed(latch, STRANGER, 9, 1, 50, FOREIGN_SECONDS) is None
    assert latch.receive(PHONE, 1, 1, 9.0)


def test_after_the_latch_a_stranger_with_a_stream_of_its_own_is_never_believed():
    """A phone that holds its call may send nothing for minutes, right after an authenticated re-INVITE."""
    latch = latched()
    latch.configure(EXPECTED, receiving=True, moved=False, now=2.0)
    assert believed(latch, STRANGER, 9, 1, 1000, 2.0) is None
    assert latch.receive(PHONE, 1, 101, 22.0)


def test_during_a_hold_nobody_is_taken_for_the_stream_that_rests():
    """A phone that holds may send nothing though it could; whoever knows its SSRC and its place in the sequence waits for that."""
    latch = latched()
    latch.held = True
    latch.configure(EXPECTED, receiving=True, moved=False, now=2.0)
    assert believed(latch, STRANGER, 1, 101, 500, 2.0) is None
    latch.held = False
    latch.configure(EXPECTED, receiving=True, moved=False, now=13.0)
    assert believed(latch, STRANGER, 1, 601, 100, 13.0) is None, "the silence of the hold is none"
    assert latch.receive(PHONE, 1, 101, 15.1)


def test_two_who_claim_to_be_the_stream_are_both_refused_until_one_is_alone():
    latch, moved = latched(at=1.0), ("172.16.0.9", 999)
    for index in range(300):
        now = 1.02 + index * 0.02
        assert not latch.receive(STRANGER, 1, 101 + index, now), "a guessed SSRC"
        assert not latch.receive(moved, 1, 101 + index, now)
    assert believed(latch, moved, 1, 401, 124, 7.02) is None
    assert latch.receive(moved, 1, 525, 7.0 + MOVED_SECONDS + 0.02)


def test_a_reinvite_settles_at_once_who_the_stream_is():
    latch, moved = latched(at=1.0), ("172.16.0.9", 999)
    for index in range(30):
        assert not latch.receive(STRANGER, 1, 101 + index, 3.6 + index * 0.02)
        assert not latch.receive(moved, 1, 101 + index, 3.6 + index * 0.02)
    assert latch.configure(frozenset({moved[0]}), receiving=True, moved=True, now=4.2, named=moved)
    assert not latch.receive(STRANGER, 1, 131, 4.21)
    assert latch.receive(moved, 1, 131, 4.22)


def test_during_its_hold_nobody_takes_the_peers_place():
    latch = latched()
    latch.configure(EXPECTED, receiving=False, moved=False, now=2.0)
    assert believed(latch, STRANGER, 1, 101, 50, 20.0) is None
    latch.configure(EXPECTED, receiving=True, moved=False, now=21.0)
    assert believed(latch, STRANGER, 1, 101, 50, 21.0) is None  # silence counts from the resumption
    assert latch.receive(PHONE, 1, 200, 22.1)


def test_another_port_of_the_same_stream_is_believed_after_300_ms():
    latch = latched(at=1.0)
    moved = (PHONE[0], 5000)
    assert not latch.receive(moved, 1, 101, 1.1)
    assert latch.receive(moved, 1, 120, 1.31)
    assert latch.latched == moved


def test_another_port_with_another_ssrc_must_show_four_packets():
    latch = latched(at=1.0)
    other = (PHONE[0], 5000)
    assert (
        believed(latch, other, 2, 1, 134, 1.31) is None
    )  # until 3.97 s: after the latch only the same stream moves fast
    assert believed(latch, other, 2, 200, 10, 1.0 + FOREIGN_SECONDS) == 3


def test_a_guessed_ssrc_with_a_foreign_sequence_number_is_no_continuation():
    latch = latched(at=1.0, sequence=100)
    assert believed(latch, (PHONE[0], 5000), 1, 100 - 50, 3, 1.31) is None
    assert believed(latched(at=1.0), STRANGER, 1, 40000, 3, 3.6) is None


def test_a_stream_that_moved_to_another_address_is_believed_within_three_seconds():
    latch = latched(at=1.0)
    moved = ("172.16.0.9", 999)
    index = believed(latch, moved, 1, 101, 150, 1.02)
    assert index is not None
    assert MOVED_SECONDS <= 0.02 + index * 0.02 < 3.0


def test_the_latched_address_is_believed_whatever_comes():
    latch = latched(at=1.0)
    assert latch.receive(PHONE, 77, 3, 1.1)
    assert latch.receive(PHONE, 77, 3, 100.0)


def test_a_new_offer_with_another_address_gives_the_latch_up():
    latch = latched()
    assert latch.configure(EXPECTED, receiving=True, moved=True, now=2.0)
    assert latch.latched is None
    assert latch.receive(("10.0.0.2", 1), 5, 5, 2.1)


def test_new_sources_without_the_latched_one_give_it_up_and_with_it_do_not():
    latch = latched()
    assert not latch.configure(EXPECTED | {"10.0.0.3"}, receiving=True, moved=False, now=2.0)
    assert latch.latched == PHONE
    assert latch.configure(frozenset({"10.0.0.3"}), receiving=True, moved=False, now=2.0)
    assert not latch.receive(PHONE, 1, 101, 2.1)
    assert latch.receive(("10.0.0.3", 1), 1, 101, 2.1)


def test_a_foreign_latch_survives_an_offer_that_changes_nothing():
    latch = configured()
    assert believed(latch, STRANGER, 9, 1, 10, FOREIGN_SECONDS) is not None
    assert not latch.configure(EXPECTED, receiving=True, moved=False, now=5.0)
    assert latch.latched == STRANGER


def test_candidates_are_bounded():
    latch = configured()
    for index in range(1000):
        latch.receive(("6.6.6.6", index), 9, 1, 1.0)
    assert len(latch.snapshot()["candidates"]) == MAX_CANDIDATES


def test_rtcp_is_trusted_from_the_latched_address_only():
    latch = configured()
    assert latch.trusts("10.0.0.2")
    assert not latch.trusts("6.6.6.6")
    latch.receive(PHONE, 1, 1, 0.0)
    assert latch.trusts("10.0.0.1")
    assert not latch.trusts("10.0.0.2")


@pytest.mark.parametrize(
    ("text", "ip"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("no address", "no address"),
    ],
)
def test_canonical(text, ip):
    assert canonical(text) == ip


REBINDS = 500
"""Bar F13: "500 rebinding events, 0 calls lost"."""


@pytest.mark.parametrize("seed", range(4))
def test_five_hundred_rebindings_under_a_spray(seed):
    """A phone whose NAT changes its port or its address again and again, on simulated time, while a stranger sprays.

    Media is back after 1 s at most (port), 3 s (address), or with the first packet after a re-INVITE from there.
    """
    dice = random.Random(seed)
    latch, now, sequence = Latch(), 0.0, 0
    phone = ("10.0.0.1", 4000)
    latch.configure(EXPECTED, receiving=True, moved=False, now=now, named=phone)

    def spray():
        for _ in range(dice.randrange(4)):
            ssrc = dice.choice((9, dice.getrandbits(32)))
            stranger = ("6.6.6.6", dice.randrange(1024, 65536))
            assert not latch.receive(stranger, ssrc, dice.randrange(65536), now), "a stranger is believed"

    def say():
        """20 ms of the phone's sound."""
        nonlocal now, sequence
        now += 0.02
        sequence = (sequence + 1) & 0xFFFF
        spray()
        return latch.receive(phone, 7, sequence, now)

    assert say()
    for number in range(REBINDS // 4):
        for _ in range(dice.randrange(10, 60)):
            assert say()
        latch.heard(7, sequence, now)
        left, how = now, dice.choice(("port", "address", "re-INVITE"))
        host = phone[0] if how == "port" else f"10.{seed}.{number // 250}.{2 + number % 250}"
        phone = (host, dice.randrange(1024, 65536))
        if how == "re-INVITE":
            now += dice.uniform(0.02, 2.0)
            assert latch.configure(
                frozenset({host}), receiving=True, moved=True, now=now, named=phone
            ) or latch.latched in {None, phone}
            left = now
        limit = {"port": 1.0, "address": 3.0, "re-INVITE": 0.5}[how]
        while not say():
            assert now - left < limit, f"{how}: not back after {now - left:.2f} s"
        assert latch.latched == phone


PACKETS = st.lists(
    st.tuples(
        st.sampled_from([PHONE, (PHONE[0], 5000), ("10.0.0.2", 1), STRANGER, ("6.6.6.6", 667)]),
        st.integers(1, 2),
        st.integers(0, 20),
        st.floats(0, 2),
        st.booleans(),
    ),
    max_size=60,
)


@given(PACKETS)
def test_a_stranger_is_never_believed_without_silence_of_the_expected(packets):
    latch, now, heard = configured(), 0.0, 0.0
    for source, ssrc, sequence, pause, _ in packets:
        now += pause
        before = latch.latched
        if latch.receive(source, ssrc, sequence, now):
            if source[0] == "6.6.6.6" and (before is None or before[0] != "6.6.6.6"):
                assert now - heard >= MOVED_SECONDS
            heard = now
            latch.heard(ssrc, sequence, now)


@given(PACKETS, PACKETS)
def test_a_restored_latch_goes_on_alike(before, after):
    one, now = configured(), 0.0
    for source, ssrc, sequence, pause, hold in before:
        now += pause
        one.receive(source, ssrc, sequence, now)
        if hold:
            one.configure(EXPECTED, receiving=False, moved=False, now=now)
    two = Latch.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(one.snapshot())))
    for source, ssrc, sequence, pause, hold in after:
        now += pause
        assert one.receive(source, ssrc, sequence, now) == two.receive(source, ssrc, sequence, now)
        if hold:
            one.heard(ssrc, sequence, now)
            two.heard(ssrc, sequence, now)
    assert one.snapshot() == two.snapshot()
