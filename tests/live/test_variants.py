"""Phones of other kinds, and calls that go otherwise (How it is shown, 6)."""

from functools import partial
from pathlib import Path

import pytest

from tests.live.conftest import NewOracle, NewPhone, NewSipp
from tests.live.kit import media, tshark
from tests.live.kit.exchange import Exchange


def test_vp8_and_opus(exchange: Exchange, phone: NewPhone, desk_phone: NewPhone, tmp_path: Path) -> None:
    codecs = {"audio_codecs": "opus/48000/2", "video_codecs": "vp8"}
    desk = desk_phone(0, tone=1000, picture="blue", **codecs)
    exchange.sign_in(desk.account.user)
    caller = phone("vera", tone=440, picture="red", **codecs)
    with tshark.Capture(tmp_path / "wire.pcapng", caller) as capture:
        caller.dial(f"sip:110@{exchange.sip[0]}:{exchange.sip[1]}")
        exchange.call_of("vera", state="active")
        exchange.until(partial(caller.hears, 1000), "the caller doesn't hear the dispatcher")
        exchange.until(partial(desk.hears, 440), "the dispatcher doesn't hear the caller")
        assert media.border(caller.snapshot()) == "blue"
        assert media.border(desk.snapshot()) == "red"
        caller.hang_up()
    codecs_seen = {stream.codec.lower() for stream in tshark.streams(capture.file)}
    # Where sound was on the wire a moment before the answer that names its codec, tshark has only a number for it.
    named = {codec for codec in codecs_seen if not codec.startswith("rtptype")}
    assert named == {"opus", "vp8"}, codecs_seen


def test_no_codec_in_common(exchange: Exchange, phone: NewPhone, desk_phone: NewPhone) -> None:
    desk = desk_phone(0, tone=1000, audio_codecs="pcma")
    exchange.sign_in(desk.account.user)
    for user, codec in (("opal", "opus/48000/2"), ("gina", "g722/16000/1")):
        caller = phone(user, tone=440, audio_codecs=codec)
        caller.dial(f"sip:110@{exchange.sip[0]}:{exchange.sip[1]}")
        call = exchange.call_of(user, state="active")
        exchange.until(partial(caller.hears, 1000), f"{user} doesn't hear the dispatcher")
        exchange.until(partial(desk.hears, 440), f"the dispatcher doesn't hear {user}")
        caller.hang_up()
        exchange.wait_gone(call["call"])
        exchange.until(lambda: not desk.hears(440), "the desk still hears the one who left")


def test_video_caller_on_a_desk_without_video(
    exchange: Exchange, phone: NewPhone, desk_phone: NewPhone
) -> None:
    desk = desk_phone(0, tone=1000)
    exchange.sign_in(desk.account.user)
    caller = phone("vito", tone=440, picture="red")
    caller.dial(f"sip:110@{exchange.sip[0]}:{exchange.sip[1]}")
    call = exchange.call_of("vito", state="active")
    exchange.until(partial(caller.hears, 1000), "the caller doesn't hear the dispatcher")
    exchange.until(partial(desk.hears, 440), "the dispatcher doesn't hear the caller")
    exchange.until(lambda: exchange.call_of("vito")["video"], "the caller's picture is not taken in")
    caller.hang_up()
    exchange.wait_gone(call["call"])


def test_caller_over_tcp(exchange: Exchange, phone: NewPhone, desk_phone: NewPhone) -> None:
    desk = desk_phone(0, tone=1000, transport="tcp")
    exchange.sign_in(desk.account.user)
    caller = phone("tilda", tone=440, transport="tcp")
    caller.dial(f"sip:110@{exchange.sip[0]}:{exchange.sip[1]};transport=tcp")
    exchange.call_of("tilda", state="active")
    exchange.until(partial(caller.hears, 1000), "the caller doesn't hear the dispatcher")
    exchange.until(partial(desk.hears, 440), "the dispatcher doesn't hear the caller")
    caller.hang_up()


def test_audio_only_caller_hangs_up(exchange: Exchange, desk_phone: NewPhone, sipp: NewSipp) -> None:
    desk = desk_phone(0, tone=1000, picture="blue")
    exchange.sign_in(desk.account.user)
    caller = sipp("caller_hangs_up", keys={"talk_ms": "1500"})
    exchange.call_of("sipp-1", state="active")
    exchange.until(partial(desk.hears, 440), "the dispatcher doesn't hear the caller")
    caller.wait().check(1)
    exchange.wait_desk(desk.account.user, "free")


def test_the_dispatcher_ends_the_call(exchange: Exchange, desk_phone: NewPhone, sipp: NewSipp) -> None:
    desk = desk_phone(0, tone=1000)
    exchange.sign_in(desk.account.user)
    caller = sipp("caller_waits")
    exchange.call_of("sipp-1", state="active")
    exchange.until(partial(desk.hears, 440), "the dispatcher doesn't hear the caller")
    exchange.desk(desk.account.user, "end-call")
    caller.wait().check(1)
    exchange.wait_desk(desk.account.user, "free")


