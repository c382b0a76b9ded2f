"""The engine of one of several media processes: it hands legs over to another, and goes on with those it is handed.

MoveLegs ─▶ carry ─▶ Handover ─▶ (the other process) resume ─▶ LegsMoved

A leg is here or there, never in both and never in neither: it is taken out when the message is in the other's socket. What
its phone is sent goes on in the same numbering and under the same keys; what it sends waits in its socket meanwhile. A
capture follows when it is closed here, packets of the new place waiting in memory for that: one writer at a time.
"""

import os
import socket
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import msgspec
import structlog

from rtp.control import (
    CloseLeg,
    Command,
    Event,
    Holdings,
    Join,
    Medium,
    OpenEvidence,
    OpenLeg,
    Query,
    Refused,
    SetGates,
    SetStaff,
    Stream,
)
from rtp.dtls import Certificate
from rtp.engine import Engine
from rtp.evidence import EvidenceKeeper
from rtp.flood import rtcp_permitted
from rtp.handover import Handover
from rtp.leg import Leg
from rtp.loop import Loop
from rtp.moving import LegsMoved, MoveLegs
from rtp.parts import PYTHON, Parts
from rtp.ports import Pair
from rtp.prompts import Prompts
from rtp.protection import Protection
from rtp.settings import MediaSettings

log = structlog.get_logger("media")


