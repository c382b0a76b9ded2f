"""The offer/answer examples of RFC 4317, message by message on the virtual network, over UDP, TCP, TLS and WebSocket (bars B13).

The examples use iLBC, H.261 and MPEG video, which nobody sends here: they are offered once as they stand there, to be refused
in their places; else H.264 (96) and VP8 (98) stand for the two kinds of pictures. Where the one who called makes the second offer,
a caller's phone plays it and the exchange answers; where the one who was called does, a desk's phone plays that.
"""

import pytest

from tests.kit.place import Place

ILBC, H261, MPV = "97 iLBC/8000", "31 H261/90000", "32 MPV/90000"
H264, VP8, EVENTS = "96 H264/90000", "98 VP8/90000", "101 telephone-event/8000"
LADDER = ["> INVITE", "< 200 INVITE", "> ACK"]


@pytest.fixture(params=["udp", "tcp", "tls", "ws"])
def transport(request):
    return request.param


def sdp(*media, version=1, connection="192.0.2.77"):
    """A description; each medium is (kind, port, formats, *lines); a format may carry its name: `97 iLBC/8000`."""
    lines = [
        "v=0",
        f"o=alice 2890844526 {version} IN IP4 192.0.2.77",
        "s=",
        f"c=IN IP4 {connection}",
        "t=0 0",
    ]
    for kind, port, formats, *more in media:
        numbers = " ".join(one.split(" ")[0] for one in formats)
        lines.append(f"m={kind} {port} RTP/AVP {numbers}")
        lines += [f"a=rtpmap:{one}" for one in formats if " " in one]
        lines += [f"a={one}" for one in more]
    return ("\r\n".join(lines) + "\r\n").encode()


def audio(*formats, port=49170, more=()):
    return ("audio", port, formats or ("0",), *more)


def video(*formats, port=51372, more=()):
    return ("video", port, formats or (H264,), *more)


def seen(body):
    """What an answer says of each medium: kind, `on` or `off` (port 0), formats, direction."""
    found = []
    for line in body.decode().split("\r\n"):
        if line.startswith("m="):
            kind, port, _, *formats = line[2:].split(" ")
            found.append([kind, "on" if int(port) else "off", " ".join(formats), ""])
        elif line in ("a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive") and found:
            found[-1][3] = line[2:]
    return [tuple(one) for one in found]


def places(body):
    """Where a description wants its media sent."""
    return [line.split(" ")[:2] for line in body.decode().split("\r\n") if line.startswith(("m=", "c="))]


class Talk(Place):
    """A call whose offers the caller makes; `says` is one exchange and what it was answered with."""

    def __init__(self, transport):
        super().__init__(transport)
        self.version = 0

    def says(self, *media, **more):
        """Offer, in the INVITE first, then in re-INVITEs; the ladder is that of the RFC each time."""
        self.version += 1
        body = sdp(*media, version=self.version, **more)
        self.caller.ladder.clear()
        if self.caller.dialog is None:
            self.caller.invite(body=body)
        else:
            self.caller.send("INVITE", body=body)
        self.run()
        assert self.caller.ladder == LADDER
        answer = self.caller.last_response("INVITE").body
        # RFC 3264 §8: "the origin line … the version in the origin field MUST increment by one"
        assert f" {self.version} IN IP4 " in answer.decode().split("\r\n")[1]
        return seen(answer)

    @property
    def streams(self):
        return self.leg.negotiation.streams

    def over(self):
        self.caller.send("BYE")
        self.run()
        self.all_gone()


class Desk(Place):
    """A desk's phone that we call: it answers our offer, and `says` is a later offer of its own and what we answered."""

    def __init__(self, transport, *media, **more):
        super().__init__(transport, desk=True)
        self.version = 1
        self.desk.reply(200, body=sdp(*media, **more))
        self.run()
        assert self.desk.ladder == ["> 200 INVITE", "< ACK"]
        invite = next(request for _, request in self.desk.requests if request.method == "INVITE")
        self.offer = invite.body
        self.offered = seen(self.offer)

    def says(self, *media, **more):
        """Offer in a re-INVITE."""
        self.version += 1
        self.desk.ladder.clear()
        self.desk.send("INVITE", body=sdp(*media, version=self.version, **more))
        self.run()
        assert self.desk.ladder == LADDER
        return seen(self.desk.last_response("INVITE").body)

    @property
    def streams(self):
        return self.desk_leg.negotiation.streams

    @property
    def flows(self):
        """What each stream does: (sending, receiving)."""
        return [(stream.sending, stream.receiving) for stream in self.streams]


