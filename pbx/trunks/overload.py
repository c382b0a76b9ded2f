"""RFC 7339 as client: a peer that says it is overloaded is sent less.

in → out: the Via that a peer's response brought back → the share of new requests to hold back, as long as it said.
"""

import re
from dataclasses import dataclass
from typing import Final

from pbx.sip import grammar
from pbx.sip.grammar import Params
from pbx.sip.uri import Via

ASKING: Final[Params] = (("oc", None), ("oc-algo", '"loss"'))
"""What our Via says: `oc` without value and the algorithms we know (RFC 7339 §4.1, §4.2); everybody has to know loss."""
DEFAULT_MS: Final = 500
"""RFC 7339 §4.3: how long a report holds that does not say."""
MAX_MS: Final = 60_000
"""A report is not believed for longer: the peer repeats it in every response."""

_SEQUENCE: Final = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,9}))?")


@dataclass(slots=True)
class Overload:
    """What one peer said last."""

    share: float = 0.0
    """0…1 of new requests to hold back."""
    until: float = 0.0
    sequence: tuple[int, str] = (-1, "")

    def heard(self, via: Via, now: float) -> None:
        """Take the top Via of a response: our own, with the peer's report in it if it makes any."""
        value = via.param("oc")
        loss = None if value is None else grammar.number(value, 100)
        algorithm = (via.param("oc-algo") or "loss").strip('"')
        if loss is None or grammar.lower(algorithm) != "loss":
            return
        stated = via.param("oc-seq")
        if stated is not None:
            # RFC 7339 §4.4: oc-seq grows from report to report, for responses overtake each other.
            match = _SEQUENCE.fullmatch(stated)
            if match is None:
                return
            sequence = (int(match[1]), (match[2] or "").ljust(9, "0"))
            if sequence < self.sequence and now < self.until:
                return
            self.sequence = sequence
        validity = via.param("oc-validity")
        held = DEFAULT_MS if validity is None else grammar.number(validity, MAX_MS)
        # RFC 7339 §4.3: a validity of 0 ends it at once.
        self.share = loss / 100
        self.until = now + (MAX_MS if held is None else held) / 1000

    def holds_back(self, now: float, draw: float) -> bool:
        """Tell whether a new request is to be held back; `draw`: 0…1 at random."""
        return now < self.until and draw < self.share
