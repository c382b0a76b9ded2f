"""What the media process does: commands in, events out, legs and rooms in between (the Python engine).

Command ─▶ Engine.receive ─▶ Leg, Track, Rooms ─▶ emit(Event)
"""

import itertools
import secrets
import time
from collections.abc import Callable
from typing import Final

import structlog

from rtp.control import (
    AboutLeg,
    AskPicture,
    CloseEvidence,
    CloseLeg,
    Command,
    ConfigureLeg,
    Dtmf,
    Event,
    EvidenceOpened,
    FirstRelayed,
    Holdings,
    Join,
    Joined,
    Leave,
    LegHolding,
    LegOpened,
    Medium,
    NoteSip,
    OpenEvidence,
    OpenLeg,
    PassDtmf,
    Play,
    Query,
    RecordTalk,
    Refused,
    SetGates,
    SetStaff,
    StopPlay,
    WantPicture,
)
from rtp.draining import Draining
from rtp.dtls import Certificate
from rtp.evidence import EvidenceKeeper
from rtp.flood import rtcp_permitted
from rtp.latch import QUIET_SECONDS, canonical
from rtp.leg import Leg
from rtp.loop import Handler, Loop
from rtp.mixing import Mixing
from rtp.moving import DrainPorts, MoveLegs
from rtp.parts import PYTHON, Parts, Phase
from rtp.ports import NoPorts, Pair, Ports
from rtp.prompts import Prompts
from rtp.recorded import SWEEP_SECONDS, Recorded
from rtp.reports import Reports
from rtp.room import Effect, Entered, RefusedEntry, Rewire, Rooms
from rtp.route import Surroundings
from rtp.sender import FIRST_SOURCE
from rtp.settings import MediaSettings
from rtp.sweeping import Sweeping, following

BEAT_SECONDS: Final = 0.020
PHASES: Final = 4
"""Legs are served in four groups, 5 ms apart: 200 prompts at once would hold up the relay for 2 ms."""

STALL_SECONDS: Final = 0.1
"""A beat that comes so late finds packets unread that came in time: nobody is sent silence in their place. Otherwise whoever is late
once has, by a silence and a new beginning for each packet, more to do than before, and stays late."""

log = structlog.get_logger("media")


