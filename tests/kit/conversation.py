"""Phones that talk in a room of the whole engine, each with a tone of its own, and who is heard where."""

import itertools

import numpy as np

from rtp import control as c
from rtp import g711
from rtp.codecs import Encoder
from rtp.packet import parse
from tests.kit.media_engine import Running
from tests.kit.media_wire import EVENTS, PCMA, PHONE, stream
from tests.kit.rtp_media import tone

TONES = {"desk": 500, "caller": 900, "fire": 1300, "doctor": 1700}
ROLES = {"desk": "host", "caller": "guest", "fire": "staff", "doctor": "staff"}
DECODE = {8: g711.decode_alaw, 0: g711.decode_ulaw}
FRAME = 160
G722 = c.Codec("G722", 9, 8000)
WAVES = {name: tone(hz, 1, 8000, level=0.2) for name, hz in TONES.items()}
"""A second of each: a whole number of periods."""


class Conversation(Running):
    """Phones that each say their own tone, 20 ms a packet, at a moment of their own within the beat."""

    def __init__(self, *names, codecs=None, media=("audio",), **settings):
        super().__init__(**settings)
        self.said = dict.fromkeys(names, 0)
        self.codecs = codecs or {}
        self.lose = {}
        self.encoders = {}
        for name in names:
            self.phone(name, media)
        self.do(*[c.Join("room", name, ROLES[name]) for name in names])

    def phone(self, name, media=("audio",)):
        self.said.setdefault(name, 0)
        evidence = "call" if name == "caller" else None
        self.do(c.OpenLeg(name, media, "127.0.0.1", evidence))
        codec = self.codecs.get(name, PCMA)
        streams = [stream("audio", (codec, EVENTS))]
        if "video" in media:
            streams.append(stream("video", (c.Codec("H264", 96, 90000, fmtp="packetization-mode=1"),)))
        self.do(c.ConfigureLeg(name, tuple(streams), (PHONE[0],)))

    def talk(self, frames, *names):
        """Let the phones (all by default) talk for so many packets; time passes."""
        names = names or tuple(self.said)
        for _ in range(frames):
            begin = self.loop.now
            for place, name in enumerate(names, 1):
                self.pass_time(begin + place * 0.003 - self.loop.now)
                self.one(name)
            self.pass_time(begin + 0.020 - self.loop.now)

    def one(self, name):
        number = self.said[name]
        self.said[name] += 1
        if number in self.lose.get(name, ()):
            return
        codec = self.codecs.get(name, PCMA)
        wave = WAVES[name][number * FRAME % 8000 :][:FRAME]
        code = g711.encode_alaw if codec == PCMA else g711.encode_ulaw
        if codec == G722:
            wave = tone(TONES[name], 1, 16_000, level=0.2)[number * 320 % 16_000 :][:320]
            code = self.encoders.setdefault(name, Encoder(G722)).encode
        more = {"payload_type": codec.payload_type, "timestamp": number * FRAME, "ssrc": 1000 + TONES[name]}
        self.say(name, (number + 65_500) & 0xFFFF, payload=code(wave), **more)

    def sent(self, name, medium="audio"):
        return [parse(data) for data, _ in self.sockets(name, medium)[0].sent]

    def heard(self, name, last):
        """Who is heard in the last so many packets sent to a phone."""
        return audible([p for p in self.sent(name) if p.payload_type in DECODE][-last:])


def samples(packets):
    return np.concatenate([DECODE[p.payload_type](p.payload) for p in packets])


def audible(packets):
    return strong(samples(packets), 8000)


def strong(wave, rate):
    """Whose tones are in a stretch of sound."""
    wave = wave.astype(float)
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)))) / len(wave) * 4
    strength = {
        name: spectrum[round(hz * len(wave) / rate) - 1 : round(hz * len(wave) / rate) + 2].max()
        for name, hz in TONES.items()
    }
    return {name for name, level in strength.items() if level > 0.05 * 32767}


def unbroken(packets, step=FRAME):
    """One SSRC, each sequence number one more, each timestamp 20 ms more."""
    assert len({p.ssrc for p in packets}) == 1
    for before, after in itertools.pairwise(packets):
        assert (after.sequence - before.sequence) & 0xFFFF == 1
        assert (after.timestamp - before.timestamp) & 0xFFFFFFFF == step


def steepest(wave):
    return np.abs(np.diff(wave.astype(int))).max()
