"""What a stranger says of where it hears is not believed before something came from there (bar S9)."""

import msgspec
import pytest

from rtp.reports import Reports
from tests.kit.media_wire import PHONE, Wire, engine, packet, rtp_socket, stream
from tests.kit.protected import Side, dtls

__all__ = ["engine"]
ELSEWHERE = ("10.66.0.9", 5432)
SOURCES = frozenset({PHONE[0], ELSEWHERE[0]})


class Talk:
    """A stranger whose description points elsewhere, and a host who speaks to it."""

    def __init__(self):
        self.wire = Wire()
        self.guest, self.host = self.wire.track("guest"), self.wire.configured("host")
        self.number = 0
        self.say()

    def say(self, **more):
        fields = {"remote": ELSEWHERE, "remote_rtcp": (ELSEWHERE[0], 22), "unproven": True, **more}
        self.guest.configure(stream(**fields), SOURCES, self.wire.loop.now)

    def speak(self):
        """Let the host speak for a second; to where it left for the guest."""
        self.guest.wire(self.host, self.wire.loop.now)
        self.host.wire(self.guest, self.wire.loop.now)
        before = len(rtp_socket(self.guest).sent)
        for _ in range(50):
            self.wire.loop.read(rtp_socket(self.host), packet(self.number))
            self.number += 1
            self.wire.loop.now += 0.02
        return {address or self.guest.remote for _, address in rtp_socket(self.guest).sent[before:]}

    def hear(self, source):
        for number in range(30):
            self.wire.loop.read(rtp_socket(self.guest), packet(number), source)
            self.wire.loop.now += 0.02


@pytest.fixture
def talk(engine):
    return Talk()


def test_nothing_leaves_for_there_neither_sound_nor_reports(talk):
    assert talk.speak() == set()
    assert talk.guest.sender.remote is None
    assert Reports(talk.guest, "cname", lambda _now: None)._address() is None


def test_it_is_sent_to_where_its_media_come_from(talk):
    talk.hear(PHONE)
    assert talk.speak() == {PHONE}
    assert Reports(talk.guest, "cname", lambda _now: None)._address() == (PHONE[0], PHONE[1] + 1)


def test_whoever_does_send_from_there_is_sent_to(talk):
    talk.hear(ELSEWHERE)
    assert talk.speak() == {ELSEWHERE}


def test_once_it_is_proved_media_go_where_it_said(talk):
    assert talk.speak() == set()
    talk.say(unproven=False)
    assert talk.speak() == {ELSEWHERE}
    assert Reports(talk.guest, "cname", lambda _now: None)._address() == (ELSEWHERE[0], 22)


def test_another_place_is_as_unproven_as_the_first(talk):
    talk.hear(PHONE)
    talk.say(remote=(ELSEWHERE[0], 40_000))
    assert talk.speak() == set()


def test_it_stays_so_in_another_process(talk):
    talk.speak()
    there = Wire().track("guest")
    there.resume(msgspec.msgpack.decode(msgspec.msgpack.encode(talk.guest.carry())))
    assert there.sender.remote is None


@pytest.mark.parametrize("mux", [True, False])
def test_no_handshake_is_begun_there(engine, mux):
    wire = Wire()
    guest = Side(wire, crypto=dtls(active=True), mux=mux, unproven=True)
    wire.loop.now += 1.0
    assert not rtp_socket(guest.track).sent
