"""Rooms in which somebody hears several voices: who is mixed for whom, and the beat that does it for all rooms at once.

tracks' packets ─▶ Voice ┄┄ every 20 ms ┄┄▶ Bank (8 or 16 kHz): decode ─▶ Mixer.mix ─▶ encode ─▶ Ear ─▶ the leg's sender

Host and guest who hear nobody but each other are relayed untouched and never come here, whoever listens in (`wiring.roads`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from rtp import g711
from rtp.audience import Audience
from rtp.control import Codec, Medium
from rtp.leg import Leg
from rtp.load import thread_time
from rtp.loop import Loop
from rtp.mapping import sound
from rtp.mixer import FRAMES_A_SECOND, Flags, Mixer
from rtp.route import Surroundings
from rtp.swift import Swift
from rtp.track import Track
from rtp.voices import WIDE, Ear, Samples, Voice
from rtp.wiring import Roads

Tracks = Mapping[Medium, Track]
BEAT_SECONDS: Final = 1 / FRAMES_A_SECOND
MAX_CATCH_UP: Final = 3
"""Beats made at once after a stall; what is older would only be delay, and is left to the jitter buffers to shorten."""
GATHER_SECONDS: Final = 0.005
"""Between two looks at the sockets of voices that are only mixed; it blurs the jitter we report of them by as much."""
NARROW_RATE: Final = 8000
WIDE_RATE: Final = 16000


class Bank:
    """All voices and ears of one sampling rate."""

    def __init__(
        self, rate: int, failed: Callable[[str, Exception], None], swift: Callable[[], Swift] | None = None
    ) -> None:
        """`failed` is told of a voice or an ear that can't be served; the others are."""
        self._failed = failed
        self._swift = swift() if swift is not None and rate == NARROW_RATE else None
        self.mixer = Mixer(rate)
        self.voices: dict[str, Voice] = {}
        self.ears: dict[str, Ear] = {}

    def arrange(self) -> None:
        """Bring the mixer in line with voices and ears."""
        heard = {name: [voice.leg for voice in ear.voices] for name, ear in self.ears.items()}
        self.mixer.arrange(tuple(self.voices), heard)
        self._frames = np.zeros((len(self.voices), self.mixer.frame), np.int16)
        if self._swift is not None:
            self._swift.arrange(self.voices.values(), self.ears.values())

    def beat(self, now: float) -> int:
        """Mix and send 20 ms; how many frames were sent."""
        frames = self._frames
        missing = np.zeros(len(frames), np.bool_)
        voices = list(self.voices.values())
        rows: Iterable[int] = range(len(voices)) if self._swift is None else self._swift.take(frames)
        self._take(voices, rows, missing)
        return self._send(self.mixer.mix(frames, missing), now)

    def _take(self, voices: Sequence[Voice], rows: Iterable[int], missing: Flags) -> None:
        """Fill the frames of these rows, one after the other."""
        frames, frame = self._frames, self.mixer.frame
        coded: dict[str, tuple[list[int], list[bytes]]] = {}
        for row in rows:
            voice = voices[row]
            try:
                taken = voice.take()
            except Exception as error:  # noqa: BLE001  # logged and counted: one voice's failure must not end the others
                self._failed(f"{voice.leg}.voice", error)
                taken = None
            if taken is None:
                missing[row] = True
            elif taken.__class__ is tuple:
                name, payload = taken
                if name not in coded:
                    coded[name] = [], []
                coded[name][0].append(row)
                coded[name][1].append(payload)
            else:
                frames[row] = taken
        for name, (these, payloads) in coded.items():
            codes = np.frombuffer(b"".join(payloads), np.uint8).reshape(-1, frame)
            frames[these] = g711.TO_LINEAR[name].take(codes)

    def _send(self, mixed: Samples, now: float) -> int:
        sent = 0
        ears = list(self.ears.values())
        rows: Iterable[int] = range(len(ears))
        coded: dict[str, g711.Codes] = {}
        if self._swift is not None:
            sent, rows = self._swift.send(mixed, now)
        for row in rows:
            ear = ears[row]
            try:
                codec = ear.wants()
                if codec is None:
                    continue
                name = codec.name
                if self.mixer.rate == NARROW_RATE and name in g711.TO_CODE and name not in coded:
                    coded[name] = g711.TO_CODE[name].take(mixed.view(np.uint16))
                if name in coded:
                    payload: bytes | None = coded[name][row].tobytes()
                else:
                    payload = ear.encoded(codec, mixed[row])
                if payload is not None:
                    ear.send(codec, payload, now)
                    sent += 1
            except Exception as error:  # noqa: BLE001  # as above
                self._failed(f"{ear.leg}.ear", error)
        return sent


