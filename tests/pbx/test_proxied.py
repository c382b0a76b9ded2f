"""RFC 3327, RFC 5626 §5: phones behind proxies."""

from dataclasses import replace

import pytest

from pbx import proxied
from pbx.registrar import BindingRemoved, Registrar
from pbx.sip.acceptance import check_require
from pbx.sip.errors import SipError
from pbx.sip.flow import Flow
from pbx.sip.headers import Headers
from pbx.sip.message import Request
from pbx.sip.uri import parse_uri

AOR = "sip:8001@at110"
PHONE = '<sip:8001@10.0.0.5>;reg-id=1;+sip.instance="<urn:uuid:1>"'
TCP = Flow("tcp", ("192.0.2.20", 5060), ("192.0.2.10", 41000), 7)
EDGE = "<sip:192.0.2.10:5080;transport=tcp;lr;received=sip:203.0.113.9:40000>"
OUTER = "<sip:192.0.2.10;lr>"


def request(*path, vias=2, supported="path, outbound", contact=PHONE, cseq=1):
    fields = [
        *(("Via", f"SIP/2.0/TCP h{n};branch=z9hG4bK{n}") for n in range(vias)),
        *(("Path", value) for value in path),
        ("From", f"<{AOR}>;tag=1"),
        ("To", f"<{AOR}>"),
        ("Call-ID", "c"),
        ("CSeq", f"{cseq} REGISTER"),
        ("Contact", contact),
        ("Supported", supported),
    ]
    return Request("REGISTER", parse_uri("sip:at110"), Headers(fields))


def register(registrar, asked, *, trusted=True, flow=TCP):
    return registrar.register(asked, flow, AOR, 0.0, 0.0, to_tag="t", trusted=trusted)


def test_the_path_of_a_known_proxy_is_kept_and_shown():
    registrar = Registrar()
    response, _ = register(registrar, request(f"{EDGE}, {OUTER}"))
    assert response.status == 200
    # RFC 3327 §5.3: "The registrar copies the Path header field values into a Path header field in the successful … response"
    assert response.headers.all("Path") == [EDGE, OUTER]
    (binding,) = registrar.lookup(AOR, 1.0)
    assert [str(hop) for hop in binding.path] == [EDGE, OUTER]
    assert not binding.direct
    assert response.headers.get("Require") is None
    restored = Registrar.restore(registrar.snapshot())
    assert restored.lookup(AOR, 1.0) == (binding,)
    # A refresh brings the path anew: a phone that moved to another proxy is reached through that.
    register(registrar, request(OUTER, cseq=2))
    assert [str(hop) for hop in registrar.lookup(AOR, 1.0)[0].path] == [OUTER]


def test_nobody_else_lays_a_path():
    registrar = Registrar()
    response, effects = register(registrar, request(EDGE), trusted=False)
    assert (response.status, effects, len(registrar)) == (420, [], 0)
    assert response.headers.get("Unsupported") == "path"
    assert register(registrar, request(vias=1), trusted=False)[0].status == 200


@pytest.mark.parametrize(
    "path",
    ["<sip:192.0.2.10>", "<tel:110>", ", ".join([OUTER] * (proxied.MAX_PATH + 1))],
)
def test_a_path_that_can_not_be_followed_is_refused(path):
    assert register(Registrar(), request(path))[0].status == 400
    with pytest.raises(SipError):
        proxied.path(request(path), trusted=True)


def test_the_longest_path():
    assert len(proxied.path(request(", ".join([OUTER] * proxied.MAX_PATH)), trusted=True)) == proxied.MAX_PATH


