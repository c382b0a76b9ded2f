"""Hand-made bad offers: each is answered, or refused with 400 or 488, and RTP goes nowhere it must not."""

import ipaddress

import pytest

from pbx.sdp.capabilities import CAPABILITIES
from pbx.sdp.description import parse
from pbx.sdp.offer_answer import answer
from pbx.sip.errors import SipError

HEAD = ["v=0", "o=- 1 1 IN IP4 198.51.100.7", "s=-", "c=IN IP4 198.51.100.7", "t=0 0"]
BASES = {
    "audio": ["m=audio 5000 RTP/AVP 8 0", "a=sendrecv"],
    "video": ["m=video 5002 RTP/AVPF 96", "a=rtpmap:96 H264/90000", "a=fmtp:96 packetization-mode=1"],
    "both": ["m=audio 5000 RTP/AVP 8", "m=video 5002 RTP/AVP 98", "a=rtpmap:98 VP8/90000"],
}
ODD = [
    "a=rtpmap:4294967296 PCMA/8000", "a=rtpmap:8 PCMA/0", "a=rtpmap:8 PCMA/99999999999", "a=rtpmap:8", "a=rtpmap:",
    "a=fmtp:96", "a=fmtp:999999999999 x", "a=fmtp:96 profile-level-id=zzzzzz", "a=fmtp:96 profile-level-id=42e01f00000",
    "a=fmtp:96 packetization-mode=4294967296", "a=ptime:0", "a=ptime:2147483648", "a=maxptime:0", "a=rtcp:65536",
    "a=rtcp:25 IN IP4 198.51.100.7", "a=rtcp:5001 IN IP4 169.254.169.254", "a=rtcp-fb:* ", "a=rtcp-fb:256 nack pli",
    "c=IN IP4 0.0.0.0", "c=IN IP4 224.2.1.1/127/3", "c=IN IP4 255.255.255.255", "c=IN IP6 ::1", "c=IN IP6 ff02::1",
    "c=IN IP4 phone.example", "c=IN IP4 1.2.3.04", "c=IN IP4", "c=IN IP4 169.254.169.254", "c=IN IP4 127.0.0.1",
    "c=XX YY 10.0.0.1", "a=group:BUNDLE 0 1", "a=fingerprint:sha-256 no", "a=crypto:1 X inline:", "a=setup:actpass",
    "b=AS:99999999999999999999", "b=X", "z=", "k=prompt", "a=sendrecv:1", "m=audio 65536 RTP/AVP 8", "m=audio -1 RTP/AVP 8",
    "m=audio 5000/0 RTP/AVP 8", "m=audio 5000 RTP/AVP 4294967296", "m=audio 5000", "m=", "a=x\0y", "a=x\ry", "junk", "=",
]  # fmt: skip


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("odd", ODD)
def test_an_odd_line_after_a_good_offer(base, odd):
    data = "\r\n".join([*HEAD, *BASES[base], odd, ""]).encode()
    try:
        offer = parse(data)
    except SipError as error:
        assert error.status in (400, 488)  # noqa: PT017 - an answer is as good
        return
    ports = {"audio": (20000, 20001), "video": (20002, 20003)}
    description, streams = answer(
        offer, CAPABILITIES, address="192.0.2.1", ports=ports, session=1, version=1, loopback_ok=False
    )
    assert len(description.media) == len(offer.media)
    assert streams or base == "video"  # H.264 of a mode or profile nobody knows
    for remote in (
        address for stream in streams for address in (stream.remote, stream.remote_rtcp) if address
    ):
        host, port = ipaddress.ip_address(remote[0]), remote[1]
        verdicts = (host.is_multicast, host.is_loopback, host.is_link_local, host.is_unspecified)
        assert not any(verdicts)
        assert str(host) != "255.255.255.255"
        assert 1024 <= port <= 65535


@pytest.mark.parametrize("missing", range(1, 5))
def test_each_line_of_the_session_may_be_missing(missing):
    lines = [line for index, line in enumerate(HEAD) if index != missing]
    offer = parse("\n".join([*lines, *BASES["both"]]).encode())
    _, streams = answer(
        offer, CAPABILITIES, address="192.0.2.1", ports={"audio": (20000, 20001)}, session=1, version=1
    )
    assert [stream.medium for stream in streams] == ["audio"]


CANDIDATE = "a=candidate:{0} 1 udp 2130706431 198.51.100.{1} {2} typ host"


@pytest.mark.parametrize(("count", "answered"), [(200, True), (1000, False)])
def test_candidates_without_end(count, answered):
    """As many as fit are passed over; a description beyond its limit is refused, whatever it is full of."""
    lines = [CANDIDATE.format(n, n % 250 + 1, 2000 + n) for n in range(count)]
    data = "\r\n".join([*HEAD, *BASES["audio"], *lines, ""]).encode()
    if not answered:
        with pytest.raises(SipError) as caught:
            parse(data)
        assert caught.value.status == 400
        return
    ports = {"audio": (20000, 20001)}
    description, (stream,) = answer(
        parse(data), CAPABILITIES, address="192.0.2.1", ports=ports, session=1, version=1, loopback_ok=False
    )
    assert stream.remote == ("198.51.100.7", 5000), "no candidate was believed"
    assert b"candidate" not in description.encode()


def test_there_are_enough():
    assert len(ODD) * len(BASES) + 4 + 2 >= 120
