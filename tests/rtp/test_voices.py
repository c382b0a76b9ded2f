import itertools

import numpy as np
import pytest

from rtp import g711
from rtp.codecs import Encoder, samples_per_frame
from rtp.control import Codec
from rtp.jitter import LEAST_PATIENCE
from rtp.packet import Packet
from rtp.voices import WAITING_BEATS, Ear, Voice, crossfaded
from tests.kit.media_wire import EVENTS, PCMA, PCMU, Wire, sent
from tests.kit.rtp_media import dominant_hz, tone

G722 = Codec("G722", 9, 8000)
OPUS = Codec("OPUS", 111, 48000, 2)
CN = Codec("CN", 13, 8000)


def packet(codec, sequence, payload, **more):
    return Packet(codec.payload_type, sequence, 0, 1, payload, **more).encode()


def put(voice, codec, sequence, payload, **more):
    voice.entrance(codec)(packet(codec, sequence, payload, **more), sequence, 0, 0.0)


def spoken(codec, hz, seconds):
    """A tone as 20 ms payloads."""
    encoder = Encoder(codec)
    size = encoder.sampling_rate // 50
    wave = tone(hz, seconds, encoder.sampling_rate)
    return [encoder.encode(wave[at : at + size]) for at in range(0, len(wave) - size + 1, size)]


