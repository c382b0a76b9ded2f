"""Bodies of NOTIFYs: whole and partial documents say the same, and any text survives in them."""

from itertools import pairwise
from xml.etree import ElementTree as ET

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pbx.binding import Binding
from pbx.packages import xml
from pbx.packages.conference import Conference
from pbx.packages.dialog import Lamp
from pbx.packages.presence import Presence
from pbx.packages.reg import Registration
from pbx.packages.seat import Guest, Seat
from pbx.packages.table import CONTENT_TYPES, OF_SEATS, Document
from pbx.sip.flow import Flow
from pbx.sip.uri import parse_name_addr
from tests.kit.watcher import CONFERENCE, DIALOG, REG, Told

STATES = ("signed_out", "free", "busy", "wrap_up", "paused", "visiting")

guests = st.builds(
    Guest,
    id=st.sampled_from(["c1", "c2", "c3"]),
    uri=st.sampled_from(["sip:bob@at110", "sip:eve@at110", "sip:8001@at110"]),
    label=st.text(max_size=20),
    held=st.booleans(),
)
seats = st.builds(
    Seat,
    uri=st.just("sip:8001@at110"),
    room=st.just("sip:room-8001@192.0.2.1:5060"),
    name=st.sampled_from(["8001", "王 & <丽>"]),
    state=st.sampled_from(STATES),
    guest=st.none() | guests,
)


def shown(told):
    return (told.lit, told.users, told.count, told.active, told.presence)


@given(st.lists(seats, min_size=2, max_size=8))
@pytest.mark.parametrize("package", OF_SEATS)
def test_differences_add_up_to_the_whole(package, lives):
    documents = [OF_SEATS[package](seat) for seat in lives]
    follower, newcomer = Told(), Told()
    follower.take(documents[0].full(0, 0.0))
    for number, (before, after) in enumerate(pairwise(documents), 1):
        follower.take(after.partial(before, number, 0.0))
    newcomer.take(documents[-1].full(0, 0.0))
    assert shown(follower) == shown(newcomer)


@given(seats)
def test_documents_survive_being_put_away(seat):
    for make in OF_SEATS.values():
        packed = msgspec.msgpack.encode(msgspec.to_builtins(make(seat)))
        assert msgspec.convert(msgspec.msgpack.decode(packed), Document) == make(seat)


@given(st.text(st.characters(codec=None)))
@example("\x00\udcff\r\n]]><!--&lt;\ufffe\U0010ffff")
def test_any_text_is_text_in_a_document(text):
    root = ET.fromstring(xml.document(f'<a b="{xml.quoted(text)}">{xml.quoted(text)}</a>'))
    wanted = xml.clean(text).replace("\r\n", "\n").replace("\r", "\n")
    assert (root.text or "") == wanted
    assert root.get("b") == wanted.replace("\n", " ").replace("\t", " ")
    assert len(root) == 0


def test_what_xml_cannot_hold_is_marked():
    assert xml.clean("a\x00b\udc80\x7f\ufffe\U0001f6a8") == "a\ufffdb\ufffd\x7f\ufffd\U0001f6a8"


def test_a_lamp_on_the_wire():
    # RFC 4235 §4.1: version, state and entity MUST be there.
    dark = Seat("sip:8001@at110", "sip:room-8001@h", "8001", "free", None)
    lit = Seat("sip:8001@at110", "sip:room-8001@h", "8001", "busy", Guest("c1", "sip:b@h", "b", held=False))
    root = ET.fromstring(Lamp.of(lit).full(3, 0.0))
    assert root.tag == f"{DIALOG}dialog-info"
    assert root.attrib == {"version": "3", "state": "full", "entity": "sip:8001@at110"}
    (dialog,) = root
    assert dialog.attrib == {"id": "c1", "direction": "recipient"}
    assert dialog.findtext(f"{DIALOG}state") == "confirmed"
    out = ET.fromstring(Lamp.of(dark).partial(Lamp.of(lit), 4, 0.0))
    assert out.attrib["state"] == "partial"
    assert [d.findtext(f"{DIALOG}state") for d in out] == ["terminated"]
    assert b"sip:b@h" not in Lamp.of(lit).full(0, 0.0), "lamps do not say who calls"


