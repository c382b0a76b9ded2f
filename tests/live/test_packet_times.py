"""Phones that speak, wish and take other packets than 20 ms: what they are sent, what is heard of them, evidence and film."""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from recordings.verify import main as verify
from rtp import control as c
from rtp import g711
from rtp.packet import Packet
from tests.kit.rtp_media import tone
from tests.live.conftest import Measure, NewPhone
from tests.live.kit import ports, sound, tshark, wire
from tests.live.kit.baresip import Baresip
from tests.live.kit.exchange import Exchange
from tests.live.kit.linphone import RTP_PORTS, Linphone
from tests.live.kit.media import Media
from tests.live.kit.oracle import Oracle
from tests.live.kit.worker import PCMA, MediaProcess, Phone
from tests.live.kit.worker import media as process  # noqa: F401 - a fixture; `media` is that of the phones here
from tests.recordings.test_render import tracks

TIMES: Final = (10, 30, 40, 60)
TALK_SECONDS: Final = 6.0
PATIENCE: Final = 40.0
SECOND: Final = {ms: g711.encode_alaw(tone(500 + 200 * n, 1, 8000, level=0.3)) for n, ms in enumerate(TIMES)}


class Timed(Oracle):
    """An oracle phone of PCMA that takes packets of so many ms at most, and speaks a tone in such."""

    def __init__(self, ms: int, exchange: Exchange) -> None:
        self.ms = ms
        self.tone = 500 + 200 * TIMES.index(ms)
        super().__init__(170 + ms, exchange=exchange.sip)
        self.speaking = False
        self.said = 0

    def _sdp(self) -> str:
        lines = [
            "v=0", "o=- 110 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0", f"m=audio {self.audio_port} RTP/AVP 8",
            "a=rtpmap:8 PCMA/8000", f"a=ptime:{self.ms}", f"a=maxptime:{self.ms}",
        ]  # fmt: skip
        return "".join(f"{line}\r\n" for line in lines)

    def say(self, to: int, number: int) -> None:
        """Say the packet of this number."""
        size = self.ms * 8
        at = number * size % 8000
        payload = (SECOND[self.ms] * 2)[at : at + size]
        data = Packet(8, number & 0xFFFF, number * size, 77, payload).encode()
        self._audio.sendto(data, (ports.ADDRESS, to))
        self.said += 1


class Speaking:
    """Phones that speak in a thread, each in its own packet time."""

    def __init__(self, phones: dict[Timed, int]) -> None:
        """`phones`: with the ports they speak to."""
        self._phones = phones
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(5)

    def _run(self) -> None:
        began = time.monotonic()
        numbers = dict.fromkeys(self._phones, 0)
        while not self._ended.is_set():
            passed = (time.monotonic() - began) * 1000
            for phone, to in self._phones.items():
                while numbers[phone] * phone.ms <= passed:
                    phone.say(to, numbers[phone])
                    numbers[phone] += 1
            time.sleep(0.002)


@pytest.fixture
def timed(exchange: Exchange, _nothing_left: None) -> Iterator[list[Timed]]:
    made = [Timed(ms, exchange) for ms in TIMES]
    yield made
    for one in made:
        one.close()


