"""A whole engine in which time passes when the test says so: ports, evidence and phones of the kit."""

import itertools
from unittest.mock import patch

from recordings import pcapng
from rtp import control as c
from rtp.engine import Engine
from rtp.ports import NoPorts, Pair, Ports
from rtp.prompts import Prompts
from rtp.reserve import Reserve
from rtp.rtcp import PictureLoss
from rtp.rtcp import parse as parse_rtcp
from rtp.settings import MediaSettings
from tests.kit import media_wire
from tests.kit.media_wire import EVENTS, H264, PCMA, PHONE, packet, stream

GUEST, HOST = "guest", "host"


class FakePorts:
    left = 100
    pairs = 1000
    admit = Ports.admit

    def __init__(self, minimum, maximum, reserve=0.0):
        self._reserve = Reserve(self.pairs, 1 << 20, reserve)
        self.next = itertools.count(minimum, 2)

    def bind(self, host, wanted=None):
        if host == "9.9.9.9":
            raise OSError(99, "Cannot assign requested address")
        if not self.left:
            raise NoPorts(98, "none")
        self.left -= 1
        return Pair(media_wire.make_socket(), media_wire.make_socket(), next(self.next))


class Evidence:
    """EvidenceKeeper without its thread."""

    def __init__(self):
        self.rows = {}
        self.tapes = {}
        self.results = []
        self.ticks = []
        self.losses = []
        media_wire.after.append(self.pour)

    def pour(self):
        for call, tape in self.tapes.items():
            tape.pour(lambda at, src, dst, data, rows=self.rows[call]: rows.append(data), self.losses.append)

    @property
    def calls(self):
        return tuple(self.rows)

    def open(self, command):
        if command.call not in self.rows:
            self.rows[command.call] = []
            if media_wire.parts.tape is not None:
                self.tapes[command.call] = media_wire.parts.tape(pcapng.head)
        return [c.EvidenceOpened(command.call)]

    def find(self, call):
        rows = self.rows.get(call)
        if rows is None:
            return None

        tape = self.tapes.get(call)

        class Found:
            packet = tape if tape is not None else staticmethod(lambda at, src, dst, data: rows.append(data))
            lose = staticmethod(lambda *loss: self.losses.append((call, *loss)))
            sip = staticmethod(lambda at, src, dst, transport, data: rows.append(data))

        return Found

    def close(self, command):
        self.pour()
        self.tapes.pop(command.call, None)
        rows = self.rows.pop(command.call)
        return [c.EvidenceClosed(command.call, len(rows), 0)]

    def tick(self, now):
        self.ticks.append(now)

    def collect(self):
        results, self.results = self.results, []
        return results

    def shut(self):
        return [c.EvidenceClosed(call, 0, 0) for call in self.rows]


class Running:
    def __init__(self, **settings):
        self.loop, self.evidence, self.events = media_wire.make_loop(), Evidence(), []
        self.prompts = Prompts()
        with patch("rtp.engine.Ports", FakePorts), patch("rtp.engine.time.monotonic", lambda: self.loop.now):
            made = MediaSettings("/none", **settings)
            self.engine = Engine(
                made, self.evidence, self.prompts, self.loop, self.events.append, parts=media_wire.parts
            )

    def do(self, *commands):
        """Carry commands out; the events they make."""
        before = len(self.events)
        for command in commands:
            self.engine.receive(command)
        media_wire.settle()
        return self.events[before:]

    def leg(self, name, *media, evidence=None):
        media = media or ("audio",)
        self.do(c.OpenLeg(name, media, "127.0.0.1", evidence))
        codecs = {"audio": (PCMA, EVENTS), "video": (H264,)}
        streams = tuple(stream(medium, codecs[medium]) for medium in media)
        self.do(c.ConfigureLeg(name, streams, (PHONE[0],)))

    def join(self, *names):
        return self.do(
            *[c.Join("room", name, "host" if name.startswith(HOST) else "guest") for name in names]
        )

    def sockets(self, name, medium="audio"):
        pair = self.engine._legs[name].tracks[medium].pair
        return pair.rtp, pair.rtcp

    def wishes(self, name):
        """The requests for key frames this phone has got by RTCP."""
        sent = [packet for data, _ in self.sockets(name, "video")[1].sent for packet in parse_rtcp(data)]
        return [packet for packet in sent if isinstance(packet, PictureLoss)]

    def say(self, name, sequence, medium="audio", **more):
        self.loop.read(self.sockets(name, medium)[0], packet(sequence, **more))

    def pass_time(self, seconds):
        end = self.loop.now + seconds
        while True:
            due = min(self.loop.timers, key=lambda timer: timer[0])
            if due[0] > end:
                break
            self.loop.timers.remove(due)
            self.loop.now = max(self.loop.now, due[0])
            due[1](self.loop.now)
        self.loop.now = end
        media_wire.settle()
