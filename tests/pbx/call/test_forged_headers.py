"""Bytes that would make of one header another: 2,048 names that are nearly those of trust (bars S8), and 2,000 values that would
break out of the field they stand in (bars S10). On the pure exchange; everything that leaves is read again.
"""

import pytest

from pbx.call.effects import AnswerOnce, Respond, SendAck, SendRequest
from pbx.call.hangup import hang_up
from pbx.sip.errors import SipError
from pbx.sip.message import Request
from pbx.sip.parser import parse
from tests.kit.world import World, sdp

INVITE = (
    World()
    .request("INVITE", "sip:110@192.0.2.1", "NAME", body=sdp(), content_type="application/sdp")
    .encode()
)


def arrive(world, data, name):
    """Give bytes to the exchange as a transport would; returns what it said to them, None when they were no request."""
    try:
        request = parse(data)
    except SipError:
        return None
    if not isinstance(request, Request) or request.method != "INVITE" or request.to.tag is not None:
        return None
    world.invites[name], world.transactions[name] = request, world.arrive(request, name)
    return world.last_answer(name)


def said(world):
    """All messages that left, as they stand on the wire."""
    out = []
    for effect in world.sent:
        if isinstance(effect, Respond | AnswerOnce):
            out.append(effect.response)
        elif isinstance(effect, SendRequest | SendAck):
            message = effect.request.copy()
            message.headers.prepend("Via", "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKours")
            out.append(message)
    return out


# --- S8: names (CVE-2020-28361: a byte between name and colon hid a header from those who strip it) -----------------------

TRUSTED = (
    "P-Asserted-Identity", "X-Verified-Name", "Remote-Party-ID", "Diversion", "Resource-Priority", "P-Charging-Vector",
    "Identity", "Geolocation",
)  # fmt: skip
MARK = "Wachtmeister-8f3a"


@pytest.mark.parametrize("header", TRUSTED)
def test_no_byte_beside_its_name_makes_a_claim_a_fact(header):
    world = World(desks=("d1",))
    world.sign_in("d1")
    value = "esnet.4" if header == "Resource-Priority" else f'"{MARK}" <sip:{MARK}@police.example>'
    heard = 0
    for byte in range(256):
        name = f"eve{byte}"
        line = header.encode() + bytes([byte]) + b": " + value.encode() + b"\r\n"
        data = INVITE.replace(b"NAME", name.encode()).replace(b"Max-Forwards", line + b"Max-Forwards")
        answer = arrive(world, data, name)
        if answer is None:
            continue
        heard += 1
        assert answer.status == 200, "a call for help is answered whatever else it says"
        world.ack(name)
        caller = world.call(name).caller
        assert (caller.verified, caller.name, caller.user) == (False, None, None)
        world.bye(name)
    assert heard >= 70, "whatever may stand in a name makes another header, which a phone may send"
    assert all(MARK.encode() not in message.encode() for message in said(world))
    arrived = [note.fields for note in world.notes if note.event == "call_arrived"]
    assert len(arrived) == heard
    assert all(not fields.get("verified") for fields in arrived)
    waited = [note.fields.get("class") for note in world.notes if note.event == "call_queued"]
    assert len(set(map(str, waited))) <= 1, "no byte gives priority"


# --- S10: values ----------------------------------------------------------------------------------------------------------

_BREAKS = ("\r\n", "\n", "\r", "%0d%0a", "%0a", "\x00", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029",
           "\u010a", "\udcc0\udc8d\udcc0\udc8a", "\udcc0\udc8a", "\udce0\udc80\udc8a", "\\r\\n", "\r\n ", "\r\n\t")  # fmt: skip
