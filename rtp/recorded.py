"""Which capture a leg's packets belong to, and what is stated there of packets that never came in.

in → out: legs, rooms, open captures → the evidence of each track; a caller's own, and of whoever it hears.
"""

from collections.abc import Mapping
from typing import Final

from rtp import stating
from rtp.call_evidence import Both, PacketWriter
from rtp.evidence import EvidenceKeeper
from rtp.leg import Leg
from rtp.room import Rooms

SWEEP_SECONDS: Final = 0.1
"""Between two looks at every leg."""


class Recorded:
    """See the module. It sees the legs, rooms and captures of the engine as they are at each moment."""

    def __init__(self, legs: Mapping[str, Leg], rooms: Rooms, evidence: EvidenceKeeper) -> None:
        self._legs = legs
        self._rooms = rooms
        self._evidence = evidence

    def bind(self, leg: Leg) -> None:
        """Give the leg's tracks the evidence their packets belong to."""
        own = self._evidence_of(leg.evidence)
        place = self._rooms.place(leg.leg)
        guest = None
        if place is not None and place[1] != "guest":
            caller = self._legs.get(self._rooms.guest(leg.leg) or "")
            guest = self._evidence_of(leg.talk if caller is None else caller.evidence)
        heard = Both((own, guest)) if own is not None and guest is not None else own or guest
        for track in leg.tracks.values():
            if track.sender.evidence != own:
                track.sender.evidence = own
            if track.evidence != heard:
                track.evidence = heard

    def bind_call(self, call: str) -> None:
        """Hear that a capture was opened or closed."""
        legs = [leg for leg in self._legs.values() if call == leg.evidence or call == leg.talk]  # noqa: PLR1714  # asked of every leg
        company = {name for leg in legs for name in self._rooms.company(leg.leg)}
        for leg in (*legs, *(self._legs[name] for name in company)):
            self.bind(leg)

    def state(self, leg: Leg, now: float, report_seconds: float) -> None:
        """Let the evidence of whoever hears this leg say what was dropped of it since the last look."""
        legs = (leg, self._legs.get(self._rooms.guest(leg.leg) or ""))
        calls = {one.evidence for one in legs if one is not None and one.evidence is not None}
        found = [evidence for call in sorted(calls) if (evidence := self._evidence.find(call)) is not None]
        for track in leg.tracks.values():
            stating.state_flood(track, found, SWEEP_SECONDS)
            if now >= leg.report_due:
                stating.state_strangers(track, found, report_seconds)
                stating.state_overrun(track, found, report_seconds)

    def _evidence_of(self, call: str | None) -> PacketWriter | None:
        evidence = self._evidence.find(call) if call is not None else None
        return None if evidence is None else evidence.packet
