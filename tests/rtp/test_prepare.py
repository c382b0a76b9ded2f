import io
from unittest.mock import patch

import msgspec

from rtp.frames import Frames
from rtp.prepare import CODECS, TONES, PreparedPrompts, Ready, prepare
from rtp.prompts import Prompts


def test_what_is_handed_over_is_what_would_have_been_encoded():
    out = io.BytesIO()
    with patch.object(Prompts, "names", ("en/1",)):
        prepare((), out)
    ready = [msgspec.msgpack.decode(frame, type=Ready) for frame in Frames().feed(out.getvalue())]
    assert [(r.codec, r.item) for r in ready] == [
        (codec, item) for codec in CODECS for item in (*TONES, "en/1")
    ]
    prompts = Prompts()
    for one in ready:
        assert one.frames == prompts.frames(one.item, one.codec)
        assert one.frames


def test_adopted_prompts_are_not_encoded_again():
    prompts = PreparedPrompts(())
    prompts.adopt(Ready("en/1", "PCMA", (b"a", b"b")))
    assert prompts.frames("en/1", "PCMA") == (b"a", b"b")
    assert prompts.frames("pause:40", "PCMA") == (b"\xd5" * 160,) * 2  # what was not handed over
