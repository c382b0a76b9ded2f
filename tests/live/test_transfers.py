"""Dispatchers do things with a call, on a running exchange with real phones: hold, transfers by REFER and by the API, callbacks.

Who is heard where is told by tones; the caller's dialog is the same from beginning to end.
"""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.live.conftest import NewPhone, NewSipp, running
from tests.live.kit import tshark
from tests.live.kit.baresip import Baresip
from tests.live.kit.exchange import Exchange, View
from tests.live.kit.linphone import Linphone
from tests.live.kit.media import Media

PATIENCE = 20.0
"""Seconds for anything that takes a fraction of one on an idle machine."""
SETTINGS = """
[queue]
wrap_up_seconds = 0.0
language = 'en'
[hands.short_numbers]
71 = 'district:harbour'
"""
DISTRICTS = Path(__file__).parents[2] / "routing" / "sample_districts.geojson"


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    """An exchange with the sample districts, one of which has a short number."""
    with running(Exchange(settings=SETTINGS)) as made:
        made.api("PUT", "/api/districts", json.loads(DISTRICTS.read_text()))
        yield made


def hand(exchange: Exchange, desk: Baresip, verb: str, **body: str) -> None:
    """Give an order as the console does."""
    exchange.api("POST", f"/api/desks/{desk.account.user}/{verb}", body or None)


def hears(exchange: Exchange, phone: Baresip, tone: float) -> None:
    exchange.until(
        partial(phone.hears, tone), f"{phone.account.user} doesn't hear {tone:g} Hz", timeout=PATIENCE
    )


def has(exchange: Exchange, desk: Baresip, call: str) -> None:
    exchange.wait_desk(desk.account.user, "busy", call=call, timeout=PATIENCE)


def two_desks(exchange: Exchange, desk_phone: NewPhone) -> tuple[Baresip, Baresip]:
    """Sign two desks in; callers are put through to the first, because the second pauses until the test wants it."""
    first, second = desk_phone(0, tone=1000), desk_phone(1, tone=1300)
    exchange.sign_in(first.account.user, second.account.user)
    exchange.desk(second.account.user, "pause")
    exchange.wait_desk(second.account.user, "paused", timeout=PATIENCE)
    return first, second


def caller_of(exchange: Exchange, phone: NewPhone, desk: Baresip) -> tuple[Baresip, str]:
    """Have anna call; returns her phone and the call, which `desk` has."""
    caller = phone("anna", tone=440)
    caller.dial(f"sip:110@{exchange.sip[0]}:{exchange.sip[1]}")
    call = str(exchange.call_of("anna", state="active", timeout=PATIENCE)["call"])
    has(exchange, desk, call)
    hears(exchange, caller, desk.account.tone)
    return caller, call


def resume(exchange: Exchange, desk: Baresip) -> None:
    exchange.desk(desk.account.user, "resume")
    exchange.wait_desk(desk.account.user, "free", timeout=PATIENCE)


def ended(exchange: Exchange, caller: Baresip, call: str) -> list[View]:
    """Hang up; returns the events of the call, which was one from beginning to end."""
    caller.hang_up()
    exchange.wait_gone(call, timeout=PATIENCE)
    events = exchange.events(call)
    assert [event["event"] for event in events].count("call_answered") == 1
    return events


def test_blind_transfer_by_the_phones_refer(
    exchange: Exchange, phone: NewPhone, desk_phone: NewPhone
) -> None:
    first, second = two_desks(exchange, desk_phone)
    caller, call = caller_of(exchange, phone, first)
    resume(exchange, second)
    first.command("transfer", f"sip:{second.account.user}@{exchange.sip[0]}:{exchange.sip[1]}")
    has(exchange, second, call)
    hears(exchange, caller, 1300)
    hears(exchange, second, 440)
    # The phone takes its success for the end of its call and hangs up; the exchange calls it again.
    exchange.until(
        lambda: exchange.desks()[first.account.user]["state"] == "free",
        "the first desk is not back",
        timeout=PATIENCE,
    )
    events = ended(exchange, caller, call)
    assert [event["desk"] for event in events if event["event"] == "put_through"] == [
        first.account.user,
        second.account.user,
    ]


