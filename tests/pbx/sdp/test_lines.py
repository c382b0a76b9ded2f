"""Lines of an offer that say how, not what: direction at either level, packet times, labels, bandwidth, several of a kind."""

import itertools

import pytest

from pbx.sdp.capabilities import CAPABILITIES
from pbx.sdp.description import parse
from pbx.sdp.encryption import Encryption
from pbx.sdp.offer_answer import accept, answer, offer

ADDRESS = "192.0.2.1"
PORTS = {"audio": (20000, 20001), "video": (20002, 20003)}
HERE = {"address": ADDRESS, "ports": PORTS, "session": 7, "version": 1}
H264 = ("a=rtpmap:96 H264/90000", "a=fmtp:96 profile-level-id=42e01f;packetization-mode=1")
DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
OPPOSITE = dict(zip(DIRECTIONS, ("sendrecv", "recvonly", "sendonly", "inactive"), strict=True))


def sdp(*media, session=()):
    head = ["v=0", "o=- 1 1 IN IP4 198.51.100.7", "s=-", "c=IN IP4 198.51.100.7", "t=0 0", *session]
    return parse("\r\n".join([*head, *media, ""]).encode())


def answered(*media, session=()):
    return answer(sdp(*media, session=session), CAPABILITIES, **HERE)


def attributes(description, index, name):
    lines = description.encode().decode().split("\r\nm=")[1 + index].split("\r\n")
    return [line for line in lines if line.startswith(f"a={name}")]


# --- direction ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("session", "audio", "video"), list(itertools.product((None, *DIRECTIONS), repeat=3))
)
def test_direction_of_the_session_holds_for_each_stream_that_says_nothing(session, audio, video):
    """RFC 8866 §6.7: 'It can be either a session-level or a media-level attribute'; the stream's own word wins."""

    def line(direction):
        return () if direction is None else (f"a={direction}",)

    description, streams = answered(
        "m=audio 5000 RTP/AVP 8",
        *line(audio),
        "m=video 5002 RTP/AVP 96",
        *H264,
        *line(video),
        session=line(session),
    )
    for media, stream, own in zip(description.media, streams, (audio, video), strict=True):
        wished = own or session or "sendrecv"
        assert media.direction == OPPOSITE[wished]
        assert (stream.sending, stream.receiving) == ("recv" in wished, "send" in wished)
    again = parse(description.encode())
    assert [media.direction for media in again.media] == [media.direction for media in description.media]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_phones_answer_may_say_it_for_all(direction):
    ours = offer(CAPABILITIES, **HERE)
    theirs = sdp("m=audio 5000 RTP/AVP 8", "m=video 5002 RTP/AVP 96", *H264, session=(f"a={direction}",))
    for stream in accept(ours, theirs):
        assert (stream.sending, stream.receiving) == ("recv" in direction, "send" in direction)


# --- packet times -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "wished"),
    [
        (("a=ptime:60", "a=maxptime:60"), (60, 60)),
        (("a=maxptime:20",), (None, 20)),
        (("a=ptime:10", "a=maxptime:10"), (10, 10)),
        (("a=maxptime:x",), (None, None)),
        (("a=maxptime:0", "a=ptime:1001"), (None, None)),
        (("a=maxptime",), (None, None)),
    ],
)
def test_packet_times_are_wishes_and_bounds_of_who_wrote_them(lines, wished):
    """RFC 8866 §6.4, §6.5, RFC 3264 §6.1: each side says what it would like to get, 20 ms, and what it takes, 200 ms (RFC 3551 §4.2)."""
    description, streams = answered("m=audio 5000 RTP/AVP 8", *lines)
    assert attributes(description, 0, "ptime") == ["a=ptime:20"]
    assert attributes(description, 0, "maxptime") == ["a=maxptime:200"]
    assert [(one.ptime, one.max_ptime) for one in streams] == [wished]
    kept = sdp("m=audio 5000 RTP/AVP 8", *lines)
    assert [
        (one.ptime, one.max_ptime)
        for one in accept(
            offer(CAPABILITIES, **HERE), sdp("m=audio 5000 RTP/AVP 8", *lines, "m=video 0 RTP/AVP 96")
        )
    ] == [wished]
    assert parse(kept.encode()) == kept, "but it is kept as it was read"


# --- labels -------------------------------------------------------------------------------------------------------------


