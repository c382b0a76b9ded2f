"""SIP messages on their way into the evidence of their calls.

in → out: messages as they came and went, in the order they stood on the wire → notes to the media process, once their call is known.
"""

import re
import time
from typing import Final, Protocol

import structlog

from pbx.sip.flow import Flow
from rtp.control import Address, Command, NoteSip

_CALL_ID: Final = re.compile(rb"\r\nCall-ID: *([^\r\n]+)\r\n")
"""The Call-ID of a message we wrote ourselves, whose headers have their long names."""
MAX_EARLY: Final = 64
"""Messages kept of a call that has not begun: an INVITE, its CANCEL and their answers, each ten times over. What a phone sends
beyond that meanwhile is not in the evidence, and the log says so once."""

log = structlog.get_logger("signalling")


_Message = tuple[int, Address, Address, str, bytes]
"""When it was here, from where, to where, over which transport, and what stood on the wire: `NoteSip` without its call."""


class Media(Protocol):
    """What sends to the media process."""

    def send(self, command: Command) -> None: ...


class Calls(Protocol):
    """What knows the calls."""

    def call_of(self, sip_call_id: str) -> str | None: ...


class Line(Protocol):
    """What knows the calls that have not begun."""

    def holds(self, call_id: str) -> bool: ...


class SipNotes:
    """The messages of one turn. They wait until it is over, because an INVITE makes the call it belongs to; those of a call
    that has not begun wait for that.
    """

    def __init__(self, media: Media, calls: Calls, line: Line) -> None:
        self._media = media
        self._calls = calls
        self._line = line
        self._waiting: list[tuple[str, _Message]] = []
        self._early: dict[str, list[_Message]] = {}

    def came(self, call_id: str, data: bytes, flow: Flow) -> None:
        """Take a message of a peer."""
        self._waiting.append((call_id, (time.time_ns(), flow.remote, flow.local, flow.transport, data)))

    def went(self, data: bytes, flow: Flow) -> None:
        """Take a message of ours."""
        found = _CALL_ID.search(data)
        if found is not None:
            message = (time.time_ns(), flow.local, flow.remote, flow.transport, data)
            self._waiting.append((found[1].decode("utf-8", "surrogateescape"), message))

    def begins(self, call_id: str) -> None:
        """Hear that it is a call's turn to begin: what was said before belongs to it."""
        self._waiting += [(call_id, message) for message in self._early.pop(call_id, ())]

    def forget(self, call_id: str) -> None:
        """Hear that a call will never begin."""
        self._early.pop(call_id, None)

    def flush(self) -> None:
        """Give those of calls to their evidence; the others are nobody's."""
        for call_id, message in self._waiting:
            call = self._calls.call_of(call_id)
            if call is not None:
                self._media.send(NoteSip(call, *message))
            elif self._line.holds(call_id):
                early = self._early.setdefault(call_id, [])
                if len(early) < MAX_EARLY:
                    early.append(message)
                    if len(early) == MAX_EARLY:
                        log.warning("early_messages_full", address=message[1][0], kept=MAX_EARLY)
        self._waiting.clear()