def test_a_conference_on_the_wire():
    seat = Seat("sip:8001@at110", "sip:room-8001@h", "王丽", "busy", Guest("c1", "sip:b@h", "b", held=True))
    root = ET.fromstring(Conference.of(seat).full(0, 0.0))
    assert root.attrib == {"entity": "sip:room-8001@h", "state": "full", "version": "0"}
    # The order of RFC 4575's schema.
    assert [e.tag.removeprefix(CONFERENCE) for e in root] == [
        "conference-description",
        "conference-state",
        "users",
    ]
    host, guest = root.find(f"{CONFERENCE}users")
    assert [e.tag.removeprefix(CONFERENCE) for e in guest] == ["display-text", "roles", "endpoint"]
    assert (host.get("entity"), guest.get("entity")) == ("sip:8001@at110", "sip:b@h")
    assert guest.findtext(f"{CONFERENCE}endpoint/{CONFERENCE}status") == "on-hold"


def test_what_a_phone_sends_and_hears_stands_in_its_endpoint():
    # RFC 4575 §5.8.
    guest = Guest("c1", "sip:b@h", "b", held=False, media=(("audio", "sendrecv"), ("video", "sendonly")))
    seat = Seat("sip:8001@at110", "sip:room-8001@h", "王丽", "busy", guest)
    host, caller = ET.fromstring(Conference.of(seat).full(0, 0.0)).find(f"{CONFERENCE}users")
    assert host.findall(f"{CONFERENCE}endpoint/{CONFERENCE}media") == []
    found = caller.findall(f"{CONFERENCE}endpoint/*")
    assert [e.tag.removeprefix(CONFERENCE) for e in found] == ["status", "media", "media"]
    told = [(e.get("id"), *(part.text for part in e)) for e in found[1:]]
    assert told == [("1", "audio", "sendrecv"), ("2", "video", "sendonly")]


def test_a_guest_who_has_the_hosts_number_is_somebody_else():
    seat = Seat(
        "sip:8001@at110", "sip:room-8001@h", "x", "busy", Guest("c1", "sip:8001@at110", "b", held=False)
    )
    assert len({user.entity for user in Conference.of(seat).users}) == 2


def test_two_callers_in_a_row_with_the_same_number_are_two():
    one = Seat("sip:8001@at110", "sip:room-8001@h", "x", "busy", Guest("c1", "sip:b@h", "b", held=False))
    two = Seat("sip:8001@at110", "sip:room-8001@h", "x", "busy", Guest("c2", "sip:b@h", "b", held=False))
    users = ET.fromstring(Conference.of(two).partial(Conference.of(one), 1, 0.0)).find(f"{CONFERENCE}users")
    assert [user.get("entity") for user in users] == ["sip:b@h"]


@pytest.mark.parametrize("state", STATES)
def test_presence_is_read_in_two_languages(state):
    told = Told()
    told.take(Presence("sip:8001@at110", state).full(0, 0.0))
    assert len(told.presence[2]) == 2


def test_phones_on_the_wire():
    flow = Flow("udp", ("192.0.2.1", 5060), ("192.0.2.9", 5062))
    contact = parse_name_addr('<sip:a&b@192.0.2.9>;+sip.instance="<urn:uuid:1>"')
    binding = Binding("sip:8001@at110", contact, flow, "c", 1, 0.5, 0.0, 0.0, 130.4, 1)
    root = ET.fromstring(Registration.of("sip:8001@at110", [binding]).full(2, 100.0))
    (registration,) = root
    assert (root.get("version"), root.get("state"), registration.get("state")) == ("2", "full", "active")
    (phone,) = registration
    assert (phone.get("expires"), phone.get("q"), phone.get("state")) == ("30", "0.5", "active")
    assert phone.findtext(f"{REG}uri") == "sip:a&b@192.0.2.9"
    assert phone.findtext(f"{REG}unknown-param") == "<urn:uuid:1>"
    empty = ET.fromstring(Registration.of("sip:8001@at110", []).full(0, 0.0))
    assert empty[0].get("state") == "init"


def test_every_package_has_one_type():
    assert set(CONTENT_TYPES) == {*OF_SEATS, "reg"}
    assert len(set(CONTENT_TYPES.values())) == len(CONTENT_TYPES)
