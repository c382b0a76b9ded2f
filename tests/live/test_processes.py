"""Several media processes: legs go from one to another under talk, and one that dies takes nobody of the others along."""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from recordings import pcapng
from rtp import control as c
from rtp.moving import LegsMoved, MoveLegs
from rtp.packet import Packet
from tests.kit.native_engine import demand
from tests.live.conftest import Measure, NewPhone, running
from tests.live.kit.exchange import Exchange, at110
from tests.live.kit.processes import children
from tests.live.kit.worker import FRAME, PORTS, MediaProcess, Phone, Signalling, free_ports

WORKER = """
import sys
from recordings.capture import Captures
from rtp.worker import MediaSettings, run

folder, number, first, last, engine = sys.argv[1], *map(int, sys.argv[2:5]), sys.argv[5]
sockets = tuple(f"{folder}/legs-{n}.sock" for n in (0, 1))
run(MediaSettings(f"{folder}/media-{number}.sock", port_min=first, port_max=last, rtcp_seconds=0.5, engine=engine,
                  handover=sockets, number=number), Captures())
"""


@pytest.fixture(params=["native", "python"])
def two(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[MediaProcess]]:
    """Two media processes that may hand legs to each other."""
    demand(request.param)
    with ExitStack() as ended:
        made = []
        for number in (0, 1):
            first = free_ports()
            log = ended.enter_context((tmp_path / f"worker-{number}.log").open("wb"))
            words = [str(tmp_path), str(number), str(first), str(first + PORTS - 1), request.param]
            process = subprocess.Popen([sys.executable, "-c", WORKER, *words], stdout=log, stderr=log)
            ended.callback(process.wait, 10)
            ended.callback(process.terminate)
            path = tmp_path / f"media-{number}.sock"
            made.append(MediaProcess(process, Signalling(path), path, tmp_path))
            made[-1].signalling.wait(c.Holdings)
        yield made
        for one in made:
            for phone in one.phones:
                phone.close()
            one.signalling.socket.close()
    for number in (0, 1):
        text = (tmp_path / f"worker-{number}.log").read_text()
        assert "Traceback" not in text, text
        assert "handler_failed" not in text, text


class Talk:
    """Phones that talk and listen until told to stop."""

    def __init__(self, *phones: Phone) -> None:
        self.heard: list[list[tuple[float, Packet]]] = [[] for _ in phones]
        self.said = 0
        self._over = False
        self._threads = [threading.Thread(target=self._say, args=(phones,))]
        self._threads += [
            threading.Thread(target=self._hear, args=pair) for pair in zip(phones, self.heard, strict=True)
        ]
        for thread in self._threads:
            thread.start()

    def _say(self, phones: tuple[Phone, ...]) -> None:
        start = time.monotonic()
        while not self._over:
            self.said += 1
            for number, phone in enumerate(phones):
                phone.say(bytes([number + 1]) * 4 + self.said.to_bytes(4, "big") + b"x" * 152)
            time.sleep(max(0.0, start + self.said * FRAME - time.monotonic()))

    def _hear(self, phone: Phone, into: list[tuple[float, Packet]]) -> None:
        while not self._over:
            into += phone.hear(0.05)

    def end(self) -> None:
        self._over = True
        for thread in self._threads:
            thread.join()


