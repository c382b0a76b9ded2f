import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp import control as c
from rtp.frames import MAX_FRAME, FrameError, Frames, decode_command, decode_event, encode, pack

COMMAND = c.OpenLeg("leg", ("audio", "video"), "127.0.0.1", "call")
EVENT = c.LegOpened("leg", (c.PortPair("audio", 20000, 20001),))


def test_commands_and_events_come_back_as_they_were():
    frames = Frames().feed(encode(COMMAND) + encode(EVENT))
    assert decode_command(frames[0]) == COMMAND
    assert decode_event(frames[1]) == EVENT


@given(st.lists(st.binary(max_size=50), max_size=8), st.lists(st.integers(1, 20), max_size=40))
def test_any_cutting_gives_the_same_frames(bodies, cuts):
    data = b"".join(map(pack, bodies))
    frames, got, at = Frames(), [], 0
    for cut in cuts:
        got += frames.feed(data[at : at + cut])
        at += cut
    assert got + frames.feed(data[at:]) == bodies


def test_a_frame_may_be_this_long_and_no_longer():
    assert len(Frames().feed(pack(bytes(MAX_FRAME)))[0]) == MAX_FRAME
    with pytest.raises(FrameError):
        pack(bytes(MAX_FRAME + 1))
    with pytest.raises(FrameError):
        Frames().feed((MAX_FRAME + 1).to_bytes(4, "big"))


@pytest.mark.parametrize("decode", [decode_command, decode_event])
@given(body=st.binary(max_size=40))
def test_bytes_that_are_no_message_are_refused(decode, body):
    try:
        decode(body)
    except FrameError:
        return
    raise AssertionError(body)


def test_an_event_is_no_command():
    with pytest.raises(FrameError):
        decode_command(msgspec.msgpack.encode(EVENT))


def test_srtp_keys_arrive_and_show_in_no_representation():
    keys = c.Sdes("AES_CM_128_HMAC_SHA1_80", b"S" * 30, b"R" * 30)
    codec = c.Codec("PCMA", 8, 8000)
    stream = c.Stream(0, "audio", None, None, (codec,), (codec,), True, True, (), keys)
    command = c.ConfigureLeg("leg", (stream,), ())
    (frame,) = Frames().feed(encode(command))
    assert decode_command(frame) == command
    assert "SSSS" not in repr(command)
    assert "RRRR" not in repr(command)
    other = c.ConfigureLeg(
        "leg", (c.Stream(0, "audio", None, None, (), (), True, True, (), c.Dtls(True, ())),), ()
    )
    (frame,) = Frames().feed(encode(other))
    assert decode_command(frame) == other
