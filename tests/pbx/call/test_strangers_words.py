"""What a stranger writes: nowhere it makes us send (S9), nothing it adds to our messages (S10), nobody it makes of itself (S8),
and no password it draws out of us (S6). On the pure exchange; everything that leaves is looked at.
"""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbx.call.call import State
from pbx.call.effects import AnswerOnce, Respond, SendAck, SendRequest, ToMedia
from pbx.sdp.addresses import Own
from pbx.sip.effects import Transmit
from pbx.sip.errors import SipError
from pbx.sip.flow import Flow
from pbx.sip.parser import parse
from pbx.sip.transactions import TransactionLayer
from rtp.control import ConfigureLeg
from tests.kit.world import HOST, World, sdp

WEAPONS = (
    "127.0.0.1", "::1", "169.254.169.254", "10.0.0.1", "224.0.0.1", "ff02::1", "255.255.255.255", "0.0.0.0",
    "192.0.2.1", "[::ffff:127.0.0.1]", "localhost", "phone.internal",
)  # fmt: skip
PORTS = (22, 25, 5432, 5060)
FIELDS = (
    "Contact",
    "Route",
    "Record-Route",
    "Via",
    "maddr",
    "Refer-To",
    "Call-Info",
    "Alert-Info",
    "Reply-To",
)


def watched(world):
    """Keep what the exchange tells the media process, beside what it sends."""
    said = []
    before = world._media

    def media(command):
        said.append(command)
        before(command)

    world._media = media
    return said


def armed(field, host, port):
    """Header lines that point at `host`."""
    place = f"[{host}]" if ":" in host and not host.startswith("[") else host
    uri = f"<sip:x@{place}:{port}>"
    match field:
        case "Via":
            return (("Via", f"SIP/2.0/UDP {place}:{port};branch=z9hG4bKlower"),)
        case "maddr":
            return (
                ("Contact", f"<sip:x@192.0.2.77;maddr={place}>"),
                ("Route", f"<sip:{HOST};maddr={place};lr>"),
            )
        case "Route" | "Record-Route":
            return ((field, uri.replace(">", ";lr>")),)
    return ((field, uri),)


@pytest.mark.parametrize(("field", "host"), list(itertools.product(FIELDS, WEAPONS)))
def test_nothing_goes_where_a_header_points(field, host):
    for port in PORTS:
        world = World(desks=("d1",))
        world.sign_in("d1")
        extra = armed(field, host, port)
        request = world.request(
            "INVITE", "sip:110@192.0.2.1", "eve", body=sdp(), content_type="application/sdp", headers=extra
        )
        if field == "Contact":
            request.headers.set("Contact", extra[0][1])
        world.invites["eve"], world.transactions["eve"] = request, world.arrive(request, "eve")
        assert world.last_answer("eve").status == 200
        world.ack("eve")
        world.in_dialog("eve", "OPTIONS", cseq=3)
        world.desk_request("d1", "BYE")  # the caller waits again: it is told so, by MESSAGE
        world.wait(200.0)
        flows = [e.flow for e in world.sent if isinstance(e, SendRequest | SendAck)]
        assert flows
        assert {flow.remote for flow in flows} <= {world.flow("eve").remote, world.flow("d1").remote}


