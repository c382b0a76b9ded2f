"""Real phones whose codecs are the same on both sides and others: every pair of sound, every picture, keys, hold."""

from functools import partial
from itertools import count
from typing import Final

from tests.live.conftest import NewPhone
from tests.live.kit import media, tshark
from tests.live.kit.baresip import Baresip
from tests.live.kit.exchange import Exchange

PATIENCE: Final = 30.0
SOUND: Final = {"pcma": "pcma", "pcmu": "pcmu", "g722": "g722/16000/1", "opus": "opus/48000/2"}
ANY: Final = ""
"""baresip without a list knows H.264 in both packetizations, H.265 and VP8. Called by us it sends what we offer first: mode 1."""
MODE_0: Final = "h264"
"""With this it knows packetization-mode 0 alone."""
FU_A: Final = 28
"""The type of a fragment, which packetization-mode 0 has not (RFC 6184 §6.2)."""


def test_sound_of_every_codec_with_every_other(
    exchange: Exchange, phone: NewPhone, desk_phone: NewPhone
) -> None:
    """Four calls at once, four times: each caller with each desk. Keys both ways, and hold, where codecs differ and where not."""
    desks = [
        desk_phone(number, tone=1000 + 200 * number, audio_codecs=codec)
        for number, codec in enumerate(SOUND.values())
    ]
    callers = [
        phone(f"codec-{name}", tone=440 + 100 * number, audio_codecs=codec)
        for number, (name, codec) in enumerate(SOUND.items())
    ]
    users = [desk.account.user for desk in desks]
    exchange.sign_in(*users)
    for user in users:
        exchange.desk(user, "pause")
    keys = count(1)
    for turn in range(len(desks)):
        pairs = [(callers[(number + turn) % len(desks)], desk) for number, desk in enumerate(desks)]
        calls = [_put_through(exchange, caller, desk) for caller, desk in pairs]
        _all_hear_each_other(exchange, pairs)
        if turn < 2:  # the same codec on both sides, another one
            _keys_both_ways(exchange, pairs, keys)
            _hold_and_resume(exchange, pairs)
        for (caller, _), call in zip(pairs, calls, strict=True):
            caller.hang_up()
            exchange.wait_gone(call)
        for user in users:
            exchange.wait_desk(user, "paused", timeout=PATIENCE)


def _put_through(exchange: Exchange, caller: Baresip, desk: Baresip) -> str:
    """Have the call go to this desk, which takes no other after it."""
    user = desk.account.user
    exchange.desk(user, "resume")
    exchange.wait_desk(user, "free")
    caller.dial(f"sip:110@{exchange.sip[0]}:{exchange.sip[1]}")
    call = str(exchange.call_of(caller.account.user, state="active", timeout=PATIENCE)["call"])
    exchange.wait_desk(user, "busy", call=call)
    exchange.desk(user, "pause")
    return call


def _name(phone: Baresip) -> str:
    return phone.account.audio_codecs.partition("/")[0]


def _all_hear_each_other(exchange: Exchange, pairs: list[tuple[Baresip, Baresip]]) -> None:
    for one, other in (*pairs, *((desk, caller) for caller, desk in pairs)):
        exchange.until(
            partial(one.hears, other.account.tone),
            f"{one.account.user} ({_name(one)}) doesn't hear {other.account.user} ({_name(other)})",
            timeout=PATIENCE,
        )


def _keys_both_ways(exchange: Exchange, pairs: list[tuple[Baresip, Baresip]], keys: "count[int]") -> None:
    for caller, desk in pairs:
        for one, other in ((caller, desk), (desk, caller)):
            key, since = str(next(keys) % 10), len(other.events)
            one.command("sndcode", key)
            event = other.wait("CALL_DTMF_START", timeout=PATIENCE, since=since)
            assert str(event.fields["param"]) == key, (_name(one), _name(other), event)


def _hold_and_resume(exchange: Exchange, pairs: list[tuple[Baresip, Baresip]]) -> None:
    for caller, _ in pairs:
        caller.command("hold")
    for caller, desk in pairs:
        exchange.until(
            lambda desk=desk, caller=caller: not desk.hears(caller.account.tone),  # type: ignore[misc]
            f"{_name(desk)} still hears {_name(caller)}, who holds",
            timeout=PATIENCE,
        )
    for caller, _ in pairs:
        caller.command("resume")
    _all_hear_each_other(exchange, pairs)


ROUNDS: Final = (
    ((ANY, ANY), (MODE_0, MODE_0)),
    ((ANY, "h265"), (MODE_0, ANY)),
    ((ANY, "vp8"),),
)
"""Which pictures the desk's phone knows and which its caller's; those of a line at once."""


def test_pictures_of_every_codec(exchange: Exchange, phone: NewPhone, desk_phone: NewPhone) -> None:
    desks = {
        codecs: desk_phone(number, tone=1000 + 200 * number, picture="blue", video_codecs=codecs)
        for number, codecs in enumerate((ANY, MODE_0))
    }
    users = [desk.account.user for desk in desks.values()]
    exchange.sign_in(*users)
    for user in users:
        exchange.desk(user, "pause")
    names = count(1)
    for pairs in ROUNDS:
        calls = []
        for known, codecs in pairs:
            caller = phone(f"picture-{next(names)}", tone=440, picture="red", video_codecs=codecs)
            calls.append((caller, _put_through(exchange, caller, desks[known]), known, codecs))
        for caller, call, known, codecs in calls:
            what = f"desk {known or 'any'}, caller {codecs or 'any'}"
            exchange.until(
                partial(_shows, caller, "blue"), f"the caller sees nothing: {what}", timeout=PATIENCE
            )
            exchange.until(
                partial(_shows, desks[known], "red"), f"the dispatcher sees nothing: {what}", timeout=PATIENCE
            )
            port = caller.rtp_port_of("video")
            caller.close()
            exchange.wait_gone(call)
            if codecs in {ANY, MODE_0}:
                packets = tshark.rtp(exchange.evidence(call, finished=False) / "call.pcapng", to=port)
                fragments = any(packet.payload[0] & 0x1F == FU_A for packet in packets)
                assert packets, what
                assert fragments == (known == codecs == ANY), what
        for user in users:
            exchange.wait_desk(user, "paused", timeout=PATIENCE)


def _shows(phone: Baresip, colour: str) -> bool:
    try:
        return media.border(phone.snapshot()) == colour
    except TimeoutError:
        return False
