"""Human language in SDP (RFC 8373)."""

import pytest

from pbx.call.negotiation import Negotiation
from pbx.sdp.capabilities import CAPABILITIES
from pbx.sdp.description import parse
from pbx.sdp.language import MAX_LANGUAGES, choose, spoken_by, wishes
from rtp.control import PortPair
from tests.kit.world import sdp


def offer(send="zh yue en", receive="zh yue en"):
    lines = f"a=hlang-send:{send}\r\na=hlang-recv:{receive}\r\n".encode()
    return sdp(video=None) + lines


def answer(body, spoken=("zh", "en")):
    negotiation = Negotiation(CAPABILITIES, "192.0.2.1", 1, spoken)
    negotiation.opened((PortPair("audio", 20000, 20001), PortPair("video", 20002, 20003)))
    return parse(negotiation.answer(body))


@pytest.mark.parametrize(
    ("wanted", "spoken", "chosen"),
    [
        (("zh", "yue", "en"), ("zh", "en"), "zh"),
        (("yue", "en"), ("zh", "en"), "en"),
        (("zh-CN",), ("zh",), "zh-CN"),
        (("ZH",), ("zh-Hans",), "ZH"),
        (("zho",), ("zh",), None),
        (("fr",), ("zh", "en"), None),
        ((), ("zh",), None),
        (("zh",), (), None),
    ],
)
def test_first_wanted_that_is_spoken(wanted, spoken, chosen):
    assert choose(wanted, spoken) == chosen


def test_answer_picks_one_for_each_way():
    media = answer(offer(send="en zh", receive="yue zh")).media[0]
    # What they send we receive.
    assert media.attribute("hlang-recv") == "en"
    assert media.attribute("hlang-send") == "zh"


def test_nobody_speaks_it_and_the_call_goes_on():
    media = answer(offer(send="fr *", receive="fr")).media[0]
    assert media.port
    assert media.attribute("hlang-send") is None
    assert media.attribute("hlang-recv") is None


def test_no_question_no_answer_and_no_answer_without_a_setting():
    assert b"hlang" not in answer(sdp()).encode()
    assert b"hlang" not in answer(offer(), spoken=()).encode()


def test_refused_medium_has_no_language():
    body = offer() + b"m=text 4010 RTP/AVP 98\r\na=rtpmap:98 t140/1000\r\na=hlang-send:zh\r\n"
    text = answer(body).media[1]
    assert text.port == 0
    assert text.attribute("hlang-recv") is None


def test_strange_tags_are_passed_over():
    media = parse(offer(send="zh_CN * 123456789 zh ٣ " + "en " * 50)).media[0]
    found = wishes(media, "hlang-send")
    assert found[0] == "zh"
    assert len(found) == MAX_LANGUAGES


def test_what_the_people_who_answer_are_told():
    assert spoken_by(parse(offer(send="yue", receive="zh en"))) == [
        {"medium": "audio", "speaks": ["yue"], "understands": ["zh", "en"]}
    ]
    assert spoken_by(parse(sdp())) == []