@pytest.mark.parametrize(
    ("asked", "outbound", "timer"),
    [
        (request(vias=1), True, "120"),
        (request(vias=1, supported="path"), False, None),
        (request(vias=1, contact="<sip:8001@10.0.0.5>"), False, None),
        (request(vias=2), False, None),
        (request(EDGE, OUTER), False, None),
        # RFC 5626 §5.1: the proxy next to the phone keeps its flow
        (request(EDGE, "<sip:192.0.2.10;lr;ob>"), True, None),
        (request("<sip:192.0.2.10;lr;ob>", OUTER), False, None),
    ],
)
def test_who_is_called_over_the_flow_it_came_on(asked, outbound, timer):
    assert proxied.is_outbound(asked) is outbound
    response, _ = register(Registrar(), asked)
    assert response.headers.get("Require") == ("outbound" if outbound else None)
    assert response.headers.get("Flow-Timer") == timer


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (request(vias=1), 200),
        (request(EDGE), 439),
        (request(), 439),
        (request("<sip:192.0.2.10;lr;ob>", OUTER), 439),
        (request(EDGE, "<sip:192.0.2.10;lr;ob>"), 200),
        (request(EDGE, contact="<sip:8001@10.0.0.5>"), 200),
    ],
)
def test_who_insists_on_its_flow_is_told_when_the_proxy_does_not_keep_it(asked, status):
    """RFC 5626 §11.6; who only could is registered without (above)."""
    asked.headers.set("Supported", "path")
    asked.headers.add("Require", "outbound, path")
    check_require(asked)
    registrar = Registrar()
    response, _ = register(registrar, asked)
    assert (response.status, len(registrar)) == (status, int(status == 200))
    asked.headers.remove("Require")
    assert register(Registrar(), asked)[0].status == 200


def test_only_a_registration_may_insist_on_it():
    asked = request(vias=1)
    other = Request("OPTIONS", asked.uri, asked.headers)
    other.headers.add("Require", "outbound")
    with pytest.raises(SipError) as refused:
        check_require(other)
    assert (refused.value.status, refused.value.headers) == (420, (("Unsupported", "outbound"),))


def test_over_udp_no_flow_timer_is_stated():
    response, _ = register(Registrar(), request(vias=1), flow=Flow("udp", TCP.local, TCP.remote))
    assert response.headers.get("Require") == "outbound"
    assert response.headers.get("Flow-Timer") is None


STAMPED = "SIP/2.0/UDP 10.0.0.5;branch=z9hG4bK1;received=203.0.113.9;rport=40000"


def stamped(via, *path):
    made = request(*path, vias=1)
    made.headers.add("Via", via)
    return made


def test_a_registration_through_a_proxy_says_nothing_of_who_else_speaks_there():
    registrar = Registrar()
    register(registrar, stamped(STAMPED, EDGE))
    assert registrar.registered_from(TCP, 1.0) == (AOR,)
    phone = ("udp", "203.0.113.9", 40000)
    for other in (None, ("udp", "203.0.113.9", 40001), ("udp", "203.0.113.8", 40000), ("tcp", *phone[1:])):
        assert registrar.speaking(TCP, other, 1.0) == ()
    assert registrar.speaking(TCP, phone, 1.0) == (AOR,)
    # over any connection of this proxy, and of no other
    assert registrar.speaking(replace(TCP, id=9), phone, 1.0) == (AOR,)
    assert registrar.speaking(replace(TCP, remote=("192.0.2.11", 41000)), phone, 1.0) == ()
    assert Registrar.restore(registrar.snapshot()).speaking(TCP, phone, 1.0) == (AOR,)
    assert registrar.speaking(TCP, phone, 4000.0) == ()
    registrar.expire(4000.0)
    assert (registrar.speaking(TCP, phone, 1.0), registrar._heard) == ((), {})
    direct = Registrar()
    register(direct, request(vias=1))
    assert direct.speaking(TCP, None, 1.0) == (AOR,)


def test_what_a_proxy_that_is_not_ours_heard_is_nothing():
    registrar = Registrar()
    register(registrar, stamped(STAMPED), trusted=False)
    assert registrar.speaking(TCP, ("udp", "203.0.113.9", 40000), 1.0) == ()


