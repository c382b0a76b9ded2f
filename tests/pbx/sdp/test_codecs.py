"""Formats: what is one, and how an answer mirrors it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbx.sdp.capabilities import CAPABILITIES
from pbx.sdp.codecs import STATIC, common, format_rtpmap, parameters, parse_rtpmap, same_format, taken
from rtp.control import Codec


def h264(fmtp: str, payload_type: int = 96) -> Codec:
    return Codec("H264", payload_type, 90000, 1, fmtp)


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        ("8 PCMA/8000", Codec("PCMA", 8, 8000)),
        ("8\tpcma/8000/1 ", Codec("PCMA", 8, 8000)),
        ("107 opus/48000/2", Codec("OPUS", 107, 48000, 2)),
        ("101 telephone-event/8000", Codec("TELEPHONE-EVENT", 101, 8000)),
        ("127 x/1", Codec("X", 127, 1)),
        ("128 x/8000", None),
        ("4294967296 x/8000", None),
        ("-1 x/8000", None),
        ("٣ x/8000", None),
        ("9 x/0", None),
        ("9 x/1000001", None),
        ("9 x/8000/0", None),
        ("9 x/8000/256", None),
        ("9 x", None),
        ("9  /8000", None),
        ("9 a b/8000", None),
        ("9 \u212a/8000", None),  # U+212A would become an ASCII k
        ("", None),
    ],
)
def test_rtpmap_is_read_by_its_grammar_and_numbers_are_checked(text, codec):
    assert parse_rtpmap(text) == codec


def test_rtpmap_is_written_as_the_rfcs_print_it():
    assert format_rtpmap(Codec("OPUS", 107, 48000, 2)) == "107 opus/48000/2"
    assert format_rtpmap(Codec("TELEPHONE-EVENT", 101, 8000)) == "101 telephone-event/8000"
    assert format_rtpmap(Codec("H264", 96, 90000)) == "96 H264/90000"


def test_static_payload_types_carry_their_own_number():
    assert STATIC[0].name == "PCMU"
    assert STATIC[8].name == "PCMA"
    assert (STATIC[9].name, STATIC[9].clock_rate) == ("G722", 8000)
    assert all(number == codec.payload_type for number, codec in STATIC.items())


def test_parameters_are_split_once_and_the_first_of_equal_names_counts():
    assert parameters(" Profile-Level-Id=42e01f ; a=b=c;flag; a=2 ;;\u212a=1") == {
        "profile-level-id": "42e01f",
        "a": "b=c",
        "flag": "",
    }


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (
            "profile-level-id=42e01f;packetization-mode=1",
            "packetization-mode=1;profile-level-id=42E028",
            True,
        ),
        ("profile-level-id=42e01f", "profile-level-id=42e01f;packetization-mode=0", True),
        (
            "profile-level-id=42e01f;packetization-mode=1",
            "profile-level-id=42e01f;packetization-mode=0",
            False,
        ),
        (
            "profile-level-id=42e01f;packetization-mode=2",
            "profile-level-id=42e01f;packetization-mode=2",
            False,
        ),
        ("profile-level-id=42e01f", "profile-level-id=42001f", True),  # Baseline, constrained or not
        (
            "profile-level-id=42e01f",
            "profile-level-id=4d801f",
            True,
        ),  # RFC 6184 table 5: constrained baseline too
        ("profile-level-id=42e01f", "profile-level-id=58c01f", True),
        ("profile-level-id=42e01f", "profile-level-id=4d001f", False),
        ("profile-level-id=42e01f", "profile-level-id=64001f", False),
        ("profile-level-id=64001f", "profile-level-id=640c29", True),
        ("profile-level-id=42e01f", "", True),  # nothing said: Baseline
        ("profile-level-id=64001f", "", False),
        ("profile-level-id=64001f", "profile-level-id=6400", False),
    ],
)
def test_h264_is_one_format_when_profile_and_packetization_mode_are(one, other, same):
    assert same_format(h264(one), h264(other, 120)) is same
    assert same_format(h264(other), h264(one)) is same


def test_opus_without_its_channels_is_opus_and_other_channels_differ():
    assert same_format(Codec("OPUS", 1, 48000), Codec("OPUS", 2, 48000, 2))
    assert not same_format(Codec("L16", 1, 44100), Codec("L16", 2, 44100, 2))
    assert not same_format(Codec("G722", 9, 8000), Codec("G722", 9, 16000))


@pytest.mark.parametrize(
    ("offered", "ours", "answered"),
    [
        # RFC 6184 §8.2.2: without asymmetry an answer may lower the level, not raise it
        ("profile-level-id=42e00d;packetization-mode=1", "profile-level-id=42e01f;packetization-mode=1",
         "profile-level-id=42e00d;packetization-mode=1"),
        ("profile-level-id=42e029;packetization-mode=1", "profile-level-id=42e01f;packetization-mode=1",
         "profile-level-id=42e01f;packetization-mode=1"),
        # with it the level is ours, and the offered profile bytes stay as the peer wrote them
        ("profile-level-id=42000d;level-asymmetry-allowed=1;packetization-mode=1",
         "profile-level-id=42e01f;packetization-mode=1",
         "profile-level-id=42001f;level-asymmetry-allowed=1;packetization-mode=1"),
        ("packetization-mode=0;sprop-parameter-sets=Z0IA,aM4=", "profile-level-id=42e01f", "packetization-mode=0"),
        ("", "profile-level-id=42e01f", ""),
        ("profile-level-id=42e01f", "", "profile-level-id=42e01f"),
    ],
)  # fmt: skip
def test_h264_answer_mirrors_profile_and_mode(offered, ours, answered):
    assert taken(h264(offered, 111), h264(ours, 96)) == h264(answered, 111)


def test_other_answers_state_what_we_receive_under_the_peers_number():
    offered = Codec("OPUS", 111, 48000, 2, "maxplaybackrate=16000;stereo=1")
    assert taken(offered, Codec("OPUS", 107, 48000, 2, "useinbandfec=1")) == Codec(
        "OPUS", 111, 48000, 2, "useinbandfec=1"
    )
    h265 = Codec("H265", 100, 90000, 1, "profile-id=1;sprop-vps=QAE;level-id=93")
    assert taken(h265, Codec("H265", 99, 90000)).fmtp == "profile-id=1;level-id=93"


def test_common_keeps_the_peers_order_and_needs_more_than_events():
    ours = (Codec("PCMA", 8, 8000), Codec("PCMU", 0, 8000), Codec("TELEPHONE-EVENT", 101, 8000))
    event = Codec("TELEPHONE-EVENT", 96, 8000)
    offered = (event, Codec("PCMU", 0, 8000), Codec("SPEEX", 97, 8000), Codec("PCMA", 8, 8000))
    assert [theirs.payload_type for theirs, _ in common(offered, ours)] == [96, 0, 8]
    assert common((event,), ours) == ()
    assert common((), ours) == ()


@settings(deadline=None)
@given(
    st.integers(0, 127),
    st.sampled_from(["PCMA", "OPUS", "H264", "X-1.A"]),
    st.integers(1, 10**6),
    st.integers(1, 255),
)
def test_rtpmap_round_trip(payload_type, name, clock_rate, channels):
    codec = Codec(name, payload_type, clock_rate, channels)
    assert parse_rtpmap(format_rtpmap(codec)) == codec


def test_h263_of_1998_is_taken_as_it_is_offered():
    # RFC 4629 §8.1.1: sizes say what their side receives; this exchange relays, so they are the phone's own.
    offered = Codec("H263-1998", 120, 90000, 1, "CIF=1;QCIF=2;F=1")
    ((theirs, ours),) = common((offered,), CAPABILITIES.video)
    assert taken(theirs, ours) == offered
