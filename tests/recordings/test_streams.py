from hypothesis import given
from hypothesis import strategies as st

from recordings.pcapng import Captured
from recordings.streams import Format, Match, from_events, from_sip, is_sip, parse_sdp
from tests.kit.evidence import (
    CALLER,
    CALLER_VIDEO,
    DESK,
    INVITE,
    OK,
    SIP_CALLER,
    SIP_US,
    US_CALLER_AUDIO,
    US_CALLER_VIDEO,
    US_DESK_AUDIO,
    sdp,
)

PCMA, OPUS, H264 = Format("PCMA", 8000), Format("OPUS", 48_000), Format("H264", 90_000)


def codec(name: str, number: int, clock: int, fmtp: str = "") -> dict:
    return {"name": name, "payload_type": number, "clock_rate": clock, "channels": 1, "fmtp": fmtp}


def negotiated(
    leg: str, medium: str, port: int, remote, *codecs, at: str = "2026-09-21T14:13:20.000+00:00"
) -> dict:
    stream = {"medium": medium, "local_port": port, "remote": remote, "codecs": list(codecs)}
    return {"event": "media_negotiated", "at": at, "leg": leg, "streams": [stream]}


def usual() -> list[dict]:
    return [
        {"event": "call_arrived"},
        negotiated("caller", "audio", 20_000, list(CALLER), codec("pcma", 8, 8000)),
        negotiated("caller", "video", 20_002, None, codec("H264", 96, 90_000)),
        negotiated("desk:7", "audio", 20_100, list(DESK), codec("OPUS", 111, 48_000)),
    ]


def test_events_tell_party_and_direction() -> None:
    streams = from_events(usual())
    assert streams.known
    assert streams.find(0, CALLER, US_CALLER_AUDIO, 8) == Match("caller", "caller", "audio", PCMA)
    assert streams.find(0, CALLER_VIDEO, US_CALLER_VIDEO, 96) == Match("caller", "caller", "video", H264)
    assert streams.find(0, DESK, US_DESK_AUDIO, 111) == Match("host", "desk:7", "audio", OPUS)
    assert streams.find(0, US_CALLER_AUDIO, CALLER, 8) is None, "we sent it"
    assert streams.find(0, US_DESK_AUDIO, DESK, 111) is None
    assert streams.find(0, ("192.0.2.9", 9), ("203.0.113.1", 9999), 8) is None, "a stranger's port"


def test_payload_types_nobody_negotiated() -> None:
    streams = from_events(usual())
    assert streams.find(0, CALLER, US_CALLER_AUDIO, 0) == Match(
        "caller", "caller", "audio", Format("PCMU", 8000)
    )
    assert streams.find(0, CALLER, US_CALLER_AUDIO, 101) == Match("caller", "caller", "audio", None)
    assert streams.find(0, CALLER_VIDEO, US_CALLER_VIDEO, 0) == Match("caller", "caller", "video", None)


def test_the_phone_may_use_a_port_number_of_ours() -> None:
    there, here = ("198.51.100.7", 20_100), ("203.0.113.1", 20_000)
    streams = from_events([
        negotiated("caller", "audio", 20_000, list(there), codec("PCMA", 8, 8000)),
        negotiated("desk:7", "audio", 20_100, None, codec("PCMA", 8, 8000)),
    ])  # fmt: skip
    found = streams.find(0, there, here, 8)
    assert found is not None
    assert found.party == "caller"
    assert streams.find(0, here, there, 8) is None
    # Behind NAT the negotiated address says nothing; our own has been seen by then.
    natted = ("192.0.2.33", 20_100)
    assert streams.find(0, DESK, ("203.0.113.1", 20_100), 8) is not None
    found = streams.find(0, natted, here, 8)
    assert found is not None
    assert found.party == "caller"
    assert streams.find(0, here, natted, 8) is None


def test_a_renegotiation_counts_from_its_time() -> None:
    streams = from_events([
        negotiated("caller", "audio", 20_000, None, codec("PCMA", 96, 8000), at="1970-01-01T00:00:01.000+00:00"),
        negotiated("caller", "audio", 20_000, None, codec("OPUS", 96, 48_000), codec("G722", 97, 8000), at="1970-01-01T00:00:05.000+00:00"),
    ])  # fmt: skip

    def name(seconds: float, number: int) -> str:
        found = streams.find(round(seconds * 1e9), CALLER, US_CALLER_AUDIO, number)
        assert found is not None
        assert found.format is not None
        return found.format.name

    assert [name(at, 96) for at in (0, 4.9, 5.0, 9)] == ["PCMA", "PCMA", "OPUS", "OPUS"]
    assert name(4.9, 97) == "G722", "a packet may overtake the note"


def test_a_port_that_changes_its_leg_is_a_new_port() -> None:
    streams = from_events([
        negotiated("desk:1", "audio", 20_000, None, codec("PCMA", 8, 8000)),
        negotiated("caller", "audio", 20_000, None, codec("PCMA", 8, 8000)),
    ])  # fmt: skip
    found = streams.find(0, CALLER, US_CALLER_AUDIO, 8)
    assert found is not None
    assert found.party == "caller"