def test_caller_who_never_sends_a_packet(exchange: Exchange, desk_phone: NewPhone, sipp: NewSipp) -> None:
    desk = desk_phone(0, tone=1000)
    exchange.sign_in(desk.account.user)
    caller = sipp("caller_mute")
    call = exchange.call_of("sipp-1", state="active")
    assert call["audio"] is False
    exchange.until(
        lambda: exchange.call_of("sipp-1")["alarm"], "nobody is told that nothing comes", timeout=7
    )
    assert exchange.call_of("sipp-1")["state"] == "active"
    caller.wait().check(1)
    exchange.wait_gone(call["call"])


def test_hold_and_resume(exchange: Exchange, phone: NewPhone, desk_phone: NewPhone) -> None:
    desk = desk_phone(0, tone=1000)
    exchange.sign_in(desk.account.user)
    caller = phone("hella", tone=440)
    caller.dial(f"sip:110@{exchange.sip[0]}:{exchange.sip[1]}")
    call = exchange.call_of("hella", state="active")
    exchange.until(partial(desk.hears, 440), "the dispatcher doesn't hear the caller")
    exchange.until(partial(caller.hears, 1000), "the caller doesn't hear the dispatcher")
    caller.command("hold")
    exchange.until(partial(_holds, exchange, call["call"], True), "the hold is not noted")
    caller.command("resume")
    exchange.until(partial(_holds, exchange, call["call"], False), "the end of the hold is not noted")
    exchange.until(partial(caller.hears, 1000), "the caller doesn't hear the dispatcher again")
    exchange.until(partial(desk.hears, 440), "the dispatcher doesn't hear the caller again")
    caller.hang_up()
    exchange.wait_gone(call["call"])


def _holds(exchange: Exchange, call: str, held: bool) -> bool:
    told = [event["held"] for event in exchange.events(call) if event["event"] == "caller_hold"]
    return bool(told) and told[-1] is held


def test_answers_to_hold(exchange: Exchange, desk_phone: NewPhone, sipp: NewSipp) -> None:
    desk = desk_phone(0, tone=1000)
    exchange.sign_in(desk.account.user)
    sipp("caller_holds", keys={"talk_ms": "300"}).wait().check(1)


def test_nothing_is_sent_to_a_caller_who_holds(
    exchange: Exchange, desk_phone: NewPhone, oracle: NewOracle
) -> None:
    desk = desk_phone(0, tone=1000)
    exchange.sign_in(desk.account.user)
    caller = oracle(61)
    caller.call()
    caller.wait_tone(1000)
    assert caller.reinvite("inactive").status == 200
    came = len(caller.heard)
    sent = caller.sent
    exchange.until(lambda: caller.sent > sent + 25, "half a second")
    assert len(caller.heard) <= came + 2, "RTP came while the media was inactive"
    assert caller.reinvite("sendrecv").status == 200
    came = len(caller.heard)
    exchange.until(lambda: len(caller.heard) > came + 25, "RTP didn't come back")
    assert caller.bye().status == 200


@pytest.mark.parametrize("again", range(3))
def test_cancel_before_the_answer(exchange: Exchange, oracle: NewOracle, again: int) -> None:
    caller = oracle(70 + again)
    caller.invite()
    caller.cancel()  # RFC 3261 §9.1 wants a provisional first; real phones send it when the button is pressed
    answer, _ = caller.final("INVITE")
    assert answer.status in {487, 200}, answer.start
    if answer.status == 200:  # the answer and the CANCEL crossed
        caller.bye()
    exchange.until(lambda: not exchange.calls(), "the cancelled call is still there")


@pytest.mark.parametrize("algorithm", ["SHA-256", "MD5"])
def test_wrong_password(exchange: Exchange, oracle: NewOracle, algorithm: str) -> None:
    person = exchange.dispatchers[9 if algorithm == "MD5" else 8]
    challenge, answer = oracle(81, user=person.user).register("not the password", algorithm=algorithm)
    assert (challenge.status, answer.status) == (401, 401)
    offered = challenge.all("www-authenticate")
    assert ["SHA-256" in value for value in offered] == [True, False], (
        "the stronger one is offered first (RFC 8760)"
    )
    assert exchange.desks()[person.user]["registered"] is False
    challenge, answer = oracle(82, user=person.user).register(person.password, algorithm=algorithm)
    assert (challenge.status, answer.status) == (401, 200)
    assert exchange.desks()[person.user]["registered"] is True


def test_forged_credentials(exchange: Exchange, sipp: NewSipp) -> None:
    sipp("register_forged", keys={"user": exchange.dispatchers[7].user}).wait().check(1)


@pytest.mark.parametrize("target", ["tel:110", "urn:service:sos", "urn:service:sos.police", "110"])
def test_numbers_that_call_for_help(exchange: Exchange, oracle: NewOracle, target: str) -> None:
    caller = oracle(90)
    assert caller.call(target) < 8
    assert exchange.call_of(caller.user, state="waiting")["identity"] == "unverified"
    caller.bye()


def test_other_numbers_need_an_account(exchange: Exchange, oracle: NewOracle) -> None:
    caller = oracle(91)
    caller.invite("119999")
    answer, _ = caller.final("INVITE")
    assert answer.status in {401, 403, 404, 407}, answer.start
    assert exchange.calls() == []
