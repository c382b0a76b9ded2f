import base64

import pytest

from recordings.depacketize import START, AccessUnit
from recordings.picture import parameter_sets, template, usable
from tests.kit.rtp_media import encode_pictures, nal_units


@pytest.mark.parametrize(("name", "codec"), [("H264", "h264"), ("H265", "hevc"), ("VP8", "vp8")])
def test_a_template_knows_the_size(name: str, codec: str) -> None:
    unit = AccessUnit(
        encode_pictures(name, 0.2, colour=(1, 2, 3), size=(176, 144))[0], 0, key=True, complete=True
    )
    container = template(name, unit, b"")
    assert container is not None
    context = container.streams.video[0].codec_context
    assert (context.name, context.width, context.height) == (codec, 176, 144)
    container.close()


@pytest.mark.parametrize("name", ["H264", "H265", "VP8"])
@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"\x00\x00\x00\x01\x65garbage", b"\x10\x00\x00\x9d\x01\x2a\x00\x00\x00\x00"]
)
def test_nonsense_is_no_template(name: str, data: bytes) -> None:
    assert template(name, AccessUnit(data, 0, key=True, complete=True), b"") is None


def test_parameter_sets_of_sdp() -> None:
    sps, pps, *_rest = [
        n for n in nal_units(encode_pictures("H264", 0.1, colour=(1, 2, 3))[0]) if n[0] & 31 in (7, 8)
    ]
    text = ",".join(base64.b64encode(nal).decode() for nal in (sps, pps))
    fmtp = f"profile-level-id=42c01e; sprop-parameter-sets={text};packetization-mode=1"
    assert parameter_sets("H264", fmtp) == START + sps + START + pps
    assert (
        parameter_sets("H265", f"sprop-vps={base64.b64encode(b'v').decode()};sprop-pps=cA==")
        == START + b"v" + START + b"p"
    )
    assert parameter_sets("H264", "sprop-parameter-sets=Z0L,===,") == b""
    assert parameter_sets("H264", "x-sprop-parameter-sets=Z0I=") == b""
    assert parameter_sets("VP8", fmtp) == b""


def test_what_may_be_shown_damaged() -> None:
    damaged = AccessUnit(b"x", 0, key=False, complete=False)
    assert usable("H264", damaged)
    assert usable("H265", damaged)
    assert not usable("VP8", damaged)
    assert usable("VP8", AccessUnit(b"x", 0, key=False, complete=True))