def test_what_is_received_names_a_payload_type_first() -> None:
    [event] = [negotiated("caller", "video", 20_002, None, codec("H264", 96, 90_000, "packetization-mode=1"),
                          codec("H264", 96, 90_000, "sprop-parameter-sets=Z0LAHg=="), codec("VP8", 96, 90_000))]  # fmt: skip
    found = from_events([event]).find(0, CALLER_VIDEO, US_CALLER_VIDEO, 96)
    assert found is not None
    assert found.format == Format("H264", 90_000, "packetization-mode=1;sprop-parameter-sets=Z0LAHg==")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["leg", "streams", "medium", "local_port", "remote", "codecs", "name", "payload_type", "clock_rate", "at", "fmtp"]),
        inner,
        max_size=8,
    ),
    max_leaves=20,
)  # fmt: skip


@given(json_values, json_values, json_values)
def test_events_of_any_form_are_survived(leg, streams, at) -> None:
    made = from_events([{"event": "media_negotiated", "leg": leg, "streams": streams, "at": at}])
    made.find(0, CALLER, US_CALLER_AUDIO, 8)


def message(kind: bytes, body: bytes, source, destination) -> Captured:
    return Captured(0, source, destination, kind % len(body) + body)


def test_sip_tells_it_when_events_do_not() -> None:
    streams = from_sip([
        message(OK, sdp(CALLER, CALLER, "PCMA", None), SIP_US, SIP_CALLER),  # before the INVITE: of no use
        message(INVITE, sdp(CALLER, CALLER_VIDEO, "OPUS", "VP8"), SIP_CALLER, SIP_US),
        message(OK, sdp(US_CALLER_AUDIO, US_CALLER_VIDEO, "OPUS", "VP8"), SIP_US, SIP_CALLER),
    ])  # fmt: skip
    assert streams.known
    assert streams.find(0, CALLER, US_CALLER_AUDIO, 111) == Match("caller", "caller", "audio", OPUS)
    assert streams.find(0, CALLER_VIDEO, US_CALLER_VIDEO, 96) == Match(
        "caller", "caller", "video", Format("VP8", 90_000)
    )
    assert streams.find(0, US_CALLER_AUDIO, CALLER, 111) is None
    assert streams.find(0, DESK, US_DESK_AUDIO, 8) == Match("host", "desk:", "audio", PCMA), (
        "only the host is left"
    )
    assert streams.find(0, DESK, US_DESK_AUDIO, 111) is None


def test_another_dialog_is_the_desks() -> None:
    other = OK.replace(b"c1@phone", b"other")
    streams = from_sip([
        message(INVITE, b"", SIP_CALLER, SIP_US),
        message(other, sdp(US_DESK_AUDIO, US_DESK_AUDIO, "OPUS", None), SIP_US, ("198.51.100.9", 5060)),
    ])  # fmt: skip
    assert streams.find(0, DESK, US_DESK_AUDIO, 111) == Match("host", "desk:", "audio", OPUS)


def test_sdp_is_read_as_it_comes() -> None:
    body = (
        b"SIP/2.0 200 OK\r\n\r\nv=0\r\nm=audio 4000 RTP/AVP 0 8 96\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\n"
        b"a=rtpmap:97 evil/0\r\na=rtpmap:98 evil/99999999\r\na=fmtp:99 nobody\r\n"
        b"m=video 0 RTP/AVP 97\r\na=rtpmap:97 H264/90000\r\nm=image 5 udptl t38\r\nm=video 4002/2 RTP/AVPF 100\r\n"
    )
    assert parse_sdp(body) == [
        ("audio", 4000, {0: Format("PCMU", 8000), 8: PCMA, 96: Format("OPUS", 48_000, "useinbandfec=1")}),
        ("video", 4002, {}),
    ]


@given(st.binary(max_size=200))
def test_any_body_is_survived(body) -> None:
    parse_sdp(b"SIP/2.0 200 OK\r\n\r\nv=0\r\nm=audio 1 RTP/AVP 0\r\n" + body)
    parse_sdp(body)


def test_sip_is_told_from_rtp() -> None:
    assert is_sip(INVITE % 0)
    assert is_sip(OK % 0)
    assert not is_sip(b"\x80\x08" + b"SIP/2.0")
    assert not is_sip(b"")
    assert not is_sip(b"STUN")


def test_a_visitor_is_staff_until_it_takes_the_guest_over() -> None:
    port, here = US_DESK_AUDIO[1] + 2, ("203.0.113.1", US_DESK_AUDIO[1] + 2)
    streams = from_events(
        [
            *usual(),
            negotiated("staff:8", "audio", port, None, codec("PCMA", 8, 8000)),
            negotiated(
                "desk:8", "audio", port, None, codec("PCMA", 8, 8000), at="2026-09-21T14:14:20.000+00:00"
            ),
        ]
    )
    early, late = 1_790_000_001 * 10**9, 1_790_000_099 * 10**9
    assert streams.find(early, DESK, here, 8) == Match("staff:8", "staff:8", "audio", PCMA)
    assert streams.find(late, DESK, here, 8) == Match("host", "desk:8", "audio", PCMA)
    assert streams.find(0, DESK, here, 8) == Match("staff:8", "staff:8", "audio", PCMA), (
        "a packet before its note"
    )
