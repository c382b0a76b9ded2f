"""One play on one leg: items in, one 20 ms payload out each time it is asked."""

from collections.abc import Sequence

from rtp.codecs import form_of, name_of, variant
from rtp.control import Codec
from rtp.prompts import Prompts
from rtp.transcode import Transcoder


class Player:
    """Walks through items (see `rtp.control.Play.items`); the payloads are shared with every other player."""

    def __init__(self, items: Sequence[str], loop: bool, codec: Codec | str, prompts: Prompts) -> None:
        """`loop` repeats the last item for ever; an item that can't be played is skipped."""
        self._items = tuple(items)
        self._loop = loop
        self._codec = variant(codec)
        self._prompts = prompts
        self._item = 0
        self._frame = 0
        self._fetched = -1
        self._payloads: tuple[bytes, ...] = ()
        """Of the item fetched last."""
        self._mode: int | None = None
        self._lower: Transcoder | None = None

    def ask(self, mode: int | None) -> None:
        """Keep to a mode of AMR that the hearer asks for, or to the best below it; nothing in other codecs, or for None.

        The prompts at hand are of the best mode: they are encoded anew as they are played, so no disk is waited for.
        """
        if mode is None or mode == self._mode or name_of(self._codec) != "AMR":
            return
        self._mode = mode
        shape = form_of(self._codec)
        if shape.mode_under(mode) == shape.mode:
            self._lower = None
            return
        if self._lower is None:
            self._lower = Transcoder(self._codec, self._codec)
        self._lower.ask(mode)

    @property
    def position(self) -> tuple[int, int]:
        """Item, and frame of it, that come next."""
        return self._item, self._frame

    @position.setter
    def position(self, at: tuple[int, int]) -> None:
        self._item, self._frame = at

    @property
    def rest(self) -> tuple[tuple[bytes, ...], int]:
        """All payloads of the present item, and the number of the next; () when it is over, or when each is made anew."""
        if self._item == len(self._items) or self._lower is not None:
            return (), 0
        return self._frames, self._frame

    def skip(self, frames: int) -> None:
        """Leave out payloads of the present item."""
        self._frame += frames

    def next_frame(self) -> bytes | None:
        """The payload of the next 20 ms, or None when the play has ended (and ever after)."""
        while self._item < len(self._items):
            frames = self._frames
            if self._frame < len(frames):
                self._frame += 1
                return self._in_mode(frames[self._frame - 1])
            last = self._item == len(self._items) - 1
            if not (self._loop and last and frames):  # a last item without sound would spin for ever
                self._item += 1
            self._frame = 0
        return None

    @property
    def _frames(self) -> tuple[bytes, ...]:
        """All payloads of the present item."""
        if self._fetched != self._item:
            self._fetched = self._item
            self._payloads = self._prompts.frames(self._items[self._item], self._codec)
        return self._payloads

    def _in_mode(self, frame: bytes) -> bytes:
        made = self._lower.push(frame) if self._lower is not None else []
        return made[0] if made else frame
