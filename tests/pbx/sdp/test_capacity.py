"""What an end takes of a picture, by its SDP."""

import pytest

from pbx.sdp.capacity import picture_limit
from pbx.sdp.description import parse


def limit(*lines: str, session: tuple[str, ...] = ()):
    head = ["v=0", "o=- 1 1 IN IP4 198.51.100.7", "s=-", "c=IN IP4 198.51.100.7", *session, "t=0 0"]
    return picture_limit(parse("\r\n".join([*head, *lines, ""]).encode()))


VP8 = ("m=video 5002 RTP/AVP 96", "a=rtpmap:96 VP8/90000")
H264 = ("m=video 5002 RTP/AVP 96", "a=rtpmap:96 H264/90000")


def test_nothing_said_is_no_limit():
    assert limit(*VP8) is None
    assert limit("m=audio 5000 RTP/AVP 8", "b=AS:64") is None
    assert limit("m=video 0 RTP/AVP 96", "b=AS:64") is None


@pytest.mark.parametrize(
    ("line", "bits", "by"), [("b=AS:512", 512_000, "AS"), ("b=TIAS:384000", 384_000, "TIAS")]
)
def test_bandwidth_of_the_medium_or_else_of_the_session(line, bits, by):
    assert limit(VP8[0], line, VP8[1]) == (bits, by)
    assert limit(*VP8, session=(line,)) == (bits, by)
    assert limit(VP8[0], line, VP8[1], session=("b=AS:64",)) == (bits, by)


@pytest.mark.parametrize("line", ["b=AS:0", "b=AS:x", "b=CT:100", "b=AS:99999999999"])
def test_other_lines_limit_nothing(line):
    assert limit(VP8[0], line, VP8[1]) is None


def test_the_level_of_h264():
    assert limit(*H264, "a=fmtp:96 profile-level-id=42e00d") == (768_000, "level")
    assert limit(*H264, "a=fmtp:96 profile-level-id=42e00d;max-br=1500") == (1_500_000, "level")
    assert limit(*H264, "a=fmtp:96 profile-level-id=42e0ff") is None
    assert limit(H264[0], "b=AS:256", H264[1], "a=fmtp:96 profile-level-id=42e00d") == (256_000, "AS")
