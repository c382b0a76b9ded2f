"""A peer that hears elsewhere than it sends from (`media.asymmetric`)."""

import msgspec
import pytest

from rtp.reports import Reports
from tests.kit.media_wire import PHONE, Wire, packet, rtp_socket, stream

ELSEWHERE = (PHONE[0], PHONE[1] + 40)


def talk(*, asymmetric):
    """A guest who sends from elsewhere than its SDP says, and its host: the guest's track, and to where it was sent."""
    wire = Wire()
    guest, host = wire.configured("guest", asymmetric=asymmetric), wire.configured("host")
    guest.wire(host, wire.loop.now)
    host.wire(guest, wire.loop.now)
    for number in range(60):
        wire.loop.read(rtp_socket(guest), packet(number), ELSEWHERE)
        wire.loop.read(rtp_socket(host), packet(number))
        wire.loop.now += 0.02
    assert guest.latch.latched == ELSEWHERE
    return guest, [address or guest.remote for _, address in rtp_socket(guest).sent]


def test_it_is_sent_media_where_its_sdp_says_and_believed_where_it_sends_from():
    guest, addresses = talk(asymmetric=True)
    assert len(addresses) > 50
    assert set(addresses) == {PHONE}
    assert guest.source.received > 40
    assert guest.sender.remote == PHONE, "evidence states where it went"


def test_whoever_is_not_named_is_sent_media_where_it_sends_from():
    _, addresses = talk(asymmetric=False)
    assert addresses[-1] == ELSEWHERE


def test_another_description_and_another_process_change_nothing_of_it(monkeypatch):
    monkeypatch.setattr("rtp.track.disconnect", lambda _socket: None)
    guest, _ = talk(asymmetric=True)
    there = Wire().track("guest")
    there.resume(msgspec.msgpack.decode(msgspec.msgpack.encode(guest.carry())))
    assert there.sender.remote == PHONE
    moved = (PHONE[0], PHONE[1] + 2)
    guest.configure(stream(remote=moved, asymmetric=True), frozenset({PHONE[0]}), 200.0)
    assert guest.sender.remote == moved


@pytest.mark.parametrize(("asymmetric", "port"), [(True, PHONE[1] + 1), (False, ELSEWHERE[1] + 1)])
def test_reports_go_the_same_way(asymmetric, port):
    guest, _ = talk(asymmetric=asymmetric)
    guest.stream = msgspec.structs.replace(guest.stream, remote_rtcp=(PHONE[0], PHONE[1] + 1))
    reports = Reports(guest, "cname", lambda _now: None)
    if not asymmetric:
        guest.stream = msgspec.structs.replace(guest.stream, remote_rtcp=None)
    assert reports._address() == (PHONE[0], port)