def test_a_short_number_dialled_on_the_phones_transfer_button_is_a_district(
    exchange: Exchange, phone: NewPhone, desk_phone: NewPhone
) -> None:
    first, second = two_desks(exchange, desk_phone)
    caller, call = caller_of(exchange, phone, first)
    resume(exchange, second)
    first.command("transfer", f"sip:71@{exchange.sip[0]}:{exchange.sip[1]}")
    has(exchange, second, call)
    hears(exchange, caller, 1300)
    hears(exchange, second, 440)
    asked = [event for event in ended(exchange, caller, call) if event["event"] == "transfer_asked"]
    assert [(event["to"], event["by"]) for event in asked] == [("71", "refer")]


def test_a_short_number_typed_on_the_phone_is_a_district(
    exchange: Exchange, phone: NewPhone, desk_phone: NewPhone
) -> None:
    first, second = two_desks(exchange, desk_phone)
    caller, call = caller_of(exchange, phone, first)
    resume(exchange, second)
    for key in "*1571#":
        first.command("sndcode", key)
    has(exchange, second, call)
    hears(exchange, caller, 1300)
    hears(exchange, second, 440)
    ended(exchange, caller, call)


def test_attended_transfer_by_refer_with_replaces(
    exchange: Exchange, phone: NewPhone, desk_phone: NewPhone, tmp_path: Path
) -> None:
    first, second = desk_phone(0, tone=1000), desk_phone(1, tone=1300)
    with tshark.Capture(tmp_path / "wire.pcapng", first) as capture:
        exchange.sign_in(first.account.user, second.account.user)
        exchange.desk(second.account.user, "pause")
        caller, call = caller_of(exchange, phone, first)
        first.command("hold")
        exchange.call_of("anna", state="held", timeout=PATIENCE)
        first.dial(f"sip:{second.account.user}@{exchange.sip[0]}:{exchange.sip[1]}", timeout=PATIENCE)
        exchange.wait_desk(second.account.user, "visiting", timeout=PATIENCE)
    call_id, to_tag, from_tag = _permanent_dialog(capture.file, first)
    value = f"{call_id}%3Bto-tag%3D{to_tag}%3Bfrom-tag%3D{from_tag}"
    first.command("transfer", f"<sip:110@{exchange.sip[0]}:{exchange.sip[1]}?Replaces={value}>")
    has(exchange, second, call)
    hears(exchange, caller, 1300)
    hears(exchange, second, 440)
    asked = [event for event in ended(exchange, caller, call) if event["event"] == "transfer_asked"]
    assert [(event["to"], event["by"]) for event in asked] == [(second.account.user, "refer")]


def _permanent_dialog(file: Path, desk: Baresip) -> tuple[str, str, str]:
    """Give Call-ID, the exchange's tag and the phone's tag of the call that began the desk's shift."""
    names = ("sip.Call-ID", "sip.from.tag", "sip.to.tag", "udp.dstport", "sip.Status-Code", "sip.CSeq.method")
    rows = tshark.fields(file, names, f"sip && udp.srcport == {desk.sip_port}")
    return next((r[0], r[1], r[2]) for r in rows if r[4] == "200" and r[5] == "INVITE")


@pytest.fixture
def linphone(exchange: Exchange, media: Media, tmp_path: Path, _nothing_left: None) -> Iterator[Linphone]:
    """The phone of a dispatcher whom no other test of this file has."""
    made = Linphone(exchange.dispatchers[6], exchange=exchange.sip, folder=tmp_path / "linphone", media=media)
    yield made
    made.close()


