"""A real phone calls 110 with sound and picture and meets a dispatcher (How it is shown, 1)."""

from functools import partial
from pathlib import Path

from tests.live.conftest import Measure, NewPhone
from tests.live.kit import media, tshark
from tests.live.kit.baresip import Baresip
from tests.live.kit.exchange import Exchange
from tests.live.kit.sound import is_alaw_silence


def sees(phone: Baresip, colour: str) -> bool:
    """Say whether the picture a phone decodes now has a border of this colour; False when it decodes none."""
    try:
        return media.border(phone.snapshot()) == colour
    except TimeoutError:
        return False


def test_each_hears_and_sees_the_other(
    exchange: Exchange, phone: NewPhone, desk_phone: NewPhone, measure: Measure, tmp_path: Path
) -> None:
    desk = desk_phone(0, tone=1000, picture="blue")
    exchange.sign_in(desk.account.user)
    caller = phone("anna", tone=440, picture="red")

    with tshark.Capture(tmp_path / "wire.pcapng", caller, desk) as capture:
        caller.dial(f"sip:110@{exchange.sip[0]}:{exchange.sip[1]}")
        call = exchange.call_of("anna", state="active")
        exchange.wait_desk(desk.account.user, "busy", call=call["call"])
        exchange.until(partial(caller.hears, 1000), "the caller doesn't hear the dispatcher")
        exchange.until(partial(desk.hears, 440), "the dispatcher doesn't hear the caller")
        assert sees(caller, "blue")
        assert sees(desk, "red")
        caller_port, desk_port = caller.rtp_port_of(), desk.rtp_port_of()
        caller.hang_up()
        exchange.wait_gone(call["call"])
    exchange.wait_desk(desk.account.user, "free")

    invited, answered = _answer_times(capture.file, exchange, caller)
    spoken = {p.payload for p in tshark.rtp(capture.file, by=caller_port) if not is_alaw_silence(p.payload)}
    relayed = next(p.at for p in tshark.rtp(capture.file, to=desk_port) if p.payload in spoken)
    measure("INVITE to 200", (answered - invited) * 1000, "ms")
    measure("INVITE to the caller's first packet on the desk's leg", (relayed - invited) * 1000, "ms")
    assert answered - invited < 5
    assert relayed - invited < 5


def _answer_times(file: Path, exchange: Exchange, caller: Baresip) -> tuple[float, float]:
    """Give the wall times of the caller's INVITE and of its 200."""
    names = (
        "frame.time_epoch",
        "sip.Method",
        "sip.Status-Code",
        "sip.CSeq.method",
        "udp.srcport",
        "udp.dstport",
    )
    rows = tshark.fields(file, names, f"sip && udp.port == {caller.sip_port}")
    sip = str(exchange.sip[1])
    invited = next(float(row[0]) for row in rows if row[1] == "INVITE" and row[5] == sip)
    answered = next(float(row[0]) for row in rows if row[2] == "200" and row[3] == "INVITE" and row[4] == sip)
    return invited, answered


def test_the_desk_leg_stays_for_the_next_caller(
    exchange: Exchange, phone: NewPhone, desk_phone: NewPhone
) -> None:
    desk = desk_phone(0, tone=1000, picture="blue")
    exchange.sign_in(desk.account.user)
    for user, tone, colour in (("berta", 440, "red"), ("carla", 620, "green")):
        caller = phone(user, tone=tone, picture=colour)
        caller.dial(f"sip:110@{exchange.sip[0]}:{exchange.sip[1]}")
        call = exchange.call_of(user, state="active")
        exchange.until(partial(desk.hears, tone), f"the dispatcher doesn't hear {user}")
        exchange.until(partial(caller.hears, 1000), f"{user} doesn't hear the dispatcher")
        exchange.until(partial(sees, desk, colour), f"the dispatcher doesn't see {user}", timeout=20)
        assert sees(caller, "blue")
        caller.hang_up()
        exchange.wait_gone(call["call"])
        caller.close()
    rang = [event.type for event in desk.events if event.type in {"CALL_ESTABLISHED", "CALL_CLOSED"}]
    assert rang == ["CALL_ESTABLISHED"], "the desk's phone was called once and never hung up"


def test_the_dispatcher_signs_in_from_the_phone(exchange: Exchange, phone: NewPhone) -> None:
    person = exchange.dispatchers[1]
    desk = phone(person.user, password=person.password, tone=1000)
    desk.wait_registered()
    desk.dial(f"sip:*10@{exchange.sip[0]}:{exchange.sip[1]}")
    exchange.wait_desk(person.user, "free")
    caller = phone("dora", tone=440)
    caller.dial(f"sip:110@{exchange.sip[0]}:{exchange.sip[1]}")
    call = exchange.call_of("dora", state="active")
    exchange.until(partial(desk.hears, 440), "the dispatcher doesn't hear the caller")
    exchange.desk(person.user, "end-call")
    caller.wait("CALL_CLOSED")
    exchange.wait_gone(call["call"])
    desk.hang_up()
    exchange.wait_desk(person.user, "signed_out")