class Mixing:
    """All that is mixed in one media process."""

    def __init__(self, around: Surroundings) -> None:
        """Nothing beats before somebody hears several voices."""
        self._around = around
        self._loop: Loop = around.loop
        self._banks = {rate: Bank(rate, self._loop.failed, around.swift) for rate in (NARROW_RATE, WIDE_RATE)}
        self._arranged: list[Track] = []
        self._before: dict[str, Ear] = {}  # ears of the room being arranged, as they were
        self._beating = False
        self._due = 0.0

    def hearers(self, leg: str) -> tuple[str, ...]:
        """Who hears a leg in a mix."""
        return tuple(
            name
            for bank in self._banks.values()
            for name, ear in bank.ears.items()
            if any(voice.leg == leg for voice in ear.voices)
        )

    def arrange(self, rooms: Sequence[tuple[Sequence[Leg], Roads]]) -> None:
        """Take what is heard in some rooms, whole, before their tracks are wired; who left is a room of one."""
        concerned = [
            (legs, roads) for legs, roads in rooms if roads.mix or roads.show or self._attended(legs)
        ]
        whole = [({leg.leg: leg.tracks for leg in legs}, roads) for legs, roads in concerned]
        landings = {name: self._landing(name, roads) for tracks, roads in whole for name in tracks}
        names = [name for tracks, _ in whole for name in tracks]
        voices = {n: v for bank in self._banks.values() for n in names if (v := bank.voices.pop(n, None))}
        self._before = {n: e for bank in self._banks.values() for n in names if (e := bank.ears.pop(n, None))}
        self._arranged = [own["audio"] for tracks, _ in whole for own in tracks.values() if "audio" in own]
        for tracks, roads in whole:
            bank = self._fill(tracks, roads, voices)
            for name, own in tracks.items():
                self._attend(own.get("audio"), Audience(bank.voices.get(name), (), landings[name]))
                shown = [tracks[viewer].get("video") for viewer in roads.show.get(name, ())]
                viewers = tuple(track for track in shown if track is not None and track.sender.sending)
                self._attend(own.get("video"), Audience(None, viewers))
        if voices or self._before or any(roads.mix for _, roads in whole):
            for bank in self._banks.values():
                bank.arrange()
            self._around.load.voices = sum(len(bank.voices) for bank in self._banks.values())

    def begin(self, now: float) -> None:
        """Let streams go on whose sound comes by another way now; to be called when the tracks are wired."""
        ears = [ear for bank in self._banks.values() for ear in bank.ears.values()]
        for ear in ears:
            if not ear.begun:
                ear.sender.out.go_on(ear.number, now)
        here = {ear.leg for ear in ears}
        for ear in self._before.values():
            if ear.leg not in here and ear.begun:
                ear.sender.out.go_on(ear.number, now)
        self._before = {}
        for track in self._arranged:
            mixed = track.audience is not None and track.audience.voice is not None
            self._loop.defer(track.pair.rtp.fileno(), deferred=mixed and track.destination is None)
        self._arranged = []
        if not self._beating and ears:
            self._beating = True
            self._due = now + BEAT_SECONDS
            self._loop.at(self._due, self._beat, "mixing")
            self._loop.at(now + GATHER_SECONDS, self._gather, "mixing")

    # --- who is where ----------------------------------------------------------------------------------------------

    def _attended(self, legs: Iterable[Leg]) -> bool:
        """Whether one of these legs speaks into a mix, hears one, or has its picture copied, as it was arranged before."""
        return any(
            any(leg.leg in bank.ears for bank in self._banks.values())
            or any(track.audience is not None for track in leg.tracks.values())
            for leg in legs
        )

    def _fill(self, tracks: Mapping[str, Tracks], roads: Roads, before: Mapping[str, Voice]) -> Bank:
        """Put the voices and ears of one room into a bank."""
        ears = {ear: heard for ear, heard in roads.mix.items() if "audio" in tracks[ear]}
        names = sorted({name for heard in ears.values() for name in heard if "audio" in tracks[name]})
        rate = self._rate([tracks[name]["audio"] for name in names], [tracks[ear]["audio"] for ear in ears])
        bank = self._banks[rate]
        for name in names:
            voice = bank.voices[name] = before.get(name) or Voice(name, rate, self._around.buffer())
            if voice.rate != rate:
                voice.tune(rate)
        for name, heard in ears.items():
            was = self._before.get(name)
            number = was.number if was is not None else next(self._around.numbers)
            voices = tuple(bank.voices[each] for each in heard if each in bank.voices)
            ear = bank.ears[name] = Ear(name, tracks[name]["audio"].sender, number, rate, voices)
            ear.begun = was is not None and was.begun
        return bank

    def _landing(self, name: str, roads: Roads) -> Samples | None:
        """What the one a voice is relayed to from now on would have heard of it next, if it has heard it in a mix so far."""
        to = roads.relay.get((name, "audio"), "")
        for bank in self._banks.values():
            ear, voice = bank.ears.get(to), bank.voices.get(name)
            if ear is not None and voice is not None and voice in ear.voices:
                return voice.ahead()
        return None

    def _attend(self, track: Track | None, audience: Audience) -> None:
        if track is None:
            return
        before, track.audience = track.audience, audience if audience.wanted else None
        if before is not None and before.viewers != audience.viewers:
            before.leave(track)
        fresh = set(audience.viewers) - set(before.viewers if before is not None else ())
        if fresh:
            track.want_picture(self._loop.now)

    def _rate(self, voices: Iterable[Track], ears: Iterable[Track]) -> int:
        """16 kHz where somebody who has more than 4 kHz of sound is heard by somebody who can hear it."""
        speak = any(_first(track.stream.receive if track.stream else ()) in WIDE for track in voices)
        hear = any(track.sender.codec is not None and track.sender.codec.name in WIDE for track in ears)
        return WIDE_RATE if speak and hear else NARROW_RATE

    # --- time ------------------------------------------------------------------------------------------------------

    def _gather(self, now: float) -> None:
        """Read what came for mixes alone: it is needed by the beat and not before."""
        if self._beating:
            self._loop.at(now + GATHER_SECONDS, self._gather, "mixing")
        self._loop.serve_deferred()

    def _beat(self, now: float) -> None:
        begin = thread_time()
        try:
            self._loop.serve_deferred()
            for _ in range(MAX_CATCH_UP):
                self._mix(now)
                self._due += BEAT_SECONDS
                if self._due > now:
                    break
            else:
                self._due = now + BEAT_SECONDS
        finally:
            if self._due <= now:  # a failure of ours on the way
                self._due = now + BEAT_SECONDS
            self._around.load.mixing += thread_time() - begin
            self._beating = any(bank.ears for bank in self._banks.values())
            if self._beating:
                self._loop.at(self._due, self._beat, "mixing")

    def _mix(self, now: float) -> None:
        load = self._around.load
        for bank in self._banks.values():
            if bank.ears:
                load.mixed += bank.beat(now)
        load.concealed = sum(bank.mixer.concealed for bank in self._banks.values())


def _first(codecs: tuple[Codec, ...]) -> str:
    best = sound(codecs)
    return best.name if best is not None else ""
