"""The outside as the shell around the exchange sees it: what sends to phones and media, looks up, and writes down.

in → out: nothing; these are the shapes of the parts that `pbx.signalling` puts together and the tests play.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pbx.call.effects import AskFacts, Note
from pbx.location.lost import Mapping
from pbx.location.pidf import Located
from pbx.sip.flow import Flow
from pbx.sip.locate import Question, Records
from rtp.control import Command


class Transport(Protocol):
    """What the endpoint does for us."""

    def send(self, data: bytes, flow: Flow) -> None: ...
    def expect(self, transport: str, remote: tuple[str, int], name: str) -> None: ...


class Lookup(Protocol):
    """What the resolver does for us."""

    def ask(self, question: Question, done: Callable[[Records | None, float], None]) -> None: ...


class PlaceLookup(Protocol):
    """What the client of location servers does for us."""

    def fetch(self, uri: str, done: Callable[[tuple[Located, ...], str | None], None]) -> None: ...
    def find_service(
        self, place: tuple[float, float], done: Callable[[Mapping | None, str | None], None]
    ) -> None: ...


class FactsLookup(Protocol):
    """What knows more of callers does for us: `done` hears a source and what it found, or why nothing; once for each source."""

    def ask(
        self, question: AskFacts, done: Callable[[str, dict[str, object] | None, str | None], None]
    ) -> None: ...


class MediaLink(Protocol):
    """What the media client does for us."""

    def send(self, command: Command) -> None: ...


class Watcher(Protocol):
    """Who writes down what happens: evidence, database, live feed, metrics, log."""

    def noted(self, note: Note, wall_ns: int, mono: float) -> None: ...
    def finished(self, call: str) -> None: ...


@dataclass(slots=True)
class Rim:
    """The outside, as the shell sees it."""

    transport: Transport
    media: MediaLink
    watcher: Watcher
    lookup: Lookup
    places: PlaceLookup
    facts: FactsLookup | None = None
