"""DTLS on the ports of a leg: handshakes by OpenSSL's own peers, whose keys become the leg's."""

import random

import pytest

from rtp.control import Dtls, MediaStarted, Sdes, Secured, SecurityFailed
from rtp.dtls import Certificate, Handshake
from rtp.srtp import Opener, Sealer
from tests.kit.media_wire import PHONE, Wire, packet, rtcp_socket, sent
from tests.kit.protected import LIAR, OURS, REPORT, SUITE, THEIRS, Handshaking, Side, dtls, pair


def test_a_handshake_gives_the_keys_of_both_ports():
    wire, guest, host = pair(dtls())
    host.say(packet(1))
    assert guest.left() == []  # nothing leaves in the clear
    guest.say(packet(4))
    assert (guest.track.unauthentic, guest.taken) == (1, [])
    guest.reports.send(wire.loop.now)
    assert rtcp_socket(guest.track).sent == []
    phone = Handshaking(guest).talk()
    keys = phone.shake.keys
    assert wire.events == [
        MediaStarted("host", "audio", wire.events[0].at),
        Secured("guest", "audio", keys.suite.name, "dtls"),
    ]
    guest.say(Sealer(keys.suite, keys.send).rtp(packet(5)))
    host.say(packet(2))
    assert Opener(keys.suite, keys.receive).rtp(guest.left()[0], 0.0) is not None
    assert guest.taken == [(PHONE, guest.track.local, packet(5))]
    guest.reports.send(wire.loop.now)
    assert rtcp_socket(guest.track).sent == []  # RFC 5764: the other port has keys of its own
    other = Handshaking(guest, rtcp=True).talk().shake.keys
    guest.reports.send(wire.loop.now)
    assert Opener(other.suite, other.receive).rtcp(rtcp_socket(guest.track).sent[0][0], 0.0) is not None
    guest.report(Sealer(other.suite, other.send).rtcp(REPORT))
    assert guest.wanted == [wire.loop.now]


def test_we_begin_when_the_answer_says_so():
    _, guest, _ = pair(dtls(active=True), mux=True)
    phone = Handshaking(guest, active=False).talk()
    assert phone.shake.keys is not None
    assert rtcp_socket(guest.track).sent == []


def test_the_same_association_goes_on_and_another_begins_anew():
    wire, guest, host = pair(dtls(), mux=True)
    keys = Handshaking(guest).talk().shake.keys
    guest.configure(crypto=dtls(active=True), mux=True)  # who would begin plays no part once it is done
    phone = Sealer(keys.suite, keys.send)
    guest.say(phone.rtp(packet(1)))
    assert len(sent(host.track)) == 1
    guest.configure(crypto=Dtls(False, dtls().fingerprints, "another"), mux=True)
    again = Handshaking(guest).talk().shake.keys
    guest.say(phone.rtp(packet(2)), Sealer(again.suite, again.send).rtp(packet(3)))
    assert len(sent(host.track)) == 3
    assert [type(e) for e in wire.events].count(Secured) == 2


def test_two_ports_become_one():
    _, guest, _ = pair(dtls())
    keys = Handshaking(guest).talk().shake.keys
    assert set(guest.protection._associations) == {"rtp", "rtcp"}
    guest.configure(crypto=dtls(), mux=True)
    assert set(guest.protection._associations) == {"rtp"}
    guest.say(Sealer(keys.suite, keys.send).rtp(packet(1)))
    assert len(guest.taken) == 1


def test_our_key_stays_when_only_theirs_is_another():
    _, guest, host = pair()
    hears = Opener(SUITE, OURS)
    host.say(packet(1))
    theirs = bytes(range(50, 80))
    guest.configure(crypto=Sdes(SUITE.name, OURS, theirs))
    host.say(packet(2))
    assert [hears.rtp(data, 0.0) is not None for data in guest.left()] == [True, True]
    guest.say(Sealer(SUITE, theirs).rtp(packet(7)))
    assert len(guest.taken) == 1


def test_hellos_of_strangers_are_not_looked_at():
    """S2: sprayed from before anything was negotiated, and all the time."""
    wire, guest, _ = pair(dtls(), mux=True)
    (hello,) = Handshake(Certificate(), Dtls(True, ())).start()
    for port in range(1000):
        guest.say(hello, source=("6.6.6.6", 1024 + port))
    assert guest.track.rejected == 1000
    assert guest.left() == []
    assert Handshaking(guest).talk().shake.keys is not None
    assert [type(e) for e in wire.events] == [Secured]


@pytest.mark.parametrize("case", range(50))
def test_fifty_wrong_certificates(case):
    """S2: whoever answers with another certificate than the SDP's ends the leg, be it first, late, or after a spray."""
    dice = random.Random(case)
    medium = dice.choice(("audio", "video"))
    wire, active = Wire(), dice.random() < 0.3
    guest = Side(wire, medium=medium, crypto=dtls(active=active), mux=dice.random() < 0.5)
    if dice.random() < 0.5:
        (hello,) = Handshake(Certificate(), Dtls(True, ())).start()
        for port in range(dice.randrange(1, 40)):
            guest.say(hello, source=("6.6.6.6", 1024 + port))
    wire.loop.now += dice.random()
    liar = Handshaking(guest, certificate=LIAR, active=not active).talk()
    wire.loop.now += dice.random()
    guest.protection.expire(wire.loop.now)
    assert wire.events == [SecurityFailed("guest", medium, "fingerprint", PHONE)]
    assert (
        active or liar.shake.keys is None
    )  # as the server it may think itself done, and gets nothing all the same
    guest.say(Sealer(SUITE, THEIRS).rtp(packet(1)), packet(2))
    assert guest.taken == []


def test_another_certificate_is_told_once_and_nothing_is_ever_believed():
    wire, guest, host = pair(dtls(), mux=True)
    liar = Handshaking(guest, certificate=Certificate()).talk()
    assert wire.events == [SecurityFailed("guest", "audio", "fingerprint", PHONE)]
    assert liar.shake.keys is None
    guest.say(Sealer(SUITE, THEIRS).rtp(packet(1)), packet(2))
    guest.protection.expire(wire.loop.now)
    assert len(wire.events) == 1
    assert (sent(host.track), guest.taken) == ([], [])
