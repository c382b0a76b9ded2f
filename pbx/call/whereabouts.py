"""Where the callers are: the trail of each call, and the district it is served by. Pure.

in → out: requests of a caller, answers of location servers → notes for evidence and console, questions to location
servers, and the queue a call belongs to.

Nothing here delays or refuses a call: a location that can't be read is stated, and the caller is told by Geolocation-Error.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit

from pbx.call.call_events import ToAcd
from pbx.call.effects import AskDistrict, Effect, FetchLocation, Note
from pbx.location.header import Geolocation, Said, error, geolocation
from pbx.location.lost import Mapping, Mappings
from pbx.location.packing import pack, unpack
from pbx.location.pidf import Located
from pbx.location.presence import Follow
from pbx.location.presence_uri import is_presence
from pbx.location.trail import Entry, Trail
from pbx.sip.message import Request
from routing.acd import DEFAULT, Requeue
from routing.districts import Decision, Districts
from routing.shapes import centre

CARRIES: Final = frozenset({"INVITE", "UPDATE", "INFO", "MESSAGE", "NOTIFY"})
"""Methods whose bodies may tell a new place (RFC 6442 §4.1 and what phones do)."""
MAX_REFERENCES: Final = 4
"""Of one request that are followed."""


Item = Effect | ToAcd | Follow


@dataclass(frozen=True, slots=True)
class Arrival:
    """What the INVITE of a call says of its place."""

    decision: Decision
    effects: tuple[Item, ...]
    headers: tuple[tuple[str, str], ...]
    """For our answer."""


class Whereabouts:
    """See the module."""

    def __init__(
        self,
        districts: Districts,
        may_ask: Callable[[str], bool],
        *,
        serves: Callable[[str], bool],
        lost: bool = False,
    ) -> None:
        """`may_ask`: whether the settings name the server of a URI; `serves`: whether anybody serves a queue; `lost`:
        whether a LoST server is asked as well.
        """
        self.districts = districts
        self._serves = serves
        self._may_ask = may_ask
        self._mappings = Mappings() if lost else None
        self._trails: dict[str, Trail] = {}
        self._callers: dict[str, tuple[str | None, str | None]] = {}  # call → trunk, number
        self._decisions: dict[str, Decision] = {}

    def arrived(
        self, call: str, request: Request, now: float, *, trunk: str | None, number: str | None
    ) -> Arrival:
        """Read the INVITE of a new call and choose its district."""
        self._callers[call] = (trunk, number)
        trail = self._trails[call] = Trail()
        said = geolocation(request)
        effects = self._take(call, trail, said, request.method, trunk)
        decision = self._decide(call, trail, now)
        effects += self._ask(call, trail, decision)
        headers = (error("cannot_process"),) if said.faulty else ()
        return Arrival(decision, (*effects, self._note(call, decision)), headers)

    def heard(self, call: str, request: Request, now: float) -> list[Item]:
        """Read a later request of the caller."""
        trail = self._trails.get(call)
        if trail is None or request.method not in CARRIES:
            return []
        said = geolocation(request)
        if not said.said:
            return []
        return [
            *self._take(call, trail, said, request.method, self._callers[call][0]),
            *self._again(call, trail, now),
        ]

    def fetched(
        self, call: str, uri: str, found: Sequence[Located], fault: str | None, now: float
    ) -> list[Item]:
        """Take what a location server said; the call may be over by now."""
        trail = self._trails.get(call)
        if trail is None:
            return []
        host = urlsplit(uri).hostname or ""
        if fault is not None:
            return [Note("location_unusable", call, {"uri": uri, "why": fault})]
        return [*_notes(call, trail.fetched(uri, host, found)), *self._again(call, trail, now)]

    def told(self, call: str, uri: str, by: str, found: Sequence[Located], now: float) -> list[Item]:
        """Take what a presence NOTIFY said; the call may be over by now."""
        trail = self._trails.get(call)
        if trail is None:
            return []
        return [*_notes(call, trail.told(uri, by, found)), *self._again(call, trail, now)]

    def mapped(self, call: str, mapping: Mapping | None, fault: str | None, now: float) -> list[Item]:
        """Take what the LoST server said; our own districts serve until then, and when it fails."""
        if self._mappings is None:
            return []
        if mapping is None:
            return [Note("lost_failed", call, {"why": fault})] if call in self._trails else []
        self._mappings.keep(mapping, now)
        trail = self._trails.get(call)
        if trail is None:
            return []
        decision = self._mapped_to(mapping)
        if decision is None:
            return [Note("lost_failed", call, {"why": f"no queue or district {mapping.user!r} here"})]
        before = self._decisions.get(call)
        self._decisions[call] = decision
        return [] if decision == before else self._moved(call, decision)

    def ended(self, call: str) -> None:
        """Forget a call."""
        self._trails.pop(call, None)
        self._callers.pop(call, None)
        self._decisions.pop(call, None)

    def trail(self, call: str) -> list[dict[str, Any]]:
        """Return every place of a call, for the API."""
        found = self._trails.get(call)
        return [] if found is None else [entry.plain() for entry in found.entries]

    def place(self, call: str) -> dict[str, Any] | None:
        """Return the place to show for a call, for the API."""
        found = self._trails.get(call)
        best = None if found is None else found.best
        return None if best is None else best.plain()

    def best(self, call: str) -> Entry | None:
        """Return the place to tell others of, None when nobody said one."""
        found = self._trails.get(call)
        return None if found is None else found.best

    def queue_of(self, district: str) -> str | None:
        """Return the queue that serves a district, by its id; None when there is no such district."""
        found = self.districts.find(district)
        return None if found is None else found.queue if self._serves(found.queue) else DEFAULT

    def decision(self, call: str) -> Decision | None:
        """Return the district a call was put into last."""
        return self._decisions.get(call)

    def snapshot(self) -> dict[str, Any]:
        """Return plain data: the trails; districts come from the settings, answers of servers are asked for again."""
        return {call: self.kept(call) for call in self._trails}

    def kept(self, call: str) -> dict[str, Any] | None:
        """Return the trail of one call as plain data; None when there is none."""
        found = self._trails.get(call)
        return None if found is None else {"trail": pack(found), "caller": list(self._callers[call])}

    def count(self, call: str) -> int | None:
        """Return how many places a call was said to be at so far; None when it is not known here."""
        found = self._trails.get(call)
        return None if found is None else found.count

    def resume(self, data: dict[str, Any]) -> None:
        """Take up the trails that `snapshot` described."""
        for call, kept in data.items():
            trunk, number = kept["caller"]
            self._trails[call] = unpack(kept["trail"])
            self._callers[call] = (trunk, number)
            self._decide(call, self._trails[call], 0.0)

    # --- pieces ---

    def _take(self, call: str, trail: Trail, said: Geolocation, method: str, trunk: str | None) -> list[Item]:
        out = _notes(call, trail.add(said.said, via=method, trunk=trunk))
        references = [one for one in said.said if one.uri and not one.found and one.fault is None]
        for one in references[:MAX_REFERENCES]:
            out.append(self._reference(call, one))
        out += [
            Note("location_unusable", call, {"uri": one.uri, "why": one.fault})
            for one in said.said
            if one.fault is not None
        ]
        return out

    def _reference(self, call: str, said: Said) -> Item:
        assert said.uri is not None, "a reference has a URI"
        if self._may_ask(said.uri):
            return FetchLocation(call, said.uri)
        if is_presence(said.uri):
            return Follow(call, said.uri)
        return Note("location_unusable", call, {"uri": said.uri, "why": "not a location server of this site"})

    def _decide(self, call: str, trail: Trail, now: float) -> Decision:
        trunk, number = self._callers[call]
        shape = None if trail.first is None else trail.first.located.shape
        decision = None
        if shape is not None and self._mappings is not None:
            mapping = self._mappings.find(centre(shape), now)
            decision = None if mapping is None else self._mapped_to(mapping)
        civic = None if trail.first is None else trail.first.located.civic
        address = () if civic is None else civic.parts
        found = decision or self.districts.decide(shape, address=address, trunk=trunk, number=number)
        decision = self._served(found)
        self._decisions[call] = decision
        return decision

    def _mapped_to(self, mapping: Mapping) -> Decision | None:
        """The user part of the server's URI names a district or a queue of ours."""
        found = self.districts.find(mapping.user)
        found = found or next((one for one in self.districts if one.queue == mapping.user), None)
        return None if found is None else self._served(Decision(found.id, found.queue, "lost"))

    def _served(self, decision: Decision) -> Decision:
        """A queue that nobody serves would keep its callers for ever: they go to the default one."""
        return decision if self._serves(decision.queue) else replace(decision, queue=DEFAULT)

    def _ask(self, call: str, trail: Trail, decision: Decision) -> list[Item]:
        """Ask the LoST server about a place it has not answered for."""
        shape = None if trail.first is None else trail.first.located.shape
        if self._mappings is None or shape is None or decision.by == "lost":
            return []
        return [AskDistrict(call, centre(shape))]

    def _again(self, call: str, trail: Trail, now: float) -> list[Item]:
        """Look at the district again; a caller's later words change none that a place was found for (see Trail.first)."""
        before = self._decisions.get(call)
        after = self._decide(call, trail, now)
        if after == before or (before is not None and (before.by, after.by) == ("lost", "position")):
            self._decisions[call] = before or after
            return []
        return [*self._moved(call, after), *self._ask(call, trail, after)]

    def _moved(self, call: str, decision: Decision) -> list[Item]:
        """Who waits goes to the queue of the district it is in after all; who talks stays."""
        return [self._note(call, decision), ToAcd(Requeue(call, decision.queue))]

    @staticmethod
    def _note(call: str, decision: Decision) -> Note:
        return Note(
            "district",
            call,
            {
                "district": decision.district,
                "queue": decision.queue,
                "by": decision.by,
                "outside": decision.outside,
                "shares": {share.district: share.share for share in decision.shares},
            },
        )


def _notes(call: str, entries: Sequence[Entry]) -> list[Item]:
    return [Note("location", call, entry.plain()) for entry in entries]
