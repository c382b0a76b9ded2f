"""Three hundred messages that point elsewhere, and a judge of the wire who sees whether anything goes there (bar S9).

Run as a program under `unshare --net`. What is pointed at lies behind an interface that takes everything, so that a packet the
exchange sent there would really leave, and behind the loopback; tshark hears on all interfaces. Strangers and signed-in phones
have a namespace of their own. Prints one line of JSON; whatever is not as it should be is an AssertionError.
"""

import itertools
import json
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Self

from tests.live.kit import tshark, wire
from tests.live.kit.besieged import Here
from tests.live.kit.exchange import Exchange, Person
from tests.live.kit.namespaces import Namespace, ip
from tests.live.kit.pointing import Pointing
from tests.live.kit.wire import Message

SERVER: Final = "198.51.100.1"
STRANGERS: Final = tuple(f"198.51.100.{number}" for number in range(11, 27))
"""So many, because an address may have fifty connections that prove nothing."""
PHONES: Final = "198.51.100.9"
HOSTS: Final = ("127.0.0.1", "::1", "169.254.169.254", "10.66.0.9", "239.1.1.1", "255.255.255.255")
PORTS: Final = (22, 25, 5432)
MEDIA: Final = 40_000
"""The port of descriptions that point elsewhere, where a phone could be."""
FIELDS: Final = (
    "via", "via-maddr", "via-received", "contact", "contact-maddr", "route", "route-maddr", "record-route", "refer-to", "replaces",
    "referred-by", "call-info", "alert-info", "reply-to", "path", "geolocation", "sdp", "sdp-rtcp", "sdp-own-rtcp",
)  # fmt: skip
LISTEN_SECONDS: Final = 11.5
"""The exchange asks a phone that sends no media whether it lives after 4.5 s, and where it is after 10 s."""
SETTINGS: Final = f"""
[sip]
host = "{SERVER}"
[[sip.listen]]
host = "fd00:77::1"
port = 5066
[queue]
wrap_up_seconds = 0.0
language = "en"
"""
WATCHED: Final = (
    "dst net 127.0.0.0/8 or dst host ::1 or dst net 169.254.0.0/16 or dst net 10.0.0.0/8 or dst net 224.0.0.0/4 or "
    "dst host 255.255.255.255 or dst port 22 or dst port 25 or dst port 5432"
)
OWN: Final = b"at110 control"
"""In packets of the test's own, which the judge must see."""


