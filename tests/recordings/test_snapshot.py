import av
import numpy as np
import pytest

from recordings.depacketize import AccessUnit
from recordings.snapshot import decode_picture, encode_jpeg
from tests.kit.rtp_media import encode_pictures

RED = (200, 30, 30)


def key(name: str) -> AccessUnit:
    return AccessUnit(encode_pictures(name, 0.2, colour=RED)[0], 0, key=True, complete=True)


def jpeg_colour(data: bytes) -> list[int]:
    with av.open(__import__("io").BytesIO(data), format="mjpeg") as container:
        [frame] = container.decode(video=0)
    return np.median(frame.to_ndarray(format="rgb24")[60:], axis=(0, 1)).astype(int).tolist()


@pytest.mark.parametrize("name", ["H264", "H265", "VP8"])
def test_a_key_picture_becomes_a_jpeg_of_its_colour(name: str) -> None:
    frame = decode_picture(name, key(name))
    assert frame is not None
    data = encode_jpeg(frame, "call 7, 说明")
    assert data.startswith(b"\xff\xd8\xff\xfe")
    assert "call 7, 说明".encode() in data[:40]
    assert jpeg_colour(data) == pytest.approx(RED, abs=12)


def test_damaged_or_dependent_pictures_are_refused() -> None:
    whole = key("H264")
    assert decode_picture("H264", AccessUnit(whole.data, 0, key=True, complete=False)) is None
    assert decode_picture("H264", AccessUnit(whole.data, 0, key=False, complete=True)) is None
    assert decode_picture("H264", AccessUnit(b"\0\0\0\1\x65" + b"x" * 50, 0, key=True, complete=True)) is None
    assert decode_picture("VP8", AccessUnit(b"\x10", 0, key=True, complete=True)) is None


def test_parameter_sets_from_outside() -> None:
    whole = key("H264").data
    at = whole.rindex(b"\0\0\1\x65")
    parameters, picture = whole[:at], AccessUnit(whole[at:], 0, key=True, complete=True)
    assert decode_picture("H264", picture) is None
    assert decode_picture("H264", picture, parameters) is not None