# --- 2 Codec negotiation and selection --------------------------------------------------------------------------------------


def test_2_1_audio_and_video_1(transport):
    """One of several codecs each; what nobody here knows is refused in its place."""
    talk = Talk(transport)
    assert talk.says(audio("0", "8", ILBC), video(H261, MPV)) == [
        ("audio", "on", "0 8", "sendrecv"),
        ("video", "off", "31", "inactive"),
    ]
    talk.over()


def test_2_2_audio_and_video_2(transport):
    """Two are answered; a phone that can run one at a time offers again with that one, from another port, and the refused video
    keeps its place."""
    talk = Talk(transport)
    assert talk.says(audio("0", "8", ILBC), video(H261, MPV)) == [
        ("audio", "on", "0 8", "sendrecv"),
        ("video", "off", "31", "inactive"),
    ]
    assert talk.says(audio("0", port=51372), video(H261, port=0)) == [
        ("audio", "on", "0", "sendrecv"),
        ("video", "off", "31", "inactive"),
    ]
    (stream,) = talk.streams
    assert [codec.name for codec in stream.send] == ["PCMU"]
    assert stream.remote == ("192.0.2.77", 51372)
    talk.over()


def test_2_3_audio_and_video_3(transport):
    """One codec of each is answered, under another dynamic number than ours: we send it under theirs, and hear it under ours."""
    desk = Desk(transport, audio("8", port=49172), video("119 H264/90000", port=51374))
    ours = desk.offered[1][2].split(" ")
    assert "119" not in ours
    picture = desk.streams[1]
    assert [(codec.name, codec.payload_type) for codec in picture.send] == [("H264", 119)]
    assert {codec.payload_type for codec in picture.receive if codec.name == "H264"} <= set(map(int, ours))


def test_2_4_two_audio_streams(transport):
    """One for speech, one for keys: a second stream of a kind is refused in its place, and stays so when offered again."""
    talk = Talk(transport)
    both = (audio("0", "8", ILBC), audio(EVENTS, port=49172, more=("sendonly",)))
    for _ in range(2):
        assert talk.says(*both) == [
            ("audio", "on", "0 8", "sendrecv"),
            ("audio", "off", "101", "inactive"),
        ]
    assert len(talk.streams) == 1
    talk.over()


def test_2_5_audio_and_video_4(transport):
    """Who was called moves to another address: we send there, and answer what we answered before."""
    desk = Desk(transport, audio("8", port=49174), video(port=49170))
    assert desk.says(audio("8", port=49178), video(port=49188), connection="192.0.2.78") == [
        ("audio", "on", "8", "sendrecv"),
        ("video", "on", "96", "sendrecv"),
    ]
    assert [stream.remote for stream in desk.streams] == [("192.0.2.78", 49178), ("192.0.2.78", 49188)]
    assert places(desk.desk.last_response("INVITE").body) == places(desk.offer)


@pytest.mark.parametrize(
    ("first", "answered"),
    [
        ((ILBC,), [("audio", "off", "97", "inactive"), ("audio", "on", "0 101", "sendrecv")]),
        (("8",), [("audio", "on", "8", "sendrecv"), ("audio", "off", "0", "inactive")]),
    ],
)
def test_2_6_audio_only_1(transport, first, answered):
    """One stream or the other, not both at once: the one we can't take is declined in its place; of two the first is taken."""
    talk = Talk(transport)
    assert talk.says(audio(*first), audio("0", EVENTS, port=51372, more=("fmtp:101 0-11",))) == answered
    assert len(talk.streams) == 1
    talk.over()


def test_2_7_audio_and_video_5(transport):
    """A second codec for the picture is added; the phone may change between them without a word."""
    talk = Talk(transport)
    talk.says(audio("0"), video(H264))
    assert talk.says(audio("0"), video(H264, VP8)) == [
        ("audio", "on", "0", "sendrecv"),
        ("video", "on", "96 98", "sendrecv"),
    ]
    assert [codec.name for codec in talk.streams[1].receive] == ["H264", "VP8"]
    talk.over()


