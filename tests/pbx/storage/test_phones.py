"""Registrations over a restart: rows out of the registrar, and back into a new one."""

import asyncio
import json

import msgspec
import pytest

from pbx.binding import pack
from pbx.registrar import BindingExpired, Registrar
from pbx.sip.flow import Flow
from pbx.storage.database import DatabaseAwayError
from pbx.storage.phones import bring_back, record, revive
from pbx.storage.records import statement
from tests.kit import sip

AOR = "sip:anna@at110"
HERE = ("192.0.2.1", 5060)
PHONE = Flow("udp", HERE, ("192.0.2.9", 5062))
WALL = 1_800_000_000.0


def registered(contact="<sip:anna@192.0.2.9:5062>", flow=PHONE, now=100.0, registrar=None, wall=WALL):
    registrar = registrar or Registrar()
    request = sip.request("REGISTER", extra=f"Contact: {contact}\r\nExpires: 600\r\n", flow=None)
    response, effects = registrar.register(request, flow, AOR, now, wall, to_tag="t", jitter=1.0)
    assert response.status == 200
    return registrar, effects


def row(change):
    """Return what PostgreSQL holds of a change, as the query gives it."""
    made = statement("registration", record(change, WALL + 60), "s", 1)
    names = made.sql.split("(", 1)[1].split(")", 1)[0].split(", ")
    values = dict(zip(names, made.values, strict=True))
    return {"packed": json.loads(values["more"])["packed"], "expires": values["expires_at"].timestamp()}


def test_a_phone_is_there_again_after_a_restart():
    before, (added,) = registered('"Anna" <sip:anna@192.0.2.9:5062;ob>;+sip.instance="<urn:uuid:1>"')
    again = Registrar()
    # 60 s of wall clock later, in a process whose monotonic clock began anew.
    effects = again.adopt(revive([row(added)], 7.0, WALL + 60), 7.0)
    (old,), (new,) = before.lookup(AOR, 100.0), again.lookup(AOR, 7.0)
    assert [e.binding for e in effects] == [new]
    assert (new.contact, new.flow, new.call_id, new.cseq) == (old.contact, old.flow, old.call_id, old.cseq)
    assert new.expires_at == pytest.approx(7.0 + 540)
    assert again.registered_from(PHONE, 7.0) == (AOR,)
    assert again.lookup(AOR, 7.0 + 541) == ()
    assert [type(e) for e in again.expire(7.0 + 541)] == [BindingExpired]


def test_a_clock_that_was_set_back_lengthens_nothing():
    """Boards without a battery for it, and virtual machines, boot in the past: phones long gone were rung for as long."""
    _, (added,) = registered()
    again = Registrar()
    again.adopt(revive([row(added)], 7.0, WALL - 30 * 3600), 7.0)
    (binding,) = again.lookup(AOR, 7.0)
    assert binding.expires_at == pytest.approx(7.0 + 600)


def test_the_same_register_again_is_refused_and_the_next_one_taken():
    """CSeq goes on: a REGISTER replayed from before the restart changes nothing."""
    _, (added,) = registered()
    again = Registrar()
    again.adopt(revive([row(added)], 7.0, WALL), 7.0)
    request = sip.request(
        "REGISTER", extra="Contact: <sip:anna@192.0.2.9:5062>\r\nExpires: 600\r\n", flow=None
    )
    assert again.register(request, PHONE, AOR, 8.0, WALL + 1, to_tag="t")[0].status == 500


def test_who_registered_meanwhile_is_newer():
    _, (added,) = registered()
    elsewhere = Flow("udp", HERE, ("192.0.2.10", 5062))
    again, _ = registered(flow=elsewhere, now=5.0)
    assert again.adopt(revive([row(added)], 7.0, WALL), 7.0) == []
    assert [b.flow for b in again.lookup(AOR, 7.0)] == [elsewhere]


def test_what_ended_or_went_over_a_connection_does_not_come_back():
    registrar, (added,) = registered()
    (gone,) = registrar.flow_failed(PHONE)
    _, (tcp,) = registered(flow=Flow("tcp", HERE, ("192.0.2.9", 5062), 4))
    assert revive([row(gone), row(tcp)], 7.0, WALL + 61) == []
    assert revive([row(added)], 7.0, WALL + 601) == []


@pytest.mark.parametrize("packed", ["", "zz", "c0", msgspec.msgpack.encode({"aor": b"x"}).hex()])
def test_a_row_that_can_not_be_read_is_passed_over(packed):
    _, (added,) = registered()
    rows = [{"packed": packed, "expires": WALL + 500}, row(added)]
    assert [b.aor for b in revive(rows, 7.0, WALL)] == [AOR]


def test_no_more_phones_than_an_account_may_have():
    registrar, changes = Registrar(), []
    for n in range(10):
        _, (change,) = registered(f"<sip:anna@192.0.2.9:{6000 + n}>", registrar=registrar)
        changes.append(change)
    again, _ = registered("<sip:anna@192.0.2.9:7000>", now=5.0)
    again.adopt(revive([row(c) for c in changes], 7.0, WALL), 7.0)
    assert len(again.lookup(AOR, 7.0)) == 10


class Server:
    """A database that is away at first."""

    def __init__(self, rows):
        self.rows, self.asked = rows, 0

    async def wait_up(self):
        return None

    async def use(self, work):
        self.asked += 1
        if self.asked == 1:
            raise DatabaseAwayError("gone again")
        return await work(self)

    async def fetch(self, _query, _most):
        return self.rows


async def test_they_are_brought_back_once_the_database_is_there(monkeypatch):
    _, (added,) = registered(wall=WALL)
    live = {"packed": msgspec.msgpack.encode(pack(added.binding)).hex(), "expires": 4_000_000_000.0}
    server, got = Server([live]), []

    async def nap(_seconds):
        return None

    monkeypatch.setattr(asyncio, "sleep", nap)
    await bring_back(server, got.append)
    assert [[b.aor for b in phones] for phones in got] == [[AOR]]
    assert server.asked == 2
