"""`dialog`: the lamp of a seat (RFC 4235).

in → out: `Seat` → `Lamp` → `application/dialog-info+xml`.

The lamp burns while a caller is in front. The dispatcher's permanent leg is no call, so it lights nothing. Who the caller is
stays out: lamps go over plain UDP to every phone on the wall; the `conference` package tells those who ask for it.
"""

from typing import Final, Self

import msgspec

from pbx.packages.seat import Seat
from pbx.packages.xml import document, quoted

CONTENT_TYPE: Final = "application/dialog-info+xml"
_NAMESPACE: Final = "urn:ietf:params:xml:ns:dialog-info"


class Lamp(msgspec.Struct, frozen=True, tag="dialog"):
    """What goes on at a seat, as dialogs."""

    entity: str
    dialogs: tuple[str, ...]
    """Ids of the dialogs that stand, all confirmed: callers are put through without ringing."""

    @classmethod
    def of(cls, seat: Seat) -> Self:
        """Draw the lamp of a seat."""
        return cls(seat.uri, () if seat.guest is None else (seat.guest.id,))

    def full(self, version: int, now: float) -> bytes:
        """Say all."""
        del now  # nothing in it ages
        return self._info(version, "full", "".join(self._dialog(d, "confirmed") for d in self.dialogs))

    def partial(self, before: Self, version: int, now: float) -> bytes:
        """Say what changed since `before`."""
        # RFC 4235 §4.1: a partial document lists only the dialogs whose state changed. One that is over is told once as
        # terminated; a phone that is not told leaves the lamp burning.
        del now
        gone = [self._dialog(d, "terminated") for d in before.dialogs if d not in self.dialogs]
        new = [self._dialog(d, "confirmed") for d in self.dialogs if d not in before.dialogs]
        return self._info(version, "partial", "".join(gone + new))

    def _info(self, version: int, state: str, dialogs: str) -> bytes:
        head = f'<dialog-info xmlns="{_NAMESPACE}" version="{version}" state="{state}" entity="{quoted(self.entity)}"'
        return document(f"{head}>{dialogs}</dialog-info>")

    def _dialog(self, dialog: str, state: str) -> str:
        # The seat is the one who is called.
        return f'<dialog id="{quoted(dialog)}" direction="recipient"><state>{state}</state></dialog>'