@pytest.mark.parametrize("host", WEAPONS)
def test_answers_go_to_the_source_whatever_the_via_says(host):
    flow = Flow("udp", (HOST, 5060), ("198.51.100.7", 40_000))
    place = f"[{host}]" if ":" in host and not host.startswith("[") else host
    for port, params in itertools.product(
        (*PORTS, None), ("", ";maddr=10.0.0.1", ";received=10.0.0.1", ";rport=22")
    ):
        world = World()
        sent_by = place if port is None else f"{place}:{port}"
        data = world.request("OPTIONS", "sip:110@192.0.2.1", "eve").encode()
        head, _, rest = data.partition(b"Via: ")
        via = f"Via: SIP/2.0/UDP {sent_by};branch=z9hG4bKx{params}".encode()
        request = parse(head + via + b"\r\n" + rest.partition(b"\r\n")[2])
        layer = TransactionLayer()
        (arrived,) = layer.receive(request, flow, 0.0)
        effects = layer.answer_once(arrived.transaction, 403, 0.0)
        assert all(e.flow.remote[0] == "198.51.100.7" for e in effects)
        assert all(e.flow.remote[1] >= 1024 for e in effects)
        assert any(isinstance(e, Transmit) for e in effects)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "169.254.169.254", "224.2.1.1", "255.255.255.255", "0.0.0.0", "192.0.2.1", "::1"]
)
@pytest.mark.parametrize("port", [22, 80, 1023, 20000, 5060])
def test_media_is_not_aimed_at_ourselves_or_at_services(address, port):
    world = World()
    world.exchange.site = _closed(world.exchange.site)
    said = watched(world)
    family = "IP6" if ":" in address else "IP4"
    offer = sdp(address=address, port=port).replace(
        b"IN IP4 " + address.encode(), f"IN {family} {address}".encode()
    )
    world.invite("eve", body=offer)
    world.ack("eve")
    streams = [s for command in said if isinstance(command, ConfigureLeg) for s in command.streams]
    for stream in streams:
        for remote in (stream.remote, stream.remote_rtcp):
            assert remote is None or (remote[0] == address == "192.0.2.1" and remote[1] not in _OWN.media)
            assert remote is None or remote[1] >= 1024


def unproven(said):
    """What the media process was told last of each medium."""
    return [stream.unproven for stream in [c for c in said if isinstance(c, ConfigureLeg)][-1].streams]


@pytest.mark.parametrize(
    ("address", "reached"), [("192.0.2.77", True), ("10.66.0.9", False), ("192.0.2.78", False)]
)
def test_media_of_a_stranger_wait_for_the_ack_and_for_its_own_address(address, reached):
    world = World()
    said = watched(world)
    world.invite("eve", body=sdp(address=address))
    assert unproven(said) == [True, True], "over UDP anybody's address may stand as the source"
    world.ack("eve")
    assert unproven(said) == [not reached, not reached]
    world.in_dialog("eve", "INVITE", cseq=3, body=sdp(address="10.66.0.9"), content_type="application/sdp")
    assert unproven(said) == [True, True], "nor may it point elsewhere later"


def test_media_of_a_stranger_wait_where_the_ack_brings_the_description():
    for address, reached in (("192.0.2.77", True), ("10.66.0.9", False)):
        world = World()
        said = watched(world)
        world.invite("eve", body=b"")
        world.ack("eve", sdp(address=address))
        assert unproven(said) == [not reached] * 2


def test_reports_of_a_stranger_wait_as_its_media_do():
    world = World()
    said = watched(world)
    world.invite("eve", body=sdp() + b"a=rtcp:5432 IN IP4 10.66.0.9\r\n")
    world.ack("eve")
    assert unproven(said) == [False, True], "the line stands in the description of the picture"


def test_media_of_whoever_proved_who_it_is_go_where_it_says():
    world = World()
    said = watched(world)
    assert world.register("alice").status == 200
    world.invite("alice", body=sdp(address="10.66.0.9"))
    assert world.call("alice").caller.verified
    assert unproven(said) == [False, False]


def test_a_connection_proves_the_address_it_comes_from():
    world = World()
    world.invite("eve", body=sdp())
    leg = world.exchange.legs[world.call("eve").leg]
    assert leg.agreed().streams[0].unproven
    here = leg.flow
    for transport in ("tcp", "tls", "ws", "wss"):
        leg.flow = Flow(transport, here.local, here.remote)
        assert not leg.agreed().streams[0].unproven
        leg.flow = Flow(transport, here.local, ("192.0.2.99", 5060))
        assert leg.agreed().streams[0].unproven


_OWN = Own(frozenset({"192.0.2.1", "127.0.0.1"}), range(20000, 30000), frozenset({5060, 5062}))


def _closed(site):
    from dataclasses import replace

    return replace(site, legs=replace(site.legs, loopback_ok=False, own=_OWN))


# --- S8 -----------------------------------------------------------------------------------------------------------------