@pytest.mark.parametrize(("codec", "rate"), list(itertools.product([PCMA, PCMU, G722, OPUS], [8000, 16000])))
def test_every_codec_is_heard_at_either_rate(codec, rate):
    voice, heard = Voice("a", rate), []
    for sequence, payload in enumerate(spoken(codec, 600, 1.0)):
        put(voice, codec, sequence, payload)
        taken = voice.take()
        if isinstance(taken, tuple):
            assert rate == 8000
            taken = g711.decode_alaw(taken[1]) if taken[0] == "PCMA" else g711.decode_ulaw(taken[1])
        heard.append(np.zeros(rate // 50, np.int16) if taken is None else taken)
    whole = np.concatenate(heard)[rate // 5 :]
    assert dominant_hz(whole, rate) == pytest.approx(600, abs=3)


@pytest.mark.parametrize("samples", [80, 240, 320, 480])
def test_packets_of_any_length_become_20_ms(samples):
    voice = Voice("a", 8000)
    wave = tone(300, 1.2, 8000)
    due = 0
    heard = []
    for beat in range(40):
        while due * samples < (beat + 2) * 160:
            put(voice, PCMA, due, g711.encode_alaw(wave[due * samples : (due + 1) * samples]))
            due += 1
        taken = voice.take()
        assert taken is not None
        heard.append(g711.decode_alaw(taken[1]) if isinstance(taken, tuple) else taken)
    plain = g711.decode_alaw(g711.encode_alaw(wave))
    assert np.array_equal(np.concatenate(heard), plain[: 40 * 160])


def test_extension_and_padding_are_no_sound_and_a_lying_header_is_none():
    voice = Voice("a", 8000)
    put(voice, PCMA, 1, b"\xd5" * 160, extension=(1, b"abcd"))
    assert voice.take() == ("PCMA", b"\xd5" * 160)
    voice.entrance(PCMA)(b"\xbf" + packet(PCMA, 2, b"x" * 8)[1:], 2, 0, 0.0)
    assert voice.take() is None


def test_digits_have_numbers_and_no_sound():
    voice = Voice("a", 8000)
    put(voice, PCMA, 1, b"\x11" * 160)
    put(voice, EVENTS, 2, b"\x05\x0a\0\xa0")
    put(voice, PCMA, 3, b"\x12" * 160)
    first = voice.take()
    second = voice.take()
    assert first == ("PCMA", b"\x11" * 160)
    assert np.array_equal(second, g711.decode_alaw(b"\x12" * 160))
    assert voice.buffer.lost == 0


def test_comfort_noise_goes_on_until_sound_comes():
    voice = Voice("a", 8000)
    put(voice, PCMA, 1, b"\x11" * 160)
    voice.take()
    put(voice, CN, 2, b"\x28")
    quiet = [voice.take() for _ in range(5)]
    assert all(0 < np.abs(frame).max() < 2500 for frame in quiet)
    put(voice, PCMA, 3, b"\x11" * 160)
    voice.take()
    assert voice.take() is None, "what is missing now is missing"


def test_before_the_first_packet_there_is_silence_and_nothing_to_conceal():
    taken = Voice("a", 16000).take()
    assert taken.shape == (320,)
    assert not taken.any()


def test_a_payload_its_decoder_refuses_is_concealed():
    voice = Voice("a", 16000)
    put(voice, OPUS, 1, b"\xff\xff")
    assert voice.take() is None
    assert voice.undecodable == 1


def test_a_delay_longer_than_needed_is_taken_back_without_a_click():
    voice = Voice("a", 8000)
    wave = tone(100, 4.0, 8000)
    payloads = [g711.encode_alaw(wave[at : at + 160]) for at in range(0, len(wave), 160)]
    heard = []
    put(voice, PCMA, 0, payloads[0])
    for number in range(1, LEAST_PATIENCE + 20):
        put(voice, PCMA, number, payloads[number])
        taken = voice.take()
        heard.append(g711.decode_alaw(taken[1]) if isinstance(taken, tuple) else taken)
    assert len(voice.buffer.held) == 0
    assert (
        np.abs(np.diff(np.concatenate(heard).astype(int))).max()
        < 2.5 * np.abs(np.diff(wave.astype(int))).max()
    )


def test_what_comes_next_can_be_looked_at_where_that_is_exact():
    voice = Voice("a", 8000)
    assert voice.ahead() is None
    put(voice, PCMU, 1, b"\x11" * 160)
    assert np.array_equal(voice.ahead(), g711.decode_ulaw(b"\x11" * 160))
    assert voice.take() == ("PCMU", b"\x11" * 160)
    put(voice, G722, 2, b"\xfd" * 160)
    assert voice.ahead() is None
    voice.tune(16000)
    assert (voice.rate, voice.ahead()) == (16000, None)


@pytest.mark.parametrize("codec", [PCMA, PCMU, G722, OPUS], ids=lambda codec: codec.name)
@pytest.mark.parametrize("rate", [8000, 16000])
def test_an_ear_of_any_codec_gets_20_ms_each_beat(codec, rate):
    track = Wire().configured(codecs=(codec, EVENTS))
    ear = Ear("leg", track.sender, 9, rate, ())
    ear.begun = True
    for beat in range(30):
        wanted = ear.wants()
        payload = ear.encoded(wanted, tone(500, 0.02, rate))
        if payload is not None:
            ear.send(wanted, payload, 100.0 + beat * 0.02)
    packets = sent(track)
    assert len(packets) >= 28
    for before, after in itertools.pairwise(packets):
        assert (after.sequence - before.sequence) & 0xFFFF == 1
        assert (after.timestamp - before.timestamp) & 0xFFFFFFFF == samples_per_frame(codec)


def test_an_ear_waits_a_little_for_its_voices():
    track = Wire().configured()
    voice = Voice("a", 8000)
    ear = Ear("leg", track.sender, 9, 8000, (voice,))
    assert [ear.wants() for _ in range(WAITING_BEATS)] == [None] * WAITING_BEATS
    assert ear.wants() == PCMA
    ear = Ear("leg", track.sender, 9, 8000, (voice,))
    put(voice, PCMA, 1, b"\xd5" * 160)
    assert ear.wants() == PCMA


def test_an_ear_that_hears_a_prompt_is_sent_no_mix():
    track = Wire().configured()
    ear = Ear("leg", track.sender, 9, 8000, ())
    ear.begun = True
    track.sender.override(overridden=True)
    assert ear.wants() is None


def test_a_crossfade_begins_with_one_and_ends_with_the_other():
    both = crossfaded(np.full(160, 1000, np.int16), np.full(160, -1000, np.int16))
    assert both[0] > 980
    assert both[-1] < -980


@pytest.mark.parametrize("ms", [10, 30, 40, 60, 100])
def test_a_voice_in_any_packet_time_is_heard_without_a_hole_and_its_delay_shrinks(ms):
    """A pause of the way makes the delay longer by what came at once; within some seconds it is as short as the packets allow."""
    voice, size = Voice("a", 8000), 8 * ms
    wave = tone(400, 1, 8000)
    sent_packets, missing, late = 0, [], 0
    for beat in range(1500):
        now = beat * 20
        arrived = now if not 1000 <= now < 1120 else 1000  # the way holds everything back
        while sent_packets * ms <= arrived:
            at = sent_packets * size % 8000
            put(
                voice,
                PCMA,
                sent_packets & 0xFFFF,
                g711.encode_alaw(np.concatenate([wave, wave])[at : at + size]),
            )
            sent_packets += 1
        if voice.take() is None:
            missing.append(now)
        late = max(late, len(voice.buffer.held) * ms if now > 1200 else 0)
    assert all(now < ms + 40 or 1000 <= now < 1240 for now in missing), missing
    assert voice.buffer.lost == voice.buffer.overflown == 0
    assert len(voice.buffer.held) * ms <= ms + 20, "nothing is left of the pause"
