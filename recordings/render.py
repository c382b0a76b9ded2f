"""Make a film and a snapshot of a call from its capture.

in → out: `call.pcapng` + what was negotiated (`streams`) → Matroska: the caller's picture as it was sent, the sound of
caller, host and each other voice on a track of its own · JPEG of the first good picture · a report of what was found.

The capture is heard twice (`senders`): first to learn codecs, sizes, parameter sets and everybody's clock, then to
write. Both files are derived: they carry the SHA-256 of the capture in their tags, the same capture always gives the
same bytes, and whoever doubts them makes them again.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import av
from av.container import Flags, OutputContainer

from recordings import picture, sound
from recordings.events import read_events
from recordings.folder import CAPTURE_NAME, EVENTS_NAME, utc
from recordings.pcapng import Captured, read
from recordings.senders import Heard, Listener, SenderKey, moments
from recordings.snapshot import DECODERS, decode_picture, encode_jpeg
from recordings.sound import RATES, SoundDecoder, SoundTrack
from recordings.streams import Format, Party, StreamMap, from_events, from_sip, is_sip
from recordings.timeline import SECOND, Nanoseconds

FIRST: Final[tuple[Party, ...]] = ("caller", "host")
"""Order of the sound tracks; staff follow in the order in which they were first heard."""
MAX_TRACKS: Final = 16
"""Sound tracks of one film: caller, host and twice the visitors a room has at once; who comes later is left out and counted."""
LOOK_EACH: Final = 512
"""Packets between two looks at whether to stop: some 10 ms of work."""
HOLD_BACK: Final = 8.0
"""Seconds a sound track may lie behind before it is filled with silence. FFmpeg's interleaver waits 10 s for a track
that brings nothing (max_interleave_delta) and then writes the others without it."""
MAX_TRIES: Final = 25
"""Key units of one sender that are tried until one is a picture; who sends 25 that are none sends no picture."""


class CancelledError(Exception):
    """The caller asked to stop; the files are not finished."""


@dataclass(slots=True)
class Survey:
    """What the first hearing found."""

    listener: Listener
    first_keys: dict[str, Heard] = field(default_factory=dict)
    """First good picture of the caller, by encoding name, in order of appearance."""
    tries: dict[SenderKey, int] = field(default_factory=dict)
    sound_formats: dict[Party, set[str]] = field(default_factory=dict)
    jpeg: bytes | None = None


def render(
    folder: Path,
    movie: Path,
    snapshot: Path,
    *,
    call: str,
    original_sha256: str,
    cancelled: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Write `movie` and `snapshot` from the originals in `folder`; gives the report for the manifest.

    A file is not written if there is nothing to put into it. Raises OSError, PcapngError, av.error.FFmpegError, and
    CancelledError if `cancelled()` came true.
    """
    source = _Source(folder / CAPTURE_NAME, cancelled)
    streams = from_events(read_events(folder / EVENTS_NAME))
    if not streams.known:
        streams = from_sip(record for record in source.records() if is_sip(record.data))
    found = _survey(source, streams, comment=f"110 call {call}; original SHA-256 {original_sha256}")
    if found.jpeg is not None:
        snapshot.write_bytes(found.jpeg)
    placed = moments(found.listener)
    report = _report(found, placed)
    if found.first_keys or found.sound_formats:
        tags = {"title": f"110 call {call}", "ORIGINAL_SHA256": original_sha256}
        report["film"] = _write(movie, source, found, Listener(streams, placed), tags)
    return report


@dataclass(frozen=True, slots=True)
class _Source:
    """A capture that can be gone through again and again, until somebody asks to stop."""

    capture: Path
    cancelled: Callable[[], bool]

    def records(self) -> Iterator[Captured]:
        with self.capture.open("rb", buffering=1 << 20) as file:
            for count, record in enumerate(read(file)):
                if count % LOOK_EACH == 0 and self.cancelled():
                    raise CancelledError
                yield record

    def hearing(self, listener: Listener) -> Iterator[Heard]:
        for record in self.records():
            if not is_sip(record.data):
                yield from listener.hear(record)
        yield from listener.flush()


def _survey(source: _Source, streams: StreamMap, *, comment: str) -> Survey:
    found = Survey(Listener(streams))
    for heard in source.hearing(found.listener):
        name = heard.format.name
        if name in RATES and heard.medium == "audio":
            found.sound_formats.setdefault(heard.party, set()).add(name)
        elif name in DECODERS and heard.party == "caller" and name not in found.first_keys and heard.unit.key:
            tries = found.tries[heard.key] = found.tries.get(heard.key, 0) + 1
            if tries > MAX_TRIES:
                continue
            frame = decode_picture(name, heard.unit, picture.parameter_sets(name, heard.format.fmtp))
            if frame is not None:
                found.first_keys[name] = heard
                found.jpeg = found.jpeg or encode_jpeg(frame, f"{comment}; at {utc(heard.moment)}")
    return found


