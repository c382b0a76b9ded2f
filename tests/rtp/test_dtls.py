"""Handshakes through memory with real OpenSSL at both ends; the far end is pyOpenSSL used directly, or ours."""

import secrets

import pytest
from cryptography.hazmat.primitives import hashes
from OpenSSL import SSL

from rtp.control import Dtls
from rtp.dtls import MTU, Certificate, Handshake
from rtp.srtp import Opener, Sealer
from rtp.suites import SUITES
from tests.kit.media_wire import packet


@pytest.fixture(scope="module")
def ours():
    return Certificate()


@pytest.fixture(scope="module")
def theirs():
    return Certificate()


def handshake(certificate, peer, *, active, algorithm="sha-256"):
    return Handshake(certificate, Dtls(active, ((algorithm, peer),)))


def talk(one, other, lose=()):
    """Let datagrams go to and fro until nobody has more to say; `lose`: which, counted from 0."""
    waiting = [(other, data) for data in one.start()] + [(one, data) for data in other.start()]
    count = 0
    while waiting:
        to, data = waiting.pop(0)
        assert len(data) <= MTU
        count += 1
        if count - 1 in lose:
            continue
        back = one if to is other else other
        waiting += [(back, answer) for answer in to.receive(data)]
    return count


@pytest.mark.parametrize("active", [True, False])
def test_both_get_the_same_keys(ours, theirs, active):
    a = handshake(ours, theirs.fingerprint, active=active)
    b = handshake(theirs, ours.fingerprint, active=not active)
    talk(a, b)
    assert (a.failure, b.failure) == (None, None)
    assert a.keys.suite is b.keys.suite is SUITES["AEAD_AES_256_GCM"]
    assert a.keys.send == b.keys.receive != a.keys.receive == b.keys.send
    sealed = Sealer(a.keys.suite, a.keys.send).rtp(packet(1))
    assert Opener(b.keys.suite, b.keys.receive).rtp(sealed, 0.0) == packet(1)
    assert "send" not in repr(a.keys)


@pytest.mark.parametrize("name", [suite.name for suite in SUITES.values() if suite.openssl])
def test_each_suite_as_openssl_alone_derives_it(ours, theirs, name):
    suite = SUITES[name]
    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_tlsext_use_srtp(suite.openssl.encode())
    context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
    mine = Certificate()
    context.use_certificate(mine.x509)
    context.use_privatekey(mine.key)
    phone = SSL.Connection(context, None)
    phone.set_connect_state()
    b = handshake(ours, mine.fingerprint, active=False)
    for _ in range(6):
        try:
            phone.do_handshake()
        except SSL.WantReadError:
            pass
        try:
            sent = phone.bio_read(1 << 16)
        except SSL.WantReadError:
            sent = b""
        for data in b.receive(sent) if sent else ():
            phone.bio_write(data)
    assert phone.get_selected_srtp_profile() == suite.openssl.encode()
    made = phone.export_keying_material(b"EXTRACTOR-dtls_srtp", 2 * suite.length)
    client_key, rest = made[: suite.key], made[suite.key :]
    server_key, salts = rest[: suite.key], rest[suite.key :]
    assert b.keys.suite is suite
    assert b.keys.receive == client_key + salts[: suite.salt]
    assert b.keys.send == server_key + salts[suite.salt :]


@pytest.mark.parametrize("case", range(50))
def test_another_certificate_than_the_one_told_gives_no_keys(ours, theirs, case):
    """S2: fifty ways to be somebody else; both roles, a changed bit, another certificate, another hash."""
    told = bytearray(theirs.fingerprint)
    if case % 5 == 4:
        told = bytearray(secrets.token_bytes(32))
    else:
        told[case * 5 % 32] ^= 1 << case % 8
    algorithm = ("sha-256", "sha-256", "sha-512", "sha-1", "sha-256")[case % 5]
    a = handshake(ours, bytes(told), active=case % 2 == 0, algorithm=algorithm)
    b = handshake(theirs, ours.fingerprint, active=case % 2 == 1)
    talk(a, b)
    assert (a.keys, a.failure) == (None, "fingerprint")
    assert a.receive(b"\x16" * 50) == []
    assert a.expire() == []