def test_2_8_audio_and_video_6(transport):
    """The answer wants the picture at another address than the sound."""
    elsewhere = ("video", 49172, (H264,))
    place = Place(transport, desk=True)
    described = sdp(audio("8", port=49174), elsewhere).replace(
        b"RTP/AVP 96\r\n", b"RTP/AVP 96\r\nc=IN IP4 192.0.2.79\r\n"
    )
    place.desk.reply(200, body=described)
    place.run()
    streams = place.desk_leg.negotiation.streams
    assert [stream.remote for stream in streams] == [("192.0.2.77", 49174), ("192.0.2.79", 49172)]


def test_a_phone_without_picture_answers_and_has_one_later(transport):
    """RFC 3264 §6: the line of the picture keeps its place at port zero; §8.1: it may be used again."""
    desk = Desk(transport, audio("8", port=49174), video(H264, port=0))
    assert [stream.medium for stream in desk.streams] == ["audio"]
    assert [kind for kind, *_ in desk.offered] == ["audio", "video"]
    desk.says(audio("8", port=49174), video(H264))
    assert [stream.medium for stream in desk.streams] == ["audio", "video"]


# --- 3 Hold and resume ------------------------------------------------------------------------------------------------------


def test_3_1_hold_and_unhold_1(transport):
    """The phone that is called answers by holding, from a place that is not its own, and goes on in an offer of its own."""
    desk = Desk(transport, audio("8", port=49172, more=("sendonly",)), video(port=0), connection="192.0.2.80")
    assert desk.flows == [(False, True)]
    assert desk.says(audio("8"), video(port=0))[0] == ("audio", "on", "8", "sendrecv")
    assert desk.flows == [(True, True)]
    assert desk.streams[0].remote == ("192.0.2.77", 49170)


def test_3_1_by_the_one_who_calls(transport):
    talk = Talk(transport)
    talk.says(audio("0"))
    assert talk.says(audio("0", more=("sendonly",))) == [("audio", "on", "0", "recvonly")]
    assert not talk.streams[0].sending
    assert talk.streams[0].receiving
    assert talk.says(audio("0", more=("sendrecv",))) == [("audio", "on", "0", "sendrecv")]
    assert talk.streams[0].sending
    talk.over()


def test_3_2_hold_with_two_streams(transport):
    """One of two streams is held by the phone that was called, not the other. Our answer to what only sends is `recvonly`
    (RFC 3264 §6.1), which the example's is not.
    """
    desk = Desk(transport, audio("8"), video())
    assert desk.says(audio("8", more=("sendonly",)), video()) == [
        ("audio", "on", "8", "recvonly"),
        ("video", "on", "96", "sendrecv"),
    ]
    assert desk.flows == [(False, True), (True, True)]


def test_3_2_by_the_one_who_calls(transport):
    """One of the two is held, then the other too, the old way (c=0.0.0.0), and both go on."""
    talk = Talk(transport)
    talk.says(audio("0"), video())
    assert talk.says(audio("0", more=("sendonly",)), video()) == [
        ("audio", "on", "0", "recvonly"),
        ("video", "on", "96", "sendrecv"),
    ]
    assert [stream.sending for stream in talk.streams] == [False, True]
    talk.says(audio("0"), video(), connection="0.0.0.0")
    assert [stream.sending for stream in talk.streams] == [False, False]
    talk.says(audio("0"), video())
    assert [(stream.sending, stream.receiving) for stream in talk.streams] == [(True, True)] * 2
    talk.over()


# --- 4 Addition and deletion of media streams -------------------------------------------------------------------------------


def test_4_1_second_audio_stream_added(transport):
    """For keys, at another server, by the phone that was called: refused in its place; the first goes on where it was."""
    desk = Desk(transport, audio("8"), video(port=0))
    before = desk.streams
    keys = audio(EVENTS, port=48282, more=("recvonly",))
    answer = desk.says(audio("8"), video(port=0), keys)
    assert [one[:2] for one in answer] == [("audio", "on"), ("video", "off"), ("audio", "off")]
    assert desk.streams == before


def test_4_1_by_the_one_who_calls(transport):
    talk = Talk(transport)
    talk.says(audio("0"))
    before = talk.streams
    assert talk.says(audio("0"), audio(EVENTS, port=49172)) == [
        ("audio", "on", "0", "sendrecv"),
        ("audio", "off", "101", "inactive"),
    ]
    assert talk.streams == before
    talk.over()