def test_a_phone_that_makes_the_replaces_itself_transfers_attended(
    exchange: Exchange, phone: NewPhone, desk_phone: NewPhone, linphone: Linphone, tmp_path: Path
) -> None:
    """Linphone holds the caller, talks with another desk, and joins them: RFC 5589 §7.1, RFC 3891."""
    second = desk_phone(1, tone=1300)
    exchange.sign_in(linphone.user, second.account.user)
    permanent = linphone.taken()
    linphone.speak(1000, permanent)
    exchange.desk(second.account.user, "pause")
    exchange.wait_desk(second.account.user, "paused", timeout=PATIENCE)
    caller = phone("anna", tone=440)
    caller.dial(f"sip:110@{exchange.sip[0]}:{exchange.sip[1]}")
    call = str(exchange.call_of("anna", state="active", timeout=PATIENCE)["call"])
    hears(exchange, caller, 1000)
    port = caller.rtp_port_of()

    linphone.command(f"call-pause {permanent}")
    exchange.call_of("anna", state="held", timeout=PATIENCE)
    with tshark.Capture(tmp_path / "wire.pcapng", linphone) as capture:
        consulting = linphone.dial(second.account.user)
        exchange.wait_desk(second.account.user, "visiting", timeout=PATIENCE)
        linphone.speak(700, consulting)
        hears(exchange, second, 700)
        linphone.command(f"call-transfer {permanent} {consulting}")
        has(exchange, second, call)
        hears(exchange, caller, 1300)
        hears(exchange, second, 440)
        # The phone hangs both of its calls up, as phones do then, and the exchange calls it again.
        linphone.taken(times=2)
        exchange.wait_desk(linphone.user, "free", timeout=PATIENCE)
    refer, *again = tshark.fields(capture.file, ("sip.Refer-To", "sip.Call-ID"), 'sip.Method == "REFER"')
    assert all(one == refer for one in again), "repeated at most"
    assert f"sip:{second.account.user}@" in refer[0]
    assert "Replaces=" in refer[0], "of the phone's own making"
    told = tshark.fields(
        capture.file, ("sip.Call-ID",), 'sip.Method == "NOTIFY" && frame contains "SIP/2.0 200"'
    )
    assert [refer[1]] in told, "the phone was told in the dialog it asked in that it came true"

    events = ended(exchange, caller, call)
    names = [event["event"] for event in events]
    through = [number for number, name in enumerate(names) if name == "put_through"]
    assert [events[number]["desk"] for number in through] == [linphone.user, second.account.user]
    lost = names.index("desk_lost")
    assert set(names[lost + 1 : through[1]]) <= {"routed"}, (
        "from one host to the other with nothing in between"
    )
    (asked,) = [event for event in events if event["event"] == "transfer_asked"]
    assert (asked["to"], asked["by"]) == (second.account.user, "refer")
    folder = exchange.evidence(call, timeout=60)
    received = [s for s in tshark.streams(folder / "call.pcapng") if s.source == port]
    assert received
    assert {s.lost for s in received} == {0}, "what the caller said is whole, hold and transfer included"


def test_hold_gives_the_tone_and_evidence_goes_on(
    exchange: Exchange, phone: NewPhone, desk_phone: NewPhone
) -> None:
    desk = desk_phone(0, tone=1000)
    exchange.sign_in(desk.account.user)
    caller, call = caller_of(exchange, phone, desk)
    port = caller.rtp_port_of()
    hand(exchange, desk, "hold")
    exchange.call_of("anna", state="held", timeout=PATIENCE)
    exchange.until(lambda: not caller.hears(1000), "the caller still hears the desk", timeout=PATIENCE)
    exchange.until(lambda: not desk.hears(440), "the desk still hears the caller", timeout=PATIENCE)
    hand(exchange, desk, "unhold")
    hears(exchange, caller, 1000)
    hears(exchange, desk, 440)
    events = ended(exchange, caller, call)
    assert [event["held"] for event in events if event["event"] == "host_hold"] == [True, False]
    held, freed = (event["mono"] for event in events if event["event"] == "host_hold")
    folder = exchange.evidence(call, timeout=60)
    (received,) = [s for s in tshark.streams(folder / "call.pcapng") if s.source == port]
    assert received.lost == 0, "nothing of what the caller sent is missing, the hold included"
    assert freed > held