@pytest.mark.parametrize(("algorithm", "kind"), [("sha-1", hashes.SHA1()), ("sha-512", hashes.SHA512())])
def test_other_hashes_of_the_certificate(ours, theirs, algorithm, kind):
    a = handshake(ours, theirs.x509.fingerprint(kind), active=True, algorithm=algorithm)
    b = handshake(theirs, ours.fingerprint, active=False)
    talk(a, b)
    assert a.keys is not None


def test_a_hash_nobody_knows_is_no_match(ours, theirs):
    a = handshake(ours, b"\1\2", active=True, algorithm="md5")
    talk(a, handshake(theirs, ours.fingerprint, active=False))
    assert a.failure == "fingerprint"


def test_noise_neither_ends_nor_completes_a_handshake(ours, theirs):
    a = handshake(ours, theirs.fingerprint, active=False)
    for noise in (b"\x16", b"\x16" * 40, b"\x14\xfe\xfd" + bytes(40), bytes(range(20, 64)) * 4):
        a.receive(noise)
    assert a.keys is None
    assert a.expire() == []
    b = handshake(theirs, ours.fingerprint, active=True)
    talk(a, b)
    assert (a.failure, b.failure) == (None, None)
    assert a.keys is not None


def test_without_a_suite_in_common_there_are_no_keys(ours):
    context = SSL.Context(SSL.DTLS_METHOD)
    phone = SSL.Connection(context, None)
    phone.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        phone.do_handshake()
    a = handshake(ours, b"\0" * 32, active=False)
    for data in a.receive(phone.bio_read(1 << 16)):
        phone.bio_write(data)
    with pytest.raises(SSL.WantReadError):
        phone.do_handshake()
    a.receive(phone.bio_read(1 << 16))
    assert a.keys is None
    assert a.failure == "handshake"  # and no certificate either


def test_a_phone_that_knows_no_srtp_gets_no_keys(ours, theirs):
    context = SSL.Context(SSL.DTLS_METHOD)
    context.use_certificate(theirs.x509)
    context.use_privatekey(theirs.key)
    phone = SSL.Connection(context, None)
    phone.set_connect_state()
    a = handshake(ours, theirs.fingerprint, active=False)
    for _ in range(4):
        try:
            phone.do_handshake()
            sent = phone.bio_read(1 << 16)
        except SSL.WantReadError:
            try:
                sent = phone.bio_read(1 << 16)
            except SSL.WantReadError:
                break
        for data in a.receive(sent):
            phone.bio_write(data)
    assert (a.keys, a.failure) == (None, "handshake")


def test_small_datagrams_hold_whole_records(ours, theirs, monkeypatch):
    """A flight of 700 bytes over a path that takes 256."""
    monkeypatch.setattr("rtp.dtls.MTU", 256)
    a = handshake(ours, theirs.fingerprint, active=True)
    b = handshake(theirs, ours.fingerprint, active=False)
    flight = [data for hello in a.start() for data in b.receive(hello)]
    assert len(flight) >= 3
    for data in flight:
        assert len(data) <= 256
        assert data[0] == 22
    back = [answer for data in flight for answer in a.receive(data)]
    for answer in [answer for data in back for answer in b.receive(data)]:
        a.receive(answer)
    assert a.keys is not None


def test_nothing_is_repeated_before_its_time_and_a_timer_may_give_up(ours, theirs, monkeypatch):
    a = handshake(ours, theirs.fingerprint, active=True)
    assert a.start()
    assert a.expire() == []  # OpenSSL waits a second first
    assert a.failure is None

    def gives_up(_connection):
        raise SSL.Error

    monkeypatch.setattr(SSL.Connection, "DTLSv1_handle_timeout", gives_up)
    assert a.expire() == []
    assert a.failure == "handshake"


def test_what_comes_after_the_handshake_changes_nothing(ours, theirs):
    a = handshake(ours, theirs.fingerprint, active=True)
    b = handshake(theirs, ours.fingerprint, active=False)
    talk(a, b)
    keys = b.keys
    for late in (b"\x17\xfe\xfd" + bytes(30), b"\x16" * 60, b"\x15" * 20):
        assert b.receive(late) == []
    assert (b.keys, b.failure) == (keys, None)