def _write(
    movie: Path, source: _Source, found: Survey, listener: Listener, tags: dict[str, str]
) -> dict[str, Any]:
    start = listener.start
    with ExitStack() as closing, av.open(str(movie), "w", format="matroska") as container:
        # No random ids, no version: the same capture gives the same bytes.
        container.flags |= cast("int", Flags.bitexact.value)
        container.metadata.update(tags, START=utc(start))
        film = _Film(container, found, start, closing)
        for heard in source.hearing(listener):
            film.take(heard)
            film.reach((listener.now - start) / SECOND)
        film.end((listener.now - start) / SECOND)
        return film.report()


class _Film:
    """The tracks of one Matroska file being written."""

    def __init__(self, container: OutputContainer, found: Survey, start: int, closing: ExitStack) -> None:
        self._container = container
        self._start = start
        self._pictures: dict[str, av.VideoStream] = {}
        self._last_ms: dict[str, int] = {}
        self._first: dict[str, Heard] = {}
        self._left_out = 0
        self._shown = 0
        self._unheard = 0
        self._decoders: dict[tuple[SenderKey, Format], SoundDecoder] = {}
        for name, first in found.first_keys.items():
            opened = picture.template(name, first.unit, picture.parameter_sets(name, first.format.fmtp))
            if opened is not None:
                self._first[name] = first
                closing.callback(opened.close)
                stream = container.add_stream_from_template(opened.streams.video[0], opaque=True)
                stream.time_base = picture.MILLISECONDS
                stream.metadata["title"] = "caller"
                self._pictures[name] = stream
        self._tracks: dict[Party, tuple[av.AudioStream, SoundTrack]] = {}
        order = sorted(found.sound_formats, key=_rank)
        for party in order[:MAX_TRACKS]:
            if names := found.sound_formats[party]:
                rate = max(RATES[name] for name in names)
                made = container.add_stream("pcm_s16le", rate=rate, layout="mono")
                made.metadata["title"] = party
                self._tracks[party] = (made, SoundTrack(rate))

    def take(self, heard: Heard) -> None:
        """Put one unit on its track."""
        name = heard.format.name
        if heard.medium == "audio" and name in RATES:
            self._sound(heard)
        elif heard.party == "caller" and name in self._pictures:
            self._picture(name, heard)

    def reach(self, seconds: float) -> None:
        """Let no sound track fall behind further than the interleaver waits."""
        for stream, track in self._tracks.values():
            if seconds - track.seconds > HOLD_BACK:
                self._mux(stream, track.silence(seconds - HOLD_BACK))

    def end(self, seconds: float) -> None:
        """Fill all sound tracks to the end."""
        for stream, track in self._tracks.values():
            self._mux(stream, track.silence(seconds))
            self._mux(stream, track.flush())
        self._container.start_encoding()

    def report(self) -> dict[str, Any]:
        """Count what became of the units."""
        return {
            "pictures": self._shown,
            "pictures_left_out": self._left_out,
            "sound_left_out": self._unheard,
            "undecodable_sound": sum(decoder.bad for decoder in self._decoders.values()),
            "seconds": {party: round(track.seconds, 3) for party, (_, track) in self._tracks.items()},
            "overlapping_seconds": {
                party: round(track.cut / track.rate, 3) for party, (_, track) in self._tracks.items()
            },
        }

    def _sound(self, heard: Heard) -> None:
        if heard.party not in self._tracks:
            self._unheard += 1
            return
        stream, track = self._tracks[heard.party]
        key = (heard.key, heard.format)
        if key not in self._decoders:
            self._decoders[key] = SoundDecoder(heard.format, track.rate)
        samples = self._decoders[key].decode(heard.unit.data)
        if len(samples):
            self._mux(stream, track.place((heard.moment - self._start) / SECOND, samples))

    def _picture(self, name: str, heard: Heard) -> None:
        # What comes before the first good picture can't be decoded by anyone.
        first = self._first.get(name)
        if first is not None and (first.key, first.unit) == (heard.key, heard.unit):
            del self._first[name]
        elif first is not None or not picture.usable(name, heard.unit):
            self._left_out += 1
            return
        at = max(round((heard.moment - self._start) / 1e6), self._last_ms.get(name, -1) + 1)
        self._last_ms[name] = at
        self._shown += 1
        self._container.mux(picture.packet(self._pictures[name], at, heard.unit))

    def _mux(self, stream: av.AudioStream, blocks: Iterator[tuple[int, bytes]]) -> None:
        for position, pcm in blocks:
            self._container.mux(sound.packet(stream, position, pcm))


def _rank(party: Party) -> int:
    return FIRST.index(party) if party in FIRST else len(FIRST)


def _report(found: Survey, placed: dict[SenderKey, Nanoseconds]) -> dict[str, Any]:
    listener = found.listener
    senders = [
        {
            "leg": key[0],
            "medium": sender.medium,
            "ssrc": sender.ssrc,
            "codecs": sorted({form.name for form in sender.depacketizers}),
            "packets": sender.packets,
            "missing": sender.order.missing,
            "duplicates": sender.order.duplicates,
            "late": sender.order.late,
            "bad": sender.bad,
            "unknown": sender.unknown,
            "incomplete": sender.incomplete,
            "first": utc(int(placed[key].min())) if len(placed[key]) else None,
        }
        for key, sender in listener.senders.items()
    ]
    return {"senders": senders, "ignored": listener.ignored, "clock_steps": listener.steady.steps}
