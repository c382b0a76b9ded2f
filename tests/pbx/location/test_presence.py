"""Stray, repeated and reordered NOTIFYs, and outcomes at any time: one trail in order, and nothing left behind."""

import itertools
from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from pbx.call.effects import Note, Respond, SendElsewhere, SendRequest
from pbx.location.presence import MAX_PER_CALL, MAX_SUBSCRIPTIONS, Presence, Told
from pbx.location.presence_subscription import Road
from pbx.sip.effects import RequestArrived, ResponseArrived, TransactionFailed
from pbx.sip.errors import SipError
from pbx.sip.flow import Flow
from pbx.sip.message import Request, Response
from pbx.sip.parser import parse
from pbx.sip.uri import parse_name_addr, parse_uri
from tests.kit import places

US = parse_name_addr("<sip:110@192.0.2.1>")
FLOW = Flow("udp", ("192.0.2.1", 5060), ("192.0.2.80", 5060))
ROAD = Road(parse_uri("sip:a@presence.example"), "server:presence.example", US, US)


def minting(start: int = 1) -> Callable[[str], str]:
    count = itertools.count(start)
    return lambda what: f"{what}-{next(count)}"


def machine() -> Presence:
    return Presence(minting())


def notify(asked: Request, number: int, *, tag: str = "p", state: str = "active;expires=400") -> Request:
    """The NOTIFY with CSeq `number`; its place says the number too."""
    body = places.document(30.0 + number / 100)
    text = (
        f"NOTIFY {asked.contact.uri if asked.contact else ''} SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 192.0.2.80;branch=z9hG4bKn{number}\r\nMax-Forwards: 70\r\n"
        f"From: <sip:a@presence.example>;tag={tag}\r\nTo: {asked.headers.get('From')}\r\n"
        f"Call-ID: {asked.call_id}\r\nCSeq: {number} NOTIFY\r\nContact: <sip:p@192.0.2.80>\r\n"
        f"Event: presence\r\nSubscription-State: {state}\r\n"
        f"Content-Type: application/pidf+xml\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    message = parse(text.encode() + body)
    assert isinstance(message, Request)
    return message


def answer(asked: Request, status: int) -> Response:
    """A response as it comes off the wire."""
    copy = asked.copy()
    copy.headers.prepend("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKs")
    made = copy.response(status, to_tag="p", headers=(("Expires", "400"), ("Contact", "<sip:p@192.0.2.80>")))
    message = parse(made.encode())
    assert isinstance(message, Response)
    return message


STEP = st.one_of(
    st.tuples(st.just("notify"), st.integers(1, 12), st.sampled_from(["p", "p", "p", "fork"])),
    st.tuples(st.just("stray"), st.integers(1, 12), st.just("p")),
    st.tuples(st.just("end by server"), st.integers(1, 12), st.sampled_from(["deactivated", "rejected"])),
    st.tuples(st.just("answer"), st.sampled_from([100, 200, 200, 423, 481, 503]), st.just("")),
    st.tuples(st.just("fail"), st.just(0), st.just("")),
    st.tuples(st.just("time"), st.sampled_from([0, 1, 3, 11, 350]), st.just("")),
    st.tuples(st.just("restart"), st.just(0), st.just("")),
    st.tuples(st.just("hang up"), st.just(0), st.just("")),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEP, max_size=30))
def test_whatever_comes_in_whatever_order(steps: list[tuple[str, Any, str]]) -> None:
    one, now = machine(), 0.0
    sent: list[SendRequest | SendElsewhere] = []
    ended = False

    def take(items: list[Any] | None) -> list[Any]:
        for item in items or ():
            if isinstance(item, SendRequest | SendElsewhere):
                sent.append(item)
                one.found(item.ref, FLOW, US)
        return items or []

    take([*one.follow("c", "sip:a@presence.example", ROAD, now)])
    taken: dict[str, int] = {}  # Call-ID → the last number that made an entry
    for what, value, more in steps:
        asked = sent[-1].request
        match what:
            case "notify" | "end by server":
                first = next(s.request for s in sent if s.request.call_id == asked.call_id)
                if what == "notify":
                    request = notify(first, value, tag=more)
                else:
                    request = notify(first, value, state=f"terminated;reason={more}")
                try:
                    items = one.receive(RequestArrived("t", request, FLOW), now)
                except SipError:
                    assert value < taken[asked.call_id], "only what is out of order is refused"
                    continue
                told = [item for item in take(items) if isinstance(item, Told)]
                if items is not None:
                    assert [i.response.status for i in items if isinstance(i, Respond)] == [200]
                if told:
                    assert not ended, "nothing is told of a call that is over"
                    assert value > taken.get(asked.call_id, 0), "in order, and once"
                if items is not None:
                    taken[asked.call_id] = max(value, taken.get(asked.call_id, 0))
            case "stray":
                first = next(s.request for s in sent if s.request.call_id == asked.call_id)
                elsewhere = Flow("udp", FLOW.local, ("192.0.2.99", 5060))
                assert one.receive(RequestArrived("t", notify(first, value), elsewhere), now) is None
            case "answer":
                take(one.receive(ResponseArrived(sent[-1].ref, answer(asked, value), FLOW), now))
            case "fail":
                take(one.receive(TransactionFailed(sent[-1].ref, "timeout"), now))
            case "time":
                now += value
                take(one.expire(now))
            case "restart":
                data = msgspec.msgpack.decode(msgspec.msgpack.encode(one.snapshot()))
                one = Presence.restore(data, minting(1000 + len(sent)))
            case "hang up":
                one.end("c")
                ended = True
    one.end("c")
    for _ in range(4):
        now += 40.0
        take(one.expire(now))
    assert len(one) == 0
    assert one.next_due is None
    assert one.snapshot()["all"] == []
    # Answered or not: no server is asked again and again. Refreshes take at least 16 s each.
    assert len(sent) <= 6 + 3 * len(steps)


def test_bounded_of_a_call_and_in_all() -> None:
    one = machine()
    said = [one.follow("c", f"sip:{n}@presence.example", ROAD, 0.0) for n in range(MAX_PER_CALL + 1)]
    assert [type(items[0]) for items in said] == [SendElsewhere] * MAX_PER_CALL + [Note]
    for n in range(MAX_SUBSCRIPTIONS - MAX_PER_CALL):
        assert isinstance(one.follow(f"c{n}", "sip:a@presence.example", ROAD, 0.0)[0], SendElsewhere)
    assert isinstance(one.follow("late", "sip:a@presence.example", ROAD, 0.0)[0], Note)
    assert len(one) == MAX_SUBSCRIPTIONS
