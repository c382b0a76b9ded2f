"""What the first bytes tell must be what the parser would have told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.guard.glance import _CALL_ID, MAX_LOOK, Emergencies, branch, call_id, method
from pbx.sip.errors import SipError
from pbx.sip.message import Request
from pbx.sip.parser import ParseError, parse
from pbx.targets import EmergencySettings, is_emergency
from tests.kit import sip

SETTINGS = EmergencySettings(numbers=("110", "119", "911-silent"))
LISTED = EmergencySettings(numbers=("110",), uris=("sip:help@police.example",))


def first_bytes(target):
    return sip.request(uri="sip:x@y").encode().replace(b"INVITE sip:x@y", b"INVITE " + target.encode(), 1)


def both(target, settings=SETTINGS):
    """What the guard says and what the parser leads to; the second is None when the parser refuses."""
    data = first_bytes(target)
    asked = Emergencies(settings).asked(data)
    try:
        message = parse(data)
    except SipError:
        return asked, None
    assert isinstance(message, Request)
    return asked, is_emergency(message.uri, settings) is not None


@pytest.mark.parametrize(
    ("target", "asked"),
    [
        ("sip:110@at110.example", True),
        ("SIP:110@at110.example:5060;transport=tcp", True),
        ("sips:110@[2001:db8::1]", True),
        ("sip:110-silent@x", True),
        ("sip:110-SILENT@x", True),
        ("sip:%3110@x", True),
        ("sip:1%310@x", True),
        ("sip:110;phone-context=cn@x", True),
        ("sip:110:secret@x", True),
        ("sip:911-silent@x", True),
        ("sip:911-silent-silent@x", True),
        ("sip:911@x", False),
        ("tel:110", True),
        ("tel:1-1-0", True),
        ("tel:110-silent", True),
        ("urn:service:sos", True),
        ("URN:SERVICE:SOS.police.traffic", True),
        ("urn:service:sos.fire", True),
        ("urn:service:counseling", False),
        ("sip:1100@x", False),
        ("sip:110", False),
        ("sip:x@110", False),
        ("sip:a@b;user=110", False),
        ("sip:110@a@b", False),
        ("sip:110;[::1]@x", False),
        ("sip:110;::@x", False),
        ("tel:1100", False),
        ("http://110@x", False),
    ],
)  # fmt: skip
def test_targets(target, asked):
    seen, truth = both(target)
    assert seen is (truth if truth is not None else seen)
    if truth is not None:
        assert truth is asked


def test_a_listed_uri_is_seen():
    assert both("sip:help@police.example", LISTED) == (True, True)
    assert both("sip:help-silent@police.example", LISTED) == (True, True)
    assert both("sip:help@elsewhere.example", LISTED) == (False, False)
    assert both("sip:110@police.example", LISTED) == (True, True)


NUMBER = st.sampled_from(["110", "119", "911", "11", "sos", "110-silent", "911-silent", "a"])
PIECE = st.sampled_from(["%31", "%2D", "1", "0", "-", ";", ":", "@", "?", "silent", ".", "x", "[::1]", "%"])


@given(
    st.sampled_from(["sip:", "sips:", "SIP:", "tel:", "TEL:", "urn:service:", "urn:", ""]),
    st.lists(st.one_of(NUMBER, PIECE), max_size=6).map("".join),
    st.sampled_from(["@x", "@[::1]:5060", ";a=b", "", "@", "@x;lr"]),
)
def test_the_guard_and_the_parser_never_differ(scheme, middle, tail):
    target = scheme + middle + tail
    if not target:
        return
    for settings in (SETTINGS, LISTED):
        asked, truth = both(target, settings)
        assert truth is None or asked is truth


@given(st.binary(max_size=200))
def test_any_bytes_get_an_answer(data):
    assert method(data) is not None
    assert isinstance(call_id(data), str)
    assert Emergencies(SETTINGS).asked(b"INVITE " + data) in (True, False)


def test_method_and_call_id():
    data = sip.request("OPTIONS", call_id="abc@host").encode()
    assert method(data) == b"OPTIONS"
    assert call_id(data) == "abc@host"
    quoted = b"REGISTER sip:a SIP/2.0\r\nI: mine\r\n\r\nINVITE sip:b SIP/2.0\r\nCall-ID: another\r\n"
    assert call_id(quoted) == "mine", "what stands in a body is no header"
    assert call_id(data.replace(b"Call-ID: ", b"i:")) == "abc@host"
    assert call_id(data.replace(b"Call-ID: ", b"CALL-id \t:\t")) == "abc@host"
    assert call_id(data.replace(b"Call-ID: ", b"Call-ID:\t")) == "abc@host"
    assert method(b"SIP/2.0 200 OK\r\n") == b"SIP"
    assert method(b"sip/2.0 200 OK\r\n") == b"SIP"
    assert method(b"invite sip:110@x SIP/2.0\r\n") == b""  # methods are case-sensitive (RFC 3261 §7.1)
    assert call_id(b"OPTIONS") == ""
    assert call_id(b"OPTIONS sip:a SIP/2.0\r\n" + b"X: y\r\n" * 2000 + b"Call-ID: far\r\n") == ""


def test_branch():
    data = sip.request("INVITE", branch="z9hG4bKx.1").encode()
    assert branch(data) == b"z9hG4bKx.1"
    assert branch(data.replace(b";branch=", b" ; Branch = ")) == b"z9hG4bKx.1"
    assert branch(sip.request("INVITE", branch=None).encode()) == b""


def test_a_start_line_that_never_ends_is_no_emergency():
    assert Emergencies(SETTINGS).asked(b"INVITE sip:110@" + b"x" * 70_000) is False
    assert Emergencies(SETTINGS).asked(b"INVITE sip:110@x SIP/2.0") is False


@given(
    st.lists(
        st.sampled_from(
            [b"Call-ID:", b"call-id:", b"i :", b"\r\n", b"\n", b"\r", b" ", b"abc@h", b"\t", b"\xff"]
        )
    )
)
def test_the_short_way_to_the_call_id_is_the_long_one(pieces):
    """It is looked for as nearly every phone writes it first; only where there are two may another one be found."""
    data = b"OPTIONS sip:a SIP/2.0\r\n" + b"".join(pieces)
    found = [
        value.strip(b" \t").decode("utf-8", "surrogateescape")
        for value in _CALL_ID.findall(data, 0, MAX_LOOK)
    ]
    assert call_id(data) in (found or [""])
    if len(found) == 1:
        assert [call_id(data)] == found


@pytest.mark.parametrize("size", [MAX_LOOK - 30, MAX_LOOK, 60_000])
def test_a_call_id_without_end_is_looked_at_no_further(size):
    data = b"OPTIONS sip:a SIP/2.0\r\nCall-ID: " + b"x" * size
    assert call_id(data) == _CALL_ID.search(data, 0, MAX_LOOK)[1].decode()


def test_two_call_ids_are_refused_whatever_is_found():
    data = sip.request("OPTIONS", call_id="abc@host").encode()
    with pytest.raises(ParseError):
        parse(data.replace(b"\r\nCall-ID:", b"\r\ni: other\r\nCall-ID:"))
