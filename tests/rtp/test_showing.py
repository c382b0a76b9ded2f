"""A caller who waited with picture is put through: the desk gets a whole group at once, in one stream with what follows."""

import itertools

import pytest

from rtp.control import Codec
from tests.kit.media_wire import H264, PHONE, Wire, packet, rtp_socket, sent

IDR, SLICE = b"\x65" + b"x" * 20, b"\x41" + b"x" * 20
THEIRS = Codec("H264", 120, 90000, fmtp="packetization-mode=1")


def picture(number, payload=SLICE, *, part=0, marker=True):
    return packet(
        number, payload, payload_type=96, timestamp=(number - part) * 6000 & 0xFFFFFFFF, marker=marker
    )


def waiting(theirs=(THEIRS,)):
    wire = Wire()
    guest = wire.configured("guest", "video", codecs=(H264,))
    host = wire.configured("host", "video", codecs=theirs)
    return wire, guest, host


def say(wire, guest, *packets):
    for data in packets:
        wire.loop.now += 0.066
        wire.loop.read(rtp_socket(guest), data, PHONE)


def join(wire, guest, host):
    guest.wire(host, wire.loop.now)
    guest.catch_up(wire.loop.now)


def test_the_group_leaves_at_once_and_what_is_live_follows_it():
    wire, guest, host = waiting()
    say(wire, guest, picture(1), picture(2), picture(3, IDR, marker=False), picture(4, IDR, part=1))
    say(wire, guest, *(picture(number) for number in range(5, 15)))
    told = []
    host.sender.expecting = lambda: told.append(wire.loop.now)
    assert sent(host) == []
    join(wire, guest, host)
    burst = sent(host)
    assert told == [wire.loop.now]
    assert [p.payload for p in burst] == [IDR, IDR] + [SLICE] * 10
    assert {p.payload_type for p in burst} == {120}
    assert [p.marker for p in burst] == [False] + [True] * 11
    say(wire, guest, picture(15), picture(16))
    whole = sent(host)
    first = whole[0]
    assert [(p.sequence - first.sequence) & 0xFFFF for p in whole] == list(range(14))
    after = [(p.timestamp - first.timestamp) & 0xFFFFFFFF for p in whole]
    assert after[:2] == [0, 0]
    assert after[1:12] == [90 * n for n in range(11)]  # a millisecond each: the newest is not late
    assert after[12] - after[11] == pytest.approx(0.066 * 90_000, abs=2)
    assert after[13] - after[12] == 6000
    assert {p.ssrc for p in whole} == {0xABCD}


def test_a_second_guest_goes_on_in_the_same_stream():
    wire, guest, host = waiting()
    other = wire.configured("other", "video", codecs=(H264,))
    say(wire, guest, picture(1, IDR), picture(2))
    join(wire, guest, host)
    say(wire, guest, picture(3))
    say(wire, other, picture(900, IDR), picture(901))
    guest.wire(None, wire.loop.now)
    join(wire, other, host)
    say(wire, other, picture(902))
    whole = sent(host)
    assert len(whole) == 6
    steps = [(b.sequence - a.sequence) & 0xFFFF for a, b in itertools.pairwise(whole)]
    assert steps == [1] * 5
    times = [(b.timestamp - a.timestamp) & 0xFFFFFFFF for a, b in itertools.pairwise(whole)]
    assert all(0 < step < 90_000 for step in times)


def test_it_is_shown_once():
    wire, guest, host = waiting()
    say(wire, guest, picture(1, IDR))
    join(wire, guest, host)
    join(wire, guest, host)
    assert len(sent(host)) == 1


def test_a_group_that_went_on_elsewhere_is_not_shown():
    wire, guest, host = waiting()
    say(wire, guest, picture(1, IDR))
    guest.source.highest = 5  # somebody else was sent 2 to 5
    join(wire, guest, host)
    assert sent(host) == []


@pytest.mark.parametrize("theirs", [(Codec("VP8", 98, 90000),), ()])
def test_a_picture_the_desk_does_not_take_is_not_shown(theirs):
    wire, guest, host = waiting(theirs)
    say(wire, guest, picture(1, IDR))
    join(wire, guest, host)
    assert sent(host) == []


def test_a_desk_that_takes_no_picture_now_is_shown_none():
    wire, guest, host = waiting()
    say(wire, guest, picture(1, IDR))
    host.sender.override(overridden=True)
    join(wire, guest, host)
    assert (sent(host), host.sender.shut) == ([], 1)


def test_a_caller_whose_group_broke_is_asked_for_a_key_frame():
    wire, guest, _ = waiting()
    say(wire, guest, picture(1, IDR), picture(2), picture(4))
    assert wire.asked == ["guest"]
    say(wire, guest, picture(5), picture(6))
    assert wire.asked == ["guest"]
