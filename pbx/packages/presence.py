"""`presence`: whether a seat can take a caller (RFC 3856; PIDF, RFC 3863, with RFC 4480 for what it does).

in → out: `Seat` → `Presence` → `application/pidf+xml`, always whole.
"""

from typing import Final, Self

import msgspec

from pbx.packages.seat import Seat
from pbx.packages.xml import document, quoted

CONTENT_TYPE: Final = "application/pidf+xml"

_NAMESPACES: Final = (
    'xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" '
    'xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid"'
)

# state → basic status, activity (RFC 4480 §3.2), what people read
_SHOWN: Final = {
    "signed_out": ("closed", None,           "未签入",   "Signed out"),
    "free":       ("open",   None,           "空闲",     "Free"),
    "busy":       ("open",   "on-the-phone", "通话中",   "With a caller"),
    "wrap_up":    ("open",   "busy",         "话后处理", "Wrapping up"),
    "paused":     ("open",   "away",         "暂停",     "Paused"),
    "visiting":   ("open",   "busy",         "在别的房间", "In another room"),
}  # fmt: skip


class Presence(msgspec.Struct, frozen=True, tag="presence"):
    """What a seat is."""

    entity: str
    state: str

    @classmethod
    def of(cls, seat: Seat) -> Self:
        """Look at a seat."""
        return cls(seat.uri, seat.state)

    def full(self, version: int, now: float) -> bytes:
        """Say all. PIDF has no version."""
        del version, now
        basic, activity, chinese, english = _SHOWN[self.state]
        doing = "" if activity is None else f"<rpid:{activity}/>"
        return document(
            f'<presence {_NAMESPACES} entity="{quoted(self.entity)}"><tuple id="desk"><status><basic>{basic}</basic>'
            f'</status><note xml:lang="zh">{chinese}</note><note xml:lang="en">{english}</note></tuple>'
            f'<dm:person id="dispatcher"><rpid:activities>{doing or "<rpid:unknown/>"}</rpid:activities></dm:person>'
            "</presence>"
        )

    def partial(self, before: Self, version: int, now: float) -> bytes:
        """Say all: partial PIDF is RFC 5263, which phones don't read."""
        del before
        return self.full(version, now)
