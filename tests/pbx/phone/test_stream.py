import numpy as np
import pytest

from pbx.phone.picture import clock_text, read_clock
from pbx.phone.stream import Outgoing, Picture, Sound
from rtp import dtmf
from rtp.control import Codec, Stream
from rtp.packet import Packet, parse

PCMA = Codec("PCMA", 8, 8000)
OPUS = Codec("OPUS", 107, 48000, 2)
EVENT = Codec("TELEPHONE-EVENT", 101, 8000)
H264 = Codec("H264", 96, 90000, 1, "packetization-mode=1")
MODE_0 = Codec("H264", 97, 90000, 1, "packetization-mode=0")


def stream(*codecs, sending=True, medium="audio"):
    remote = ("127.0.0.1", 4000)
    return Stream(0, medium, remote, remote, codecs, codecs, sending, True, ("nack pli",))


def outgoing(sequence=65530, timestamp=2**32 - 100):
    return Outgoing(7, sequence, timestamp)


def sound(*codecs, **how):
    made = Sound(440, outgoing(**how))
    made.configure(stream(*codecs))
    return made


@pytest.mark.parametrize(("codec", "units"), [(PCMA, 160), (OPUS, 960)])
def test_sound_packets_are_one_stream(codec, units):
    speaker = sound(EVENT, codec)
    packets = [parse(speaker.make() or b"") for _ in range(20)]
    assert {(p.ssrc, p.payload_type) for p in packets} == {(7, codec.payload_type)}
    assert [p.sequence for p in packets] == [(65530 + n) % 65536 for n in range(20)]
    assert [p.timestamp for p in packets] == [(2**32 - 100 + units * n) % 2**32 for n in range(20)]
    assert [p.marker for p in packets] == [True] + [False] * 19
    assert speaker.outgoing.packets == 20


@pytest.mark.parametrize("codec", [PCMA, OPUS])
def test_one_phone_hears_the_other(codec):
    speaker, hearer = sound(codec), sound(codec)
    for number in range(50):
        hearer.receive(speaker.make() or b"", 10 + number * 0.02)
    assert hearer.ear.tone_hz == pytest.approx(440, abs=1)
    assert hearer.first_packet == 10
    assert (hearer.source.received, hearer.source.lost, hearer.malformed) == (50, 0, 0)


def test_lost_sound_is_counted():
    speaker, hearer = sound(PCMA), sound(PCMA)
    for number in range(50):
        packet = speaker.make() or b""
        if number not in (10, 11, 30):
            hearer.receive(packet, number * 0.02)
    assert hearer.source.lost == 3


def test_a_held_phone_is_silent_and_its_clock_goes_on():
    speaker = sound(PCMA)
    first = parse(speaker.make() or b"")
    speaker.configure(stream(PCMA, sending=False))
    assert [speaker.make() for _ in range(10)] == [None] * 10
    speaker.configure(stream(PCMA))
    again = parse(speaker.make() or b"")
    assert again.marker
    assert (again.sequence - first.sequence) % 65536 == 1
    assert (again.timestamp - first.timestamp) % 2**32 == 11 * 160


def test_a_refused_medium_sends_nothing():
    speaker = sound(PCMA)
    speaker.configure(None)
    assert speaker.make() is None
    picture = Picture("caller", outgoing())
    assert picture.make(0) == []


def test_digits_are_heard():
    hearer = sound(PCMA, EVENT)
    for number, (payload, marker, _) in enumerate(dtmf.events("5", 100)):
        hearer.receive(Packet(101, number, 800, 9, payload, marker).encode(), number * 0.02)
    assert hearer.digits == "5"


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x00" * 20, Packet(13, 1, 2, 3, b"x").encode()])
def test_what_is_not_ours_is_counted(data):
    hearer = sound(PCMA)
    hearer.receive(data, 0)
    assert hearer.malformed == 1
    assert hearer.first_packet is None


def eye(codec=H264, role="desk"):
    made = Picture(role, outgoing())
    made.configure(stream(codec, medium="video"))
    return made


@pytest.mark.parametrize("codec", [H264, MODE_0])
def test_one_phone_sees_the_other(codec):
    sender, receiver = eye(codec, "caller"), eye(codec)
    for number in range(15):
        for packet in sender.make(number * 100):
            receiver.receive(packet, number * 0.1)
    assert receiver.eye.decoded == 15
    assert receiver.first_decoded == 0
    assert receiver.eye.last is not None
    assert read_clock(receiver.eye.last) == clock_text(1400)
    assert not receiver.key_frame_wanted
    assert sender.key_frames == 2


def test_after_a_loss_a_key_frame_is_wanted_and_shown():
    sender, receiver = eye(role="caller"), eye()
    units = [sender.make(number * 100) for number in range(3)]
    for packet in [*units[0], *units[2]]:
        receiver.receive(packet, 0)
    assert receiver.key_frame_wanted
    seen = receiver.eye.decoded
    sender.send_key_frame()
    for packet in sender.make(300):
        receiver.receive(packet, 1)
    assert not receiver.key_frame_wanted
    assert receiver.eye.decoded == seen + 1


def test_a_phone_that_comes_late_waits_for_a_key_frame():
    sender, receiver = eye(role="caller"), eye()
    units = [sender.make(number * 100) for number in range(11)]
    for packet in [p for unit in units[1:10] for p in unit]:
        receiver.receive(packet, 0)
    assert receiver.eye.decoded == 0
    assert receiver.key_frame_wanted
    for packet in units[10]:
        receiver.receive(packet, 1)
    assert (receiver.eye.decoded, receiver.first_decoded) == (1, 1)


def test_repeated_and_late_packets_change_nothing():
    sender, receiver = eye(role="caller"), eye()
    for number in range(5):
        for packet in sender.make(number * 100):
            receiver.receive(packet, 0)
            receiver.receive(packet, 0)
    assert receiver.eye.decoded == 5


def test_who_resumes_begins_with_a_key_frame():
    sender = eye(role="caller")
    for number in range(3):
        sender.make(number * 100)
    sender.configure(stream(H264, sending=False, medium="video"))
    assert sender.make(300) == []
    sender.configure(stream(H264, medium="video"))
    sender.make(400)
    assert sender.key_frames == 2


def test_pictures_are_a_tenth_of_a_second_apart():
    sender = eye()
    times = [{parse(p).timestamp for p in sender.make(number * 100)} for number in range(3)]
    assert np.diff([(t.pop() + 100) % 2**32 for t in times]).tolist() == [9000, 9000]