LIES = ("P-Asserted-Identity", "P-Preferred-Identity", "X-Verified-Name", "Remote-Party-ID", "Diversion", "Resource-Priority",
        "P-Charging-Vector", "Identity", "Geolocation", "History-Info", "Priority")  # fmt: skip


@pytest.mark.parametrize("name", LIES)
def test_a_claim_makes_nobody_verified_and_reaches_no_desk(name):
    world = World(desks=("d1",))
    world.sign_in("d1")
    said = watched(world)
    mark = "王警官-verified-8f3a"
    values = (f'"{mark}" <sip:110@police.example>', f"esnet.4;{mark}", f"<https://x/{mark}>", mark)
    for n, value in enumerate(values):
        who = f"eve{n}"
        world.invite(who, headers=((name, value),) * (n + 1))
        assert world.last_answer(who).status == 200
        world.ack(who)
        call = world.call(who)
        assert (call.caller.verified, call.caller.name, call.caller.user) == (False, None, None)
        assert mark not in repr(call.caller)
    out = [e.response if isinstance(e, Respond | AnswerOnce) else e.request for e in world.sent if hasattr(e, "request") or
           hasattr(e, "response")]  # fmt: skip
    assert all(mark.encode() not in message.encode() for message in out)
    assert mark not in repr(said)
    told = [note for note in world.notes if note.event == "claims_ignored"]
    if name != "Geolocation":
        assert [note.fields["headers"] for note in told] == [[name.lower()]] * 4
    # What is kept of a claim stands under its own name, where nobody takes it for a fact.
    ignored = {"claims_ignored", "location_sent"}
    others = [
        {key: value for key, value in n.fields.items() if key not in {"claims", "diverted"}}
        for n in world.notes
        if n.event not in ignored
    ]
    assert mark not in repr(others)


def test_priority_gives_no_advantage():
    world = World(desks=("d1",))
    world.invite("first")
    for n in range(20):
        world.invite(f"pushy{n}", headers=(("Resource-Priority", "esnet.4"), ("Priority", "emergency")))
    world.sign_in("d1")
    world.wait(0.01)
    assert world.call("first").state is State.TALKING
    assert [world.call(f"pushy{n}").position for n in range(20)] == list(range(1, 21))


# --- S10 ----------------------------------------------------------------------------------------------------------------

EVIL = ("\r\nX-Evil: 1", "%0d%0aX-Evil: 1", "\nX-Evil: 1", "\rX-Evil: 1", "\x00X-Evil", "%00", "\xc0\x8d\xc0\x8a", '\\"', "<sip:x>",
        "\r\n\r\nINVITE", ",", ";tag=evil", "\u2028X-Evil: 1", "\x85", "\x0bX-Evil: 1")  # fmt: skip
COPIED = ("From-display", "From-user", "From-tag", "To-display", "Call-ID", "Contact-user", "Via-branch", "Via-param",
          "User-Agent", "Subject", "Record-Route", "Timestamp", "Request-URI", "Allow")  # fmt: skip


def poisoned(world, field, evil):
    """An INVITE as bytes with `evil` in a field, whatever that makes of it."""
    data = world.request(
        "INVITE", "sip:110@192.0.2.1", "eve", body=sdp(), content_type="application/sdp"
    ).encode()
    text = data.decode()
    match field:
        case "From-display":
            text = text.replace("From: <", f'From: "a{evil}b" <')
        case "From-user":
            text = text.replace("From: <sip:eve", f"From: <sip:eve{evil}")
        case "From-tag":
            text = text.replace(";tag=from-eve", f";tag=from-eve{evil}")
        case "To-display":
            text = text.replace("To: <", f'To: "a{evil}b" <')
        case "Call-ID":
            text = text.replace("Call-ID: eve", f"Call-ID: eve{evil}")
        case "Contact-user":
            text = text.replace("Contact: <sip:eve", f"Contact: <sip:eve{evil}")
        case "Via-branch":
            text = text.replace("branch=z9hG4bKeve", f"branch=z9hG4bKeve{evil}")
        case "Via-param":
            text = text.replace(";rport=5000", f';x="{evil}";rport=5000')
        case "Request-URI":
            text = text.replace("sip:110@192.0.2.1 SIP", f"sip:110;x={evil}@192.0.2.1 SIP")
        case _:
            text = text.replace("Max-Forwards", f"{field}: a{evil}b\r\nMax-Forwards")
    return text.encode("utf-8", "surrogateescape")


