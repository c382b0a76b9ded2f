"""RFC 3264: what an answer may say, and what both sides then know."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from pbx.sdp.capabilities import CAPABILITIES, Capabilities
from pbx.sdp.description import Feedback, parse
from pbx.sdp.offer_answer import (
    accept,
    answer,
    media_addresses,
    offer,
    wanted,
)
from pbx.sip.errors import SipError

ADDRESS = "192.0.2.1"
PORTS = {"audio": (20000, 20001), "video": (20002, 20003)}
SESSION = {"address": ADDRESS, "ports": PORTS, "session": 7, "version": 1}


def sdp(*lines, connection="198.51.100.7"):
    head = ["v=0", "o=- 1 1 IN IP4 198.51.100.7", "s=-", f"c=IN IP4 {connection}", "t=0 0"]
    return parse("\r\n".join([*head, *lines, ""]).encode())


def answered(*lines, connection="198.51.100.7", capabilities=CAPABILITIES, **more):
    return answer(sdp(*lines, connection=connection), capabilities, **{**SESSION, **more})


VIDEO = (
    "m=video 5002 RTP/AVP 96",
    "a=rtpmap:96 H264/90000",
    "a=fmtp:96 profile-level-id=42e01f;packetization-mode=1",
)


def test_a_video_call_is_answered_as_a_phone_reads_it():
    description, streams = answered(
        "m=audio 5000 RTP/AVP 0 8 101",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-16",
        "b=AS:64",
        "a=label:1",
        "m=video 5002 RTP/AVPF 120",
        "a=rtpmap:120 H264/90000",
        "a=fmtp:120 profile-level-id=42001F;packetization-mode=1;sprop-parameter-sets=Z0IAH5Y1QKALdNwEBAQI,aM48gA==",
        "a=rtcp-fb:120 nack pli",
        "a=rtcp-fb:* ccm fir",
        "a=rtcp-fb:120 goog-remb",
        "a=rtcp-mux",
        "a=sendonly",
    )
    assert description.encode().decode().split("\r\n") == [
        "v=0",
        "o=- 7 1 IN IP4 192.0.2.1",
        "s=-",
        "c=IN IP4 192.0.2.1",
        "t=0 0",
        "m=audio 20000 RTP/AVP 0 8 101",
        "b=AS:64",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15",
        "a=ptime:20",
        "a=sendrecv",
        "a=maxptime:200",
        "m=video 20002 RTP/AVPF 120",
        "a=rtpmap:120 H264/90000",
        "a=fmtp:120 profile-level-id=42001f;packetization-mode=1",
        "a=rtcp-fb:120 nack pli",
        "a=rtcp-fb:* ccm fir",
        "a=recvonly",
        "a=rtcp-mux",
        "",
    ]
    audio, video = streams
    assert (audio.index, audio.medium) == (0, "audio")
    assert (audio.remote, audio.remote_rtcp) == (("198.51.100.7", 5000), ("198.51.100.7", 5001))
    assert [codec.name for codec in audio.send] == ["PCMU", "PCMA", "TELEPHONE-EVENT"]
    assert (audio.sending, audio.receiving, audio.feedback) == (True, True, ())
    assert (video.index, video.sending, video.receiving) == (1, False, True)
    assert video.feedback == ("nack pli", "ccm fir")
    assert "sprop-parameter-sets=Z0IAH5Y1QKALdNwEBAQI" in video.receive[0].fmtp


def test_static_payload_types_need_no_rtpmap():
    _, (stream,) = answered("m=audio 5000 RTP/AVP 9 3 0")
    assert [(codec.name, codec.payload_type) for codec in stream.send] == [("G722", 9), ("PCMU", 0)]


@pytest.mark.parametrize(
    "refused",
    [
        "m=video 0 RTP/AVP 96",
        "m=video 99999 RTP/AVP 96",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "m=message 2855 TCP/TLS/MSRP *",
        "m=text 30004 RTP/AVP 98",
        "m=audio 5000 RTP/SAVP 8",
        "m=video 5000 UDP/TLS/RTP/SAVPF 96",
        "m=audio 5000 RTP/AVP 18",
        "m=audio 5000 RTP/AVP 13",
        "m=audio 5000 RTP/AVP",
        "m=AUDIO 5000 RTP/AVP 8",
        "m=audio 5000 RTP/AVP 300",
    ],
)
def test_what_we_can_not_do_is_refused_in_its_place(refused):
    kind, _, protocol, *formats = refused.removeprefix("m=").split(" ")
    description, streams = answered(refused, "m=audio 5006 RTP/AVP 8", *VIDEO)
    assert [media.port for media in description.media] == [0, 20000, 20002]
    first = description.media[0]
    assert (first.kind, first.protocol, first.formats) == (kind, protocol, tuple(formats[:1] or ["0"]))
    assert [stream.index for stream in streams] == [1, 2]


def test_the_second_medium_of_a_kind_is_refused():
    description, streams = answered("m=audio 5000 RTP/AVP 8", "m=audio 5002 RTP/AVP 8")
    assert [media.port for media in description.media] == [20000, 0]
    assert len(streams) == 1


def test_media_without_ports_are_refused():
    description, streams = answered("m=audio 5000 RTP/AVP 8", *VIDEO, ports={"audio": (20000, 20001)})
    assert [media.port for media in description.media] == [20000, 0]
    assert [stream.medium for stream in streams] == ["audio"]


def test_wanted_names_what_an_answer_will_take():
    assert wanted(sdp("m=text 9 RTP/AVP 98", *VIDEO, "m=audio 5000 RTP/AVP 8"), CAPABILITIES) == (
        "video",
        "audio",
    )
    assert wanted(sdp("m=audio 5000 RTP/SAVP 8"), CAPABILITIES) == ()
    assert wanted(sdp(), CAPABILITIES) == ()
    assert wanted(sdp(*VIDEO, "m=audio 5000 RTP/AVP 8"), Capabilities((), ())) == ()


def test_several_h264_formats_are_matched_one_by_one():
    description, (stream,) = answered(
        "m=video 5002 RTP/AVP 100 101 102 103 104",
        *(f"a=rtpmap:{number} H264/90000" for number in range(100, 105)),
        "a=fmtp:100 profile-level-id=64001f;packetization-mode=0",
        "a=fmtp:101 profile-level-id=42e01f;packetization-mode=1",
        "a=fmtp:102 profile-level-id=42e01f",
        "a=fmtp:103 profile-level-id=42e01f;packetization-mode=2",
        "a=fmtp:104 profile-level-id=640028;packetization-mode=1",
    )
    assert [codec.payload_type for codec in stream.send] == [101, 102, 104]
    assert [codec.fmtp for codec in description.media[0].codecs] == [
        "profile-level-id=42e01f;packetization-mode=1",
        "profile-level-id=42e01f",
        "profile-level-id=64001f;packetization-mode=1",
    ]


DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")


@pytest.mark.parametrize(
    ("offered", "limit", "expected"),
    [
        ("sendrecv", "sendrecv", "sendrecv"), ("sendrecv", "sendonly", "sendonly"),
        ("sendrecv", "recvonly", "recvonly"), ("sendrecv", "inactive", "inactive"),
        ("sendonly", "sendrecv", "recvonly"), ("sendonly", "sendonly", "inactive"),
        ("sendonly", "recvonly", "recvonly"), ("sendonly", "inactive", "inactive"),
        ("recvonly", "sendrecv", "sendonly"), ("recvonly", "sendonly", "sendonly"),
        ("recvonly", "recvonly", "inactive"), ("recvonly", "inactive", "inactive"),
        ("inactive", "sendrecv", "inactive"), ("inactive", "sendonly", "inactive"),
        ("inactive", "recvonly", "inactive"), ("inactive", "inactive", "inactive"),
    ],
)  # fmt: skip
def test_an_answer_never_exceeds_the_offer_or_the_limit(offered, limit, expected):
    lines = ("m=audio 5000 RTP/AVP 8", f"a={offered}")
    description, (stream,) = answered(*lines, directions={"audio": limit})
    assert description.media[0].direction == expected
    assert stream.sending is (expected in ("sendrecv", "sendonly"))
    assert stream.receiving is (expected in ("sendrecv", "recvonly"))


def test_a_direction_of_the_session_holds_for_media_without_their_own():
    description, _ = answered("a=sendonly", "m=audio 5000 RTP/AVP 8", *VIDEO, "a=sendrecv")
    assert [media.direction for media in description.media] == ["recvonly", "sendrecv"]


@pytest.mark.parametrize("connection", ["0.0.0.0", "::"])
def test_hold_the_old_way_stops_our_sending(connection):
    description, (stream,) = answered("m=audio 5000 RTP/AVP 8", connection=connection)
    assert description.media[0].direction == "recvonly"
    assert (stream.remote, stream.remote_rtcp, stream.sending, stream.receiving) == (None, None, False, True)


@pytest.mark.parametrize(
    "connection", ["224.2.1.1/127", "255.255.255.255", "phone.example", "169.254.169.254", "2001:db8::1"]
)
def test_where_nothing_may_be_sent_the_call_goes_on_without_an_address(connection):
    description, (stream,) = answered("m=audio 5000 RTP/AVP 8", connection=connection)
    assert description.media[0].port == 20000
    assert (stream.remote, stream.remote_rtcp, stream.sending) == (None, None, True)


def test_loopback_and_our_own_address_can_be_refused():
    lines = ("m=audio 5000 RTP/AVP 8",)
    assert answered(*lines, connection="127.0.0.1")[1][0].remote == ("127.0.0.1", 5000)
    assert answered(*lines, connection="127.0.0.1", loopback_ok=False)[1][0].remote is None
    assert answered(*lines, connection=ADDRESS, own={(ADDRESS, 5000)})[1][0].remote is None


@pytest.mark.parametrize(
    ("line", "rtcp"),
    [
        ("a=rtcp:5055", ("198.51.100.7", 5055)),
        ("a=rtcp:5055 IN IP4 198.51.100.9", ("198.51.100.9", 5055)),
        ("a=rtcp:53 IN IP4 198.51.100.9", None),
        ("a=rtcp:5055 IN IP4 224.0.0.1", None),
        ("a=rtcp:x", ("198.51.100.7", 5001)),
    ],
)
def test_rtcp_goes_where_the_peer_says(line, rtcp):
    _, (stream,) = answered("m=audio 5000 RTP/AVP 8", line)
    assert (stream.remote, stream.remote_rtcp) == (("198.51.100.7", 5000), rtcp)


def test_the_last_port_has_no_next_one():
    _, (stream,) = answered("m=audio 65535 RTP/AVP 8")
    assert (stream.remote, stream.remote_rtcp) == (("198.51.100.7", 65535), None)


def test_our_rtcp_port_is_stated_when_it_is_not_the_next():
    description, _ = answered("m=audio 5000 RTP/AVP 8", ports={"audio": (20000, 20009)})
    assert b"a=rtcp:20009\r\n" in description.encode()
    assert b"a=rtcp:" not in answered("m=audio 5000 RTP/AVP 8")[0].encode()


def test_feedback_is_answered_only_where_it_was_offered():
    assert answered(*VIDEO)[1][0].feedback == ()
    description, (stream,) = answered(
        *VIDEO, "a=rtcp-fb:96 NACK", "a=rtcp-fb:97 nack pli", "a=rtcp-fb:96 ccm tmmbr"
    )
    assert description.media[0].feedback == (Feedback(96, "nack"),)
    assert stream.feedback == ("nack",)
    audio, _ = answered("m=audio 5000 RTP/AVP 8", "a=rtcp-fb:* nack")
    assert audio.media[0].feedback == ()


def test_bandwidth_is_mirrored_and_nothing_else_is_copied():
    description, _ = answered(
        "b=CT:9",
        "b=AS:700",
        "m=audio 5000 RTP/AVP 8",
        "b=TIAS:64000",
        "b=RR:0",
        "b=AS:x",
        "a=hlang-send:zh",
        "i=x",
    )
    assert description.bandwidth == ("AS:700",)
    assert description.media[0].bandwidth == ("TIAS:64000",)
    assert description.media[0].attributes == (("maxptime", "200"),)
    assert description.media[0].lines == ()


def test_an_offer_holds_all_we_can():
    description = offer(CAPABILITIES, **SESSION)
    audio, video = description.media
    assert (audio.kind, audio.port, audio.protocol, audio.ptime) == ("audio", 20000, "RTP/AVP", 20)
    assert audio.codecs == CAPABILITIES.audio
    assert video.codecs == CAPABILITIES.video
    assert video.feedback == (Feedback(None, "nack"), Feedback(None, "nack pli"), Feedback(None, "ccm fir"))
    numbers = [codec.payload_type for codec in (*CAPABILITIES.audio, *CAPABILITIES.video)]
    assert len(set(numbers)) == len(numbers)
    assert parse(description.encode()) == description


def test_an_offer_is_limited_by_ports_codecs_and_directions():
    assert [
        media.kind for media in offer(CAPABILITIES, **{**SESSION, "ports": {"video": (1024, 1025)}}).media
    ] == ["video"]
    assert [media.kind for media in offer(Capabilities(CAPABILITIES.audio, ()), **SESSION).media] == ["audio"]
    directed = offer(CAPABILITIES, **SESSION, directions={"video": "recvonly"})
    assert [media.direction for media in directed.media] == ["sendrecv", "recvonly"]


def test_accept_sends_the_answers_numbers_and_expects_our_own():
    ours = offer(CAPABILITIES, **SESSION)
    theirs = sdp(
        "m=audio 5000 RTP/AVP 111 8", "a=rtpmap:111 OPUS/48000/2", "a=recvonly",
        "m=video 5002 RTP/AVPF 97", "a=rtpmap:97 H264/90000", "a=fmtp:97 profile-level-id=42001f;packetization-mode=1",
        "a=rtcp-fb:97 nack pli", "a=rtcp-fb:97 transport-cc", "a=rtcp-fb:3 nack",
    )  # fmt: skip
    audio, video = accept(ours, theirs)
    assert [(codec.name, codec.payload_type) for codec in audio.send] == [("OPUS", 111), ("PCMA", 8)]
    assert [(codec.name, codec.payload_type) for codec in audio.receive] == [("OPUS", 107), ("PCMA", 8)]
    assert (audio.sending, audio.receiving) == (True, False)
    assert [codec.payload_type for codec in video.send] == [97]
    assert [codec.payload_type for codec in video.receive] == [96]  # mode 1 is 96 in our offer; 97 is mode 0
    assert video.feedback == ("nack pli",)
    assert video.remote == ("198.51.100.7", 5002)


def test_accept_believes_the_number_when_h264_is_answered_without_its_parameters():
    ours = offer(CAPABILITIES, **SESSION)
    theirs = sdp("m=audio 0 RTP/AVP 8", "m=video 5002 RTP/AVP 96", "a=rtpmap:96 H264/90000")
    (video,) = accept(ours, theirs)
    assert [codec.payload_type for codec in video.receive] == [96]


def test_accept_of_a_refusal_has_no_streams():
    ours = offer(CAPABILITIES, **SESSION)
    assert accept(ours, sdp("m=audio 0 RTP/AVP 8", "m=video 0 RTP/AVP 96")) == ()


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("m=audio 5000 RTP/AVP 8",),
        ("m=audio 5000 RTP/AVP 8", "m=video 0 RTP/AVP 96", "m=text 0 RTP/AVP 98"),
        ("m=video 5002 RTP/AVP 98", "m=audio 5000 RTP/AVP 8"),
        ("m=audio 5000 RTP/SAVP 8", "m=video 0 RTP/AVP 96"),
        ("m=audio 5000 RTP/AVP 18", "m=video 0 RTP/AVP 96"),
        ("m=audio 5000 RTP/AVP 101", "a=rtpmap:101 telephone-event/8000", "m=video 0 RTP/AVP 96"),
    ],
)
def test_an_answer_to_something_else_is_not_acceptable(lines):
    with pytest.raises(SipError) as error:
        accept(offer(CAPABILITIES, **SESSION), sdp(*lines))
    assert error.value.status == 488


def test_a_refused_medium_does_not_come_back_in_an_answer():
    ours = offer(CAPABILITIES, **SESSION)
    ours = replace(ours, media=(ours.media[0], replace(ours.media[1], port=0)))
    with pytest.raises(SipError):
        accept(ours, sdp("m=audio 5000 RTP/AVP 8", *VIDEO))


def test_media_addresses_are_those_of_media_that_are_wanted():
    description = sdp(
        "m=audio 5000 RTP/AVP 8", "a=rtcp:5001 IN IP4 198.51.100.8", "m=video 5002 RTP/AVP 96", "c=IN IP4 198.51.100.9",
        "m=audio 0 RTP/AVP 8", "c=IN IP4 198.51.100.10", "m=video 9 RTP/AVP 96", "c=IN IP4 0.0.0.0",
        "m=text 9 RTP/AVP 96", "c=IN IP4 host.example",
    )  # fmt: skip
    assert media_addresses(description) == ("198.51.100.7", "198.51.100.8", "198.51.100.9")


CODECS = st.sampled_from([
    "0", "8", "9", "18", "13", "200", "x",
    "107 opus/48000/2", "108 OPUS/48000", "101 telephone-event/8000", "96 H264/90000", "97 H264/90000", "98 VP8/90000",
    "99 H265/90000", "120 AV1/90000", "96 PCMU/8000",
])  # fmt: skip


@st.composite
def media_lines(draw):
    kind = draw(st.sampled_from(["audio", "audio", "video", "video", "text", "application"]))
    port = draw(st.sampled_from(["5000", "5000", "0", "65535", "70000", "22"]))
    protocol = draw(st.sampled_from(["RTP/AVP", "RTP/AVP", "RTP/AVPF", "RTP/SAVP", "TCP/MSRP"]))
    codecs = draw(st.lists(CODECS, max_size=6))
    lines = [" ".join([f"m={kind} {port} {protocol}", *(codec.split(" ")[0] for codec in codecs)])]
    lines += [f"a=rtpmap:{codec}" for codec in codecs if " " in codec]
    attributes = [
        "a=fmtp:96 profile-level-id=42e01f;packetization-mode=1", "a=fmtp:97 profile-level-id=64001f;packetization-mode=0",
        "a=sendonly", "a=recvonly", "a=inactive", "a=rtcp-fb:* nack pli", "a=rtcp-fb:96 ccm fir", "c=IN IP4 0.0.0.0",
        "c=IN IP4 224.1.1.1", "a=rtcp:5055", "b=AS:1", "a=label:x", "a=ptime:0",
    ]  # fmt: skip
    return lines + draw(st.lists(st.sampled_from(attributes), max_size=5))


OFFERS = st.lists(media_lines(), max_size=10).map(
    lambda media: sdp(*(line for lines in media for line in lines))
)
LIMITS = st.dictionaries(st.sampled_from(["audio", "video"]), st.sampled_from(DIRECTIONS))


@settings(deadline=None, max_examples=150)
@given(OFFERS, LIMITS)
def test_every_offer_is_answered_line_by_line_with_what_it_offered(theirs, limits):
    description, streams = answer(theirs, CAPABILITIES, **SESSION, directions=limits)
    assert [media.kind for media in description.media] == [media.kind for media in theirs.media]
    assert [media.protocol for media in description.media] == [media.protocol for media in theirs.media]
    assert accepted(parse(description.encode())) == accepted(description)
    for ours, offered in zip(description.media, theirs.media, strict=True):
        assert offered.port or not ours.port
        if ours.port:
            offered_numbers = [codec.payload_type for codec in offered.codecs]
            numbers = [codec.payload_type for codec in ours.codecs]
            assert [number for number in offered_numbers if number in numbers] == numbers
            assert {feedback.value for feedback in ours.feedback} <= {
                feedback.value for feedback in offered.feedback
            }
    assert [stream.index for stream in streams] == [
        i for i, media in enumerate(description.media) if media.port
    ]
    assert len({stream.medium for stream in streams}) == len(streams)
    assert tuple(stream.medium for stream in streams) == wanted(theirs, CAPABILITIES)


@settings(deadline=None, max_examples=150)
@given(OFFERS, LIMITS)
def test_both_sides_see_the_same_streams_mirrored(theirs, limits):
    description, our_streams = answer(theirs, CAPABILITIES, **SESSION, directions=limits)
    their_streams = accept(theirs, parse(description.encode()))

    def heard(codecs):
        return [(codec.name, codec.payload_type) for codec in codecs]

    assert len(our_streams) == len(their_streams)
    for ours, peers in zip(our_streams, their_streams, strict=True):
        assert (ours.index, ours.medium, ours.feedback) == (peers.index, peers.medium, peers.feedback)
        assert heard(ours.send) == heard(peers.receive)
        assert heard(ours.receive) == heard(peers.send)
        assert (ours.sending, ours.receiving) == (peers.receiving, peers.sending)
        assert not ours.sending or peers.receiving
        assert peers.remote == (ADDRESS, PORTS[ours.medium][0])


@settings(deadline=None)
@given(LIMITS, LIMITS)
def test_our_own_offer_and_our_own_answer_fit(first, second):
    ours = offer(CAPABILITIES, **SESSION, directions=first)
    theirs, streams = answer(ours, CAPABILITIES, **{**SESSION, "address": "198.51.100.7"}, directions=second)
    mirrored = accept(ours, theirs)
    assert [numbers(s.send) for s in streams] == [numbers(s.receive) for s in mirrored]
    assert [(s.sending, s.receiving) for s in streams] == [(s.receiving, s.sending) for s in mirrored]


def numbers(codecs):
    return [codec.payload_type for codec in codecs]


def accepted(description):
    return [media for media in description.media if media.port]


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_whatever_parses_can_be_answered(tail):
    try:
        theirs = parse(
            b"v=0\nm=audio 5000 RTP/AVP 0 96\nm=video 1 RTP/AVPF 97\na=rtpmap:97 H264/90000\na=fmtp:97 "
            + tail
        )
    except SipError:
        return
    description, _ = answer(theirs, CAPABILITIES, **SESSION)
    assert accepted(parse(description.encode())) == accepted(description)
    assert len(description.media) == len(theirs.media)


MOBILE = (
    "m=audio 5000 RTP/AVP 106 97 98 8 100 101",
    "a=rtpmap:106 AMR-WB/16000",
    "a=fmtp:106 mode-change-capability=2;max-red=0",
    "a=rtpmap:97 AMR/8000/1",
    "a=fmtp:97 octet-align=1;mode-set=0,2,4,7;mode-change-period=2;max-red=220",
    "a=rtpmap:98 AMR/8000",
    "a=fmtp:98 octet-align=1;robust-sorting=1",
    "a=rtpmap:100 telephone-event/16000",
    "a=rtpmap:101 telephone-event/8000",
)


def test_amr_of_a_mobile_phone_is_taken_and_what_can_not_be_sent_stands_last():
    description, (stream,) = answered(*MOBILE)
    (media,) = description.media
    assert media.formats == ("97", "8", "100", "101", "106")
    # RFC 4867 §8.3.1: octet-align and mode-set are answered as they were offered.
    assert [codec.fmtp for codec in media.codecs if codec.name.startswith("AMR")] == [
        "octet-align=1;mode-set=0,2,4,7;mode-change-period=2",
        "mode-change-capability=2",
    ]
    assert [codec.name for codec in stream.send] == [
        "AMR",
        "PCMA",
        "TELEPHONE-EVENT",
        "TELEPHONE-EVENT",
        "AMR-WB",
    ]


def test_amr_wide_band_alone_is_no_common_codec():
    _, streams = answered("m=audio 5000 RTP/AVP 106 100", *MOBILE[1:3], MOBILE[7])
    assert streams == ()


@pytest.mark.parametrize(
    "fmtp",
    [
        "crc=1",
        "robust-sorting=1",
        "interleaving=30",
        "octet-align=2",
        "mode-set=8",
        "mode-set=",
        "channels=2",
    ],
)
def test_forms_of_amr_that_nobody_speaks_here(fmtp):
    _, streams = answered("m=audio 5000 RTP/AVP 97", "a=rtpmap:97 AMR/8000", f"a=fmtp:97 {fmtp}")
    assert streams == ()


def test_amr_is_never_offered():
    assert "AMR" not in offer(CAPABILITIES, **SESSION).encode().decode()
