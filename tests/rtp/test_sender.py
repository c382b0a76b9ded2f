import pytest

from rtp.codecs import silence
from rtp.control import Codec
from rtp.packet import parse
from rtp.sender import SilentGate
from tests.kit.media_wire import EVENTS, PCMA, PCMU, PHONE, Wire, packet, rtp_socket, sent, stream

OPUS = Codec("OPUS", 111, 48000, 2)


def relayed(sender, sequence, payload=b"x" * 160, codec=PCMA, now=100.0):
    sender.relay(5, packet(sequence, payload), codec, sequence, sequence * 160, now)


def test_the_silent_gate_lets_silence_pass_and_nothing_else():
    passed = []
    gate = SilentGate(lambda data: passed.append(data) or len(data), frozenset({b"\xd5" * 160}))
    assert gate(packet(1, b"\xd5" * 160)) == 172
    assert gate(packet(1, b"\xd5" * 159 + b"\xd4")) == 0
    assert gate(packet(1, b"\xd5" * 80)) == 0
    assert gate(packet(1, b"")) == 0
    assert (len(passed), gate.stopped) == (1, 3)


@pytest.mark.parametrize("codec", [PCMA, PCMU, Codec("G722", 9, 8000), OPUS], ids=lambda codec: codec.name)
def test_silence_of_each_codec_passes_the_gate(codec):
    track = Wire().configured(codecs=(codec, EVENTS))
    track.sender.set_silent(silent=True)
    track.sender.silence(100.0)
    assert [p.payload for p in sent(track)] == [silence(codec)]


def test_in_silent_mode_no_way_leads_past_the_gate():
    track = Wire().configured()
    sender = track.sender
    taken = []
    sender.evidence = lambda *row: taken.append(row)
    sender.set_silent(silent=True)
    relayed(sender, 1)
    sender.made(6, PCMA, b"loud" * 40, 160, 100.0)
    sender.steady(6, PCMA, b"loud" * 40, 160, 100.0)
    sender.local_frame(7, PCMA, b"loud" * 40, 160, 100.0)
    sender.local_frame(8, EVENTS, b"\x05\x0a\0\xa0", 160, 100.0)
    sender.relay_open = True  # even if the first gate were left open by mistake
    relayed(sender, 2)
    assert sent(track) == []
    assert taken == []
    assert sender.packets == 0
    assert sender.gate.stopped == 3
    sender.set_silent(silent=False)
    relayed(sender, 3)
    assert len(sent(track)) == 1


def test_a_picture_has_no_silence():
    wire = Wire()
    track = wire.configured(medium="video", codecs=(Codec("VP8", 98, 90000),))
    track.sender.set_silent(silent=True)
    assert track.sender.gate is None
    assert track.sender.relay_open


def test_nothing_is_sent_to_a_peer_without_an_address_or_that_takes_nothing():
    wire = Wire()
    track = wire.configured(remote=None)
    relayed(track.sender, 1)
    track.sender.silence(100.0)
    assert (sent(track), track.sender.packets) == ([], 0)
    track.configure(stream(sending=False), frozenset({PHONE[0]}), 100.0)
    relayed(track.sender, 2)
    assert sent(track) == []
    assert track.sender.shut == 2


def test_packets_go_to_the_named_address_until_the_socket_is_connected():
    track = Wire().configured()
    relayed(track.sender, 1)
    track.sender.target(("10.0.0.1", 9), connected=True)
    relayed(track.sender, 2)
    assert [address for _, address in rtp_socket(track).sent] == [PHONE, None]


def test_evidence_is_what_was_sent_with_true_addresses():
    track = Wire().configured()
    rows = []
    track.sender.evidence = lambda *row: rows.append(row)
    relayed(track.sender, 1)
    ((at, source, destination, data),) = rows
    assert at > 1_700_000_000 * 10**9
    assert (source, destination) == (("127.0.0.1", 20000), PHONE)
    assert data == rtp_socket(track).sent[0][0]


def test_what_the_system_does_not_take_is_counted_and_no_evidence():
    track = Wire().configured()
    rows = []
    track.sender.evidence = lambda *row: rows.append(row)
    rtp_socket(track).error = ConnectionRefusedError()
    relayed(track.sender, 1)
    assert (track.sender.failed, track.sender.packets, rows) == (1, 0, [])


def test_starving():
    track = Wire().configured()
    sender = track.sender
    assert sender.starving(100.0)
    relayed(sender, 1, now=100.0)
    assert not sender.starving(100.039)
    assert sender.starving(100.041)
    sender.silence(100.06)
    assert sender.starving(100.06)


def test_fill_is_in_the_codec_the_peer_hears():
    track = Wire().configured(codecs=(OPUS, PCMU, PCMA))
    sender = track.sender
    sender.silence(100.0)
    relayed(sender, 1, codec=PCMA, now=100.02)
    sender.silence(100.1)
    assert [p.payload_type for p in sent(track)] == [111, 8, 8]
    track.configure(stream(codecs=(OPUS,)), frozenset({PHONE[0]}), 101.0)
    sender.silence(101.0)
    assert sent(track)[-1].payload_type == 111


def test_csrcs_and_extensions_are_passed_on():
    track = Wire().configured()
    data = packet(3, csrcs=(1, 2), extension=(0xBEDE, b"abcd"), marker=False)
    track.sender.relay(5, data, PCMA, 3, 480, 100.0)
    left = parse(rtp_socket(track).sent[0][0])
    assert (left.csrcs, left.extension, left.payload) == ((1, 2), (0xBEDE, b"abcd"), b"x" * 160)


def test_expecting_is_told_once_by_the_first_packet_of_the_next_source():
    track = Wire().configured()
    told = []
    relayed(track.sender, 1)
    track.sender.out.part()
    track.sender.expecting = lambda: told.append(len(sent(track)))
    track.sender.silence(100.02)
    assert told == []
    relayed(track.sender, 2)
    relayed(track.sender, 3)
    assert told == [3]


def test_the_quick_way_of_a_mix_sends_what_the_plain_one_would():
    plain, quick = Wire().configured(), Wire().configured()
    # in step, after a stall, in another codec, after a prompt, and in silent mode
    for at, codec in [
        (100.0, PCMA),
        (100.02, PCMA),
        (100.04, PCMA),
        (100.5, PCMA),
        (100.52, PCMU),
        (100.54, PCMU),
    ]:
        plain.sender.made(6, codec, b"a" * 160, 160, at)
        quick.sender.steady(6, codec, b"a" * 160, 160, at)
    for track in (plain, quick):
        track.sender.silence(100.56)
    plain.sender.made(6, PCMA, b"b" * 160, 160, 100.58)
    quick.sender.steady(6, PCMA, b"b" * 160, 160, 100.58)
    for track in (plain, quick):
        track.sender.set_silent(silent=True)
    plain.sender.made(6, PCMA, b"c" * 160, 160, 100.6)
    quick.sender.steady(6, PCMA, b"c" * 160, 160, 100.6)
    assert sent(plain) == sent(quick)
    assert plain.sender.out.snapshot() == quick.sender.out.snapshot()
