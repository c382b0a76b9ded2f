import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp import amr
from rtp.codecs import SPOKEN, Decoder, Encoder, frame_samples, sampling_rate, silence
from rtp.packet_time import LONGEST, Bundle, Recut, chosen, duration

OCTETS = ("PCMA", "PCMU", "G722")
LENGTHS = st.lists(st.integers(1, 200), max_size=20)


def spoken(name, count, hz=440):
    """So many payloads of 20 ms of a tone."""
    size, rate = frame_samples(name), sampling_rate(name)
    wave = (9000 * np.sin(2 * np.pi * hz * np.arange(size * count) / rate)).astype(np.int16)
    encoder = Encoder(name)
    return [encoder.encode(frame) for frame in wave.reshape(-1, size)]


@pytest.mark.parametrize(
    ("codec", "wish", "bound", "ms"),
    [
        ("PCMA", None, None, 20), ("PCMA", 10, None, 10), ("PCMA", 30, None, 30), ("PCMA", 60, 40, 40), ("PCMA", 50, None, 40),
        ("PCMA", None, 10, 10), ("PCMA", None, 5, 10), ("PCMA", 200, None, 60), ("G722", 40, 39, 30), ("PCMA", 20, 150, 20),
        ("OPUS", 10, 10, 20), ("OPUS", 30, None, 20), ("OPUS", 60, 50, 40), ("AMR", 40, None, 40), ("AMR", 1, None, 20),
    ],
)  # fmt: skip
def test_what_is_wished_is_met_as_near_as_can_be(codec, wish, bound, ms):
    assert chosen(codec, wish, bound) == ms


@given(st.none() | st.integers(1, 1000), st.none() | st.integers(1, 1000), st.sampled_from(SPOKEN))
def test_a_bound_is_met_wherever_it_can_be(wish, bound, codec):
    ms = chosen(codec, wish, bound)
    assert bound is None or ms <= bound or ms == (10 if codec in OCTETS else 20)


@given(st.sampled_from(OCTETS), st.sampled_from([10, 20, 30, 40, 60]), st.integers(0, 20))
def test_the_octets_stay_and_every_packet_but_the_last_is_full(codec, ms, count):
    payloads = [bytes((number,)) * 160 for number in range(count)]
    bundle = Bundle(codec, ms)
    made = [one for payload in payloads for one in bundle.push(payload)]
    assert all(size == ms == len(one) / 8 for one, size in made)
    last = bundle.rest()
    assert b"".join(one for one, _ in (*made, *last)) == b"".join(payloads)
    assert sum(size for _, size in last) < ms
    assert bundle.rest() == []


@given(st.sampled_from(OCTETS), LENGTHS)
def test_octets_of_any_length_are_cut_to_20_ms(codec, lengths):
    payloads = [bytes((number,)) * 8 * ms for number, ms in enumerate(lengths)]
    recut = Recut(codec)
    made = [one for payload in payloads for one in recut.push(payload)]
    assert {len(one) for one in made} <= {160}
    assert b"".join((*made, *recut.rest())) == b"".join(payloads)


@given(st.booleans(), st.lists(st.integers(0, 7), min_size=1, max_size=12), st.integers(0, 15))
def test_frames_of_amr_are_taken_apart_and_put_together_with_what_is_asked_for(aligned, modes, asked):
    form = amr.Form(octet_aligned=aligned)
    frames = [bytes((mode << 3 | 4,)) + b"\x55" * ((amr.BITS[mode] + 7) // 8) for mode in modes]
    frames = [amr.unpack(form, amr.pack(form, [frame]))[0] for frame in frames]
    payload = amr.pack(form, frames)
    payload = bytes((payload[0] & 15 | asked << 4,)) + payload[1:]
    codec = "AMR;octet-align=1" if aligned else "AMR"
    assert duration(codec, payload) == 20 * len(modes)
    single = Recut(codec).push(payload)
    assert [amr.unpack(form, one) for one in single] == [[frame] for frame in frames]
    assert {one[0] >> 4 for one in single} == {asked}
    bundle = Bundle(codec, 60)
    joined = [one for payload in single for one in bundle.push(payload)]
    assert [size for _, size in joined] == [60] * (len(modes) // 3)
    whole = [frame for one, _ in (*joined, *bundle.rest()) for frame in amr.unpack(form, one)]
    assert whole == frames


@pytest.mark.parametrize("ms", [40, 60])
def test_opus_that_is_joined_is_the_same_sound(ms):
    """libopus judges the packets (RFC 6716 §3.2): each decodes to all of its frames, sample by sample as one by one."""
    payloads = spoken("OPUS", 50)
    bundle = Bundle("OPUS", ms)
    made = [one for payload in payloads for one in bundle.push(payload)] + bundle.rest()
    assert max(size for _, size in made) == ms
    alone, together = Decoder("OPUS"), Decoder("OPUS")
    assert [duration("OPUS", one) for one, _ in made] == [size for _, size in made]
    separate = np.concatenate([alone.decode(payload) for payload in payloads])
    joined = np.concatenate([together.decode(one) for one, _ in made])
    assert np.array_equal(separate, joined)


@given(st.lists(st.binary(min_size=1, max_size=400), min_size=2, max_size=3), st.booleans())
def test_opus_frames_of_any_size_are_found_again(frames, same):
    frames = [frames[0]] * len(frames) if same else frames
    bundle = Bundle("OPUS", 20 * len(frames))
    ((made, ms),) = [one for frame in frames for one in bundle.push(b"\xf8" + frame)]
    assert ms == duration("OPUS", made) == 20 * len(frames)
    parser = av.CodecContext.create("libopus", "r")
    assert parser.name == "libopus"
    assert made.endswith(b"".join(frames))


def test_frames_that_can_not_be_joined_leave_alone():
    bundle = Bundle("OPUS", 40)
    assert bundle.push(b"\xf8\xff\xfe") == []
    assert bundle.push(b"\x08abc") == [(b"\xf8\xff\xfe", 20)], "another configuration"
    assert bundle.push(b"\x09abcabc") == [(b"\x08abc", 20)], "two frames already"


@pytest.mark.parametrize(
    ("codec", "payload", "ms"),
    [
        ("PCMA", b"x" * 1600, 200), ("G722", b"x" * 3, 0.375), ("PCMA", b"", 0), ("OPUS", b"", None), ("OPUS", b"\x18a", 60),
        ("OPUS", b"\x60a", 10), ("OPUS", b"\x68a", 20), ("OPUS", b"\x80a", 2.5), ("OPUS", b"\xfb\x06a", 120),
        ("OPUS", b"\xfb", None), ("AMR", b"\xf0", None), ("G729", b"x" * 20, None), ("CN", b"x", None),
    ],
)  # fmt: skip
def test_how_long_a_payload_is(codec, payload, ms):
    assert duration(codec, payload) == ms


def test_what_is_no_amr_is_nothing():
    assert Recut("AMR").push(b"\xf0") == []
    Recut("AMR").ask(3)
    assert Recut("AMR").rest() == []


def test_there_is_a_longest_packet_of_every_codec():
    assert set(SPOKEN) < set(LONGEST)
    assert all(duration(codec, silence(codec)) == 20 for codec in SPOKEN)
