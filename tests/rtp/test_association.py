"""Whose handshake counts (S2): real OpenSSL at both ends, the wire a list."""

import pytest
from OpenSSL import SSL

from rtp import association
from rtp.association import MAX_CANDIDATES, PER_SECOND, RETRY_SECONDS, Association
from rtp.control import Dtls
from rtp.dtls import Certificate, Handshake

NAMED, OTHER_PORT = ("10.0.0.1", 4000), ("10.0.0.1", 4999)
HELLO = Certificate()
OURS, THEIRS = Certificate(), Certificate()


class Phone:
    """The far end of a handshake."""

    def __init__(self, certificate=THEIRS, *, active=True):
        self.shake = Handshake(certificate, Dtls(active, (("sha-256", OURS.fingerprint),)))


class Port:
    """Our end, and what left it."""

    def __init__(self, *, active=False, named=NAMED):
        self.sent = []
        dtls = Dtls(active, (("sha-256", THEIRS.fingerprint),))
        self.association = Association(OURS, dtls, lambda data, to: self.sent.append((data, to)))
        self.association.name(named, 0.0)

    def talk(self, phone, source, now=1.0, rounds=8, first=None):
        waiting = phone.shake.start() if first is None else first
        for _ in range(rounds):
            for data in waiting:
                self.association.receive(data, source, now)
            waiting = [d for data, to in self.sent if to == source for d in phone.shake.receive(data)]
            self.sent = [(data, to) for data, to in self.sent if to != source]


def test_the_phone_that_the_sdp_named():
    port, phone = Port(), Phone()
    port.talk(phone, NAMED)
    assert port.association.keys.send == phone.shake.keys.receive
    assert port.association.owner == NAMED
    # Once it is decided a ClientHello of anybody begins nothing.
    for data in Phone().shake.start():
        port.association.receive(data, OTHER_PORT, 2.0)
    assert (port.sent, port.association.refused) == ([], 1)


def test_the_phone_behind_a_nat_has_another_port():
    port, phone = Port(), Phone()
    port.talk(phone, OTHER_PORT)
    assert port.association.owner == OTHER_PORT


def test_we_begin_when_the_phone_waits_and_try_again():
    port, phone = Port(active=True), Phone(active=False)
    ((hello, to),) = port.sent
    assert to == NAMED
    port.sent.clear()
    port.association.receive(
        b"\x15\xfe\xfd" + bytes(8) + b"\0\2\2\x28", NAMED, 1.0
    )  # a fatal alert: somebody said no
    assert port.association.mismatch is None
    port.association.expire(1.0 + RETRY_SECONDS - 0.1)
    assert port.sent == []
    port.association.expire(1.0 + RETRY_SECONDS)
    assert port.sent
    port.talk(phone, NAMED, now=4.0, first=[])
    assert port.association.keys is not None
    assert hello != b""
    port.association.name(NAMED, 5.0)
    port.association.expire(60.0)
    assert port.sent == []


def test_where_nobody_is_named_nothing_is_sent():
    port = Port(active=True, named=None)
    port.association.expire(10.0)
    assert port.sent == []
    port.association.name(NAMED, 11.0)
    assert port.sent


def test_a_spray_of_hellos_replaces_its_own_and_the_phone_connects():
    """S2: 1,000 ClientHellos of other ports of the phone's address, in the middle of its handshake too."""
    port, phone = Port(), Phone()
    hellos = [data for _ in range(8) for data in Phone(HELLO).shake.start()]
    waiting = phone.shake.start()
    count = 0
    for _ in range(8):
        for _ in range(125):
            count += 1
            port.association.receive(hellos[count % 8], ("10.0.0.1", 10_000 + count), 1.0)
        for data in waiting:
            port.association.receive(data, NAMED, 1.0)
        waiting = [d for data, to in port.sent if to == NAMED for d in phone.shake.receive(data)]
        port.sent.clear()
    assert count == 1000
    assert port.association.owner == NAMED
    assert port.association.mismatch is None
    assert len(port.association._candidates) <= MAX_CANDIDATES
    assert port.association.refused >= 1000 - PER_SECOND  # all that were more than a signature is worth


def test_a_phone_behind_a_nat_gets_its_turn_in_the_next_second():
    port, phone = Port(), Phone()
    (hello,) = Phone(HELLO).shake.start()
    for number in range(100):
        port.association.receive(hello, ("10.0.0.1", 10_000 + number), 1.0)
    port.sent.clear()
    first = phone.shake.start()
    port.talk(phone, OTHER_PORT, now=1.5, first=first)
    assert port.association.keys is None
    port.talk(phone, OTHER_PORT, now=2.5, first=first)
    assert port.association.owner == OTHER_PORT


@pytest.mark.parametrize(
    "data", [b"", b"\x16", b"\x16" * 13, b"\x17" * 100, b"\x16" * 13 + b"\2" + bytes(50)]
)
def test_what_is_no_hello_begins_nothing(data):
    port = Port()
    port.association.receive(data, NAMED, 1.0)
    assert (port.sent, port.association.refused) == ([], 1)


def test_the_named_phone_with_another_certificate_is_told():
    port, liar = Port(), Phone(HELLO)
    port.talk(liar, NAMED)
    assert port.association.mismatch == NAMED
    assert port.association.keys is None


def test_somebody_beside_the_phone_does_not_end_its_handshake():
    port, phone, liar = Port(), Phone(), Phone(HELLO)
    hello = phone.shake.start()
    for data in hello:
        port.association.receive(data, NAMED, 1.0)
    flight = [data for data, to in port.sent if to == NAMED]
    port.sent.clear()
    port.talk(liar, OTHER_PORT)
    assert port.association.mismatch is None
    port.talk(phone, NAMED, first=[d for data in flight for d in phone.shake.receive(data)])
    assert port.association.owner == NAMED


def test_somebody_alone_with_another_certificate_is_told():
    port = Port(named=("192.168.1.7", 4000))
    port.talk(Phone(HELLO), OTHER_PORT)
    assert port.association.mismatch == OTHER_PORT


def test_what_got_no_answer_is_repeated(monkeypatch):
    port = Port(active=True)
    first = port.sent.pop()
    timers = []

    def repeated(self):
        timers.append(self)
        return [b"again"]

    monkeypatch.setattr(association.Handshake, "expire", repeated)
    port.association.expire(2.0)
    assert port.sent == [(b"again", NAMED)]
    assert len(timers) == 1
    assert first[1] == NAMED


def test_a_timer_that_gives_up_is_a_failed_handshake(monkeypatch):
    def gives_up(_connection):
        raise SSL.Error

    port = Port(active=True)
    port.sent.clear()
    monkeypatch.setattr(SSL.Connection, "DTLSv1_handle_timeout", gives_up)
    port.association.expire(3.0)
    assert port.association._candidates == {}
    port.association.expire(3.0 + RETRY_SECONDS)
    assert port.sent
