"""The still image: drawn, read, encoded so that any phone takes it."""

from pathlib import Path

import av
import numpy as np
import pytest

from recordings.depacketize import DEPACKETIZERS
from recordings.snapshot import decode_picture
from rtp.still import CODECS, HEIGHT, MAX_PAYLOAD, WIDTH, StillError, draw, encode, load


def decoded(name: str, payloads: tuple[bytes, ...]) -> np.ndarray:
    depacketizer = DEPACKETIZERS[name]()
    units = [
        unit
        for number, payload in enumerate(payloads)
        for unit in depacketizer.push(payload, number == len(payloads) - 1, 7)
    ]
    (unit,) = units
    assert (unit.key, unit.complete, depacketizer.bad) == (True, True, 0)
    frame = decode_picture(name, unit)
    assert frame is not None
    return frame.to_ndarray(format="rgb24")


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


@pytest.mark.parametrize("name", CODECS)
def test_the_drawn_badge_is_one_key_frame_of_small_packets(name: str) -> None:
    image = draw()
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert image.std() > 30, "there is something to be seen"
    payloads = encode(name, image)
    assert all(0 < len(payload) <= MAX_PAYLOAD for payload in payloads)
    assert difference(decoded(name, payloads), image) < 6


def test_h264_is_single_nal_units_of_constrained_baseline_at_a_low_level() -> None:
    payloads = encode("H264", draw())
    kinds = [payload[0] & 0x1F for payload in payloads]
    assert kinds[:2] == [7, 8]
    assert set(kinds[2:]) == {5}
    sps = payloads[0]
    assert sps[1] == 66, "Baseline"
    assert sps[2] & 0x40, "constrained"
    assert sps[3] <= 13, "level 1.3"


@pytest.mark.parametrize("size", [(64, 48), (1920, 1080), (300, 900)])
def test_a_sites_own_image_is_fitted_in(tmp_path: Path, size: tuple[int, int]) -> None:
    image = np.full((size[1], size[0], 3), (200, 30, 30), np.uint8)
    path = tmp_path / "own.png"
    encoder = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt = *size, "rgb24"
    encoder.time_base = __import__("fractions").Fraction(1, 1)
    packets = encoder.encode(av.VideoFrame.from_ndarray(image, format="rgb24")) + encoder.encode(None)
    path.write_bytes(b"".join(map(bytes, packets)))
    fitted = load(str(path))
    assert fitted.shape == (HEIGHT, WIDTH, 3)
    assert abs(int(fitted[HEIGHT // 2, WIDTH // 2, 0]) - 200) < 10
    red = (fitted[:, :, 0] > 100).sum() / fitted[:, :, 0].size
    wanted = min(WIDTH / size[0], HEIGHT / size[1]) ** 2 * size[0] * size[1] / (WIDTH * HEIGHT)
    assert red == pytest.approx(wanted, abs=0.03)


@pytest.mark.parametrize("content", [b"", b"no picture", None])
def test_an_image_that_can_not_be_read(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "own.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StillError, match=r"own\.png"):
        load(str(path))
