"""Another way to the same phone (RFC 5626 §7, §11.5): which answers send a request there, and which never do."""

import pytest

from pbx.binding import Binding
from pbx.sip.effects import ResponseArrived, TransactionFailed
from pbx.sip.flow import Flow
from pbx.sip.message import Request, Response
from pbx.sip.parser import parse
from pbx.sip.uri import parse_name_addr, parse_uri
from pbx.ways import MAX_KNOWN, MAX_WAYS, Again, Reached, Ways
from tests.kit.sip import request as make_request

AOR = "sip:a@x"
CONTACT = "sip:a@q.invalid;transport=ws"


def flow(number: int, transport: str = "tls") -> Flow:
    return Flow(transport, ("192.0.2.1", 5061), ("192.0.2.9", 40_000 + number), number)


def binding(
    number: int, *, instance: str | None = "one", contact: str = CONTACT, edge: bool = True
) -> Binding:
    named = f"<{contact}>;reg-id={number}" + (f';+sip.instance="<urn:uuid:{instance}>"' if instance else "")
    path = (parse_name_addr(f"<sip:token{number}@192.0.2.9;lr;ob>"),) if edge else ()
    return Binding(AOR, parse_name_addr(named), flow(number), "c", 1, 1.0, 0.0, 0.0, 300.0, number, path=path)


class Phones:
    """A registrar's table that a test fills; the newest first."""

    def __init__(self, *bindings: Binding) -> None:
        self.bindings = list(bindings)
        self.ways = Ways(lambda aor, _now: [one for one in self.bindings if one.aor == aor])
        for one in bindings:
            self.ways.registered(one)

    def send(self, over: Binding, ref: str = "leg/invite/1", method: str = "INVITE") -> Request:
        sent = make_request(method, uri=str(over.target), transport="TLS", flow=None)
        sent.headers.remove("Route")
        for hop in over.path:
            sent.headers.add("Route", str(hop))
        self.ways.sent(ref, sent, over.flow)
        return sent

    def says(self, status: int, ref: str = "leg/invite/1") -> Again | Reached | None:
        text = (
            f"SIP/2.0 {status} x\r\nVia: SIP/2.0/TLS a;branch=z9hG4bKx\r\nFrom: <sip:a@x>;tag=1\r\n"
            "To: <sip:b@x>;tag=2\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\r\n"
        )
        response = parse(text.encode())
        assert isinstance(response, Response)
        return self.ways.ended(ResponseArrived(ref, response, flow(1)), 1.0)


def test_the_request_goes_the_next_way_of_the_instance() -> None:
    """RFC 5626 §7: the same AOR and instance, another reg-id; the request is the same but for its way."""
    stranger, second, first = binding(3, instance="two"), binding(2), binding(1)
    phones = Phones(stranger, second, first)
    sent = phones.send(first)
    again = phones.says(430)
    assert isinstance(again, Again)
    assert again.phone is second
    assert [str(hop) for hop in again.request.routes] == [str(hop) for hop in second.path]
    assert (again.request.call_id, again.request.cseq, again.request.from_) == (
        sent.call_id, sent.cseq, sent.from_,
    )  # fmt: skip
    assert [str(hop) for hop in sent.routes] == [str(hop) for hop in first.path], (
        "what was sent is not touched"
    )
    assert phones.says(200) == Reached("leg/invite/1", second)
    assert len(phones.ways) == 0


def test_no_way_is_tried_twice() -> None:
    """What ended badly everywhere ends so for whoever sent it."""
    phones = Phones(*(binding(number) for number in range(1, MAX_WAYS + 3)))
    phones.send(phones.bindings[0])
    tried = []
    while isinstance(again := phones.says(430), Again):
        tried.append(again.phone)
    assert tried == phones.bindings[1:MAX_WAYS]
    assert again == Reached("leg/invite/1", tried[-1])
    assert len(phones.ways) == 0


@pytest.mark.parametrize("status", [408, 410, 430, 477, 480])
def test_what_a_proxy_says_of_a_dead_way(status: int) -> None:
    phones = Phones(binding(2), binding(1))
    phones.send(phones.bindings[1])
    assert isinstance(phones.says(status), Again)


@pytest.mark.parametrize("status", [200, 302, 400, 403, 404, 481, 486, 487, 488, 500, 503, 600, 603])
def test_what_only_the_phone_can_have_said(status: int) -> None:
    """RFC 5626 §7: "The targeted instance has already provided its response"."""
    phones = Phones(binding(2), binding(1))
    phones.send(phones.bindings[1])
    assert phones.says(status) is None
    assert len(phones.ways) == 0


@pytest.mark.parametrize(("status", "tried"), [(408, False), (480, False), (410, False), (430, True)])
def test_a_phone_that_rang_has_the_request(status: int, tried: bool) -> None:
    phones = Phones(binding(2), binding(1))
    phones.send(phones.bindings[1])
    assert phones.says(100) is None
    assert phones.says(180) is None
    assert isinstance(phones.says(status), Again) is tried


@pytest.mark.parametrize("status", [408, 410, 480])
def test_a_phone_without_a_proxy_speaks_for_itself(status: int) -> None:
    phones = Phones(binding(2, edge=False), binding(1, edge=False))
    phones.send(phones.bindings[1])
    assert phones.says(status) is None


@pytest.mark.parametrize("why", ["timeout", "transport"])
@pytest.mark.parametrize("rang", [False, True])
def test_a_connection_that_breaks(why: str, rang: bool) -> None:
    """A direct phone with two connections is called over the other; one that rang has the request already."""
    phones = Phones(binding(2, edge=False), binding(1, edge=False))
    phones.send(phones.bindings[1])
    if rang:
        phones.says(180)
    again = phones.ways.ended(TransactionFailed("leg/invite/1", why), 1.0)  # type: ignore[arg-type]
    assert isinstance(again, Again) is not rang


def test_a_way_laid_since() -> None:
    """The phone broke off and came back: its registration replaced the one the request went by."""
    old = binding(1)
    phones = Phones(old)
    phones.send(old, "leg/bye/2", "BYE")
    new = binding(5, contact="sip:a@another.invalid")
    phones.bindings = [new]
    phones.ways.registered(new)
    again = phones.says(430, "leg/bye/2")
    assert isinstance(again, Again)
    assert (again.request.uri, again.phone) == (parse_uri("sip:a@another.invalid"), new)


def test_who_is_cancelled_goes_no_other_way() -> None:
    phones = Phones(binding(2), binding(1))
    phones.send(phones.bindings[1])
    phones.ways.cancelled("leg/invite/1")
    assert phones.says(430) is None


def test_phones_that_tell_no_instance_are_not_remembered() -> None:
    phones = Phones(binding(2, instance=None), binding(1, instance=None))
    phones.send(phones.bindings[1])
    assert len(phones.ways) == 0
    assert phones.says(430) is None


def test_what_is_remembered_is_bounded() -> None:
    phones = Phones()
    for number in range(MAX_KNOWN + 1):
        phones.ways.registered(binding(1, contact=f"sip:a{number}@q.invalid"))
    phones.send(binding(1, contact="sip:a0@q.invalid"), "oldest")
    assert len(phones.ways) == 0, "the one longest not heard of is forgotten"
    phones.send(binding(1, contact="sip:a1@q.invalid"), "next")
    assert len(phones.ways) == 1