EVIL = (
    *(f"{one}X-Evil: 1" for one in _BREAKS),
    *(f"{one}X-Evil: 1{one}" for one in _BREAKS[:7]),
    "\r\n\r\nINVITE sip:evil@x SIP/2.0", "\r\nContent-Length: 0\r\n\r\n", "\r\nVia: SIP/2.0/UDP evil", '"', '\\"', "\\", '">;evil="',
    "<sip:evil@x>", ">", "<", ",", ", <sip:evil@x>", ";tag=evil", ";branch=evil", "?X-Evil=1", "?Route=%3Csip:evil%3E", "&", "%00",
    "%", "\x7f", "\ufeff", "a" * 900,
)  # fmt: skip
HEADERS = (
    "User-Agent", "Subject", "Record-Route", "Timestamp", "Allow", "Supported", "Accept-Language", "Organization", "Call-Info",
    "Reply-To", "Priority", "Alert-Info", "Referred-By", "Geolocation", "Resource-Priority", "P-Asserted-Identity",
    "Diversion", "History-Info", "Privacy", "Reason", "In-Reply-To", "MIME-Version", "Server", "Session-Expires",
)  # fmt: skip
PLACES = {
    "From-display": ("From: <", 'From: "a{}b" <'),
    "From-user": ("From: <sip:NAME", "From: <sip:NAME{}"),
    "From-host": ("@at110>;tag", "@at110{}>;tag"),
    "From-tag": (";tag=from-NAME", ";tag=from-NAME{}"),
    "From-param": (";tag=from-NAME", ';tag=from-NAME;x="{}"'),
    "To-display": ("To: <", 'To: "a{}b" <'),
    "To-param": ("To: <sip:110@192.0.2.1>", "To: <sip:110@192.0.2.1>;x={}"),
    "Call-ID": ("Call-ID: NAME", "Call-ID: NAME{}"),
    "Contact-user": ("Contact: <sip:NAME", "Contact: <sip:NAME{}"),
    "Contact-display": ("Contact: <", 'Contact: "a{}b" <'),
    "Contact-param": ("@192.0.2.77:5000>", "@192.0.2.77:5000;x={}>"),
    "Contact-header": ("@192.0.2.77:5000>", "@192.0.2.77:5000?X={}>"),
    "Via-branch": ("branch=z9hG4bK", "branch=z9hG4bK{}"),
    "Via-param": (";rport=5000", ';x="{}";rport=5000'),
    "Request-URI": ("sip:110@192.0.2.1 SIP", "sip:110;x={}@192.0.2.1 SIP"),
    "CSeq": ("CSeq: 1 INVITE", "CSeq: 1 INVITE{}"),
}
FIELDS = (*HEADERS, *PLACES)


def forged(field, evil, name):
    text = INVITE.decode()
    if field in PLACES:
        old, new = PLACES[field]
        assert old in text, field
        text = text.replace(old, new.replace("{}", evil), 1)
    else:
        text = text.replace("Max-Forwards", f"{field}: a{evil}b\r\nMax-Forwards", 1)
    return text.replace("NAME", name).encode("utf-8", "surrogateescape")


def shapes(world):
    """The names of the headers of each kind of message that left."""
    found = {}
    for message in said(world):
        again = parse(message.encode())
        meant = [item for item in message.headers.items() if item[0] != "Content-Length"]
        assert [item for item in again.headers.items() if item[0] != "Content-Length"] == meant, (
            "it is what is read"
        )
        names = [name for name, _ in meant]
        assert again.body == message.body
        kind = message.method if isinstance(message, Request) else f"{message.status} {message.cseq.method}"
        found.setdefault(kind, set()).update(names)
    return found


def test_there_are_enough():
    assert len(EVIL) * len(FIELDS) >= 2000
    assert len(FIELDS) == 40


@pytest.mark.parametrize("field", FIELDS)
def test_no_value_leaves_its_field(field):
    """Each is sent by a caller who is put through to a desk and then waits again: answers, texts and a BYE go out."""
    honest, world = World(desks=("d1",)), World(desks=("d1",))
    for place, values in ((honest, ("", "x")), (world, EVIL)):
        place.sign_in("d1")
        for number, evil in enumerate(values):
            name = f"eve{number}"
            answer = arrive(place, forged(field, evil, name), name)
            if answer is None or answer.status != 200:
                continue
            place.ack(name)
            call = next((c for c in place.exchange.calls.values()), None)
            if call is not None:
                leg = place.exchange.legs[call.leg]
                place.run(place.exchange.run(hang_up(leg), place.now, leg.id))
                place.wait(40.0)
    intended = shapes(honest)
    for kind, names in shapes(world).items():
        status, _, method = kind.partition(" ")
        if method == "REGISTER":
            continue
        if status.isdigit() and int(status) >= 300:
            assert names <= ALWAYS | {
                "WWW-Authenticate",
                "Unsupported",
                "Accept",
                "Retry-After",
                "Allow",
                "Min-SE",
                "Accept-Encoding",
            }, kind
            continue
        # An honest value of this field may have none of it; what may be beside is what the protocol has there.
        assert names <= intended.get(kind, set()) | ALWAYS | OPTIONAL, kind


ALWAYS = {"Via", "From", "To", "Call-ID", "CSeq", "Content-Length", "Timestamp", "Contact"}
OPTIONAL = {"Record-Route", "Route", "Require", "Session-Expires", "Min-SE"}
