"""One room of the soak: its host stays, guests come and go, and everything that can be done with them is done in random order.

A room is a generator that yields seconds to wait. After each step what was heard is compared with what was said, packet by packet,
and at the end of each call its evidence with both.
"""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

from rtp.control import (
    CloseEvidence,
    Leave,
    NoteSip,
    OpenEvidence,
    PassDtmf,
    Play,
    SetGates,
    SetStaff,
    StaffMode,
    StopPlay,
)
from tests.soak.evidence import Told, compare
from tests.soak.phone import MEDIA
from tests.soak.stage import BEAT, Stage, Steps

FLOOD: Final = 300
"""Packets at once: more than the second that is permitted, less than a socket holds."""
FORGOTTEN: Final = 0.45
"""Silence after which a phone may come from another port (bar F13)."""
MODES: Final[tuple[StaffMode, ...]] = ("listen", "whisper", "barge")


class Room(Stage):
    """What happens in one room."""

    def life(self, ended: Callable[[], bool]) -> Steps:
        """Take calls until `ended`."""
        host = f"host{self.number}"
        yield from self._open(host, None)
        self._join(host, "host")
        while not ended():
            yield from self._call(host)
            self.calls += 1
            if self._random.random() < 0.1:
                yield from self._close(host)
                yield from self._open(host, None)
                self._join(host, "host")
        yield from self._close(host)

    def _call(self, host: str) -> Steps:
        call = f"call{self.number}-{self.calls}"
        guest = f"guest{self.number}-{self.calls}"
        folder = self.media.folder / call
        self.steps = [call]
        self.media.say(OpenEvidence(call, str(folder)))
        self.media.say(NoteSip(call, 1, ("10.0.0.1", 5060), ("10.0.0.2", 5060), "udp", b"INVITE"))
        yield from self._open(guest, call)
        told = Told()
        told.watch(self._phones[guest])
        for _ in range(self._random.randrange(1, 4)):
            yield from self._wait(guest, host)
            yield from self._put_through(guest, host, told)
            for _ in range(self._random.randrange(1, 6)):
                step = self._random.choice(
                    (self._talk, self._talk, self._gate, self._hold, self._miss, self._flood, self._restart, self._move,
                     self._staff, self._staff, self._mute, self._digits)
                )  # fmt: skip
                self.steps.append(step.__name__)
                yield from step(guest, host)
                yield from self._talk(guest, host)
            yield from self._settle()
            told.part(self._phones[host])
            self.media.say(Leave(guest))
            self._joined.discard(guest)
            yield from self._settle()
        yield from self._close(guest, keep=True)
        self.media.say(CloseEvidence(call))
        yield from self._until(lambda: call in self.media.closed, f"{call}: evidence closed")
        self._compare(folder, guest, told)

    def _wait(self, guest: str, host: str) -> Steps:
        """The guest hears a tone and is seen by nobody."""
        self.steps.append("wait")
        # Nobody sees the host either, and each one's group of pictures is kept.
        self.media.say(Play(guest, "tone", ("tone:waiting",), loop=True))
        for beat in range(self._random.randrange(5, 40)):
            self._beat(guest, host, key=beat in {0, 20})
            yield BEAT
        self.media.say(StopPlay(guest))
        yield from self._settle()
        for name in (guest, host):
            for medium in MEDIA:
                marked = [one for one in self._take(name, medium) if one.who >= 0]
                self._expect(not marked, f"{name} heard somebody before it was put through")

    def _put_through(self, guest: str, host: str, told: Told) -> Steps:
        self.steps.append("join")
        told.meet(self._phones[host])
        self._join(guest, "guest")
        yield from self._settle()
        for name, other in ((host, guest), (guest, host)):
            shown = [one.number for one in self._take(name, "video") if one.who == self._phones[other].who]
            self._expect(shown == self._group[other], f"{name} was shown {shown}, not {self._group[other]}")
            self._group[other] = []
        yield from self._talk(guest, host)

    def _talk(self, guest: str, host: str) -> Steps:
        yield from self._say(self._random.randrange(3, 30), guest, host)
        self._relayed(guest, host)
        self._relayed(host, guest)

    def _gate(self, guest: str, host: str) -> Steps:
        self.media.say(SetGates(guest, silent=True, host_picture=True))
        yield from self._settle(guest, host)
        yield from self._say(10, guest, host)
        heard = self._take(guest, "audio")
        self._expect(all(one.who < 0 for one in heard), "something passed the silent gate")
        self._expect(bool(heard), "no silence was sent")
        self._relayed(guest, host)
        self.media.say(SetGates(guest, silent=False, host_picture=True))
        yield from self._settle(guest, host)

    def _hold(self, guest: str, host: str) -> Steps:
        self.media.say(SetGates(guest, silent=False, host_picture=True, held=True))
        yield from self._settle(guest, host)
        yield from self._say(10, guest, host)
        for name in (guest, host):
            self._expect(
                all(one.who < 0 for one in self._take(name, "audio")), f"{name} hears in spite of hold"
            )
        self.media.say(SetGates(guest, silent=False, host_picture=True))
        yield from self._settle(guest, host)
        for name in (guest, host):
            self._phones[name].lines["video"].say(key=True)
            self._group[name] = []
        yield from self._settle(guest, host)

    def _miss(self, guest: str, host: str) -> Steps:
        """The guest asks for packets again; from the first time on they are kept."""
        line = self._phones[guest].lines["video"]  # sound that comes a second time is of no use
        for _ in range(2):
            yield from self._say(5, guest, host)
            heard = [one for one in line.take() if one.who >= 0]
            self._expect(bool(heard), f"{guest} saw nothing")
            if not heard:
                return
            repeated, missed = line.repeated, heard[-3:]
            line.nack([one.sequence for one in missed], missed[0].ssrc)
            yield from self._settle()
            again = [one for one in line.take() if one.who >= 0]
        came = len(again) + line.repeated - repeated
        self._expect(came == len(missed), f"{came} of {len(missed)} packets were sent again")
        if line.opener is None:
            self._expect(again == missed, "what was sent again is not what was missed")
        yield from self._settle(guest, host)

    def _flood(self, guest: str, host: str) -> Steps:
        yield from self._say(3, guest, host)  # after a silence what waits at an open socket is taken at once
        line = self._phones[guest].lines["audio"]
        self._phones[host].take()
        for _ in range(FLOOD):
            line.say()
        yield 0.3  # the sweep that states it, and the allowance behind it
        yield from self._settle()
        numbers = [one.number for one in self._take(host, "audio") if one.who == line.who]
        # The limit holds for plain packets of a believed source.
        most = FLOOD if line.seal is not None else FLOOD - 1
        self._expect(0 < len(numbers) <= most, f"{len(numbers)} of a flood of {FLOOD} came")
        self._expect(numbers == sorted(set(numbers)), "a flood was not passed on in order")
        line.say()  # the numbers of what was dropped are missing in front of it
        yield from self._settle(guest, host)

    def _restart(self, guest: str, _host: str) -> Steps:
        """The guest's phone begins its streams anew."""
        for line in self._phones[guest].lines.values():
            line.ssrc += 1000
            line.sequence, line.timestamp = self._random.getrandbits(16), self._random.getrandbits(32)
        yield 0

    def _move(self, guest: str, host: str) -> Steps:
        """The guest's phone comes from another port."""
        yield from self._settle()
        yield FORGOTTEN
        for line in self._phones[guest].lines.values():
            line.move()
        for _ in range(3):
            for line in self._phones[guest].lines.values():
                line.say()
            yield BEAT
        yield from self._settle()
        self._relayed_from(guest, host, 3)

    def _staff(self, guest: str, host: str) -> Steps:
        """Somebody listens, whispers or barges in, and goes."""
        name = f"staff{self.number}-{self._who}"
        mode = self._random.choice(MODES)
        self.steps.append(mode)
        yield from self._open(name, None)
        self.media.say(SetStaff(name, mode))
        self._join(name, "staff")
        yield from self._settle(guest, host, name)
        yield from self._say(self._random.randrange(10, 40), guest, host, name)
        self._relayed_one(guest, host, "video")
        self._relayed_one(host, guest, "video")
        if mode in {"listen", "whisper"}:
            self._relayed_one(host, guest, "audio")
        if mode == "listen":
            self._relayed_one(guest, host, "audio")
        else:
            self._mixed(host)
        if mode == "barge":
            self._mixed(guest)
        self._mixed(name)
        yield from self._close(name)
        self._seam = True
        yield from self._settle(guest, host)

    def _mute(self, guest: str, host: str) -> Steps:
        """The guest's phone takes nothing for a while."""
        self._configure(guest, sending=False)
        yield from self._settle(guest, host)
        yield from self._say(5, guest, host)
        for medium in MEDIA:
            self._expect(not self._take(guest, medium), f"{guest} was sent {medium} it does not take")
        self._configure(guest)
        yield from self._settle(guest, host)
        self._phones[host].lines["video"].say(key=True)
        yield from self._settle(guest, host)

    def _digits(self, guest: str, host: str) -> Steps:
        line = self._phones[guest].lines["audio"]
        before = self.media.digits[guest]
        for end in (0, 0, 0x80, 0x80, 0x80):
            line.timestamp -= 160  # RFC 4733 §2.5.1.2: all packets of an event have its first timestamp
            line.say(payload_type=101, payload=struct.pack("!BBH", 5, end | 10, 480))
            yield BEAT
        line.timestamp += 800
        self.media.say(PassDtmf(host, "7"))
        yield 0.4
        yield from self._settle(guest, host)
        self._expect(self.media.digits[guest] == before + 1, "a digit was not told")

    def _compare(self, folder: Path, guest: str, told: Told) -> None:
        phone = self._phones.pop(guest)
        flooded = sum(count[1] for count in self.media.counts(guest).values())
        packets, complaints = compare(folder, phone, told, flooded)
        self.recorded += packets
        for complaint in complaints:
            self._complain(f"{folder.name}: {complaint}")
        phone.close()
