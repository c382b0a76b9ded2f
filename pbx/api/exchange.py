"""What the API asks of the exchange. The exchange implements `Exchange`; the API knows nothing else of it.

A view is plain data, ready for JSON after `plain()`. Times are wall-clock seconds since 1970 (float).

call view: `call` (id), `state` ("ringing": we call | "waiting" | "active" | "held" | "ended"), `caller` (what the phone says it is),
  `identity` ("verified" | "unverified" | "unavailable"), `identity_by`, `identity_at` (of "verified": who and when | None),
  `identity_why` (of "unavailable": "database_away" | "withheld"), `name` (only ever from our accounts),
  `claimed` (the name the phone gives itself | None: nobody vouches for it), `blocked` (the account it names without proof is
  blocked: `account`, `by`, `at`, `why` | None), `silent` (bool),
  `host_picture` ("on" | "off" | "still": what it is shown in the host's place),
  `diverted` (stations it came over, by its own word: `from`, `reason`, `header`),
  `silent_off_until` (float | None: an off request is open until then), `started`, `attached` (float | None),
  `place` (where the caller is, best known | None: `latitude`, `longitude`, `radius` in m, `gcj02`, `address`, `by` …), `district`
  (`district` id, `name`, `by`, `others`: what else the place may be in),
  `media` (a row for each stream: bandwidth, loss, jitter, round trip, listening quality; see `rtp.control.StreamReport`),
  `position` (1 = next | None), `desk` (user | None), `audio`, `video` (bool: media flowing), `alarm` (str | None)
queue entry: `call`, `position`, `since`, `caller`, `identity`, `silent`
  `queue`, `class` ("head" | "danger" | "authority" | "raised" | "normal" | "held"), `needs`, `expected` (s | None), `incident`
desk view: `desk` (= user), `agent` (who sits there | None), `seat` (see `pbx.call.seat_facts`), `reason`, `queues`, `skills`,
  `state` ("signed_out" | "calling" | "free" | "busy" | "wrap_up" | "paused" | "visiting": in another desk's room),
  `call` (id | None), `talk` (id of the evidence of a talk without a caller | None), `since`, `registered` (bool), `staff` (who is in the room besides host and guest: `who`, `role`, `mode`,
  `purpose`, `up`), `visits` (the desk whose room it is in | None), `supervisor` (bool)
event: `type` ("call" | "desk" | "queue" | "health" | …) and what changed: `{"type": "call", "call": {view}}`,
  `{"type": "call_ended", "call": {"call": id}}`, `{"type": "desk", "desk": {view}}`, `{"type": "queue", "queue": [entries]}`,
  `{"type": "health", "health": {…}}`,
  `{"type": "media", "legs": [{"call" | "desk": id, "media": [rows]}]}`. A reader that doesn't know a type ignores it.
health: `ready` (bool), `database` ("up" | "down"), `media` ("up" | "late" | "down"), `evidence` ("up" | "missing"), and any further name → value.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

HAND_VERBS = (
    "hold", "unhold", "transfer", "consult", "complete", "cancel", "conference", "take",
    "listen", "whisper", "barge", "leave", "add", "remove", "call", "picture",
)  # fmt: skip
"""What a desk can do with calls, and the last part of its path: `POST /api/desks/{desk}/{verb}`."""

View = Mapping[str, object]


class ExchangeError(Exception):
    """A command that can't be done, told to the person who gave it in both languages."""

    def __init__(self, status: int, code: str, zh: str, en: str) -> None:
        """`status` is the HTTP status (404, 409 …), `code` a snake_case name for programs."""
        super().__init__(en)
        self.status = status
        self.code = code
        self.zh = zh
        self.en = en


class Exchange(Protocol):
    """The exchange as the API sees it. Commands raise `ExchangeError`."""

    def calls(self) -> Sequence[View]:
        """Give all live calls, oldest first."""

    def queue(self) -> Sequence[View]:
        """Give the waiting calls, next first."""

    def desks(self) -> Sequence[View]:
        """Give every dispatcher account's desk."""

    def health(self) -> View: ...

    async def sign_in(self, desk: str, user: str) -> None:
        """Call the desk's phone and keep the leg for the shift; returns when the call is under way."""

    async def sign_out(self, desk: str) -> None: ...

    async def pause(self, desk: str, reason: str = "") -> None: ...

    async def resume(self, desk: str) -> None: ...

    async def end_call(self, desk: str) -> None:
        """End the desk's present call; the desk stays signed in."""

    async def hand(self, desk: str, verb: str, target: str, role: str, first: str | None) -> None:
        """Do with a call what `pbx.call.hands` knows; `verb` is one of `HAND_VERBS`."""

    async def silent_on(self, call: str) -> None: ...

    async def silent_off_request(self, call: str) -> float:
        """Open the ten seconds in which `silent_off_confirm` works; gives their end (wall seconds)."""

    async def silent_off_confirm(self, call: str) -> None: ...

    def subscribe(self) -> AsyncIterator[View]:
        """Give events from now on, until the iterator is closed. `pbx.api.feed.Feed` implements it."""
