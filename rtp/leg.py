"""One leg in the media process: its tracks, what is played to it, the digits sent to it."""

from collections import deque
from typing import Any, Final

from rtp.badge import Badge
from rtp.codecs import samples_per_frame, silence
from rtp.control import Codec, LegReport, Medium, PictureWanted, Play, PlayEnded, Stream
from rtp.counts import stream_report
from rtp.dtls import Certificate
from rtp.dtmf import events
from rtp.lost_wishes import LostWishes
from rtp.picture import PATIENCE_SECONDS, way
from rtp.playing import Playing
from rtp.prompts import Prompts
from rtp.protection import Protection
from rtp.reports import Reports
from rtp.route import Surroundings
from rtp.sender import SILENCE, Sender
from rtp.track import Track
from rtp.wiring import UNSET, Gates

HOLD_TONE: Final = "tone:waiting"
DIGIT_MS: Final = 100
"""RFC 4733 leaves the length open; Q.24 asks receivers to take 40 ms, and old ones want more."""
PAUSE_FRAMES: Final = 4
"""20 ms frames of silence between two digits (Q.24: at least 40 ms)."""
MAX_DIGITS: Final = 64
"""Waiting digits of one leg; a conference code is shorter."""
TIMING: Final = Codec("PCMA", 8, 8000)
"""Stands in for a codec where a play has nobody to hear it but must still end in its time."""


