"""Who writes evidence hangs, or dies, and media goes on without it (bar F27): nothing is lost on the way or in the file."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from recordings import pcapng
from recordings.verify import verify
from rtp import control as c
from rtp.packet import Packet
from tests.kit.native_engine import demand
from tests.kit.size import times
from tests.live.conftest import Measure, NewOracle
from tests.live.kit import wire
from tests.live.kit.exchange import Exchange, at110
from tests.live.kit.oracle import Oracle
from tests.live.kit.processes import children, kill
from tests.live.kit.worker import FRAME, PORTS, MediaProcess, Phone, Signalling, free_ports

pytestmark = pytest.mark.beside

OUTAGE: Final = 5.0
"""Seconds the disk hangs: what the bar asks the relay to keep."""
PATIENCE: Final = 60.0
KILLS: Final = times(2, 100)
EVERY: Final = 10
"""One of so many kills hits a recorder that has been steady; the others come faster, and the supervisor waits up to 5 s between them."""
STEADY_SECONDS: Final = 10.0
AGAIN_SECONDS: Final = 1.0
"""A steady recorder is started again within (the bar)."""
WORK_SECONDS: Final = 1.0
"""A recorder that has a call to seal is killed within."""
STALL: Final = 0.5
"""Seconds the phones may be behind."""
WORKER: Final = """
import os, sys, threading, time
from recordings.capture import Captures
from rtp.worker import MediaSettings, run

folder, first, last, engine = sys.argv[1], *map(int, sys.argv[2:4]), sys.argv[4]
write, main = os.write, threading.main_thread()

def hanging(file, data):
    while threading.current_thread() is not main and os.path.exists(folder + "/hangs"):
        time.sleep(0.02)
    return write(file, data)

