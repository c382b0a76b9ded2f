"""Calls in a media process for the rows that need many: rooms of host and guest, or guests who wait."""

from rtp.control import (
    CloseEvidence,
    CloseLeg,
    ConfigureLeg,
    Event,
    EvidenceClosed,
    EvidenceOpened,
    Join,
    LegOpened,
    Medium,
    OpenEvidence,
    OpenLeg,
    Play,
    Role,
    Stream,
)
from tests.bench.relay import CODEC, Worker


class Calls(Worker):
    """A media process whose calls are set up some at a time."""

    def rooms(self, numbers: range, media: tuple[Medium, ...], phones: list[int]) -> list[int]:
        """Open rooms of guest and host; `phones`: ports, for each room guest and host of each medium. Gives our ports in the same order."""
        roles: tuple[Role, ...] = ("guest", "host")
        legs = [(f"{role}-{number}", role, number) for number in numbers for role in roles]
        where = self._open([(leg, number if role == "guest" else None) for leg, role, number in legs], media)
        targets = [0] * len(phones)
        for at, (leg, role, number) in enumerate(legs):
            room, side = divmod(at, 2)
            places = [(room * len(media) + index) * 2 + side for index in range(len(media))]
            for index, place in enumerate(places):
                targets[place] = where[leg][index]
            self._configure(leg, media, [phones[place] for place in places])
            self.send(Join(f"room-{number}", leg, role))
        return targets

    def waiting(self, numbers: range, items: tuple[str, ...], phones: list[int]) -> list[int]:
        """Open guests who wait and hear `items` again and again; gives our ports."""
        legs = [f"guest-{number}" for number in numbers]
        where = self._open(list(zip(legs, numbers, strict=True)), ("audio",))
        for leg, phone in zip(legs, phones, strict=True):
            self._configure(leg, ("audio",), [phone])
            self.send(Play(leg, "wait", items, loop=True))
        return [where[leg][0] for leg in legs]

    def hang_up(self, numbers: range) -> None:
        """Close these guests and their captures."""
        self.send(*(CloseLeg(f"guest-{number}") for number in numbers))
        self.close_evidence(numbers)

    def close_evidence(self, numbers: range) -> int:
        """Close the captures of these calls; how many packets are in them."""
        self.send(*(CloseEvidence(f"call-{number}") for number in numbers))
        closed = self.wait(lambda event: isinstance(event, EvidenceClosed), len(numbers))
        return sum(event.packets for event in closed if isinstance(event, EvidenceClosed))

    def _open(self, legs: list[tuple[str, int | None]], media: tuple[Medium, ...]) -> dict[str, list[int]]:
        calls = [f"call-{number}" for _, number in legs if number is not None and self._evidence is not None]
        self.send(*(OpenEvidence(call, f"{self._evidence}/{call}") for call in calls))
        self.wait(lambda event: isinstance(event, EvidenceOpened), len(calls))
        for leg, number in legs:
            own = f"call-{number}" if number is not None and self._evidence is not None else None
            self.send(OpenLeg(leg, media, "127.0.0.1", own))
        opened: list[Event] = self.wait(lambda event: isinstance(event, LegOpened), len(legs))
        return {
            event.leg: [pair.rtp for pair in event.ports] for event in opened if isinstance(event, LegOpened)
        }

    def _configure(self, leg: str, media: tuple[Medium, ...], phones: list[int]) -> None:
        streams = []
        for index, (medium, phone) in enumerate(zip(media, phones, strict=True)):
            here, codecs = ("127.0.0.1", phone), (CODEC[medium],)
            streams.append(Stream(index, medium, here, here, codecs, codecs, sending=True, receiving=True))
        self.send(ConfigureLeg(leg, tuple(streams), ("127.0.0.1",)))