class SharedEngine(Engine):
    """An engine among others of its kind."""

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
        """`settings.handover` names all of them. Raises OSError when its socket can't be made."""
        super().__init__(settings, evidence, prompts, loop, emit, parts=parts)
        self._certificates: dict[bytes, Certificate] = {}  # of other processes, whose legs are here
        self._handover = Handover(
            settings.handover, settings.number, loop, self._arrived, evidence.closed_elsewhere
        )

    def receive(self, command: Command) -> None:
        """As in one process; what has arrived from others comes before what is said about it."""
        match command:
            case MoveLegs():
                self._hand_over(command)
                return
            case OpenLeg() | OpenEvidence() | Query():
                self._handover.read()
        super().receive(command)

    def holdings(self, ref: str) -> Holdings:
        """Everything this process holds, with what is in its socket already."""
        self._handover.read()
        return super().holdings(ref)

    def close(self) -> None:
        """End everything."""
        self._handover.close()
        super().close()

    # --- out -------------------------------------------------------------------------------------------------------

    def _hand_over(self, command: MoveLegs) -> None:
        legs = [self._legs[name] for name in command.legs if name in self._legs]
        reason = None
        if not legs:
            reason = "unknown_leg"
        elif any(protection.shaking_hands for leg in legs for protection in leg.protections.values()):
            reason = "shaking_hands"
        else:
            found = [self._evidence.find(call) for call in command.captures]
            state = {
                "captures": [[one.call, one.folder] for one in found if one is not None],
                "legs": [self._carry(leg) for leg in legs],
            }
            pairs = [track.pair for leg in legs for track in leg.tracks.values()]
            descriptors = [sock.fileno() for pair in pairs for sock in (pair.rtp, pair.rtcp)]
            try:
                self._handover.legs(command.process, state, descriptors)
            except OSError as error:
                log.warning("legs_not_handed_over", legs=command.legs, error=str(error))
                for leg in legs:
                    for track in leg.tracks.values():
                        track.stay()
                reason = "unreachable"
        if reason is not None:
            self._emit(Refused("MoveLegs", command.legs[0], reason))
            return
        for leg in legs:
            self._part_with(leg)
        for call in command.captures:
            self._evidence.release(call, partial(self._handover.closed, command.process, call))
        log.info("legs_handed_over", legs=[leg.leg for leg in legs], process=command.process)

    def _carry(self, leg: Leg) -> dict[str, Any]:
        return {
            "leg": leg.leg,
            "evidence": leg.evidence,
            "talk": leg.talk,
            "host": leg.host,
            "cname": leg.cname,
            "place": self._rooms.place(leg.leg),
            "gates": asdict(self._rooms.gates(leg.leg)),
            "mode": self._rooms.mode(leg.leg),
            "due": [leg.report_due, leg.rtcp_due],
            "sound": leg.carry(),
            "media": [
                {
                    "medium": medium,
                    "port": track.pair.port,
                    "track": track.carry(),
                    "reports": leg.reports[medium].carry(),
                    "protection": leg.protections[medium].carry() if medium in leg.protections else None,
                }
                for medium, track in leg.tracks.items()
            ],
        }

    def _part_with(self, leg: Leg) -> None:
        """Forget a leg whose sockets another process has: no BYE, no last report, and nothing drains."""
        self._carry_out(self._rooms.receive(CloseLeg(leg.leg), self._loop.now), self._loop.now)
        del self._legs[leg.leg]
        self._around.badges.pop(leg.leg, None)
        for phase in self._phases:
            phase.drop(leg)
        for track in leg.tracks.values():
            track.end()
            self._loop.remove(track.pair.rtp.fileno())
            self._loop.remove(track.pair.rtcp.fileno())
            track.pair.close()

    # --- in --------------------------------------------------------------------------------------------------------

    def _arrived(self, state: Any, descriptors: list[int]) -> None:
        names = [packed["leg"] for packed in state["legs"]]
        try:
            for call, folder in state["captures"]:
                self._evidence.adopt(call, folder)
            for packed in state["legs"]:
                self._go_on(packed, descriptors)
        except Exception as error:  # noqa: BLE001  # a bug of ours: signalling opens these legs anew, all others go on
            self._loop.failed("handover", error)
            self._emit(Refused("MoveLegs", names[0], "broken"))
            return
        finally:
            for descriptor in descriptors:  # those that nobody took
                os.close(descriptor)
        # Rooms when all are there: nobody is alone in one for a moment.
        now = self._loop.now
        for packed in state["legs"]:
            if packed["place"] is not None:
                room, role = packed["place"]
                self._carry_out(self._rooms.receive(Join(room, packed["leg"], role), now), now)
            self._recorded.bind(self._legs[packed["leg"]])
        log.info("legs_taken_over", legs=names)
        self._emit(LegsMoved(tuple(names)))

    def _go_on(self, packed: Any, descriptors: list[int]) -> None:
        """Make the leg that `_carry` described, with the next of the sockets."""
        now = self._loop.now
        leg = Leg(packed["leg"], packed["evidence"], packed["host"], self._prompts, self._around)
        assert leg.leg not in self._legs, "a leg is in one process only"
        leg.cname, leg.talk = packed["cname"], packed["talk"]
        for medium in packed["media"]:
            self._resume(leg, medium, descriptors)
        self._legs[leg.leg] = leg
        min(self._phases, key=len).put(leg)
        leg.report_due, leg.rtcp_due = packed["due"]
        leg.resume(packed["sound"])
        self._carry_out(self._rooms.receive(SetStaff(leg.leg, packed["mode"]), now), now)
        self._carry_out(self._rooms.receive(SetGates(leg.leg, **packed["gates"]), now), now)

    def _resume(self, leg: Leg, packed: Any, descriptors: list[int]) -> None:
        medium: Medium = packed["medium"]
        rtp, rtcp = (socket.socket(fileno=descriptors.pop(0)) for _ in range(2))
        for sock in (rtp, rtcp):
            sock.setblocking(False)
        pair = Pair(rtp, rtcp, packed["port"])
        track = self._parts.track(
            leg.leg, medium, host=leg.host, pair=pair, out=self._parts.out(0, 0, 0), around=self._around
        )
        reports = leg.add(track, leg.cname)
        self._loop.add(rtcp.fileno(), self._rtcp_reader(reports), f"{leg.leg}.{medium}.rtcp")
        reports.resume(packed["reports"])
        stream = msgspec.convert(packed["track"]["stream"], Stream | None)
        reports.limit.permit(rtcp_permitted(stream))
        if (protected := packed["protection"]) is not None:
            protection = Protection(track, reports, self._certified(protected["certificate"]), self._around)
            leg.protections[medium] = protection
            protection.resume(protected)
        track.resume(packed["track"])
        track.wire(None, self._loop.now)

    def _certified(self, carried: list[bytes] | None) -> Certificate:
        """The certificate that a leg's peer knows us by."""
        if carried is None:
            return self._certificate
        if carried[0] not in self._certificates:
            self._certificates[carried[0]] = Certificate(carried)
        return self._certificates[carried[0]]