os.write = hanging
run(MediaSettings(folder + "/media.sock", port_min=first, port_max=last, engine=engine), Captures())
"""


@pytest.fixture(params=["native", "python"])
def media(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MediaProcess]:
    """A media process whose disk hangs while there is a file `hangs`."""
    demand(request.param)
    with ExitStack() as ended:
        first, log = free_ports(), ended.enter_context((tmp_path / "worker.log").open("wb"))
        words = [str(tmp_path), str(first), str(first + PORTS - 1), request.param]
        process = subprocess.Popen([sys.executable, "-c", WORKER, *words], stdout=log, stderr=log)
        ended.callback(process.wait, 10)
        ended.callback(process.terminate)
        path = tmp_path / "media.sock"
        made = MediaProcess(process, Signalling(path), path, tmp_path)
        made.signalling.wait(c.Holdings)
        yield made
        for phone in made.phones:
            phone.close()
        made.signalling.socket.close()


def test_a_disk_that_hangs_for_five_seconds_costs_no_packet(media: MediaProcess, tmp_path: Path) -> None:
    """A call with sound and a picture of 1 Mbit/s."""
    folder = tmp_path / "evidence"
    media.signalling.send(c.OpenEvidence("call", str(folder)))
    media.signalling.wait(c.EvidenceOpened)
    voice, camera = Phone(ssrc=0x1111), Phone(payload_type=96, ssrc=0x1112, step=1800)
    ear, screen = Phone(ssrc=0x2222), Phone(payload_type=96, ssrc=0x2223)
    media.leg("caller", voice, camera, evidence="call")
    media.leg("desk", ear, screen)
    media.signalling.send(c.Join("room", "desk", "host"), c.Join("room", "caller", "guest"))
    media.settle()
    hangs = tmp_path / "hangs"
    began, said = time.monotonic(), 0
    heard: dict[bytes, list[int]] = {b"v": [], b"\x41": []}
    while said * FRAME < OUTAGE + 1.0:
        if said == round(0.5 / FRAME):
            hangs.touch()
        elif said == round((0.5 + OUTAGE) / FRAME):
            hangs.unlink()
        voice.say(b"v" + said.to_bytes(4) + b"x" * 155)
        for part in range(2):
            camera.say(b"\x41" + (2 * said + part).to_bytes(4) + b"x" * 1245)
        said += 1
        for phone, letter in ((ear, b"v"), (screen, b"\x41")):
            heard[letter] += _spoken(phone.hear(0.0), letter)
        # Kept from its beat for long it goes on in step: to make up for it all at once would be a flood.
        began = max(began, time.monotonic() - said * FRAME - STALL)
        media.signalling.poll(max(0.001, began + said * FRAME - time.monotonic()))
    hangs.unlink(missing_ok=True)
    deadline = time.monotonic() + PATIENCE / 6
    for phone, letter, count in ((ear, b"v", said), (screen, b"\x41", 2 * said)):
        while len(heard[letter]) < count and time.monotonic() < deadline:
            heard[letter] += _spoken(phone.hear(0.05), letter)
        assert heard[letter] == list(range(count)), (
            "the relay lost something, or waited for the disk and then sent it twice"
        )
    media.signalling.send(c.CloseEvidence("call"))
    media.signalling.wait(c.EvidenceClosed, seconds=PATIENCE)
    with (folder / "call.pcapng").open("rb") as file:
        kept = [
            one.data
            for one in pcapng.read(file)
            if one.destination[1] in {voice.exchange[1], camera.exchange[1]}
        ]
    assert [int.from_bytes(data[13:17]) for data in kept if data[12:13] == b"v"] == list(range(said))
    assert [int.from_bytes(data[13:17]) for data in kept if data[12:13] == b"\x41"] == list(range(2 * said))


def _spoken(heard: list[tuple[float, Packet]], letter: bytes) -> list[int]:
    return [int.from_bytes(packet.payload[1:5]) for _, packet in heard if packet.payload[:1] == letter]


@pytest.mark.limit(120 + 10 * KILLS)
def test_the_recorder_is_killed_and_hangs_under_a_call(
    exchange: Exchange, oracle: NewOracle, measure: Measure
) -> None:
    person = exchange.dispatchers[0]
    desk = oracle(70, user=person.user, video=True)
    assert desk.register(person.password)[1].status == 200
    exchange.sign_in(person.user)
    desk.up = True  # it speaks
    caller = oracle(71)
    caller.call()
    call = exchange.call_of(caller.user, state="active")["call"]
    exchange.until(
        lambda: len(_numbers(desk.heard, 71)) > 25, "the dispatcher doesn't hear the caller", timeout=PATIENCE
    )
    dice, ended = random.Random(110), []
    for turn in range(KILLS):
        # Who is killed is at work, and has a folder to seal and a film to make.
        exchange.until(partial(_works, exchange, turn + 1), "no recorder", timeout=PATIENCE)
        with Oracle(72, exchange=exchange.sip, user=f"short-{turn}-") as short:
            short.call(timeout=PATIENCE)
            ended.append(exchange.call_of(short.user)["call"])
            short.bye()
        exchange.wait_gone(ended[-1], timeout=PATIENCE)
        steady = turn % EVERY == EVERY - 1
        time.sleep(STEADY_SECONDS if steady else dice.uniform(0.0, WORK_SECONDS))
        killed = kill(exchange, "recorder", timeout=PATIENCE)
        again = time.monotonic() - killed
        measure(
            f"recorder that {'ran' if steady else 'had begun'} started again, time {turn + 1}", again, "s"
        )
        assert not steady or again <= AGAIN_SECONDS
    stopped = children(exchange.pid)["recorder"]
    os.kill(stopped, signal.SIGSTOP)
    try:
        count = len(_numbers(desk.heard, 71))
        exchange.until(
            lambda: len(_numbers(desk.heard, 71)) > count + 50,
            "sound ends with the recorder",
            timeout=PATIENCE,
        )
        caller.speaking = False
        sent = caller.sent
        exchange.until(
            lambda: sent - 1 in _numbers(desk.heard, 71), "what was said last is missing", timeout=PATIENCE
        )
        caller.bye()
        exchange.wait_gone(call, timeout=PATIENCE)
    finally:
        os.kill(stopped, signal.SIGCONT)
    numbers = _numbers(desk.heard, 71)
    missing = sorted(set(range(numbers[0], sent)) - set(numbers))
    # The tone that tells the desk of a caller is laid over 200 ms of sound: these frames bear no mark.
    assert len(missing) <= 11, missing
    assert all(number < numbers[0] + 100 for number in missing), missing
    folder = exchange.evidence(call, timeout=PATIENCE)
    assert at110("verify", folder).returncode == 0
    films = 0
    for one in ended:
        verdict = verify(exchange.evidence(one, timeout=PATIENCE))
        assert verdict.intact, f"{one}: {verdict.problems}"
        # A film whose making ended three recorders is given up, whoever ended them.
        assert verdict.failed in ("", "the renderer ended the process"), f"{one}: {verdict.failed}"
        films += not verdict.failed
    measure("of the calls meanwhile, films were made of", films, f"of {len(ended)}")
    assert films >= len(ended) / 2


def _works(exchange: Exchange, started: int) -> bool:
    return exchange.log.count('"event":"recorder_ready"') >= started


def _numbers(heard: list, mark: int) -> list[int]:  # type: ignore[type-arg]
    owners = (wire.owner(packet.payload) for packet in tuple(heard))
    return [owner[1] for owner in owners if owner is not None and owner[0] == mark]
