import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp.dtmf import DIGITS, Detector, events


def test_a_digit_on_the_wire():
    packets = events("5", 60, volume=10)
    # RFC 4733 §2.3: event 5, E only at the end, volume 10, duration growing by 160 units for each 20 ms
    assert [payload.hex() for payload, _, _ in packets] == [
        "050a00a0",
        "050a0140",
        "058a01e0",
        "058a01e0",
        "058a01e0",
    ]
    assert [marker for _, marker, _ in packets] == [True, False, False, False, False]
    assert {offset for _, _, offset in packets} == {0}


def test_a_very_long_digit_has_segments():
    packets = events("1", 10_000)
    full = [(payload, offset) for payload, _, offset in packets if payload[2:] == b"\xff\xff"]
    assert full == [(b"\x01\x0a\xff\xff", 0)], "§2.5.1.3: the full duration is told, without the E bit"
    assert packets[-1][2] == 0xFFFF
    assert 0xFFFF + int.from_bytes(packets[-1][0][2:], "big") == 80_000
    assert sum(marker for _, marker, _ in packets) == 1


@pytest.mark.parametrize(
    ("digit", "ms", "volume"), [("", 100, 10), ("12", 100, 10), ("E", 100, 10), ("٣", 100, 10)]
)
def test_no_digit(digit, ms, volume):
    with pytest.raises(ValueError, match="no such event"):
        events(digit, ms, volume)


@pytest.mark.parametrize(("ms", "volume"), [(0, 10), (100, 64), (100, -1)])
def test_no_such_length_or_level(ms, volume):
    with pytest.raises(ValueError, match="no such event"):
        events("1", ms, volume)


def test_lower_case_letters_are_digits_too():
    assert events("b", 20)[0][0][0] == 13


@given(
    digits=st.text(DIGITS, min_size=1, max_size=6),
    milliseconds=st.integers(20, 400) | st.sampled_from([8180, 8220, 9000]),
    start=st.integers(0, 2**32 - 1),
    choices=st.randoms(use_true_random=False),
)
def test_every_digit_once_however_packets_repeat_or_are_lost(digits, milliseconds, start, choices):
    detector = Detector()
    heard = ""
    at = start
    for digit in digits:
        packets = events(digit, milliseconds)
        kept = [p for p in packets if choices.random() < 0.6] or [choices.choice(packets)]
        # Losing one whole segment and the end packets of it makes a long event two; that needs a real gap in the line.
        if milliseconds > 8000:
            kept = packets
        for payload, _, offset in [p for p in kept for _ in range(choices.choice((1, 1, 2)))]:
            heard += detector.push(payload, (at + offset) % 2**32) or ""
        at += milliseconds * 8 + 800
    assert heard == digits


def test_late_packets_of_an_event_before_say_nothing():
    detector = Detector()
    assert detector.push(bytes.fromhex("010a00a0"), 1000) == "1"
    assert detector.push(bytes.fromhex("020a00a0"), 3000) == "2"
    assert detector.push(bytes.fromhex("018a01e0"), 1000) is None
    assert detector.push(bytes.fromhex("028a01e0"), 3000) is None


def test_the_same_digit_twice_is_two():
    detector = Detector()
    assert [detector.push(bytes.fromhex("018a0320"), at) for at in (0, 0, 0, 1600, 1600)] == [
        "1",
        None,
        None,
        "1",
        None,
    ]


def test_timestamps_wrap():
    detector = Detector()
    assert detector.push(bytes.fromhex("018a0320"), 2**32 - 100) == "1"
    assert detector.push(bytes.fromhex("018a0320"), 900) == "1"


@pytest.mark.parametrize("payload", [b"", b"\x01\x0a\x00", b"\x10\x0a\x00\xa0", b"\xff\x0a\x00\xa0"])
def test_what_is_no_digit_is_ignored(payload):
    assert Detector().push(payload, 0) is None


def test_reset_lets_a_new_source_count_from_anywhere():
    detector = Detector()
    detector.push(bytes.fromhex("018a0320"), 2_000_000)
    assert detector.push(bytes.fromhex("028a0320"), 5) is None
    detector.reset()
    assert detector.push(bytes.fromhex("028a0320"), 5) == "2"
