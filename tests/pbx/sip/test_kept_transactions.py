"""Which records of transactions a journal is told, and that those of one that is over are small and suffice."""

import pytest

from pbx.live.frames import packed, unpacked
from pbx.sip.effects import RequestArrived, Transmit
from pbx.sip.kept_transactions import KeptLayer
from pbx.sip.parser import parse
from tests.kit.sip import TCP, UDP, request

SDP = b"v=0\r\n" + b"a=x\r\n" * 100


def written(layer, records):
    for name, data in layer.changes():
        if data is None:
            del records[name]  # nothing is taken back that was not told
        else:
            records[name] = packed(data)
    return records


def resumed(records):
    layer = KeptLayer()
    assert layer.resume({name: unpacked(data) for name, data in records.items()}, 0.0, 8.0) == []
    return layer


def asked(method="INVITE", status=None, flow=UDP, **what):
    """A layer that was asked something, and has answered it if there is a status; with what a journal was told."""
    layer, records = KeptLayer(), {}
    message = request(method, flow=flow, transport=flow.transport.upper(), body=SDP, **what)
    (came,) = layer.receive(message, flow, 0.0)
    written(layer, records)
    if status is not None:
        layer.respond(came.transaction, message.response(status, to_tag="us", body=SDP), 0.1)
        written(layer, records)
    return layer, records, message, came.transaction


def test_an_invite_that_waits_stands_there_whole():
    layer, records, message, name = asked()
    assert set(records) == {"1", "1/request"}
    assert resumed(records).asked(name).encode() == message.encode()
    assert written(layer, dict(records)) == records, "nothing changed"


@pytest.mark.parametrize(("method", "status"), [("INVITE", 200), ("INVITE", 486), ("BYE", 200)])
def test_of_one_that_is_answered_little_is_kept(method, status):
    layer, records, _, name = asked(method, status)
    assert set(records) == {"1"}
    assert layer.asked(name) is None
    assert SDP not in records["1"] or (method, status) != ("INVITE", 200)
    assert set(written(layer, {})) == set(), "nothing changed"


def test_what_is_answered_at_once_is_told_without_its_request():
    layer = KeptLayer()
    message = request("BYE", to_tag="t", flow=UDP)
    (came,) = layer.receive(message, UDP, 0.0)
    layer.respond(came.transaction, message.response(200), 0.0)
    assert set(written(layer, {})) == {"1"}


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize(
    ("method", "status", "flow", "again"),
    [
        ("INVITE", 486, UDP, [486]),
        ("INVITE", 200, UDP, []),
        ("BYE", 200, UDP, [200]),
    ],
)
def test_a_repetition_is_answered_alike(method, status, flow, again, restart):
    layer, records, message, _ = asked(method, status, flow)
    if restart:
        layer = resumed(records)
    said = layer.receive(message, flow, 0.2)
    assert [parse(one.data).status for one in said if isinstance(one, Transmit)] == again
    assert not [one for one in said if isinstance(one, RequestArrived)]


@pytest.mark.parametrize("restart", [False, True])
def test_the_same_request_on_another_way_is_still_merged(restart):
    layer, records, *_ = asked("INVITE", 486)
    if restart:
        layer = resumed(records)
    twin = request(flow=UDP, branch="z9hG4bKtwin", body=SDP)
    (said,) = layer.receive(twin, UDP, 0.2)
    assert parse(said.data).status == 482


@pytest.mark.parametrize("restart", [False, True])
def test_a_phone_that_moved_hears_again_what_was_said(restart):
    layer, records, _, _ = asked("INVITE", 200, TCP)
    if restart:
        layer = resumed(records)
    new = TCP.__class__(TCP.transport, TCP.local, TCP.remote, TCP.id + 1)
    (said,) = layer.moved(TCP, new)
    assert (parse(said.data).status, said.flow) == (200, new)


@pytest.mark.parametrize("restart", [False, True])
def test_the_tu_repeats_a_2xx_and_a_cancel_comes_too_late(restart):
    layer, records, message, name = asked("INVITE", 200)
    if restart:
        layer = resumed(records)
    (said,) = layer.respond(name, message.response(200, to_tag="us", body=SDP), 0.6)
    assert parse(said.data).status == 200
    cancel = request("CANCEL", flow=UDP)
    assert [parse(one.data).status for one in layer.receive(cancel, UDP, 0.7)] == [200]
    assert layer.answer_once(name, 503, 0.8) == [], "it has its answer"


def test_in_the_end_nothing_is_left():
    layer, records, *_ = asked("INVITE", 486)
    layer.expire(40.0)
    assert written(layer, records) == {}
    again = resumed({})
    assert len(again) == len(layer) == 0
