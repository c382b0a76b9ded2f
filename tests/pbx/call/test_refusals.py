"""Every refusal carries what its RFC wants in it: one row for each, through the whole pure exchange."""

import zlib

import pytest

from tests.kit.watcher import WatchedWorld
from tests.kit.world import HOST, REALM, World, sdp

PLAIN = {"content_type": "text/plain"}
GZIP = (("Content-Encoding", "gzip"),)


def opening(method, *, uri=f"sip:110@{HOST}", name="eve", **more):
    """The answer to a request outside dialogs."""
    world = World()
    return world.answers[world.arrive(world.request(method, uri, name, **more), name)][-1]


def from_desk(method, **more):
    """The answer to a request in a desk's permanent dialog."""
    world = World()
    world.sign_in("d1")
    return world.answers[world.desk_request("d1", method, **more)][-1]


def registered(**headers):
    """The answer to a REGISTER with the right password."""
    from pbx.sip.digest import authorize

    world, uri = World(), f"sip:{REALM}"
    first = world.answers[world.arrive(world.request("REGISTER", uri, "alice", cseq=5), "alice")][-1]
    token = authorize(
        first.headers.all("WWW-Authenticate")[0],
        user="alice",
        password="pw-alice",
        method="REGISTER",
        uri=uri,
        cnonce="c",
        nc=1,
    )
    said = (("Authorization", token), *((name.replace("_", "-"), value) for name, value in headers.items()))
    request = world.request("REGISTER", uri, "alice", cseq=6, headers=said)
    request.headers.set("To", f"<sip:alice@{REALM}>")
    return world.answers[world.arrive(world._again(request), "alice")][-1]


def subscribed(**more):
    return WatchedWorld().ask("d1", more.pop("event", "dialog"), f"sip:d1@{HOST}", call_id="x", **more)


def no_port():
    world = World()
    world.media_answers = False
    world.invite("bob")
    world.wait(11.0)
    return world.last_answer("bob")


def second_reinvite():
    """RFC 3261 §14.2: a second INVITE before the first is answered."""
    world = World()
    world.invite("bob", body=sdp(video=None))
    world.ack("bob")
    world.media_answers = False
    world.in_dialog("bob", "INVITE", cseq=2, body=sdp(), content_type="application/sdp")
    other = world.in_dialog("bob", "INVITE", cseq=3, body=sdp(), content_type="application/sdp")
    return world.answers[other][-1]