def until(condition: object, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_leg_goes_to_another_process_under_talk_and_nothing_is_missed(
    two: list[MediaProcess], tmp_path: Path
) -> None:
    here, there = two
    folder = tmp_path / "evidence"
    here.signalling.send(c.OpenEvidence("call", str(folder)))
    here.signalling.wait(c.EvidenceOpened)
    caller, desk = Phone(ssrc=0x1111), Phone(ssrc=0x2222)
    here.leg("caller", caller, evidence="call")
    there.leg("desk", desk)
    there.signalling.send(c.Join("room", "desk", "host"))
    talk = Talk(caller, desk)
    try:
        until(lambda: len(talk.heard[0]) > 20)
        here.signalling.send(MoveLegs(("caller",), ("call",), 1))
        there.signalling.wait(LegsMoved)
        there.signalling.send(c.Join("room", "caller", "guest"))
        there.signalling.wait(c.FirstRelayed)
        until(lambda: sum(p.payload[0] == 2 for _, p in talk.heard[0]) > 40)
        # … and back, with its desk still there: what it hears is silence again.
        there.signalling.send(c.Leave("caller"), MoveLegs(("caller",), ("call",), 0))
        here.signalling.wait(LegsMoved)
        count = len(talk.heard[0])
        until(lambda: len(talk.heard[0]) > count + 20)
    finally:
        talk.end()
    here.settle()
    here.signalling.send(c.CloseLeg("caller"))
    (report,) = here.signalling.wait(c.LegReport, lambda report: report.leg == "caller").streams
    # A machine that is busy may keep our own thread from its beat, but a packet that was sent is never lost.
    assert (report.received, report.lost, report.rejected) == (talk.said, 0, 0)
    packets = [packet for _, packet in talk.heard[0]]
    assert len({packet.ssrc for packet in packets}) == 1
    steps = {(after.sequence - before.sequence) & 0xFFFF for before, after in itertools.pairwise(packets)}
    assert steps == {1}, "one stream, whichever process sends it"
    assert all(
        0 < (after.timestamp - before.timestamp) & 0xFFFFFFFF < 8000 * 5
        for before, after in itertools.pairwise(packets)
    )
    numbers = [int.from_bytes(p.payload[4:8], "big") for _, p in talk.heard[1] if p.payload[0] == 1]
    assert numbers == list(range(numbers[0], numbers[-1] + 1)), "the desk misses nothing of the caller"
    here.signalling.send(c.CloseEvidence("call"))
    closed = here.signalling.wait(c.EvidenceClosed, lambda event: event.call == "call")
    with (folder / "call.pcapng").open("rb") as file:
        received = [one.data for one in pcapng.read(file) if one.destination[1] == caller.exchange[1]]
    said = [data for data in received if data[12:13] == b"\x01"]
    assert [int.from_bytes(data[16:20], "big") for data in said] == list(range(1, talk.said + 1)), (
        "each once, in order"
    )
    assert closed.packets >= 2 * talk.said


@pytest.mark.parametrize("two", ["python"], indirect=True)
def test_legs_stay_where_they_are_when_the_other_process_is_not_there(two: list[MediaProcess]) -> None:
    here, there = two
    caller = Phone()
    here.leg("caller", caller)
    there.process.kill()
    there.process.wait(10)
    here.signalling.send(MoveLegs(("caller",), (), 1))
    refused = here.signalling.wait(c.Refused)
    assert (refused.command, refused.id, refused.reason) == ("MoveLegs", "caller", "unreachable")
    caller.say()
    here.signalling.wait(c.MediaStarted)
    here.signalling.send(MoveLegs(("nobody",), (), 1))
    assert here.signalling.wait(c.Refused).reason == "unknown_leg"


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    """An exchange with two media processes."""
    with running(
        Exchange(settings="[queue]\nwrap_up_seconds = 0.0\nlanguage = 'en'\n[media]\nprocesses = 2\n")
    ) as made:
        yield made


def test_calls_across_processes_and_one_process_dies(
    exchange: Exchange, phone: NewPhone, desk_phone: NewPhone
) -> None:
    here, there = phone("anna", tone=440, encryption="dtls_srtp"), phone("bert", tone=550)
    desks = [desk_phone(0, tone=1000), desk_phone(1, tone=1200)]
    number = f"sip:110@{exchange.sip[0]}:{exchange.sip[1]}"
    # She waits in one process; her desk is given the other, which has less to do.
    here.dial(number)
    first = exchange.call_of("anna", state="waiting")["call"]
    exchange.sign_in(desks[0].account.user)
    exchange.call_of("anna", state="active", timeout=20)
    exchange.until(
        lambda: here.hears(1000), "the caller doesn't hear the desk of the other process", timeout=20
    )
    exchange.until(
        lambda: desks[0].hears(440), "the desk doesn't hear the caller of the other process", timeout=20
    )
    exchange.until(lambda: "legs_taken_over" in exchange.log, "the log doesn't tell that she went over")
    keys = {event["by"] for event in exchange.events(first) if event["event"] == "media_encrypted"}
    assert keys == {"dtls"}, "the caller is encrypted, and its keys went along"
    there.dial(number)
    second = exchange.call_of("bert", state="waiting")["call"]
    exchange.sign_in(desks[1].account.user)
    exchange.call_of("bert", state="active", timeout=20)
    exchange.until(
        lambda: there.hears(1200) and desks[1].hears(550), "the second call has no sound", timeout=20
    )
    before = children(exchange.pid)
    os.kill(before["media-1"], signal.SIGKILL)
    exchange.until(
        lambda: [e for e in exchange.events(first) if e["event"] == "media_restarted"],
        "the gap is not stated",
        timeout=30,
    )
    exchange.until(lambda: here.hears(1000), "the caller of the dead process doesn't hear again", timeout=30)
    exchange.until(lambda: desks[0].hears(440), "the desk of the dead process doesn't hear again", timeout=30)
    assert there.hears(1200)
    assert desks[1].hears(550)
    assert children(exchange.pid)["media"] == before["media"], "the other process went on"
    for caller, call in ((here, first), (there, second)):
        caller.hang_up()
        exchange.wait_gone(call, timeout=20)
    for call, restarted in ((first, 1), (second, 0)):
        folder = exchange.evidence(call)
        checked = at110("verify", folder)
        assert checked.returncode == 0, checked.stdout
        assert "INTACT" in checked.stdout
        noted = [e for e in exchange.events(call) if e["event"] == "media_restarted"]
        assert len(noted) == restarted


def process_of(exchange: Exchange, call: str) -> str:
    """The media process that has a caller's socket: it goes along when the leg goes to another."""
    port = next(
        stream["local_port"]
        for event in exchange.events(call)
        if event["event"] == "media_negotiated" and event["leg"] == "caller"
        for stream in event["streams"]
    )
    lines = [line.split() for line in Path("/proc/net/udp").read_text().splitlines()]
    wanted = {f"socket:[{line[9]}]" for line in lines if line[1].endswith(f":{port:04X}")}
    for role, pid in children(exchange.pid).items():
        has = {str(file.readlink()) for file in Path(f"/proc/{pid}/fd").iterdir() if file.is_symlink()}
        if role.startswith("media") and wanted & has:
            return role
    raise AssertionError(f"nobody has port {port}")


def longest_gap(folder: Path, port: int) -> float:
    """Seconds for which a caller was sent nothing at most, by the capture of its call. `port`: its own."""
    with (folder / "call.pcapng").open("rb") as file:
        at = sorted(packet.at_ns for packet in pcapng.read(file) if packet.destination[1] == port)
    return max(b - a for a, b in itertools.pairwise(at)) / 1e9


def test_who_hangs_is_replaced_and_new_calls_do_not_wait_for_it(
    exchange: Exchange, phone: NewPhone, desk_phone: NewPhone, measure: Measure
) -> None:
    """`kill -STOP`: of the media process of a call, then of signalling. Nobody continues them."""
    desk, caller = desk_phone(0, tone=1000), phone("carl", tone=440)
    number = f"sip:110@{exchange.sip[0]}:{exchange.sip[1]}"
    exchange.sign_in(desk.account.user)
    caller.dial(number)
    call = exchange.call_of("carl", state="active")["call"]
    exchange.until(lambda: caller.hears(1000) and desk.hears(440), "the call has no sound", timeout=20)
    # Started before: to load them would be measured.
    phones = {name: phone(name, tone=550) for name in ("dora", "emil", "fred")}
    port, role, before = caller.rtp_port_of(), process_of(exchange, call), children(exchange.pid)
    os.kill(before[role], signal.SIGSTOP)
    stopped = time.monotonic()
    exchange.until(lambda: exchange.api("GET", "/healthz")["media"] != "up", "health says that all is well")
    measure("media stopped, health says so", (time.monotonic() - stopped) * 1000, "ms")
    measure("dialled then, answered", phones["dora"].dial(number) * 1000, "ms")
    exchange.until(
        lambda: [e for e in exchange.events(call) if e["event"] == "media_restarted"], "the gap is not stated"
    )
    exchange.until(lambda: caller.hears(1000) and desk.hears(440), "the sound does not come back", timeout=20)
    exchange.until(lambda: exchange.api("GET", "/healthz")["media"] == "up", "health stays down")
    now = children(exchange.pid)
    assert {name for name, pid in now.items() if pid != before[name]} == {role}, "and nobody else"
    measure("dialled afterwards, answered", phones["emil"].dial(number) * 1000, "ms")

    os.kill(now["signalling"], signal.SIGSTOP)
    waited = phones["fred"].dial(number)
    measure("signalling stopped, dialled then, answered", waited * 1000, "ms")
    assert children(exchange.pid)["signalling"] != now["signalling"]
    assert waited < 32.0, "the INVITE is repeated for so long"
    assert exchange.call_of("carl", state="active")["call"] == call
    for name, hangs in ((role, 1.0), ("signalling", 1.0), ("recorder", 0.0)):
        assert f'at110_process_hangs{{role="{name}"}} {hangs}' in exchange.api("GET", "/metrics")
    for one in (caller, *phones.values()):
        one.hang_up()
    exchange.wait_gone(call, timeout=20)
    folder = exchange.evidence(call)
    assert at110("verify", folder).returncode == 0
    gap = longest_gap(folder, port)
    measure("media stopped, no sound for", gap * 1000, "ms")
    (stated,) = [e for e in exchange.events(call) if e["event"] == "media_restarted"]
    measure("… as the evidence states it", stated["seconds"] * 1000, "ms")
    assert stated["hung"] is True
    assert abs(stated["seconds"] - gap) < 0.75
    hung = [json.loads(line) for line in exchange.log.splitlines() if '"process_hangs"' in line]
    assert [one["role"] for one in hung] == [role, "signalling"]
    assert gap < 10.0
