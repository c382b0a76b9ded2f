"""What the steps of a room are made of: phones that come and go, speak in turns, and compare what they heard with what was said."""

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Final

from rtp.control import CloseLeg, Codec, ConfigureLeg, Join, OpenLeg, Role, Sdes, Stream
from tests.soak.media import Media
from tests.soak.phone import MEDIA, SUITE, Heard, Line, Medium, Phone

CODECS: Final = {
    "audio": (Codec("PCMA", 8, 8000), Codec("TELEPHONE-EVENT", 101, 8000)),
    "video": (Codec("H264", 96, 90000, fmtp="packetization-mode=1"),),
}
BEAT: Final = 0.02
QUIET: Final = 0.03
"""Nothing is said for so long before a change of who hears whom: a beat of the mixer, whose packets are under way by themselves."""
ROUNDS: Final = 2
"""Questions answered one after the other when nothing waits at a socket any more: what was read then has been carried."""
PATIENCE: Final = 60.0

Steps = Iterator[float]


class Stage:
    """The phones of one room of one media process."""

    def __init__(self, media: Media, number: int, seed: int, found: Callable[[str], None]) -> None:
        """`found` is told of what is wrong."""
        self.media = media
        self.number = number
        self.calls = self.heard = 0
        """Calls that ended; marked packets heard."""
        self.recorded = 0
        self.steps: list[str] = []
        self._found = found
        self._random = random.Random(f"{seed}.{number}")
        self._phones: dict[str, Phone] = {}
        self._joined: set[str] = set()
        self._group: dict[str, list[int]] = {}  # numbers of the pictures kept of who is seen by nobody
        self._seam = False  # the first relayed packet after a mix carries the mix's end and not its mark
        self._who = number * 100_000

    def _open(self, name: str, call: str | None) -> Steps:
        self._who += 1
        phone = self._phones[name] = Phone(self._who, secure=self._random.random() < 0.25)
        self._group[name] = []
        self.media.opened.pop(name, None)
        self.media.say(OpenLeg(name, MEDIA, "127.0.0.1", call))
        yield from self._until(lambda: name in self.media.opened, f"{name} opened")
        for pair in self.media.opened[name].ports:
            line = phone.lines[pair.medium]
            line.remote, line.remote_rtcp = ("127.0.0.1", pair.rtp), ("127.0.0.1", pair.rtcp)
        self._configure(name)

    def _configure(self, name: str, *, sending: bool = True) -> None:
        phone = self._phones[name]
        crypto = Sdes(SUITE, phone.keys[1], phone.keys[0]) if phone.keys is not None else None
        streams = tuple(
            Stream(
                index, line.medium, line.address, line.rtcp_address, CODECS[line.medium], CODECS[line.medium],
                sending=sending, receiving=True, crypto=crypto,
            )
            for index, line in enumerate(phone.lines.values())
        )  # fmt: skip
        self.media.say(ConfigureLeg(name, streams, ("127.0.0.1",)))

    def _join(self, name: str, role: Role) -> None:
        self.media.say(Join(f"room{self.number}", name, role))
        self._joined.add(name)

    def _close(self, name: str, *, keep: bool = False) -> Steps:
        yield from self._settle()
        self.media.reports.pop(name, None)
        self.media.say(CloseLeg(name))
        self._joined.discard(name)
        yield from self._until(lambda: name in self.media.reports, f"{name} closed")
        yield from self._settle()
        phone = self._phones[name]
        for medium, (received, flooded, sent) in self.media.counts(name).items():
            line = phone.lines[medium]
            said = sum(line.sent.values())
            self._expect(
                received + flooded == said,
                f"{name}: {said} {medium} packets sent, {received} + {flooded} counted",
            )
            came = sum(line.came.values()) + line.repeated
            self._expect(sent == came, f"{name}: {sent} {medium} packets counted as sent, {came} came")
        if not keep:
            self._phones.pop(name).close()

    def _beat(self, *names: str, key: bool) -> None:
        for name in names:
            lines = self._phones[name].lines
            lines["audio"].say()
            lines["video"].say(key=key)
            if key:
                self._group[name] = []
            if key or self._group[name]:
                self._group[name].append(lines["video"].number)
            for line in lines.values():
                line.listen()

    def _say(self, beats: int, *names: str) -> Steps:
        for name in names:
            self._phones[name].take()
        self._said = {
            name: {m: line.number for m, line in self._phones[name].lines.items()} for name in names
        }
        for beat in range(beats):
            self._beat(*names, key=not beat)
            yield BEAT
        for name in names:
            self._group[name] = []
        yield from self._settle()

    def _settle(self, *names: str) -> Steps:
        """Wait until all that was sent is through; then forget what these phones heard."""
        yield QUIET
        yield from self._until(lambda: not self.media.unread, "everything read")
        for _ in range(ROUNDS):
            name = self.media.ask()
            yield from self._until(lambda name=name: name in self.media.answered, "an answer")  # type: ignore[misc]
            self.media.answered.discard(name)
        for phone in self._phones.values():
            for line in phone.lines.values():
                line.listen()
        for name in names:
            self._phones[name].take()

    def _until(self, condition: Callable[[], bool], what: str) -> Steps:
        waited = 0.0
        while not condition():
            self.media.listen()
            waited += 0.005
            if waited > PATIENCE:
                raise TimeoutError(f"{self.media.engine}: {what}: not after {PATIENCE:g} s; {self.steps}")
            yield 0.005

    def _take(self, name: str, medium: Medium) -> list[Heard]:
        heard = self._phones[name].lines[medium].take()
        here = {self._phones[member].who for member in self._joined}
        strangers = {one.who for one in heard} - here - {-1}
        self._expect(not strangers, f"{name} heard {strangers}, who are not in its room")
        self.heard += sum(one.who >= 0 for one in heard)
        return heard

    def _relayed(self, source: str, to: str) -> None:
        for medium in MEDIA:
            self._relayed_one(source, to, medium)

    def _relayed_one(self, source: str, to: str, medium: Medium) -> None:
        line = self._phones[source].lines[medium]
        self._relayed_from_line(line, to, line.number - self._said[source][medium])

    def _relayed_from(self, source: str, to: str, count: int) -> None:
        for line in self._phones[source].lines.values():
            self._relayed_from_line(line, to, count)

    def _relayed_from_line(self, line: Line, to: str, count: int) -> None:
        """The last `count` packets of a line must have come, all of them, in order, as one stream without a jump."""
        heard = self._take(to, line.medium)
        numbers = [one.number for one in heard if one.who == line.who]
        wanted = list(range(line.number - count + 1, line.number + 1))
        if self._seam and line.medium == "audio" and numbers == wanted[1:]:
            wanted = wanted[1:]
        self._expect(numbers == wanted, f"{to} heard {line.medium} {numbers} and not {wanted}")
        for one, other in itertools.pairwise(heard):
            follows = (other.sequence - one.sequence) & 0xFFFF == 1 and one.ssrc == other.ssrc
            self._expect(follows, f"{to}: {one} is followed by {other}")

    def _mixed(self, name: str) -> None:
        # A mix of one voice while the others are late is that voice, mark and all; whose it may be `_take` looks at.
        self._expect(bool(self._take(name, "audio")), f"{name} hears no mix")

    def _expect(self, so: bool, otherwise: str) -> None:
        if not so:
            self._complain(otherwise)

    def _complain(self, finding: str) -> None:
        self._found(f"{self.media.engine}, room {self.number}, {' '.join(self.steps)}: {finding[:600]}")
