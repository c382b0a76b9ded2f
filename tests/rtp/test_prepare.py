import io
from unittest.mock import patch

import msgspec
from structlog.testing import capture_logs

from rtp import still
from rtp.frames import Frames
from rtp.prepare import CODECS, STILL, TONES, PreparedPrompts, Ready, prepare
from rtp.prompts import Prompts


def test_what_is_handed_over_is_what_would_have_been_encoded():
    out = io.BytesIO()
    with patch.object(Prompts, "names", ("en/1",)):
        prepare((), out)
    ready = [msgspec.msgpack.decode(frame, type=Ready) for frame in Frames().feed(out.getvalue())]
    stills = [one for one in ready if one.item == STILL]
    assert [one.codec for one in stills] == list(still.CODECS)
    assert all(one.frames == still.encode(one.codec, still.draw()) for one in stills)
    sounds = [one for one in ready if one.item != STILL]
    assert [(r.codec, r.item) for r in sounds] == [
        (codec, item) for codec in CODECS for item in (*TONES, "en/1")
    ]
    prompts = Prompts()
    for one in sounds:
        assert one.frames == prompts.frames(one.item, one.codec)
        assert one.frames


def test_adopted_prompts_are_not_encoded_again():
    prompts = PreparedPrompts(())
    prompts.adopt(Ready("en/1", "PCMA", (b"a", b"b")))
    assert prompts.frames("en/1", "PCMA") == (b"a", b"b")
    assert prompts.frames("pause:40", "PCMA") == (b"\xd5" * 160,) * 2  # what was not handed over


def test_a_sites_image_that_can_not_be_read_is_told_and_the_drawn_one_shown(tmp_path):
    out = io.BytesIO()
    with patch.object(Prompts, "names", ()), capture_logs() as told:
        prepare((), out, own_still=str(tmp_path / "absent.png"))
    ready = [msgspec.msgpack.decode(frame, type=Ready) for frame in Frames().feed(out.getvalue())]
    assert "absent.png" in next(line["reason"] for line in told if line["event"] == "still_image_unreadable")
    prompts = PreparedPrompts(())
    assert prompts.still("H264") == ()
    for one in ready:
        prompts.adopt(one)
    assert prompts.still("H264") == still.encode("H264", still.draw())
    assert Prompts().still("H264") == ()
