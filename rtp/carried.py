"""What of a track goes along when its leg goes to another media process: everything a phone, a report or evidence would miss."""

from typing import Any

import msgspec

from rtp.control import Address, Medium, Stream
from rtp.flood import seconds_per_byte
from rtp.gop import Group
from rtp.history import History
from rtp.latch import Latch
from rtp.loop import Handler, Loop
from rtp.outstream import FIELDS as NUMBERS
from rtp.outstream import NO_FIELDS
from rtp.overrun import Overrun
from rtp.picture import PictureRequests
from rtp.ports import Pair
from rtp.presence import Presence
from rtp.sender import Sender
from rtp.source import FIELDS as COUNTERS
from rtp.source import Counting
from rtp.strangers import Strangers

OWN = ("rejected", "unauthentic", "flooded", "flood_stated", "heard", "taken", "_unheard")
"""Fields of a track that are plain data."""
STRANGERS = ("refused", "kernel", "stated")
SENT = ("packets", "octets", "failed", "late", "shut")


class Carried:
    """The part of `Track` that goes to and comes from another process."""

    __slots__ = NO_FIELDS
    medium: Medium
    pair: Pair
    stream: Stream | None
    sender: Sender
    source: Counting
    latch: Latch
    remote: Address | None
    reader: Handler | None
    pictures: PictureRequests
    group: Group
    strangers: Strangers
    overrun: Overrun
    _believed: Address
    _connected: bool
    _fd: int
    _loop: Loop
    _named: Address | None
    _presence: Presence
    _seconds_per_byte: float

    def _listen(self) -> None:
        raise AssertionError("a track reads")

    def carry(self) -> dict[str, Any]:
        """Give the state of this medium as plain data, but for the sockets; `stay` must follow when it does not go after all."""
        self.strangers.let_in()  # whoever goes on counts them beside the socket, and only one can
        return {
            "presence": self._presence.snapshot(),
            "strangers": {name: getattr(self.strangers, name) for name in STRANGERS},
            "overrun": self.overrun.snapshot(),
            "stream": self.stream,
            "named": self._named,
            "remote": self.remote,
            "connected": self._connected,
            "latch": self.latch.snapshot(),
            "source": self.source.snapshot(),
            "pictures": self.pictures.snapshot(),
            "group": self.group.snapshot(),
            "out": {name: getattr(self.sender.out, name) for name in NUMBERS},
            "codec": self.sender.codec,
            "sent": {name: getattr(self.sender, name) for name in SENT},
            "history": None if self.sender.history is None else self.sender.history.snapshot(),
            "own": {name: getattr(self, name) for name in OWN},
        }

    def stay(self) -> None:
        """Go on here after all."""
        if self._connected:
            self.strangers.shut_out(self.pair.rtp)

    def resume(self, data: dict[str, Any]) -> None:
        """Go on where `carry` was called, with sockets that are bound, and connected, as they were."""
        self.stream = stream = msgspec.convert(data["stream"], Stream | None)
        self._named, self.remote = (tuple(data[name]) if data[name] else None for name in ("named", "remote"))
        self.latch = Latch.restore(data["latch"])
        self.pictures = PictureRequests.restore(data["pictures"])
        self.group = Group.restore(data["group"])
        for name in COUNTERS:
            setattr(self.source, name, data["source"][name])
        self._presence = Presence.restore(data["presence"])
        for name, value in data["strangers"].items():
            setattr(self.strangers, name, value)
        self.overrun.resume(data["overrun"])
        for name, value in data["own"].items():
            setattr(self, name, tuple(value) if isinstance(value, list) else value)
        out = self.sender.out
        for name in NUMBERS:
            setattr(out, name, data["out"][name])
        out.part()  # sources have other numbers here
        self._seconds_per_byte = seconds_per_byte(stream)
        self.sender.history = None if data["history"] is None else History.restore(data["history"])
        self.sender.configure(stream)
        for codec in stream.send if stream is not None else ():
            if msgspec.to_builtins(codec) == data["codec"]:
                self.sender.codec = codec
        for name, value in data["sent"].items():
            setattr(self.sender, name, value)
        self._connected = data["connected"]
        if self._connected and self.remote is not None:
            self._believed = self.remote
            self._listen()
            self.strangers.shut_out(self.pair.rtp)
        self.aim()

    def aim(self) -> None:
        """Send where packets come from (symmetric RTP, RFC 4961); an asymmetric peer is sent to where it said."""
        if self.stream is not None and self.stream.asymmetric:
            self.sender.target(self._named, connected=False)
        else:
            self.sender.target(self.remote, connected=self._connected)