def test_a_desk_takes_a_guest_over(exchange: Exchange, phone: NewPhone, desk_phone: NewPhone) -> None:
    first, second = two_desks(exchange, desk_phone)
    caller, call = caller_of(exchange, phone, first)
    hand(exchange, second, "take", target=first.account.user)
    has(exchange, second, call)
    hears(exchange, caller, 1300)
    exchange.wait_desk(first.account.user, "free", timeout=PATIENCE)
    ended(exchange, caller, call)


def test_a_registered_caller_is_called_back(
    exchange: Exchange, phone: NewPhone, desk_phone: NewPhone
) -> None:
    desk = desk_phone(0, tone=1000)
    exchange.sign_in(desk.account.user)
    person = exchange.callers[0]
    citizen = phone(person.user, password=person.password, tone=440, auto_answer=True)
    citizen.wait_registered()
    citizen.dial(f"sip:110@{exchange.sip[0]}:{exchange.sip[1]}")
    dropped = str(exchange.call_of(person.user, state="active", timeout=PATIENCE)["call"])
    citizen.hang_up()
    exchange.wait_gone(dropped, timeout=PATIENCE)
    exchange.wait_desk(desk.account.user, "free", timeout=PATIENCE)
    hand(exchange, desk, "call", target=person.user, call=dropped)
    call = str(exchange.call_of(person.user, state="active", timeout=PATIENCE)["call"])
    has(exchange, desk, call)
    hears(exchange, citizen, 1000)
    hears(exchange, desk, 440)
    exchange.desk(desk.account.user, "end-call")
    exchange.wait_gone(call, timeout=PATIENCE)
    folder = exchange.evidence(call, timeout=60)
    (same,) = [event for event in exchange.events(call) if event["event"] == "same_incident"]
    assert (same["incident"], same["why"]) == (dropped, "called_back")
    received = [s for s in tshark.streams(folder / "call.pcapng") if s.packets]
    assert len(received) >= 2, "both directions are in the evidence"


@pytest.mark.parametrize("transport", ["u1", "t1"])
def test_services_of_rfc_5359_with_an_independent_caller(
    exchange: Exchange, desk_phone: NewPhone, sipp: NewSipp, transport: str
) -> None:
    """Hold (2.1, 2.3), transfer (2.4), consultation and three-way (2.2, 2.10), park (2.15), pickup (2.16): whatever is done
    with its call, the caller's dialog sees nothing but sound until the BYE."""
    first, second = two_desks(exchange, desk_phone)
    caller = sipp("caller_waits", transport=transport)
    call = str(exchange.call_of("sipp", state="active", timeout=PATIENCE)["call"])
    has(exchange, first, call)
    hand(exchange, first, "hold")
    hand(exchange, first, "unhold")
    hand(exchange, first, "consult", target=second.account.user)
    exchange.wait_desk(second.account.user, "visiting", timeout=PATIENCE)
    exchange.call_of("sipp", state="held", timeout=PATIENCE)
    hand(exchange, first, "conference")
    hand(exchange, first, "complete")
    has(exchange, second, call)
    hand(exchange, first, "take", target=second.account.user)
    has(exchange, first, call)
    resume(exchange, second)
    hand(exchange, first, "transfer", target="queue")
    has(exchange, second, call)
    exchange.desk(second.account.user, "end-call")
    caller.wait(30).check(1)
    desks = [event["desk"] for event in exchange.events(call) if event["event"] == "put_through"]
    assert desks == [desk.account.user for desk in (first, second, first, second)]