def sizes(file: Path, port: int) -> Counter[int]:
    """ms of the packets of sound that went to a port, as tshark counts them."""
    return Counter(len(one.payload) // 8 for one in tshark.rtp(file, to=port) if one.payload_type == 8)


def test_callers_and_desks_of_every_packet_time(
    exchange: Exchange, timed: list[Timed], desk_phone: NewPhone, tmp_path: Path, measure: Measure
) -> None:
    """Callers who speak and take 10, 30, 40 and 60 ms; desks (baresip) that wish for others; prompts, talk, evidence, film."""
    wished = (60, 40, 10, 20)
    desks = [desk_phone(n, tone=1500 + 200 * n, packet_ms=ms) for n, ms in enumerate(wished)]
    users = [desk.account.user for desk in desks]
    with tshark.Capture(tmp_path / "all.pcap", *timed, *desks) as captured:
        for phone in timed:
            phone.call()
        time.sleep(4.0)  # all of them hear what is played to who waits
        waited = {phone: len(phone.heard) for phone in timed}
        answers = {phone: phone.final("INVITE")[0].body for phone in timed}
        assert all(
            "a=ptime:20\r\n" in answer and "a=maxptime:200\r\n" in answer for answer in answers.values()
        )
        to = {phone: wire.media_port(answer, "audio") for phone, answer in answers.items()}
        exchange.sign_in(*users)
        calls = {phone: str(exchange.call_of(phone.user, state="active")["call"]) for phone in timed}
        with Speaking(to):
            began = {phone: len(phone.heard) for phone in timed}
            time.sleep(TALK_SECONDS)
            for phone, call in calls.items():
                desk = _desk_of(exchange, call, desks)
                exchange.until(
                    partial(desk.hears, phone.tone),
                    f"{desk.account.user} doesn't hear {phone.ms}",
                    timeout=PATIENCE,
                )
                heard = sound.alaw(
                    b"".join(one.payload for one in phone.heard[began[phone] :][-TALK_PACKETS[phone.ms] :])
                )
                assert abs(heard.tone - desk.account.tone) < 10, (phone.ms, heard.tone)
        for phone, call in calls.items():
            phone.bye()
            exchange.wait_gone(call)
    for phone in timed:
        found = sizes(captured.file, phone.audio_port)
        assert max(found) <= phone.ms, (phone.ms, found)
        assert found[min(phone.ms, 20)] > 100, (phone.ms, found)
        played = Counter(len(one.payload) // 8 for one in phone.heard[: waited[phone]])
        assert played.most_common(1)[0][0] == phone.ms, played
        assert sound.alaw(b"".join(one.payload for one in phone.heard[: waited[phone]])).rms > 100, "a prompt"
        measure(f"packets of {phone.ms} ms to who takes no longer ones while it waits", played[phone.ms], "")
    for phone, call in calls.items():
        _judge(exchange, phone, call)


TALK_PACKETS: Final = {10: 200, 30: 100, 40: 100, 60: 100}


def _desk_of(exchange: Exchange, call: str, desks: list[Baresip]) -> Baresip:
    user = next(user for user, desk in exchange.desks().items() if desk.get("call") == call)
    return next(desk for desk in desks if desk.account.user == user)


def _judge(exchange: Exchange, phone: Timed, call: str) -> None:
    folder = exchange.evidence(call)
    assert verify([str(folder)]) == 0
    spoken = [
        one
        for one in tshark.rtp(folder / "call.pcapng")
        if one.ssrc == 77 and len(one.payload) == phone.ms * 8
    ]
    assert len(spoken) >= 0.98 * phone.said, "all it said is evidence"
    rate, heard = tracks(folder / "call.mkv")["caller"]
    loud = np.flatnonzero(np.abs(heard) > 2000)
    seconds = (loud[-1] - loud[0]) / rate
    assert abs(seconds - phone.said * phone.ms / 1000) < 0.3, (
        phone.ms,
        seconds,
        phone.said * phone.ms / 1000,
    )
    middle = heard[loud[0] + rate : loud[0] + 3 * rate]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert abs(spectrum.argmax() * rate / len(middle) - phone.tone) < 5
    assert np.abs(middle).reshape(-1, rate // 50).max(axis=1).min() > 1000, "no hole in it"


# --- real phones on both sides ----------------------------------------------------------------------------------------------------

CALLERS: Final = (10, 20, 30, 40, 60)
"""ptime of baresip callers …"""
DESKS: Final = (60, 40, 10, 20)
"""… and of baresip desks, which take what our offer wishes for into their answers …"""
LINPHONE: Final = 60
"""… where Linphone states its own."""


@pytest.fixture
def linphone(exchange: Exchange, media: Media, tmp_path: Path, _nothing_left: None) -> Iterator[Linphone]:
    person = exchange.dispatchers[len(DESKS)]
    made = Linphone(
        person, exchange=exchange.sip, folder=tmp_path / "linphone", media=media, packet_ms=LINPHONE
    )
    yield made
    made.close()


def test_phones_that_wish_for_every_packet_time(
    exchange: Exchange, phone: NewPhone, desk_phone: NewPhone, linphone: Linphone, tmp_path: Path, measure: Measure
) -> None:  # fmt: skip
    """Callers (baresip) and a desk (Linphone) that wish for 10 to 60 ms: what is made for them comes so, and they hear each other."""
    callers = [phone(f"wishes-{ms}", tone=500 + 100 * n, packet_ms=ms) for n, ms in enumerate(CALLERS)]
    desks = [desk_phone(n, tone=1500 + 200 * n, packet_ms=ms) for n, ms in enumerate(DESKS)]
    tones = {desk.account.user: desk.account.tone for desk in desks} | {linphone.user: 1300}
    with tshark.Capture(tmp_path / "all.pcap", *callers, *desks, linphone) as captured:
        for caller in callers:
            caller.dial(f"sip:110@{exchange.sip[0]}:{exchange.sip[1]}")
        ports_of = {caller: caller.rtp_port_of() for caller in callers}
        time.sleep(4.0)
        spoken = time.time()
        exchange.sign_in(*tones)
        linphone.speak(tones[linphone.user], linphone.taken())
        for caller in callers:
            call = str(exchange.call_of(caller.account.user, state="active")["call"])
            user = next(user for user, desk in exchange.desks().items() if desk.get("call") == call)
            caller.wait_to_hear(tones[user], timeout=PATIENCE)
            if user != linphone.user:  # that one keeps nothing of what it hears
                next(one for one in desks if one.account.user == user).wait_to_hear(caller.account.tone)
        talked = time.time()
        for caller in callers:
            caller.hang_up()
        exchange.until(lambda: not exchange.calls(), "calls are up")
        time.sleep(2.0)  # silence for the desks
    for caller, port in ports_of.items():
        ms = caller.account.packet_ms
        waiting = Counter(
            len(one.payload) // 8 for one in tshark.rtp(captured.file, to=port) if one.at < spoken
        )
        assert waiting[ms] > 0.95 * waiting.total() > 50, (ms, waiting)
        measure(f"packets of {ms} ms to a baresip that wishes for them, waiting", waiting[ms], "")
        said = Counter(len(one.payload) // 8 for one in tshark.rtp(captured.file, by=port))
        assert said[20] == said.total() > 50, "what our SDP wishes for"
    idle = [
        one
        for port in range(linphone.rtp_port, linphone.rtp_port + RTP_PORTS, 2)
        for one in tshark.rtp(captured.file, to=port)
        if one.at > talked + 0.5
    ]
    made = Counter(len(one.payload) // 8 for one in idle)
    assert made[LINPHONE] == made.total() > 5, made
    measure(
        f"packets of {LINPHONE} ms to a Linphone that wishes for them, after calls",
        made[LINPHONE],
        "",
    )


# --- mixed with staff, on a media process of either engine ------------------------------------------------------------------------

TONES: Final = {"desk": 500, "caller": 900, "fire": 1300}
ROLES: Final[dict[str, c.Role]] = {"desk": "host", "caller": "guest", "fire": "staff"}


def audible(packets: list[Packet]) -> set[str]:
    """The tones in the last half second."""
    wave = g711.decode_alaw(b"".join(one.payload for one in packets)[-4000:]).astype(float)
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)))) / len(wave) * 4
    strength = {
        name: spectrum[round(hz * len(wave) / 8000) - 1 : round(hz * len(wave) / 8000) + 2].max()
        for name, hz in TONES.items()
    }
    return {name for name, level in strength.items() if level > 0.03 * 32767}


@pytest.mark.parametrize("process", ["native", "python"], indirect=True)
@pytest.mark.parametrize("spoken", list(itertools.permutations((10, 30, 60), 3))[::2])
def test_a_mix_of_three_packet_times(process: MediaProcess, spoken: tuple[int, int, int]) -> None:  # noqa: F811
    """Each speaks in another packet time and takes another: all hear the two others, in packets as they want them."""
    names = list(TONES)
    ms = dict(zip(names, spoken, strict=True))
    takes = dict(zip(names, (*spoken[1:], spoken[0]), strict=True))
    phones = {name: Phone(ssrc=hz, step=8 * ms[name]) for name, hz in TONES.items()}
    waves = {name: g711.encode_alaw(tone(hz, 3, 8000, level=0.2)) for name, hz in TONES.items()}
    for name, phone in phones.items():
        process.leg(name, phone, codecs=(PCMA,), ptime=takes[name], max_ptime=takes[name])
        process.signalling.send(c.Join("room", name, ROLES[name]))
    process.signalling.send(c.SetStaff("fire", "barge"))
    process.settle()
    heard: dict[str, list[Packet]] = {name: [] for name in names}
    said = dict.fromkeys(names, 0)

    def talk(enough: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        began, first = time.monotonic(), dict(said)
        while not enough():
            assert time.monotonic() < end, {n: audible(heard[n]) for n in names}
            for name, phone in phones.items():
                while (said[name] - first[name]) * ms[name] <= (time.monotonic() - began) * 1000:
                    size = 8 * ms[name]
                    at = said[name] * size % 16000
                    phone.say(waves[name][at : at + size])
                    said[name] += 1
                heard[name] += [one for _, one in phone.hear(0.001)]

    def all_hear() -> bool:
        return all(
            len(heard[name]) * takes[name] > 3000 and audible(heard[name]) == set(names) - {name}
            for name in names
        )

    talk(all_hear)
    for name in names:
        newest = heard[name][-1000 // takes[name] :]
        assert {len(one.payload) for one in newest} == {8 * takes[name]}, name
        assert max(len(one.payload) for one in heard[name]) <= 8 * takes[name]