def test_labels_are_of_who_wrote_them():
    """RFC 4574 §4: a label names a stream for other applications of the same side; an answer may have others, or none."""
    asked = sdp("m=audio 5000 RTP/AVP 8", "a=label:1", "m=video 5002 RTP/AVP 96", *H264, "a=label:main view")
    assert [media.attribute("label") for media in asked.media] == ["1", "main view"]
    description, streams = answer(asked, CAPABILITIES, **HERE)
    assert [media.attribute("label") for media in description.media] == [None, None]
    assert len(streams) == 2
    ours = offer(CAPABILITIES, **HERE)
    assert len(accept(ours, asked)) == 2, "an answer that labels what was offered without"


# --- bandwidth ----------------------------------------------------------------------------------------------------------


def test_bandwidth_is_answered_at_its_level_as_far_as_it_is_known():
    """RFC 8866 §5.8, RFC 3890, RFC 3556: AS and TIAS are mirrored; what RTCP may take is ours to say, and nothing else is known."""
    description, _ = answered(
        "m=audio 5000 RTP/AVP 8", "b=AS:64", "b=RS:0", "b=X-YZ:128",
        "m=video 5002 RTP/AVP 96", "b=TIAS:512000", "b=AS:600", "b=AS:x", *H264,
        session=("b=AS:700", "b=CT:1000"),
    )  # fmt: skip
    assert description.bandwidth == ("AS:700",)
    assert [media.bandwidth for media in description.media] == [("AS:64",), ("TIAS:512000", "AS:600")]
    order = [
        line[:2] for line in description.encode().decode().split("\r\n") if line[:2] in ("c=", "b=", "t=")
    ]
    assert order[:3] == ["c=", "b=", "t="], "RFC 8866 §5: the order of lines is fixed"


# --- several of a kind --------------------------------------------------------------------------------------------------

SLIDES = (
    "m=video 5006 RTP/AVP 97",
    "a=rtpmap:97 H264/90000",
    "a=fmtp:97 packetization-mode=0",
    "a=content:slides",
)


def test_of_two_pictures_the_first_that_can_be_is_taken():
    description, streams = answered("m=audio 5000 RTP/AVP 8", "m=video 5002 RTP/AVP 96", *H264, *SLIDES)
    assert [media.port for media in description.media] == [20000, 20002, 0]
    assert description.media[2].formats == ("97",)
    assert [(stream.index, stream.medium) for stream in streams] == [(0, "audio"), (1, "video")]
    description, streams = answered(
        "m=video 5002 RTP/AVP 31", *SLIDES, "m=audio 5008 RTP/AVP 18", "m=audio 5000 RTP/AVP 8"
    )
    assert [media.port for media in description.media] == [0, 20002, 0, 20000]
    assert [(stream.index, stream.medium, stream.remote[1]) for stream in streams] == [
        (1, "video", 5006),
        (3, "audio", 5000),
    ]


@pytest.mark.parametrize(
    ("first", "second", "taken"),
    [
        ("slides", "main", 1),
        ("slides", None, 1),
        ("alt", None, 1),
        (None, "slides", 0),
        ("main,slides", "main", 0),
        ("sl", None, 0),
        ("slides", "slides", 0),
        ("speaker", "main", 0),
    ],
)
def test_who_speaks_is_shown_rather_than_slides(first, second, taken):
    """RFC 4796 §5: what a stream shows; `sl` is a person who signs."""
    said = [f"a=content:{value}" for value in (first, second) if value is not None]
    lines = [("m=video 5002 RTP/AVP 96", *H264), ("m=video 5006 RTP/AVP 96", *H264)]
    offered = (
        [*lines[0], *said[:1], *lines[1], *said[1:]] if first is not None else [*lines[0], *lines[1], *said]
    )
    description, streams = answered(*offered, "m=audio 5000 RTP/AVP 8")
    assert [media.port > 0 for media in description.media] == [taken == 0, taken == 1, True]
    assert [(stream.index, stream.medium) for stream in streams] == [(taken, "video"), (2, "audio")]


def test_of_a_plain_and_an_encrypted_line_the_encrypted_one_is_taken():
    """Phones that encrypt where they can offer both (RFC 3264 §6 leaves the choice to us)."""
    key = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40
    for lines, taken in (
        (("m=audio 5000 RTP/AVP 8", "m=audio 5002 RTP/SAVP 8", key), 1),
        (("m=audio 5000 RTP/SAVP 8", key, "m=audio 5002 RTP/AVP 8"), 0),
        (("m=audio 5000 RTP/AVP 8", "m=audio 5002 RTP/SAVP 8", "a=crypto:1 UNHEARD_OF inline:AAAA"), 0),
    ):
        keys = Encryption(policy="opportunistic", sdes=True, secret=b"s" * 32)
        description, streams = answer(sdp(*lines), CAPABILITIES, **HERE, encryption=keys)
        assert [media.port > 0 for media in description.media] == [taken == 0, taken == 1]
        assert streams[0].index == taken