class Crowd:
    """All parties, served while something is waited for."""

    def __init__(self, net: Namespace, server: tuple[str, int]) -> None:
        self._net, self._server = net, server
        self._readers = selectors.DefaultSelector()

    def add(self, party: Pointing) -> Pointing:
        for sock in party.begin(self._net, self._server):
            self._readers.register(sock, selectors.EVENT_READ, party)
        return party

    def turn(self, seconds: float) -> None:
        """Serve them for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for key, _ in self._readers.select(left):
                assert isinstance(key.fileobj, socket.socket)
                key.data.hear(key.fileobj)

    def until(self, found: object, complaint: str, timeout: float = 30.0) -> None:
        end = time.monotonic() + timeout
        while not found():  # type: ignore[operator]
            assert time.monotonic() < end, complaint
            self.turn(0.02)


class Judge:
    """tshark on every interface of the exchange's network."""

    def __init__(self) -> None:
        self._file = Path(tempfile.mkdtemp(prefix="at110-wire-")) / "wire.pcapng"

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            ["dumpcap", "-q", "-i", "any", "-B", "64", "-f", WATCHED, "-w", str(self._file)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        end = time.monotonic() + 10
        while not (self._file.exists() and OWN in self._file.read_bytes()):
            assert time.monotonic() < end, "nothing is captured"
            self.control("10.66.0.9", 9)
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._file.unlink(missing_ok=True)
        self._file.parent.rmdir()

    @staticmethod
    def control(host: str, port: int) -> None:
        """Send what the exchange must not, so that it is known to be seen."""
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sock.sendto(OWN, (host, port))

    def seen(self, http: int) -> tuple[Counter[str], Counter[str]]:
        """What went where it must not, and the test's own packets there, by address and port."""
        time.sleep(0.3)  # what is in the kernel's ring is written first
        self._process.terminate()
        self._process.wait(10)
        names = ("ip.dst", "ipv6.dst", "udp.dstport", "tcp.dstport", "udp.payload", "tcp.srcport")
        found: Counter[str] = Counter()
        own: Counter[str] = Counter()
        for v4, v6, udp, tcp, payload, source in tshark.fields(self._file, names, "udp or tcp"):
            host, port = v4 or v6, int(udp or tcp or 0)
            if http in {port, int(source or 0)}:
                continue  # the test asks the API
            if host in HOSTS or port in PORTS:
                controlled = payload.replace(":", "") == OWN.hex()
                (own if controlled else found)[f"{host} {'udp' if udp else 'tcp'} {port}"] += 1
        return found, own


def networks() -> None:
    """Let everything that is pointed at be reached: by the loopback, or by an interface that takes everything."""
    ip("link", "set", "lo", "up")
    ip("link", "set", "sink", "arp", "off")
    for network in ("10.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4"):
        ip("route", "add", network, "dev", "sink")
    ip("route", "add", "default", "dev", "sink")
    ip("addr", "add", "fd00:77::1/64", "dev", "sink", "nodad")


def cases() -> list[tuple[str, str, int, bool]]:
    """(field, host, port, over TCP) of each."""
    made = []
    for number, (name, host, port) in enumerate(itertools.product(FIELDS, HOSTS, PORTS)):
        # A description may name a port where a phone could be: there nobody may be sent to either.
        made.append(
            (name, host, MEDIA if name.startswith("sdp") and port == PORTS[2] else port, number % 2 == 1)
        )
    return made


def strangers(crowd: Crowd) -> list[Pointing]:
    """Let each call for help, and ask for everything else."""
    made = []
    for number, (name, host, port, stream) in enumerate(cases()):
        own = STRANGERS[number // 2 % len(STRANGERS)]
        one = Pointing(number, name, host, port, stream, f"eve-{number}", own)
        made.append(crowd.add(one))
        one.ask("OPTIONS", "sip:110@at110")
        one.ask("REGISTER", "sip:at110", "Expires: 300")
        one.ask("REFER", "sip:room-8001@at110")
        one.ask("SUBSCRIBE", "sip:8001@at110", "Event: dialog", "Expires: 60")
        one.ask("INVITE", "sip:110@at110", body=one.description())
        crowd.turn(0.01)
    crowd.until(lambda: all(one.last("INVITE") for one in made), "a caller has no answer")
    answers = [(one, one.last("INVITE")) for one in made]
    refused = [
        (one.by, one.host, said.start) for one, said in answers if said is not None and said.status != 200
    ]
    assert not refused, f"a call for help was refused: {refused}"
    return made


def phones(crowd: Crowd, exchange: Exchange) -> list[Pointing]:
    """Let dispatchers' phones register, be called, and ask for transfers; whatever they say points elsewhere."""
    fields = ("contact", "record-route", "path", "sdp", "sdp-own-rtcp", "contact-maddr")
    made = []
    for number, (person, host, name) in enumerate(zip(exchange.dispatchers, HOSTS, fields, strict=False)):
        one = Pointing(900 + number, name, host, MEDIA, stream=False, user=person.user, own=PHONES)
        made.append(crowd.add(one))
        _register(crowd, one, person)
        exchange.desk(person.user, "sign-in")
        crowd.until(
            lambda one=one: any(r.method == "ACK" for r in one.requests), f"{name}: no call, or no ACK"
        )  # type: ignore[misc]
    return made


def _register(crowd: Crowd, one: Pointing, person: Person) -> None:
    challenge = _answered(crowd, one)
    proof = wire.digest(
        challenge.all("www-authenticate"), user=person.user, password=person.password, method="REGISTER", uri="sip:at110",
        algorithm="SHA-256",
    )  # fmt: skip
    answer = _answered(crowd, one, f"Authorization: {proof}")
    if one.by == "path":  # from nobody but a proxy of the site's own
        assert answer.status >= 400, "a phone laid a Path"
        one.by = "call-info"
        return _register(crowd, one, person)
    assert answer.status == 200, f"{one.by}: {answer.start}"
    return None


def _answered(crowd: Crowd, one: Pointing, *more: str) -> Message:
    count = len(one.answers)
    one.ask("REGISTER", "sip:at110", "Expires: 300", *more)
    crowd.until(lambda: len(one.answers) > count, "no answer to REGISTER")
    return one.answers[-1]


def refer(one: Pointing) -> None:
    """Ask within the desk's dialog to be sent elsewhere."""
    called = next(request for request in one.requests if request.method == "INVITE")
    one.call_id, one.to, one.cseq = called.get("call-id"), called.get("from"), one.cseq + 100
    one.ask("REFER", called.contact)


def run() -> dict[str, object]:
    exchange = Here(desks=6, settings=SETTINGS)
    found: dict[str, object] = {}
    outside = Namespace(
        "outside", near=f"{SERVER}/24", far=tuple(f"{host}/24" for host in (PHONES, *STRANGERS))
    )
    nowhere = Namespace("sink", near="192.0.2.1/24", far=("192.0.2.2/24",))
    networks()
    try:
        with outside, nowhere, Judge() as judge:
            for host, port in itertools.product(HOSTS, (*PORTS, MEDIA)):
                judge.control(host, port)
            exchange.start()
            crowd = Crowd(outside, (SERVER, exchange.sip[1]))
            desks = phones(crowd, exchange)
            made = strangers(crowd)
            for desk in desks:
                refer(desk)
            crowd.turn(LISTEN_SECONDS)
            asked = sum(bool(one.requests) for one in made)
            with ThreadPoolExecutor(1) as hand:
                ended = hand.submit(exchange.stop)
                crowd.until(ended.done, "it does not end")
            ended.result()
            assert all(map(_over, (*desks, *made))), "a call was left standing"
            found = {"cases": len(made), "asked meanwhile": asked, "RTP": sum(one.rtp for one in made)}
            went, own = judge.seen(int(exchange.http.rpartition(":")[2]))
        mute = [one.number for one in made if not one.rtp and not one.by.startswith("sdp")]
        assert not mute, f"no sound where a caller said it is, and is: {mute}"
        missing = [
            f"{host} udp {port}"
            for host, port in itertools.product(HOSTS, (*PORTS, MEDIA))
            if not own[f"{host} udp {port}"]
        ]
        assert not missing, f"the judge is blind to {missing}"
        # A signed-in phone may have its sound sent to another address than its own: it is known who it is.
        for there in (f"10.66.0.9 udp {MEDIA}", f"10.66.0.9 udp {MEDIA + 1}"):
            found[f"desk's media to {there}"] = went.pop(there, 0)
        assert not went, f"the exchange sent where it was pointed at: {went}"
        found["amplified"] = amplified(made)
    finally:
        exchange.stop()
        exchange.remove()
    return found


def _over(one: Pointing) -> bool:
    return any(request.method == "BYE" for request in one.requests)


def amplified(made: list[Pointing]) -> dict[str, float]:
    """Bytes that answer a stranger's request over UDP for each byte of it, by method; calls for help apart."""
    udp = [one for one in made if not one.stream]
    return {
        method: round(max(one.came[method] / one.sent[method] for one in udp), 2)
        for method in ("OPTIONS", "REGISTER", "REFER", "SUBSCRIBE")
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run()) + "\n")
