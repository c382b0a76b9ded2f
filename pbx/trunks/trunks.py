"""All trunks of an exchange: which one a call goes over, and what becomes of what they send by themselves.

in → out: time, outcomes → effects of each `Trunk`; a number → the trunk and where it is called; views for people.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from pbx.sip.effects import ResponseArrived, TransactionFailed
from pbx.sip.flow import Flow
from pbx.sip.uri import NameAddr, Uri
from pbx.sip.wakeups import earliest
from pbx.trunks import numbers
from pbx.trunks.account import Account
from pbx.trunks.numbers import Number
from pbx.trunks.settings import TrunkSettings
from pbx.trunks.trunk import REF, Draw, Effect, Mint, Trunk
from pbx.trunks.trust import Names, Trust, nobody

CONTACT: Final = NameAddr(None, Uri("sip", "110", None, "invalid"))
"""Where calls to us go; host and transport are put in as a request leaves."""


class NoTrunk(Exception):  # noqa: N818 - the word that fits; it is no bug of anybody
    """A number can't be called. `code` says why: `unknown_trunk`, `no_trunk`, `trunk_full`, `trunk_busy`, `bad_number`."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def _half() -> float:
    return 0.5


class Trunks:
    """See the module."""

    def __init__(
        self,
        settings: Sequence[TrunkSettings] = (),
        accounts: Mapping[str, Account] | None = None,
        *,
        mint: Mint = str,
        draw: Draw = _half,
        contact: NameAddr = CONTACT,
        names: Names = nobody,
    ) -> None:
        """`accounts`: trunk → our account there. `mint` makes ids nobody guesses, `draw` gives 0…1 at random. `contact`: our
        Contact to begin with. `names`: what a flow's certificate is for.
        """
        known = {} if accounts is None else accounts
        self.trust = Trust(settings, names)
        self._trunks = {
            one.name: Trunk(one, known.get(one.name), mint=mint, draw=draw, us=contact) for one in settings
        }

    def __len__(self) -> int:
        return len(self._trunks)

    def __iter__(self) -> Iterator[Trunk]:
        return iter(self._trunks.values())

    def get(self, name: str) -> Trunk | None:
        """Return a trunk."""
        return self._trunks.get(name)

    # --- running ----------------------------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Begin to ask peers and to register."""
        for trunk in self._trunks.values():
            trunk.start(now)

    def close(self) -> list[Effect]:
        """End every registration: the exchange is being stopped."""
        return [effect for trunk in self._trunks.values() for effect in trunk.stop()]

    @property
    def next_due(self) -> float | None:
        """When `expire` wants to be called."""
        if not self._trunks:
            return None  # asked a dozen times in a call
        return earliest(*(trunk.next_due for trunk in self._trunks.values()))

    def expire(self, now: float) -> list[Effect]:
        """Do what is due."""
        return [effect for trunk in self._trunks.values() for effect in trunk.expire(now)]

    def outcome(self, event: ResponseArrived | TransactionFailed, now: float) -> list[Effect]:
        """Hear what became of a request whose `ref` begins with `REF`."""
        trunk = self._trunks.get(event.ref.split("/")[1])
        return [] if trunk is None else trunk.outcome(event, now)

    def found(self, ref: str, flow: Flow) -> None:
        """Note where a request of a trunk's own goes."""
        if ref.startswith(REF) and (trunk := self._trunks.get(ref.split("/")[1])) is not None:
            trunk.found(flow)

    # --- choosing ---------------------------------------------------------------------------------------------------

    def choose(
        self, number: str, busy: Callable[[str], int], *, trunk: str | None = None
    ) -> tuple[Trunk, Number, str]:
        """Return (trunk, the number in one spelling, as it is dialled there). Raises NoTrunk.

        `busy` tells how many calls a trunk has. `trunk`: the one that is wanted; None: the first whose `numbers` fit, that
        is in service and has room.
        """
        if trunk is not None and trunk not in self._trunks:
            raise NoTrunk("unknown_trunk")
        wanted = [self._trunks[trunk]] if trunk is not None else list(self._trunks.values())
        why = "no_trunk"
        for one in wanted:
            found = numbers.normalise(number, area=one.settings.area)
            if not numbers.is_number(found.text):
                why = "bad_number"
                continue
            if not one.peers or not one.in_service or (trunk is None and not _takes(one, found.text)):
                continue
            if one.settings.capacity and busy(one.name) >= one.settings.capacity:
                why = "trunk_full"
                continue
            dialled = numbers.rewritten(found.text, one.settings.dial)
            if numbers.is_number(dialled):
                return one, found, dialled
            why = "bad_number"
        raise NoTrunk(why)

    # --- what stands ------------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Return plain data."""
        return {name: trunk.snapshot() for name, trunk in self._trunks.items()}

    def resume(self, data: Mapping[str, dict[str, Any]]) -> None:
        """Go on where `snapshot` was taken, with the trunks the settings have now."""
        for name, trunk in self._trunks.items():
            if name in data:
                trunk.resume(data[name])


def _takes(trunk: Trunk, number: str) -> bool:
    patterns = trunk.settings.numbers
    return not patterns or any(numbers.fits(pattern, number) for pattern in patterns)