def test_4_2_audio_then_video_added(transport):
    talk = Talk(transport)
    assert talk.says(audio("0")) == [("audio", "on", "0", "sendrecv")]
    assert talk.says(audio("0"), video()) == [
        ("audio", "on", "0", "sendrecv"),
        ("video", "on", "96", "sendrecv"),
    ]
    assert [stream.remote for stream in talk.streams] == [("192.0.2.77", 49170), ("192.0.2.77", 51372)]
    talk.over()


def test_4_3_audio_and_video_then_video_deleted(transport):
    """By the phone that was called."""
    desk = Desk(transport, audio("8"), video())
    answer = desk.says(audio("8"), video(port=0))
    assert [one[:2] for one in answer] == [("audio", "on"), ("video", "off")]
    assert [stream.medium for stream in desk.streams] == ["audio"]


def test_4_3_by_the_one_who_calls(transport):
    talk = Talk(transport)
    talk.says(audio("0"), video())
    assert talk.says(audio("0"), video(port=0)) == [
        ("audio", "on", "0", "sendrecv"),
        ("video", "off", "96", "inactive"),
    ]
    assert [stream.medium for stream in talk.streams] == ["audio"]
    # RFC 3264 §8.1: the place may be used again
    assert talk.says(audio("0"), video(VP8, port=53000))[1] == ("video", "on", "98", "sendrecv")
    talk.over()


# --- 5 Third party call control ---------------------------------------------------------------------------------------------


def test_5_1_no_media_then_audio_added(transport):
    """The controller offers nothing at first: a call without media, which is taken all the same."""
    talk = Talk(transport)
    assert talk.says() == []
    assert talk.streams == ()
    assert talk.says(audio("0")) == [("audio", "on", "0", "sendrecv")]
    talk.over()


def test_5_2_hold_and_unhold_2(transport):
    """The first offer is a black hole: it is answered as any, nothing is sent there; then it has an address."""
    talk = Talk(transport)
    answer = talk.says(audio("0", port=23442), connection="0.0.0.0")
    assert [one[:3] for one in answer] == [("audio", "on", "0")]
    assert not talk.streams[0].sending
    assert talk.says(audio("0")) == [("audio", "on", "0", "sendrecv")]
    assert talk.streams[0].sending
    assert talk.streams[0].remote == ("192.0.2.77", 49170)
    talk.over()


def test_5_3_hold_and_unhold_3(transport):
    """The answer to our offer is a black hole; the phone that was called says later where it is."""
    desk = Desk(transport, audio("8", port=9322), video(port=0), connection="0.0.0.0")
    assert [sending for sending, _ in desk.flows] == [False]
    assert desk.says(audio("8", port=49172), video(port=0))[0] == ("audio", "on", "8", "sendrecv")
    assert desk.flows == [(True, True)]
    assert desk.streams[0].remote == ("192.0.2.77", 49172)


def asked_to_offer(talk):
    """The controller's INVITE brings no offer: ours is in the 200."""
    talk.caller.ladder.clear()
    talk.caller.auto.discard("ack")
    if talk.caller.dialog is None:
        talk.caller.invite(body=b"")
    else:
        talk.caller.send("INVITE")
    talk.run(0.2)
    assert talk.caller.ladder[:2] == ["> INVITE", "< 200 INVITE"]
    return seen(talk.caller.last_response("INVITE").body)


def test_a_controller_that_asks_both_sides_for_offers(transport):
    """RFC 3725: holding, it answers with a black hole, then with the other side's words."""
    talk = Talk(transport)
    assert [kind for kind, *_ in asked_to_offer(talk)] == ["audio", "video"]
    talk.caller.ack(sdp(audio("0", more=("inactive",)), video(H264, port=0), connection="0.0.0.0"))
    talk.run()
    assert talk.caller.ladder[2:] == ["> ACK"]
    assert (talk.streams[0].sending, talk.streams[0].receiving) == (False, False)
    assert [kind for kind, *_ in asked_to_offer(talk)] == ["audio", "video"]
    talk.caller.ack(sdp(audio("0"), video(H264, port=0), version=2))
    talk.run()
    assert (talk.streams[0].sending, talk.streams[0].receiving) == (True, True)
    assert talk.streams[0].remote == ("192.0.2.77", 49170)


def test_held_by_inactive_and_back(transport):
    talk = Talk(transport)
    talk.says(audio("0"))
    assert talk.says(audio("0", more=("inactive",))) == [("audio", "on", "0", "inactive")]
    assert talk.says(audio("0")) == [("audio", "on", "0", "sendrecv")]
    talk.over()
