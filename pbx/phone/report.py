"""What a scripted phone tells at its end: one JSON object, whose fields others script against."""

import json
from dataclasses import dataclass, field
from typing import Any

from pbx.phone.stream import Medium, Picture, Sound


@dataclass(slots=True)
class Report:
    """One call as the phone lived it. Times are monotonic seconds until `as_json` makes them ms since the INVITE."""

    role: str
    """`caller` or `desk`."""
    sip_status: int | None = None
    """Of the last response to REGISTER or INVITE that decided; None when none came."""
    reason: str | None = None
    call_id: str | None = None
    evidence_id: str | None = None
    """From the response header `X-At110-Evidence`."""
    invited: float | None = None
    trying: float | None = None
    """First response to the INVITE, mostly a provisional one."""
    answered: float | None = None
    messages: list[str] = field(default_factory=list)
    """Texts received, in order."""
    ended_by: str | None = None
    """`us`, `peer`, `interrupt` (Ctrl-C), `refused`, `timeout` or `network`."""

    @property
    def was_answered(self) -> bool:
        return self.answered is not None

    def as_json(self, sound: Sound | None, picture: Picture | None) -> dict[str, Any]:
        """The whole report; media the phone did not have are all zero."""
        tone = None if sound is None else sound.ear.tone_hz
        level = None if sound is None else sound.ear.rms
        return {
            "role": self.role,
            "sip_status": self.sip_status,
            "reason": self.reason,
            "call_id": self.call_id,
            "evidence_id": self.evidence_id,
            "times_ms": {
                "trying": self._since(self.trying),
                "answered": self._since(self.answered),
                "first_audio": self._since(None if sound is None else sound.first_packet),
                "first_video": self._since(None if picture is None else picture.first_decoded),
            },
            "media": {"audio": _counts(sound), "video": _counts(picture)},
            "tone_hz": None if tone is None else round(tone, 1),
            "rms": None if level is None else round(level, 1),
            "frames_decoded": 0 if picture is None else picture.eye.decoded,
            "messages": list(self.messages),
            "ended_by": self.ended_by,
        }

    def _since(self, at: float | None) -> float | None:
        if at is None or self.invited is None:
            return None
        return round((at - self.invited) * 1000, 1)


def _counts(medium: Medium | None) -> dict[str, int]:
    if medium is None:
        return {"sent": 0, "received": 0, "lost": 0}
    source = medium.source
    # RFC 3550 A.3: repeated packets can make the loss negative; to a reader that is no loss.
    return {"sent": medium.outgoing.packets, "received": source.received, "lost": max(0, source.lost)}


def text(report: dict[str, Any]) -> str:
    """The JSON object as one line."""
    return json.dumps(report, ensure_ascii=False)