OF_A_RESPONSE = {"Via", "From", "To", "Call-ID", "CSeq", "Contact", "Content-Type", "Content-Length", "Allow", "Accept",
                 "Record-Route", "Timestamp", "Retry-After", "Supported", "Unsupported", "Date", "Require",
                 "WWW-Authenticate", "X-At110-Evidence", "Allow-Events", "Accept-Encoding", "Min-SE", "Session-Expires"}  # fmt: skip
OF_A_REQUEST = OF_A_RESPONSE | {
    "Max-Forwards",
    "Min-SE",
    "Session-Expires",
    "Route",
    "User-Agent",
    "Reason",
    "Alert-Info",
    "Answer-Mode",
    "Call-Info",
}


@pytest.mark.parametrize(("field", "evil"), list(itertools.product(COPIED, EVIL)))
def test_nothing_copied_adds_a_header(field, evil):
    check_poison(field, evil)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(COPIED), st.text(st.characters(codec="utf-8"), max_size=20))
def test_nothing_at_all_copied_adds_a_header(field, evil):
    check_poison(field, evil)


def check_poison(field, evil):
    world = World(desks=("d1",))
    world.sign_in("d1")
    data = poisoned(world, field, evil)
    try:
        request = parse(data)
    except SipError:
        return  # refused; what the refusal echoes is tested with the parser
    if request.method != "INVITE" or request.to.tag is not None:
        return
    world.invites["eve"], world.transactions["eve"] = request, world.arrive(request, "eve")
    answers = world.answers.get(world.transactions["eve"], [])
    if answers and answers[-1].status == 200:
        leg = next(
            leg for leg in world.exchange.legs.values() if leg.invite is request or leg.id.startswith("leg")
        )
        assert leg is not None
        world.desk_request("d1", "BYE")
        world.wait(40.0)
    for effect in world.sent:
        message = (
            effect.response if isinstance(effect, Respond | AnswerOnce) else getattr(effect, "request", None)
        )
        if message is None:
            continue
        if isinstance(effect, SendRequest | SendAck):
            message = message.copy()
            message.headers.prepend("Via", "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKours")
        again = parse(message.encode())
        names = [name for name, _ in message.headers.items() if name != "Content-Length"]
        assert [name for name, _ in again.headers.items() if name != "Content-Length"] == names
        allowed = OF_A_RESPONSE if isinstance(effect, Respond | AnswerOnce) else OF_A_REQUEST
        assert set(names) <= allowed
        assert [v for n, v in again.headers.items() if n != "Content-Length"] == [
            v for n, v in message.headers.items() if n != "Content-Length"
        ]
        assert again.body == message.body


# --- S6 -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "header"), [(401, "WWW-Authenticate"), (407, "Proxy-Authenticate")])
@pytest.mark.parametrize("realm", ["at110", "trunk.example", "", "anything"])
def test_a_challenge_to_our_request_draws_no_password(status, header, realm):
    world = World(desks=("d1",))
    world.sign_in("d1", answer=False)
    value = f'Digest realm="{realm}", nonce="n", algorithm=SHA-256, qop="auth"'
    invite = world.desk_invite("d1")
    response = invite.request.response(status, to_tag="x", headers=((header, value),))
    response.headers.prepend("Via", "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKdesk")
    from pbx.sip.effects import ResponseArrived

    world.run(
        world.exchange.sip(ResponseArrived(invite.ref, parse(response.encode()), world.flow("d1")), world.now)
    )
    world.wait(60.0)
    for effect in world.sent:
        if isinstance(effect, SendRequest | SendAck):
            assert "Authorization" not in effect.request.headers
            assert "Proxy-Authorization" not in effect.request.headers
    assert not [c for c in world.sent if isinstance(c, ToMedia)]
