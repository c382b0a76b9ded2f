"""Whether the capture of a call holds what its phones sent and heard, packet by packet."""

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from recordings import pcapng
from recordings.folder import CAPTURE_NAME
from tests.soak.phone import Line, Phone

LOST: Final = re.compile(r"not recorded: ([0-9]+) packets .*: more than the permitted rate")
OTHERS: Final = re.compile(r"not recorded: .*: (?!more than the permitted rate)")


@dataclass(slots=True)
class Told:
    """What others than the guest said to it, to be found in its evidence."""

    said: Counter[bytes] = field(default_factory=Counter)
    addresses: set[tuple[str, int]] = field(default_factory=set)
    own: set[tuple[str, int]] = field(default_factory=set)
    _met: dict[int, dict[str, Counter[bytes]]] = field(default_factory=dict)

    def watch(self, phone: Phone) -> None:
        """The guest's own phone."""
        self.own = set().union(*(line.addresses for line in phone.lines.values()))

    def meet(self, phone: Phone) -> None:
        """From now on what this phone says belongs to the call."""
        self._met[phone.who] = {medium: line.sent.copy() for medium, line in phone.lines.items()}

    def part(self, phone: Phone) -> None:
        """No longer."""
        for medium, before in self._met.pop(phone.who).items():
            line = _line(phone, medium)
            self.said += line.sent - before
            self.addresses |= line.addresses


def _line(phone: Phone, medium: str) -> Line:
    return next(line for line in phone.lines.values() if line.medium == medium)


def compare(folder: Path, phone: Phone, told: Told, flooded: int) -> tuple[int, list[str]]:
    """Packets of the call's RTP in its capture, and what is wrong with it. `flooded`: packets dropped as too many."""
    addresses = set().union(*(line.addresses for line in phone.lines.values()))
    came_from, went_to, others = Counter[bytes](), Counter[bytes](), Counter[bytes]()
    stated, complaints = 0, list[str]()
    last: dict[tuple[pcapng.Address, pcapng.Address], int] = {}
    with (folder / CAPTURE_NAME).open("rb") as file:
        for packet in pcapng.read(file):
            for comment in packet.comments:
                if found := LOST.match(comment):
                    stated += int(found[1])
                elif OTHERS.match(comment):
                    complaints.append(comment)
            if packet.source in addresses:
                came_from[packet.data] += 1
            elif packet.destination in addresses:
                went_to[packet.data] += 1
            elif packet.source in told.addresses:
                others[packet.data] += 1
            before = last.get((packet.source, packet.destination), 0)
            if packet.at_ns < before:
                complaints.append(f"{before - packet.at_ns} ns back in time")
            last[packet.source, packet.destination] = packet.at_ns
    sent, heard = Counter[bytes](), Counter[bytes]()
    repeated = 0
    for line in phone.lines.values():
        sent += line.sent
        heard += line.came
        repeated += line.repeated
    missing, made_up = sent - came_from, came_from - sent
    if missing.total() != flooded:
        complaints.append(
            f"{missing.total()} packets of the guest are missing, {flooded} were dropped as a flood"
        )
    if stated != flooded:
        complaints.append(f"{stated} dropped packets are stated, {flooded} were dropped")
    if made_up:
        complaints.append(f"{made_up.total()} packets the guest never sent")
    if unheard := heard - went_to:
        complaints.append(f"{unheard.total()} packets were sent to the guest and are not recorded")
    if (never := went_to - heard).total() != repeated:
        complaints.append(
            f"{never.total()} packets are recorded as sent and did not come, {repeated} were repeated"
        )
    if others != told.said:
        complaints.append(
            f"of the host {(told.said - others).total()} packets are missing, {(others - told.said).total()} too many"
        )
    return came_from.total() + went_to.total() + others.total(), complaints