class Leg:
    """A leg: tracks by medium and what is sent to it from here."""

    def __init__(
        self, leg: str, evidence: str | None, host: str, prompts: Prompts, around: Surroundings
    ) -> None:
        """`evidence`: the call whose evidence holds this leg's packets."""
        self.leg = leg
        self.evidence = evidence
        self.host = host
        self.talk: str | None = None
        """The talk whose evidence has what this leg sends while it has no guest."""
        self.cname = ""
        """What all its streams are called in RTCP."""
        self.tracks: dict[Medium, Track] = {}
        self.reports: dict[Medium, Reports] = {}
        self.protections: dict[Medium, Protection] = {}
        """Of the media that ever were encrypted, or had RTCP on their RTP port."""
        self._gates = UNSET
        self.lost_wishes: LostWishes | None = None
        """Of who has a picture."""
        self._prompts = prompts
        self._around = around
        self.activity = around.activity()
        self._playing: Playing | None = None
        self._holding: Playing | None = None
        self._rolled: Playing | None = None  # what the engine goes on with by itself
        # Of each packet: payload, number, whether it begins a digit; None: pause.
        self._digits: deque[tuple[bytes, int, bool] | None] = deque()

    @property
    def rtcp_due(self) -> float:
        """When its next RTCP is due, monotonic seconds."""
        return self.activity.rtcp_due

    @rtcp_due.setter
    def rtcp_due(self, due: float) -> None:
        self.activity.rtcp_due = due

    @property
    def report_due(self) -> float:
        """When its next counts are due, monotonic seconds."""
        return self.activity.report_due

    @report_due.setter
    def report_due(self, due: float) -> None:
        self.activity.report_due = due

    @property
    def badge(self) -> Badge | None:
        """The still image, while it is sent in the host's place."""
        return self._around.badges.get(self.leg)

    @property
    def _audio(self) -> Track | None:
        return self.tracks.get("audio")

    def add(self, track: Track, cname: str) -> Reports:
        """Take a further medium."""
        reports = Reports(track, cname, lambda now: self._pass_wish(track, now))
        reports.meter.take(0, 0, 0, 0, self._around.loop.now)
        track.ask_picture = lambda: self._ask_picture(track, reports)
        self.tracks[track.medium] = track
        self.activity.watch(track)
        if track.medium == "audio":
            track.sender.rouse(self.activity)
        else:
            self.lost_wishes = LostWishes(
                self._around.loop, lambda: track.source.gaps, lambda now: self._pass_lost_wish(track, now)
            )
        self.reports[track.medium] = reports
        self._apply_gates()
        return reports

    def protect(self, medium: Medium, stream: Stream | None, certificate: Certificate, now: float) -> None:
        """Encrypt what is to be encrypted, from the first packet on: to be called before the track is configured."""
        protection = self.protections.get(medium)
        if protection is None:
            if stream is None or (stream.crypto is None and not stream.mux):
                return
            protection = Protection(self.tracks[medium], self.reports[medium], certificate, self._around)
            self.protections[medium] = protection
        protection.configure(stream, now)

    # --- sound to the leg ------------------------------------------------------------------------------------------

    def play(self, play: Play) -> None:
        """Begin a play in place of the one before; the same one again goes on undisturbed."""
        if self._playing is not None and self._playing.play == play:
            return
        self._playing = self._begin(play)
        self._override()

    def stop_play(self) -> None:
        """End the play without `PlayEnded`: who stops it knows."""
        self._playing = None
        self._override()

    def send_digits(self, digits: str) -> str | None:
        """Queue digits; the reason when it can't be done. They are sent one after the other, 20 ms a packet."""
        audio = self._audio
        codec = audio.sender.event_codecs[0] if audio is not None and audio.sender.event_codecs else None
        if codec is None:
            return "no_telephone_event"
        if len(digits) > MAX_DIGITS or len(self._digits) > MAX_DIGITS * 12:
            return "too_many_digits"
        try:
            sequences = [events(digit, DIGIT_MS, clock_rate=codec.clock_rate) for digit in digits]
        except ValueError:
            return "bad_digit"
        for packets in sequences:
            number = next(self._around.numbers)
            self._digits.extend((payload, number, begins) for payload, begins, _ in packets)
            self._digits.extend([None] * PAUSE_FRAMES)
        self._override()
        return None

    def set_gates(self, gates: Gates) -> None:
        """Take the gates; silent mode is in force for the very next packet."""
        if gates != self._gates:
            self._gates = gates
            self._apply_gates()

    def _apply_gates(self) -> None:
        gates = self._gates
        self._set_badge(shown=gates.still)
        for track in self.tracks.values():
            track.sender.set_silent(silent=gates.silent)
        if not gates.held:
            self._holding = None
        elif self._holding is None:
            self._holding = self._begin(Play(self.leg, "hold", (HOLD_TONE,), loop=True))
        self._override()

    def content(self, now: float) -> bool:
        """Whether a beat has nothing to do: a peer's packets flow, or there is no sound. As many beats as packets."""
        return self.activity.content(now)

    def beat(self, now: float) -> None:
        """Send this leg's 20 ms of sound unless a peer's packets do."""
        self._recall()
        audio = self._audio
        if audio is None:
            return
        frame, playing = self._next_frame(audio, now)
        sender = audio.sender
        if not sender.sending or sender.codec is None:
            self._digits.clear()
        elif sender.silent:
            self._digits.clear()
            sender.silence(now)
        elif self._digits:
            self._send_digit(audio, now)
        elif frame is not None and playing is not None and playing.codec == sender.codec:
            sender.local_frame(playing.number, sender.codec, frame, samples_per_frame(sender.codec), now)
        elif sender.overridden or sender.starving(now):
            sender.silence(now)
        self._override()
        self._roll(sender, playing if frame is not None else None)

    def _roll(self, sender: Sender, playing: Playing | None) -> None:
        """Let the engine go on with what this beat has sent, if it can."""
        codec = sender.codec
        if codec is None or not sender.sending or sender.silent or self._digits or sender.odd:
            return
        if playing is None:
            if self._playing is None and self._holding is None:
                step, payload = samples_per_frame(codec), silence(codec)
                self.activity.roll(sender, SILENCE, codec, step, (payload,), 0, endless=True)
        elif playing in {self._playing, self._holding} and playing.codec == codec:
            self._rolled = playing
            frames, start = playing.player.rest
            self.activity.roll(
                sender, playing.number, codec, samples_per_frame(codec), frames, start, endless=False
            )

    def _recall(self) -> None:
        """Take over from the engine again."""
        sent = self.activity.unroll()
        if self._rolled is not None:
            self._rolled.skip(sent)
        self._rolled = None

    def _next_frame(self, audio: Track, now: float) -> tuple[bytes | None, Playing | None]:
        """The next 20 ms of what is being played; a play goes on in time even where nobody may hear it."""
        playing = self._playing
        if playing is None:
            playing = self._holding
        if playing is None:
            return None, None
        codec = audio.sender.codec
        if (
            codec is not None and codec != playing.codec
        ):  # a new offer took its codec away, or gave it the first one
            playing.encode(codec)
        if playing.codec.name == "AMR":
            playing.player.ask(audio.mode_asked())
        overlay = playing.overlay
        if overlay is not None and not overlay.ended and not audio.sender.starving(now):
            return None, playing  # the peer's packets take it along
        frame = playing.next_frame()
        if frame is None and playing is self._playing:
            self._playing = None
            self._around.emit(PlayEnded(self.leg, playing.play.play))
        return frame, playing

    def _send_digit(self, audio: Track, now: float) -> None:
        digit = self._digits.popleft()
        codecs = audio.sender.event_codecs
        if digit is None or not codecs:
            audio.sender.silence(now)
            return
        payload, number, begins = digit
        # RFC 4733 §2.5.1.2: all packets of an event have its first timestamp.
        step = codecs[0].clock_rate // 50 if begins else 0
        audio.sender.local_frame(number, codecs[0], payload, step, now)

    def _begin(self, play: Play) -> Playing:
        audio = self._audio
        codec = audio.sender.codec if audio is not None else None
        playing = Playing(play, codec or TIMING, self._prompts, next(self._around.numbers))
        if playing.overlay is not None:
            playing.overlay.before = self._recall
        return playing

    def _override(self) -> None:
        self._recall()
        playing = self._playing
        overlay = playing.overlay if playing is not None else None
        overridden = (playing is not None and overlay is None) or bool(self._digits)
        audio = self._audio
        if audio is None:
            return
        busy = playing is not None or overridden or self._holding is not None
        if busy != self.activity.busy:
            self.activity.busy = busy
            audio.sender.rouse(self.activity)
        if overlay is not audio.sender.overlay:
            audio.sender.lay(overlay)
        if overridden != audio.sender.overridden:
            audio.sender.override(overridden=overridden)

    # --- to and from another process -----------------------------------------------------------------------------------

    def carry(self) -> dict[str, Any]:
        """Give what is being played and the digits that wait, as plain data."""
        self._recall()
        playing = self._playing
        return {
            "play": None if playing is None else [playing.play.play, playing.play.items, playing.play.loop],
            "position": None if playing is None else playing.position,
            "digits": list(self._digits),
        }

    def resume(self, data: dict[str, Any]) -> None:
        """Go on where `carry` was called; the tracks are there."""
        if data["play"] is not None:
            name, items, loop = data["play"]
            self._playing = self._begin(Play(self.leg, name, tuple(items), loop))
            self._playing.seek(*data["position"])
        numbers: dict[int, int] = {}  # of digits, as this process counts sources
        for item in data["digits"]:
            if item is not None and item[1] not in numbers:
                numbers[item[1]] = next(self._around.numbers)
            self._digits.append(None if item is None else (item[0], numbers[item[1]], item[2]))
        self._override()

    # --- pictures --------------------------------------------------------------------------------------------------

    def picture_wanted(self, now: float) -> None:
        """The peer asked by INFO for a key frame: as if it had asked by RTCP."""
        if (video := self.tracks.get("video")) is not None:
            self._pass_wish(video, now)

    def ask_picture(self, now: float) -> None:
        """Somebody looks who was not there before: ask the peer for a key frame."""
        if (video := self.tracks.get("video")) is not None:
            video.want_picture(now)

    def _set_badge(self, *, shown: bool) -> None:
        video = self.tracks.get("video")
        if not shown or video is None:
            self._around.badges.pop(self.leg, None)
        elif self.badge is None:
            self._around.badges[self.leg] = Badge(video, self._prompts.still, next(self._around.numbers))

    def _pass_wish(self, track: Track, now: float) -> None:
        """The peer asks for a key frame: ask whoever sends it the picture."""
        if self.badge is not None and track.medium == "video":
            self.badge.show(now, asked=True)
            return
        if track.medium == "video" and track.fed_by is not None:
            track.fed_by.want_picture(now)

    def _pass_lost_wish(self, track: Track, now: float) -> None:
        """What the peer may have asked for by RTCP was perhaps lost; INFO is repeated until it is answered."""
        if track.stream is not None and way(track.stream.feedback) != "info":
            self._pass_wish(track, now)

    def _ask_picture(self, track: Track, reports: Reports) -> None:
        asked = way(track.stream.feedback if track.stream else ())
        if asked == "info":
            track.pictures.answered()  # SIP repeats a lost INFO; a lost key frame leaves a gap, after which it is asked again
            self._around.emit(PictureWanted(self.leg))
        else:
            track.pictures.patience = PATIENCE_SECONDS + (reports.round_trip or 0.0)
            reports.request_picture(self._around.loop.now, way=asked)

    # --- reports ---------------------------------------------------------------------------------------------------

    def report(self) -> LegReport:
        """Counts of all media so far."""
        return LegReport(
            self.leg,
            tuple(
                stream_report(track, self.reports[medium], self._around.loop.now)
                for medium, track in self.tracks.items()
            ),
        )