@pytest.mark.parametrize(
    ("via", "expected"),
    [
        (STAMPED, ("udp", "203.0.113.9", 40000)),
        ("SIP/2.0/TLS x;received=[2001:DB8::9];rport=1", ("tls", "2001:db8::9", 1)),
        ("SIP/2.0/UDP 203.0.113.9;rport=40000", None),
        ("SIP/2.0/UDP 203.0.113.9:5060;received=203.0.113.9", None),
        ("SIP/2.0/UDP x;received=203.0.113.9;rport", None),
        ("SIP/2.0/UDP x;received=edge.example;rport=1", None),
        # beside the proxy's stamp one of the phone
        ("SIP/2.0/UDP x;received=203.0.113.9;rport=77;rport=40000", None),
        ("SIP/2.0/UDP x;received=203.0.113.9;RECEIVED=203.0.113.1;rport=40000", None),
    ],
)
def test_where_a_proxy_heard_a_phone(via, expected):
    assert proxied.heard(stamped(via)) == expected


def test_behind_two_proxies_nobody_knows():
    made = stamped(STAMPED)
    made.headers.prepend("Via", "SIP/2.0/TCP h9;branch=z9hG4bK9")
    assert proxied.heard(made) is None
    assert proxied.heard(request(vias=1)) is None


@pytest.mark.parametrize(
    ("hops", "expected"),
    [
        ([], None),
        (["sip:192.0.2.10:5080;transport=tcp;lr"], ("tcp", 5080)),
        (["sip:192.0.2.10:5080;lr"], ("tcp", 5080)),
        (["sip:192.0.2.10;transport=TCP;lr"], ("tcp", 5060)),
        (["sip:192.0.2.10:5081;transport=tls;lr"], ("tls", 5081)),
        (["sips:192.0.2.10;lr"], ("tls", 5061)),
        (["sip:edge.example;lr", "sip:192.0.2.10:5080;lr"], ("tcp", 5080)),
        (["sip:192.0.2.99:5080;transport=tcp;lr"], None),  # another host
        (["sip:edge.example:5080;lr"], None),  # a name that anybody may claim
        (["sip:192.0.2.10:22;transport=tcp;lr"], None),  # not a proxy's port
        (["sip:192.0.2.10:5080;transport=ws;lr"], None),
        (["sip:192.0.2.10:5080;transport=udp;lr"], None),
    ],
)
def test_the_way_back_to_a_proxy(hops, expected):
    found = proxied.way_back(TCP, [parse_uri(hop) for hop in hops])
    assert (found and (found.transport, found.remote, found.id)) == (
        expected and (expected[0], ("192.0.2.10", expected[1]), 0)
    )


@pytest.mark.parametrize("transport", ["udp", "ws", "wss"])
def test_no_way_back_where_none_is_needed_or_possible(transport):
    flow = Flow(transport, TCP.local, TCP.remote, 7 if transport != "udp" else 0)
    assert proxied.way_back(flow, [parse_uri("sip:192.0.2.10:5080;transport=tcp;lr")]) is None


def test_phones_behind_a_proxy_outlive_its_connection():
    registrar = Registrar()
    register(registrar, request(EDGE))
    register(registrar, request(vias=1, contact="<sip:8001@10.0.0.6>"))
    new = proxied.way_back(TCP, registrar.paths(TCP))
    assert new == Flow("tcp", TCP.local, ("192.0.2.10", 5080))
    registrar.move(TCP, new)
    assert [type(effect) for effect in registrar.flow_failed(TCP)] == [BindingRemoved]  # the direct one
    (left,) = registrar.lookup(AOR, 1.0)
    assert left.flow == new
    assert [str(hop) for hop in left.path] == [EDGE]
    assert registrar.next_due == left.expires_at
    assert len(registrar.expire(left.expires_at)) == 1
    assert len(registrar) == 0
