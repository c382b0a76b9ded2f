"""Every machine can be put away and taken out again: `restore(snapshot(x))` goes on as `x` would have.

One table of all machines: how to make one and how to live one step with it. Both twins live the same thousand steps
after one of them went through bytes, and everything they ever said must be the same.
"""

import random
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import pytest

from pbx.call.exchange import Exchange
from pbx.registrar import Registrar
from pbx.sip.dialog import Dialog
from pbx.sip.digest import Credentials, NonceCounts
from pbx.sip.reliable import Reliable
from pbx.sip.session_timer import SessionSettings, SessionTimer
from pbx.sip.timers import Timers
from pbx.sip.transactions import TransactionLayer
from routing.acd import Acd, CallEnds, CallWaits, DeskPauses, DeskResumes, DeskSignsIn, DeskSignsOut
from tests.kit import sip
from tests.kit.life import Life
from tests.kit.notifier import NotifierTwin

SETTINGS = SessionSettings()
STEPS_BEFORE = 60
STEPS_AFTER = 1000


class Twin(Protocol):
    """One machine and a life for it."""

    said: list[Any]

    def step(self) -> None: ...
    def restart(self) -> None: ...


def through_bytes(data):
    """Take a snapshot through what a journal would keep; lists and tuples come back as lists."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(data))


class AcdTwin:
    def __init__(self, seed):
        self.acd, self.chance, self.now, self.said = Acd(wrap_up=2.0), random.Random(seed), 0.0, []

    def step(self):
        self.now += self.chance.choice([0.0, 0.5, 3.0])
        calls, desks = [f"c{n}" for n in range(5)], ["d1", "d2", "d3"]
        kinds = (CallWaits, CallWaits, CallEnds, DeskSignsIn, DeskSignsOut, DeskPauses, DeskResumes)
        kind = self.chance.choice(kinds)
        event = kind(self.chance.choice(calls if kind in {CallWaits, CallEnds} else desks))
        self.said += [self.acd.next_due, self.acd.expire(self.now), self.acd.receive(event, self.now)]

    def restart(self):
        self.acd = Acd.restore(through_bytes(self.acd.snapshot()))


class RegistrarTwin:
    def __init__(self, seed):
        self.registrar, self.chance, self.now, self.said = Registrar(), random.Random(seed), 0.0, []
        self.cseq = 0

    def step(self):
        self.now += self.chance.choice([0.0, 10.0, 100.0, 4000.0])
        self.cseq += 1
        user, port = self.chance.choice(["a", "b"]), self.chance.choice([5061, 5062, 5063])
        wish = self.chance.choice(["", ";expires=0", ";expires=60", ";expires=30"])
        contact = self.chance.choice([f"<sip:{user}@192.0.2.9:{port}>{wish}", "*"])
        expires = "Expires: 0\r\n" if contact == "*" else ""
        request = sip.request(
            "REGISTER",
            uri="sip:at110",
            call_id=user,
            cseq=self.cseq,
            extra=f"Contact: {contact}\r\n{expires}",
        )
        self.said += [self.registrar.next_due, self.registrar.expire(self.now)]
        response, effects = self.registrar.register(
            request, sip.UDP, f"sip:{user}@at110", self.now, 1.8e9 + self.now, to_tag="t"
        )
        self.said += [response, effects, self.registrar.lookup("sip:a@at110", self.now), len(self.registrar)]

    def restart(self):
        self.registrar = Registrar.restore(through_bytes(self.registrar.snapshot()))


class LayerTwin:
    def __init__(self, seed):
        self.layer, self.chance, self.now, self.said = TransactionLayer(), random.Random(seed), 0.0, []
        self.count = 0
        self.open: list[str] = []
        self.refs: list[str] = []

    def step(self):
        self.now += self.chance.choice([0.0, 0.2, 1.0, 8.0])
        self.said += [self.layer.next_due, self._told(self.layer.expire(self.now))]
        match self.chance.choice(["arrives", "again", "respond", "send", "cancel", "broken"]):
            case "arrives":
                self.count += 1
                self._arrive(self.count)
            case "again" if self.count:
                self._arrive(self.chance.randint(max(1, self.count - 5), self.count))
            case "respond" if self.open:
                transaction = self.chance.choice(self.open[-6:])
                status = self.chance.choice([180, 200, 486])
                number = int(transaction.partition("#")[2] or 0)
                response = self._request(number).response(status, to_tag="t")
                self.said.append(
                    self._told(self.layer.respond(transaction.partition("#")[0], response, self.now))
                )
            case "send":
                self.count += 1
                ref = f"r{self.count}"
                self.refs.append(ref)
                effects = self.layer.request(
                    sip.request("INVITE", call_id=ref, flow=None),
                    sip.UDP,
                    self.now,
                    ref=ref,
                    branch=f"z9hG4bK{ref}",
                    via_host="192.0.2.1",
                    via_port=5060,
                )
                self.said.append(self._told(effects))
            case "cancel" if self.refs:
                self.said.append(self._told(self.layer.cancel(self.chance.choice(self.refs[-4:]), self.now)))
            case "broken":
                self.said.append(self._told(self.layer.transport_failed(sip.TCP, self.now)))

    def _request(self, number):
        method = ("INVITE", "OPTIONS", "MESSAGE")[number % 3]
        return sip.request(method, branch=f"z9hG4bKb{number}", call_id=f"in{number}")

    def _arrive(self, number):
        effects = self.layer.receive(self._request(number), sip.UDP, self.now)
        self.open += [f"{e.transaction}#{number}" for e in effects if type(e).__name__ == "RequestArrived"]
        self.said.append(self._told(effects))

    def _told(self, effects):
        return [(type(e).__name__, getattr(e, "data", None), getattr(e, "ref", None)) for e in effects]

    def restart(self):
        self.layer = TransactionLayer.restore(through_bytes(self.layer.snapshot()))


class DialogTwin:
    def __init__(self, seed):
        self.chance, self.said = random.Random(seed), []
        request = sip.request(extra="Contact: <sip:c@192.0.2.9>\r\nRecord-Route: <sip:p@192.0.2.3;lr>\r\n")
        self.dialog = Dialog.uas(request, local_tag="ours", contact=request.to)
        self.seq = 1

    def step(self):
        if self.chance.random() < 0.5:
            method = self.chance.choice(["INFO", "INVITE", "BYE", "MESSAGE"])
            self.said.append(self.dialog.request(method).encode())
            return
        self.seq += self.chance.choice([1, 1, 2, -1])
        target = self.chance.choice(["a", "b"])
        request = sip.request(
            "INVITE", to_tag="ours", cseq=max(1, self.seq), extra=f"Contact: <sip:{target}@192.0.2.9>\r\n"
        )
        try:
            self.dialog.receive(request)
        except Exception as error:  # noqa: BLE001 - whichever it is, the twin must say the same
            self.said.append(repr(error))
        self.said.append(str(self.dialog.remote_target))

    def restart(self):
        self.dialog = Dialog.restore(through_bytes(self.dialog.snapshot()))


class SessionTwin:
    """A session timer, and the reliable ringing of the same dialog."""

    def __init__(self, seed):
        self.chance, self.now, self.said = random.Random(seed), 0.0, []
        self.timer = SessionTimer(SETTINGS, patient=bool(seed % 2))
        self.ringing = self._ring()

    def _ring(self):
        response = sip.request().response(180, to_tag="t")
        return Reliable.start("x", response, self.now, Timers(), number=self.chance.getrandbits(40))

    def step(self):
        self.now += self.chance.choice([0.0, 0.5, 20.0, 400.0])
        seconds = self.chance.choice([60, 600, 1800])
        extra = f"Supported: timer\r\nSession-Expires: {seconds};refresher={self.chance.choice(['uac', 'uas'])}\r\n"
        match self.chance.choice(["ask", "answer", "fail", "422", "prack", "ring", "time"]):
            case "ask":
                self.said.append(self.timer.answering(sip.request(extra=extra), self.now))
            case "answer":
                response = sip.response(sip.cached_request().encode(), 200, extra=extra)
                self.timer.accepted(response, self.now)
            case "fail":
                self.timer.failed(self.now)
            case "422":
                response = sip.response(sip.cached_request().encode(), 422, extra="Min-SE: 700\r\n")
                self.said.append(self.timer.too_small(response, self.now))
            case "prack":
                rseq = self.ringing.rseq + self.chance.choice([0, 1])
                prack = sip.request("PRACK", to_tag="t", cseq=2, extra=f"RAck: {rseq} 1 INVITE\r\n")
                self.said.append(self.ringing.prack(prack))
            case "ring":
                self.ringing = self._ring()
            case "time":
                self.said += [self.timer.expire(self.now), self.ringing.repeat(self.now)]
        self.said += [self.timer.next_due, self.timer.refreshing(), self.ringing.next_due]
        self.said += [self.timer.asking(), self.ringing.given_up(self.now), self.ringing.response.encode()]

    def restart(self):
        self.timer = SessionTimer.restore(through_bytes(self.timer.snapshot()), SETTINGS)
        self.ringing = Reliable.restore(through_bytes(self.ringing.snapshot()))


class CountsTwin:
    def __init__(self, seed):
        self.chance, self.said, self.counts = random.Random(seed), [], NonceCounts()

    def step(self):
        nonce, count = self.chance.choice("xyz"), self.chance.randint(1, 90)
        credentials = Credentials(
            username="u", realm="r", nonce=nonce, uri="sip:r", response="0", algorithm="SHA-256",
            qop="auth", nc=count, cnonce=self.chance.choice("ab"),
        )  # fmt: skip
        self.said.append(self.counts.accept(credentials))

    def restart(self):
        self.counts = NonceCounts.restore(through_bytes(self.counts.snapshot()))


class ExchangeTwin:
    """The exchange: its legs, calls, rooms and queue, all inside one snapshot."""

    def __init__(self, seed):
        self.life = Life(seed)

    @property
    def said(self):
        world = self.life.world
        wire = [
            (type(e).__name__, *(getattr(e, n).encode() for n in ("request", "response") if hasattr(e, n)))
            for e in world.sent
        ]
        return [wire, world.notes, world.finished, world.rooms, world.exchange.acd.snapshot(), world.now]

    def step(self):
        self.life.step()

    def restart(self):
        world = self.life.world
        packed = through_bytes(world.exchange.snapshot())
        world.exchange = Exchange.restore(packed, world.exchange.site, world.exchange.mint)
        world.answering._exchange = world.exchange
        world.exchange.directory = world.answering


@dataclass(frozen=True)
class Row:
    twin: type
    steps: int = STEPS_AFTER


MACHINES = {
    "acd": Row(AcdTwin),
    "registrar": Row(RegistrarTwin),
    "transactions": Row(LayerTwin),
    "dialog": Row(DialogTwin),
    "session": Row(SessionTwin),
    "nonce counts": Row(CountsTwin),
    "notifier": Row(NotifierTwin),
    "exchange": Row(ExchangeTwin),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", MACHINES)
def test_restored_machine_goes_on_alike(name, seed):
    row = MACHINES[name]
    one: Twin = row.twin(seed)
    other: Twin = row.twin(seed)
    for _ in range(STEPS_BEFORE):
        one.step()
        other.step()
    other.restart()
    for number in range(row.steps):
        one.step()
        other.step()
        if number % 50 == 0:
            assert one.said == other.said
    assert one.said == other.said
    assert one.said
