"""Dialogs, sentence by sentence of RFC 3261 §12."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from pbx.sip.dialog import Dialog, DialogState, request_key, response_key
from pbx.sip.errors import SipError
from pbx.sip.message import Request, Response
from pbx.sip.parser import parse
from pbx.sip.uri import parse_name_addr
from tests.kit.sip import request, response

OURS = parse_name_addr("<sip:110@192.0.2.1:5060>")
RECORD = "Record-Route: <sip:p2.example.net;lr>, <sip:p1.example.net;lr;x=1>\r\nContact: <sip:caller@192.0.2.9:5062>\r\n"


def wire(message: Request) -> Request:
    """What the peer reads (a Via is added, as the transaction layer does)."""
    copy = message.copy()
    copy.headers.prepend("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx")
    parsed = parse(copy.encode())
    assert isinstance(parsed, Request)
    return parsed


def uas(invite: Request | None = None) -> Dialog:
    return Dialog.uas(invite or request(), local_tag="us", contact=OURS)


def asked(extra: str = "") -> Request:
    """An INVITE of ours, as sent."""
    return request(
        uri="sip:desk@192.0.2.20",
        from_tag="us",
        call_id="ours",
        cseq=7,
        flow=None,
        extra=f"Contact: {OURS}\r\n{extra}",
    )


def answered(invite: Request, status: int, to_tag: str | None = "them", extra: str = "") -> Response:
    return response(invite.encode(), status, to_tag=to_tag, extra=extra)


# --- the server's side (§12.1.1) ------------------------------------------------------------------------------------


def test_uas_takes_everything_from_the_request() -> None:
    dialog = uas(request(extra=RECORD, cseq=31))
    assert dialog.key == ("call-1", "us", "f1")
    assert str(dialog.local) == "<sip:110@192.0.2.1>;tag=us"
    assert str(dialog.remote) == "<sip:caller@example.net>;tag=f1"
    # "The route set MUST be set to the list of URIs in the Record-Route header field from the request, taken in order and
    # preserving all URI parameters."
    assert [str(route) for route in dialog.route_set] == [
        "<sip:p2.example.net;lr>",
        "<sip:p1.example.net;lr;x=1>",
    ]
    assert str(dialog.remote_target) == "sip:caller@192.0.2.9:5062"
    assert (dialog.local_seq, dialog.remote_seq) == (0, 31)
    assert dialog.snapshot()["state"] == "EARLY"
    assert not dialog.secure
    dialog.confirm()
    assert dialog.state is DialogState.CONFIRMED


def test_uas_of_an_old_peer_without_tag() -> None:
    # "…in which case the tag is considered to have a value of null."
    dialog = uas(request(from_tag=None))
    assert dialog.key == ("call-1", "us", "")
    bye = request("BYE", from_tag=None, to_tag="us", cseq=2)
    assert request_key(bye) == dialog.key
    assert wire(dialog.request("BYE")).to.tag is None


def test_uas_needs_a_contact() -> None:
    with pytest.raises(SipError) as error:
        uas(request(extra=""))
    assert error.value.status == 400


def test_sips_makes_a_dialog_secure() -> None:
    assert uas(request(uri="sips:110@192.0.2.1")).secure


# --- the client's side (§12.1.2) ------------------------------------------------------------------------------------


def test_uac_takes_everything_from_request_and_response() -> None:
    invite = asked()
    record = "Record-Route: <sip:p2.example.net;lr>\r\nRecord-Route: <sip:p1.example.net;lr>\r\n"
    dialog = Dialog.uac(invite, answered(invite, 180, extra=record + "Contact: <sip:desk@10.1.1.1>\r\n"))
    assert dialog.key == ("ours", "us", "them")
    # "…taken in reverse order and preserving all URI parameters."
    assert [route.uri.host for route in dialog.route_set] == ["p1.example.net", "p2.example.net"]
    assert str(dialog.remote_target) == "sip:desk@10.1.1.1"
    assert str(dialog.remote) == "<sip:desk@192.0.2.20>;tag=them"
    assert (dialog.local_seq, dialog.remote_seq) == (7, None)
    assert dialog.contact == OURS
    assert dialog.state is DialogState.EARLY


def test_a_2xx_confirms_and_settles_the_route() -> None:
    invite = asked()
    early = "Record-Route: <sip:old.example.net;lr>\r\nContact: <sip:desk@10.1.1.1>\r\n"
    dialog = Dialog.uac(invite, answered(invite, 180, extra=early))
    final = "Record-Route: <sip:new.example.net;lr>\r\nContact: <sip:desk@10.1.1.2>\r\n"
    dialog.refresh(answered(invite, 200, extra=final))
    # §13.2.2.4: "the route set for the dialog MUST be recomputed based on the 2xx response".
    assert dialog.state is DialogState.CONFIRMED
    assert [route.uri.host for route in dialog.route_set] == ["new.example.net"]
    assert dialog.remote_target.host == "10.1.1.2"
    # Later ones change the target only: "Requests within a dialog … do not cause the dialog's route set to be modified".
    dialog.refresh(answered(invite, 200, extra=early))
    assert [route.uri.host for route in dialog.route_set] == ["new.example.net"]
    assert dialog.remote_target.host == "10.1.1.1"
    dialog.refresh(answered(invite, 200))
    assert dialog.remote_target.host == "10.1.1.1"


def test_only_a_2xx_refreshes() -> None:
    invite = asked()
    dialog = Dialog.uac(invite, answered(invite, 180, extra="Contact: <sip:desk@10.1.1.1>\r\n"))
    dialog.refresh(answered(invite, 183, extra="Contact: <sip:desk@10.1.1.2>\r\n"))
    dialog.refresh(answered(invite, 486, extra="Contact: <sip:desk@10.1.1.3>\r\n"))
    assert dialog.remote_target.host == "10.1.1.1"
    assert dialog.state is DialogState.EARLY


def test_each_fork_is_a_dialog_of_its_own() -> None:
    invite = asked()
    one = Dialog.uac(invite, answered(invite, 200, "a", "Contact: <sip:desk@10.1.1.1>\r\n"))
    two = Dialog.uac(invite, answered(invite, 200, "b", "Contact: <sip:desk@10.1.1.2>\r\n"))
    assert one.key != two.key
    assert response_key(answered(invite, 200, "b")) == two.key
    assert one.state is two.state is DialogState.CONFIRMED
    with pytest.raises(AssertionError):
        one.refresh(answered(invite, 200, "b"))


def test_uac_with_an_old_peer() -> None:
    invite = asked()
    dialog = Dialog.uac(invite, answered(invite, 200, to_tag=None))
    assert dialog.key == ("ours", "us", "")
    assert dialog.remote_target == invite.uri


# --- requests of ours (§12.2.1.1) -----------------------------------------------------------------------------------


def test_our_requests_count_up_from_one_or_from_the_invite() -> None:
    dialog = uas()
    assert [wire(dialog.request(method)).cseq.number for method in ("INFO", "INVITE", "BYE")] == [1, 2, 3]
    invite = asked()
    assert wire(Dialog.uac(invite, answered(invite, 200)).request("BYE")).cseq.number == 8


def test_a_request_in_the_dialog() -> None:
    sent = wire(uas().request("MESSAGE", headers=[("Subject", "x")], body=b"hi", content_type="text/plain"))
    assert (sent.method, str(sent.uri)) == ("MESSAGE", "sip:caller@192.0.2.9:5062")
    assert str(sent.from_) == "<sip:110@192.0.2.1>;tag=us"
    assert str(sent.to) == "<sip:caller@example.net>;tag=f1"
    assert (sent.call_id, sent.max_forwards) == ("call-1", 70)
    assert (sent.headers.get("Subject"), sent.content_type, sent.body) == ("x", "text/plain", b"hi")
    assert sent.routes == ()
    assert sent.contact is None


@pytest.mark.parametrize(
    ("method", "contact"), [("INVITE", OURS), ("UPDATE", OURS), ("BYE", None), ("INFO", None)]
)
def test_target_refresh_requests_carry_our_contact(method: str, contact: object) -> None:
    assert wire(uas().request(method)).contact == contact


def test_the_ack_has_the_invites_number_and_counts_nothing() -> None:
    dialog = uas()
    dialog.request("INVITE")
    dialog.request("INFO")
    ack = wire(
        dialog.ack(
            1, headers=[("Proxy-Authorization", "Digest x")], body=b"v=0", content_type="application/sdp"
        )
    )
    assert (str(ack.cseq), ack.body, ack.contact) == ("1 ACK", b"v=0", None)
    assert ack.headers.get("Proxy-Authorization") == "Digest x"
    assert dialog.local_seq == 2
    with pytest.raises(AssertionError):
        dialog.request("ACK")


def test_loose_routing() -> None:
    # "If the route set is not empty, and the first URI in the route set contains the lr parameter, the UAC MUST place the
    # remote target URI into the Request-URI and MUST include a Route header field containing the route set values in order".
    dialog = uas(request(extra=RECORD))
    sent = wire(dialog.request("BYE"))
    assert str(sent.uri) == "sip:caller@192.0.2.9:5062"
    assert [str(route) for route in sent.routes] == ["<sip:p2.example.net;lr>", "<sip:p1.example.net;lr;x=1>"]
    assert dialog.next_hop.host == "p2.example.net"


def test_strict_routing() -> None:
    # The example of §12.2.1.1.
    record = "".join(
        f"Record-Route: <sip:proxy{n}{lr}>\r\n" for n, lr in ((1, ""), (2, ""), (3, ";lr"), (4, ""))
    )
    dialog = uas(request(extra=record + "Contact: <sip:user@remoteua>\r\n"))
    sent = wire(dialog.request("BYE"))
    assert str(sent.uri) == "sip:proxy1"
    assert [str(r) for r in sent.routes] == [
        "<sip:proxy2>",
        "<sip:proxy3;lr>",
        "<sip:proxy4>",
        "<sip:user@remoteua>",
    ]
    assert dialog.next_hop.host == "proxy1"


def test_what_may_not_stand_in_a_request_uri_is_taken_out() -> None:
    dialog = uas(request(extra="Contact: <sip:u@192.0.2.9;transport=tcp;Method=BYE?Subject=x>\r\n"))
    assert str(wire(dialog.request("INFO")).uri) == "sip:u@192.0.2.9;transport=tcp"
    strict = uas(
        request(extra="Record-Route: <sip:p;method=INVITE?a=b>\r\nContact: <sip:u@192.0.2.9?a=b>\r\n")
    )
    sent = wire(strict.request("INFO"))
    assert str(sent.uri) == "sip:p"
    assert str(sent.routes[-1]) == "<sip:u@192.0.2.9?a=b>"


hops = st.lists(st.tuples(st.integers(1, 9), st.booleans()), max_size=5)


@given(hops)
def test_no_hop_is_lost_or_doubled_whatever_the_proxies_are(routes: list[tuple[int, bool]]) -> None:
    record = "".join(f"Record-Route: <sip:p{n}.example{';lr' if lr else ''}>\r\n" for n, lr in routes)
    dialog = uas(request(extra=record + "Contact: <sip:end@192.0.2.9>\r\n"))
    sent = wire(dialog.request("BYE"))
    way = [route.uri.host for route in sent.routes]
    way = [*way, sent.uri.host] if not routes or routes[0][1] else [sent.uri.host, *way]
    assert way == [f"p{n}.example" for n, _ in routes] + ["192.0.2.9"]
    assert dialog.next_hop.host == way[0]


# --- requests of the peer (§12.2.2) ---------------------------------------------------------------------------------


def test_the_peer_counts_up() -> None:
    dialog = uas(request(cseq=5))
    dialog.receive(request("INFO", to_tag="us", cseq=9))
    assert dialog.remote_seq == 9
    dialog.receive(request("INFO", to_tag="us", cseq=9))
    # "…the request is out of order and MUST be rejected with a 500 (Server Internal Error) response."
    with pytest.raises(SipError) as error:
        dialog.receive(request("BYE", to_tag="us", cseq=8))
    assert error.value.status == 500
    assert dialog.remote_seq == 9


@pytest.mark.parametrize("method", ["ACK", "CANCEL"])
def test_ack_and_cancel_have_an_old_number(method: str) -> None:
    dialog = uas(request(cseq=5))
    dialog.receive(request("INFO", to_tag="us", cseq=6))
    dialog.receive(request(method, to_tag="us", cseq=5))
    assert dialog.remote_seq == 6


def test_the_first_request_of_the_peer_sets_its_count() -> None:
    invite = asked()
    dialog = Dialog.uac(invite, answered(invite, 200))
    dialog.receive(request("BYE", from_tag="them", to_tag="us", call_id="ours", cseq=1))
    assert dialog.remote_seq == 1


@pytest.mark.parametrize(
    ("method", "moves"), [("INVITE", True), ("UPDATE", True), ("INFO", False), ("ACK", False)]
)
def test_the_peer_moves(method: str, moves: bool) -> None:
    dialog = uas()
    dialog.receive(request(method, to_tag="us", cseq=2, extra="Contact: <sip:caller@10.9.9.9>\r\n"))
    assert (dialog.remote_target.host == "10.9.9.9") is moves
    dialog.receive(request("INVITE", to_tag="us", cseq=3, extra=""))
    assert (dialog.remote_target.host == "10.9.9.9") is moves


def test_an_out_of_order_request_moves_nothing() -> None:
    dialog = uas(request(cseq=5))
    with pytest.raises(SipError):
        dialog.receive(request("INVITE", to_tag="us", cseq=4, extra="Contact: <sip:caller@10.9.9.9>\r\n"))
    assert dialog.remote_target.host == "192.0.2.9"


# --- across a restart -----------------------------------------------------------------------------------------------

texts = st.text(st.characters(blacklist_categories=("Cc", "Cs", "Zl", "Zp")), max_size=8)


@given(
    hops,
    texts,
    st.integers(0, 2**31),
    st.lists(st.sampled_from(("ask", "info", "move", "confirm")), max_size=20),
)
def test_a_restored_dialog_behaves_the_same(
    routes: list[tuple[int, bool]], name: str, cseq: int, steps: list[str]
) -> None:
    record = "".join(f"Record-Route: <sip:p{n}.example{';lr' if lr else ''}>\r\n" for n, lr in routes)
    invite = request(extra=record + "Contact: <sip:u@192.0.2.9>\r\n", cseq=cseq)
    dialog = uas(invite)
    dialog.local = structs.replace(dialog.local, display=name or None)
    twin = Dialog.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(dialog.snapshot())))
    assert twin == dialog
    for step in steps:
        cseq += 1
        for it in (dialog, twin):
            if step == "info":
                it.receive(request("INFO", to_tag="us", cseq=cseq))
            elif step == "move":
                it.receive(request("INVITE", to_tag="us", cseq=cseq, extra=f"Contact: <sip:u@h{cseq}>\r\n"))
            elif step == "confirm":
                it.confirm()
        if step == "ask":
            assert twin.request("INVITE").encode() == dialog.request("INVITE").encode()
    assert twin == dialog
    assert twin.ack(3).encode() == dialog.ack(3).encode()
