"""Later offers of ours in a session that stands (RFC 3264 §8): places, numbers, profiles."""

from pbx.sdp.capabilities import CAPABILITIES
from pbx.sdp.description import parse
from pbx.sdp.offer_answer import accept, answer, offer
from pbx.sdp.reoffer import reoffer

HERE = {
    "address": "192.0.2.1", "ports": {"audio": (20000, 20001), "video": (20002, 20003)}, "session": 7,
}  # fmt: skip


def sdp(*lines):
    head = ["v=0", "o=- 1 1 IN IP4 198.51.100.7", "s=-", "c=IN IP4 198.51.100.7", "t=0 0"]
    return parse("\r\n".join([*head, *lines, ""]).encode())


def after(*lines, ports=None):
    """What we offer next to somebody whose offer we answered."""
    here = {**HERE, **({} if ports is None else {"ports": ports})}
    said, _ = answer(sdp(*lines), CAPABILITIES, **here, version=1)
    return reoffer(offer(CAPABILITIES, **HERE, version=2), said)


def test_lines_stay_in_the_order_of_who_offered_first_and_none_is_lost():
    # RFC 3264 §8: "the number of "m=" lines in the new SDP MUST NOT be less than the number of "m=" lines in the previous SDP".
    again = after(
        "m=text 9 RTP/AVP 98", "m=video 5002 RTP/AVP 120", "a=rtpmap:120 VP8/90000", "m=audio 5000 RTP/AVP 8"
    )
    assert again.origin.version == 2
    assert [(media.kind, media.port) for media in again.media] == [
        ("text", 0),
        ("video", 20002),
        ("audio", 20000),
    ]
    assert [media.direction for media in again.media] == ["inactive", "sendrecv", "sendrecv"]
    assert again.media[0].formats == ("98",)


def test_a_number_keeps_its_format_and_a_new_format_gets_a_free_number():
    """RFC 3264 §8.3.2."""
    again = after(
        "m=audio 5000 RTP/AVP 8 107",
        "a=rtpmap:107 telephone-event/8000",
        "m=video 5002 RTP/AVP 96",
        "a=rtpmap:96 VP8/90000",
    )
    audio, video = ({codec.payload_type: codec.name for codec in media.codecs} for media in again.media)
    assert (audio[8], audio[107], video[96]) == ("PCMA", "TELEPHONE-EVENT", "VP8")
    assert "OPUS" in audio.values(), "107 is its number in a first offer"
    assert "H264" in video.values(), "and 96 that of this"
    for media in again.media:
        used = [codec.payload_type for codec in media.codecs]
        assert len(set(used)) == len(used)
        assert media.formats == tuple(map(str, used))


def test_the_order_of_our_preference_is_that_of_a_first_offer():
    first = offer(CAPABILITIES, **HERE, version=1)
    again = after("m=audio 5000 RTP/AVP 0 8", "m=video 5002 RTP/AVP 97", "a=rtpmap:97 VP8/90000")
    for media, before in zip(again.media, first.media, strict=True):
        assert [codec.name for codec in media.codecs] == [codec.name for codec in before.codecs]


def test_a_second_stream_of_a_kind_that_was_refused_stays_refused():
    again = after(
        "m=audio 5000 RTP/AVP 8",
        "m=video 5002 RTP/AVP 96", "a=rtpmap:96 VP8/90000", "a=content:slides",
        "m=video 5004 RTP/AVP 97", "a=rtpmap:97 VP8/90000",
    )  # fmt: skip
    assert [(media.kind, media.port > 0) for media in again.media] == [
        ("audio", True), ("video", False), ("video", True),
    ]  # fmt: skip
    theirs = sdp(
        "m=audio 5000 RTP/AVP 8", "m=video 0 RTP/AVP 96", "m=video 5004 RTP/AVP 97", "a=rtpmap:97 VP8/90000"
    )
    assert [stream.index for stream in accept(again, theirs)] == [0, 2]


def test_a_refused_line_of_the_kind_is_used_again_and_what_never_had_one_comes_last():
    # RFC 3264 §8.1: "new media streams … are created by adding a new m line, or by reusing the one of an old stream that had
    # its port set to zero" — sound keeps its place.
    refused = after("m=video 0 RTP/AVP 96", "a=rtpmap:96 VP8/90000", "m=audio 5000 RTP/AVP 8")
    assert [(media.kind, media.port) for media in refused.media] == [("video", 20002), ("audio", 20000)]
    added = after("m=application 9 UDP/BFCP *", "m=audio 5000 RTP/AVP 8")
    assert [(media.kind, media.port) for media in added.media] == [
        ("application", 0), ("audio", 20000), ("video", 20002),
    ]  # fmt: skip


def test_the_profile_of_a_stream_stays():
    again = after("m=audio 5000 RTP/AVP 8", "m=video 5002 RTP/AVPF 96", "a=rtpmap:96 VP8/90000")
    assert [media.protocol for media in again.media] == ["RTP/AVP", "RTP/AVPF"]


def test_of_two_streams_of_a_kind_one_is_offered_again():
    said = sdp("m=audio 5000 RTP/AVP 8", "m=audio 5002 RTP/AVP 8")
    again = reoffer(offer(CAPABILITIES, **HERE, version=2), said)
    assert [(media.kind, media.port > 0) for media in again.media] == [
        ("audio", True), ("audio", False), ("video", True),
    ]  # fmt: skip