REFUSALS = {
    "who are you": (
        lambda: opening("REGISTER", uri=f"sip:{REALM}"),
        401,
        "WWW-Authenticate",
        "Digest realm=",
    ),
    "nobody may": (lambda: opening("PUBLISH"), 405, "Allow", "INVITE, ACK"),
    "nobody may, in a dialog": (lambda: from_desk("PUBLISH"), 405, "Allow", "INVITE, ACK"),
    "elsewhere only": (lambda: from_desk("REGISTER"), 405, "Allow", "INVITE, ACK"),
    "a package, in a dialog": (
        lambda: from_desk("SUBSCRIBE", headers=(("Event", "unheard-of"),)),
        489,
        "Allow-Events",
        "dialog, conference",
    ),
    "a package of INFO": (
        lambda: from_desk("INFO", headers=(("Info-Package", "unheard-of"),)),
        469,
        "Recv-Info",
        "",
    ),
    "a package of INFO, with its body": (
        lambda: from_desk(
            "INFO", body=b"x", content_type="application/x-y", headers=(("Info-Package", "unheard-of"),)
        ),
        469,
        "Recv-Info",
        "",
    ),
    "unheard of": (lambda: opening("BREW"), 501, "Allow", "INVITE, ACK"),
    "unheard of, in a dialog": (lambda: from_desk("BREW"), 501, "Allow", "INVITE, ACK"),
    "type of a text": (
        lambda: from_desk("MESSAGE", body=b"x", content_type="image/png"),
        415,
        "Accept",
        "text/plain, application/pidf+xml",
    ),
    "type of an INFO": (
        lambda: from_desk("INFO", body=b"x", content_type="image/png"),
        415,
        "Accept",
        "application/dtmf-relay",
    ),
    "type of an offer": (
        lambda: from_desk(
            "INVITE", body=b"x", content_type="image/png", headers=(("Content-Disposition", "session"),)
        ),
        415,
        "Accept",
        "application/sdp",
    ),
    "packed offer": (
        lambda: from_desk("INVITE", body=b"x", content_type="application/sdp", headers=GZIP),
        415,
        "Accept-Encoding",
        "identity",
    ),
    "packed text": (
        lambda: from_desk("MESSAGE", body=b"x", headers=GZIP, **PLAIN),
        415,
        "Accept-Encoding",
        "identity",
    ),
    "packed INFO": (
        lambda: from_desk("INFO", body=b"x", content_type="application/dtmf", headers=GZIP),
        415,
        "Accept-Encoding",
        "identity",
    ),
    "extension": (lambda: from_desk("OPTIONS", headers=(("Require", "x, timer"),)), 420, "Unsupported", "x"),
    "session too short": (
        lambda: from_desk("UPDATE", headers=(("Session-Expires", "30"), ("Supported", "timer"))),
        422,
        "Min-SE",
        "90",
    ),
    "registration too short": (lambda: registered(Expires="10"), 423, "Min-Expires", "60"),
    "subscription too short": (
        lambda: subscribed(headers=(("Expires", "10"),)),
        423,
        "Min-Expires",
        "60",
    ),
    "another document": (
        lambda: subscribed(headers=(("Accept", "text/html"),)),
        406,
        "Accept",
        "application/dialog-info+xml",
    ),
    "mailbox": (lambda: subscribed(event="message-summary"), 489, "Allow-Events", "dialog, conference"),
    "media": (
        lambda: from_desk("INVITE", body=b"v=1\r\n", content_type="application/sdp"),
        488,
        "Warning",
        "305 at110",
    ),
    "too early": (second_reinvite, 500, "Retry-After", "1"),
    "no port": (no_port, 503, "Retry-After", ""),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_says_what_would_do(name):
    made, status, header, value = REFUSALS[name]
    answer = made()
    assert answer.status == status
    found = answer.headers.get(header)
    assert found is not None
    assert found.startswith(value)


@pytest.mark.parametrize(
    ("uri", "status"),
    [
        ("nobody:knows", 416),
        ("http://110.example/", 416),
        ("mailto:a@b", 416),
        ("tel:110", 200),
        (f"sips:110@{HOST}", 200),
    ],
)
def test_schemes(uri, status):
    """RFC 3261 §8.2.2.1."""
    assert opening("OPTIONS", uri=uri).status == status


@pytest.mark.parametrize("method", ["OPTIONS", "MESSAGE", "REGISTER", "SUBSCRIBE", "REFER", "BYE"])
def test_replaces_stands_in_an_invite_only(method):
    """RFC 3891 §3: in any other request it is answered 400; a BYE ends its call all the same."""
    said = (("Replaces", "a@b;to-tag=1;from-tag=2"),)
    if method != "REGISTER":
        assert from_desk(method, headers=said).status == (200 if method == "BYE" else 400)
    if method != "BYE":
        assert opening(method, headers=said).status == 400


def test_an_info_of_a_package_is_understood_where_its_body_is_older_than_packages():
    world = World()
    world.invite("bob")
    world.ack("bob")
    sent = world.in_dialog(
        "bob",
        "INFO",
        body=b"Signal=5\r\n",
        content_type="application/dtmf-relay",
        headers=(("Info-Package", "dtmf"),),
    )
    assert world.answers[sent][-1].status == 200


@pytest.mark.parametrize(
    ("kind", "encoding"),
    [
        ("text/plain;charset=GB2312", "gb2312"),
        ('text/plain; charset="gbk"', "gbk"),
        ("text/plain;charset=gb18030", "gb18030"),
        ("text/plain;charset=Big5", "big5"),
        ("text/plain;charset=UTF-8", "utf-8"),
        ("text/plain;charset=unheard-of", "utf-8"),
        ('text/plain;charset="open', "utf-8"),
    ],
)
@pytest.mark.parametrize("inside", [False, True])
def test_a_text_is_read_in_the_charset_it_names(kind, encoding, inside):
    world = World()
    world.invite("bob")
    world.ack("bob")
    body = "救命".encode(encoding)
    if inside and "open" not in kind:
        body = b"--b\r\nContent-Type: " + kind.encode() + b"\r\n\r\n" + body + b"\r\n--b--\r\n"
        kind = "multipart/mixed;boundary=b"
    sent = world.in_dialog("bob", "MESSAGE", body=body, content_type=kind)
    assert world.answers[sent][-1].status == 200
    assert world.noted("text")[-1].fields["text"] == "救命"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_text_that_somebody_in_need_packed_is_unpacked(coding):
    world = World()
    world.invite("bob")
    world.ack("bob")
    packer = zlib.compressobj(wbits=31 if coding == "gzip" else 15)
    body = packer.compress("救命".encode()) + packer.flush()
    sent = world.in_dialog("bob", "MESSAGE", body=body, headers=(("Content-Encoding", coding),), **PLAIN)
    assert world.answers[sent][-1].status == 200
    assert world.noted("text")[-1].fields["text"] == "救命"
    odd = world.in_dialog("bob", "MESSAGE", cseq=3, body=b"?", headers=(("Content-Encoding", "br"),), **PLAIN)
    assert world.answers[odd][-1].status == 415