class Engine:
    """Legs, rooms and evidence of one media process."""

    def __init__(
        self,
        settings: MediaSettings,
        evidence: EvidenceKeeper,
        prompts: Prompts,
        loop: Loop,
        emit: Callable[[Event], None],
        *,
        parts: Parts = PYTHON,
    ) -> None:
        """Start beating in `loop`; `evidence.collect` is called by `collect`. `parts`: what tracks are made of."""
        self._parts = parts
        self._settings = settings
        self._evidence = evidence
        self._prompts = prompts
        self._loop = loop
        self._emit = emit
        self._certificate = Certificate()
        self._around = Surroundings(
            loop,
            self._heard,
            itertools.count(FIRST_SOURCE),
            activity=parts.activity,
            buffer=parts.buffer,
            swift=parts.swift,
        )
        self._mixing = Mixing(self._around)
        self._load_due = 0.0
        self._ports = Ports(settings.port_min, settings.port_max, settings.reserve)
        self._draining = Draining(loop, settings.drain_seconds)
        self._legs: dict[str, Leg] = {}
        self._phases: tuple[Phase, ...] = tuple(parts.phase() for _ in range(PHASES))
        self._rooms = Rooms()
        self._recorded = Recorded(self._legs, self._rooms, evidence)
        self._sweeping = Sweeping(loop, self._legs, self._sweep_leg)
        self._beats = 0
        self._started = self._swept = time.monotonic()
        if not parts.keep_beats(loop, self._phases, self._started, BEAT_SECONDS / PHASES, self._restless):
            loop.at(self._started, self._beat, "beat")
        loop.at(self._started + SWEEP_SECONDS, self._sweep, "sweep")

    def receive(self, command: Command) -> None:
        """Carry out one command."""
        match command:
            case OpenLeg():
                self._open_leg(command)
            case OpenEvidence(call=call):
                self._tell(self._evidence.open(command))
                self._recorded.bind_call(call)
            case NoteSip(call, at, source, destination, transport, data):
                evidence = self._evidence.find(call)
                if evidence is None:
                    self._emit(Refused("NoteSip", call, "unknown_call"))
                else:
                    evidence.sip(at, source, destination, transport, data)
            case CloseEvidence(call=call):
                events = self._evidence.close(command)
                self._recorded.bind_call(call)
                self._tell(events)
            case Query(ref):
                self._emit(self.holdings(ref))
            case DrainPorts():
                self._draining.take_over(command, self._ports, self._settings.host, self._loop.now)
            case MoveLegs(legs):  # there is no other process; see `shared_engine`
                self._emit(Refused("MoveLegs", legs[0], "unreachable"))
            case _:
                self._about(command, command.leg)

    def _about(self, command: AboutLeg, name: str) -> None:
        leg = self._legs.get(name)
        if leg is None:
            self._emit(Refused(type(command).__name__, name, "unknown_leg"))
            return
        now = self._loop.now
        match command:
            case ConfigureLeg():
                self._configure(leg, command, now)
            case CloseLeg():
                self._close_leg(leg, command, now)
            case Join() | Leave() | SetGates() | SetStaff():
                self._carry_out(self._rooms.receive(command, now), now)
            case Play():
                leg.play(command)
            case StopPlay():
                leg.stop_play()
            case WantPicture():
                leg.picture_wanted(now)
            case AskPicture():
                leg.ask_picture(now)
            case RecordTalk(call=call):
                leg.talk = call
                self._recorded.bind(leg)
            case PassDtmf(digits=digits):
                relayed = self._rooms.roads(name).relay.get((name, "audio"))
                for other in (*((relayed,) if relayed is not None else ()), *self._mixing.hearers(name)):
                    reason = self._legs[other].send_digits(digits)
                    if reason is not None:
                        self._emit(Refused("PassDtmf", other, reason))

    def _heard(self, event: Event) -> None:
        """Pass on what tracks tell; a digit also to who hears its leg in a mix, where its packets don't go."""
        if isinstance(event, Dtmf):
            for name in self._mixing.hearers(event.leg):
                self._legs[name].send_digits(event.digit)
        self._emit(event)

    def _tell(self, events: list[Event]) -> None:
        for event in events:
            self._emit(event)

    # --- legs ------------------------------------------------------------------------------------------------------

    def _open_leg(self, command: OpenLeg) -> None:
        host = command.host or self._settings.host
        leg = self._legs.get(command.leg)
        fresh = leg is None
        if leg is None:
            leg = Leg(command.leg, command.evidence, host, self._prompts, self._around)
            # RFC 3550 §6.5.1: the CNAME binds sound and picture of one end together; whoever plays them in step needs it.
            leg.cname = f"{secrets.token_hex(8)}@{self._settings.cname}"
        leg.evidence = command.evidence
        missing = [medium for medium in command.media if medium not in leg.tracks]
        pairs: list[Pair] = []
        try:
            used = len(self._draining) + sum([len(one.tracks) for one in self._legs.values()])
            captures = len(self._evidence.calls)
            self._ports.admit(len(missing), used=used, captures=captures, urgent=command.urgent)
            before = {pair.medium: pair.rtp for pair in command.ports}
            pairs += (self._ports.bind(host, before.get(medium)) for medium in missing)
        except OSError as error:
            for pair in pairs:
                pair.close()
            reason = "no_ports" if isinstance(error, NoPorts) else "bad_address"
            log.warning("ports_not_bound", leg=command.leg, host=host, error=str(error))
            self._emit(Refused("OpenLeg", command.leg, reason))
            return
        for medium, pair in zip(missing, pairs, strict=True):
            self._add_track(leg, medium, pair)
        if fresh:
            self._legs[leg.leg] = leg
            min(self._phases, key=len).put(leg)
            leg.report_due = self._loop.now + self._settings.report_seconds
            leg.rtcp_due = self._loop.now + self._settings.rtcp_seconds / 2
        self._recorded.bind(leg)
        ports = tuple(track.ports for track in leg.tracks.values())
        self._emit(LegOpened(leg.leg, ports, self._certificate.fingerprint))

    def _add_track(self, leg: Leg, medium: Medium, pair: Pair) -> None:
        # RFC 3550 §5.1: SSRC, first sequence number and first timestamp are random; RFC 3711 §3.3.1: the number below
        # 2^15, so that who misses the first packets still counts the same roll-overs.
        out = self._parts.out(secrets.randbits(32), secrets.randbits(15), secrets.randbits(32))
        track = self._parts.track(leg.leg, medium, host=leg.host, pair=pair, out=out, around=self._around)
        reports = leg.add(track, leg.cname)
        self._loop.add(pair.rtcp.fileno(), self._rtcp_reader(reports), f"{leg.leg}.{medium}.rtcp")

    def _rtcp_reader(self, reports: Reports) -> Handler:
        return lambda: reports.read(self._loop.now)

    def _configure(self, leg: Leg, command: ConfigureLeg, now: float) -> None:
        streams = {stream.medium: stream for stream in reversed(command.streams)}
        sources = frozenset(canonical(ip) for ip in command.sources)
        for medium, track in leg.tracks.items():
            leg.protect(medium, streams.get(medium), self._certificate, now)
            track.latch.vouched = command.vouched
            track.configure(streams.get(medium), sources, now)
            leg.reports[medium].limit.permit(rtcp_permitted(streams.get(medium)))
        for medium in streams.keys() - leg.tracks.keys():
            self._emit(Refused("ConfigureLeg", leg.leg, f"no_ports_for_{medium}"))
        if self._rooms.company(leg.leg):  # who is alone is heard by nobody, whatever was negotiated
            self._rewire(frozenset({leg.leg}), now)

    def _close_leg(self, leg: Leg, command: CloseLeg, now: float) -> None:
        self._carry_out(self._rooms.receive(command, now), now)
        for reports in leg.reports.values():
            reports.bye(now)
        leg.report_due = now
        self._recorded.state(leg, now, self._settings.report_seconds)
        self._emit(leg.report())
        del self._legs[leg.leg]
        self._around.badges.pop(leg.leg, None)
        for phase in self._phases:
            phase.drop(leg)
        for track in leg.tracks.values():
            track.end()
            self._draining.add(track.pair, now)

    # --- rooms -----------------------------------------------------------------------------------------------------

    def _carry_out(self, effects: list[Effect], now: float) -> None:
        for effect in effects:
            match effect:
                case Rewire(legs):
                    self._rewire(legs, now)
                case Entered(room, leg, role, fresh):
                    fresh = fresh and role != "staff"
                    if fresh:
                        self._expect(room)
                    self._emit(Joined(room, leg))
                    if fresh:
                        self._catch_up(room, now)
                case RefusedEntry(_, leg, reason):
                    self._emit(Refused("Join", leg, reason))

    def _rewire(self, names: frozenset[str], now: float) -> None:
        """Bring tracks, gates and evidence of these legs, and of those they share a room with, in line with the rooms."""
        affected = {other for name in names for other in (name, *self._rooms.company(name))}
        legs = [self._legs[name] for name in sorted(affected) if name in self._legs]
        for leg in legs:
            leg.set_gates(self._rooms.gates(leg.leg))
        rooms = {tuple(sorted((leg.leg, *self._rooms.company(leg.leg)))) for leg in legs}
        whole = [([self._legs[name] for name in room], self._rooms.roads(room[0])) for room in rooms]
        self._mixing.arrange(whole)
        ways = {leg.leg: roads for members, roads in whole for leg in members}
        for leg in legs:
            roads = ways[leg.leg]
            for medium, track in leg.tracks.items():
                to = self._legs.get(roads.relay.get((leg.leg, medium), ""))
                destination = to.tracks.get(medium) if to is not None else None
                if destination is not None and not (track.stream and destination.sender.sending):
                    destination = None
                track.wire(destination, now)
            for track in leg.tracks.values():
                if track.fed_by is None:
                    track.sender.expecting = None
            self._recorded.bind(leg)
        self._mixing.begin(now)

    def _expect(self, room: str) -> None:
        """Tell when the guest's first packet has left on the host's leg."""
        members = {role: leg for leg, role in self._rooms.members(room).items()}
        if not {"host", "guest"} <= members.keys():
            return
        for medium, track in self._legs[members["host"]].tracks.items():
            track.sender.expecting = self._first_relayed(room, members["guest"], medium)

    def _catch_up(self, room: str, now: float) -> None:
        """Let both hear and see each other from this moment, not from the next packet or key frame on."""
        for leg in self._rooms.members(room):
            for track in self._legs[leg].tracks.values():
                track.catch_up(now)

    def _first_relayed(self, room: str, guest: str, medium: Medium) -> Callable[[], None]:
        return lambda: self._emit(FirstRelayed(room, guest, medium, time.time_ns()))

    # --- evidence --------------------------------------------------------------------------------------------------

    def collect(self) -> None:
        """Take over what the evidence thread has done."""
        for event in self._evidence.collect():
            if isinstance(event, EvidenceOpened) and self._parts.tape is None:
                self._recorded.bind_call(event.call)  # packets go straight to the open file from now on
            self._emit(event)

    # --- time ------------------------------------------------------------------------------------------------------

    def _beat(self, now: float) -> None:
        step = BEAT_SECONDS / PHASES
        late = now - self._started - self._beats * step
        self._restless(self._phases[self._beats % PHASES].restless(now), now, late)
        # The grid stands on one start, so lateness never adds up; beats that a stall has swallowed are left out.
        self._beats = max(self._beats + 1, int((now - self._started) / step))
        self._loop.at(self._started + self._beats * step, self._beat, "beat")

    def _restless(self, legs: list[Leg], now: float, late: float) -> None:
        for leg in legs:
            if late > STALL_SECONDS and not leg.activity.busy:
                continue
            try:
                leg.beat(now)
            except Exception as error:  # noqa: BLE001  # one leg's failure is logged and counted; the others go on
                self._loop.failed(f"{leg.leg}.beat", error)

    def _sweep(self, now: float) -> None:
        self._loop.at(now + SWEEP_SECONDS, self._sweep, "sweep")
        # What nobody read while this process was kept from its work was not silence of the peers: to take all of them for lost, and
        # to look for each anew, would keep it from its work still longer.
        late, self._swept = max(0.0, now - self._swept - SWEEP_SECONDS), now
        self._evidence.tick(now)
        if now >= self._load_due and (self._around.load.mixed or self._around.load.transcoded):
            self._load_due = now + self._settings.report_seconds
            self._emit(self._around.load.report())
        for badge in self._around.badges.values():
            badge.show(now)
        quiet = min(QUIET_SECONDS, self._settings.loss_seconds)
        stirred = (leg for phase in self._phases for leg in phase.stirred(now, quiet))
        self._sweeping.begin(stirred, now, late=late)

    def _sweep_leg(self, leg: Leg, now: float, late: float) -> None:
        for medium, track in leg.tracks.items():
            track.sweep(now, self._settings.loss_seconds, late=late, sign=leg.reports[medium].heard)
        if leg.lost_wishes is not None:
            leg.lost_wishes.look(now)
        self._recorded.state(leg, now, self._settings.report_seconds)
        for protection in leg.protections.values():
            protection.expire(now)
        if now >= leg.rtcp_due:
            leg.rtcp_due = following(leg.rtcp_due, self._settings.rtcp_seconds, now)
            for reports in leg.reports.values():
                reports.send(now)
        if now >= leg.report_due:
            leg.report_due = following(leg.report_due, self._settings.report_seconds, now)
            self._emit(leg.report())

    # --- all of it -------------------------------------------------------------------------------------------------

    def holdings(self, ref: str) -> Holdings:
        """Everything this process holds."""
        legs = []
        for leg in self._legs.values():
            place = self._rooms.place(leg.leg)
            room, role = place if place is not None else (None, None)
            ports = tuple(track.ports for track in leg.tracks.values())
            legs.append(LegHolding(leg.leg, leg.evidence, room, role, ports))
        return Holdings(ref, tuple(legs), self._evidence.calls)

    def close(self) -> None:
        """End every leg and close all evidence: the process is about to end."""
        now = self._loop.now
        for leg in tuple(self._legs.values()):
            self._close_leg(leg, CloseLeg(leg.leg), now)
        self._tell(self._evidence.shut())
        self._draining.end()
