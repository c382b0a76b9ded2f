"""The packet road of tracks whose socket is connected to the believed source: read, decide, send.

tracks that are ready ─▶ one datagram of each ─▶ evidence, where it goes, its numbers ─▶ sent, evidence

Each step is done for many packets before the next: so it finds its code in the caches, of which the kernel needs as much
as we do. The usual packet (in order, relayed as it is) is handled in one frame, because calls are half of what it costs;
`Track._route` says the same in parts and takes all others, and a test holds the two together.
"""
# ruff: noqa: SLF001  # it is part of `Track`, with a file of its own

import time
from collections.abc import Callable
from itertools import repeat
from operator import call
from struct import error as StructError  # noqa: N812  # it is a class, whatever its module calls it
from typing import TYPE_CHECKING, Final

from rtp.flood import BURST_SECONDS, LEAST, WAITED_SECONDS
from rtp.packet import HEADER_SIZE, HEADS
from rtp.sequence import HALF32, MASK16, MASK32, WRAP16, WRAP32, ticks

if TYPE_CHECKING:
    from socket import socket as Socket  # noqa: N812  # a class, beside the sockets here

    from rtp.loop import Loop
    from rtp.sender import Sender
    from rtp.track import Track

DATAGRAM: Final = 9216
"""Bytes read of one datagram: a jumbo frame; RTP keeps below 1,500."""
AT_ONCE: Final = 64
"""Packets of one step: more would have the first of them wait."""
_time_ns: Final = time.time_ns
_unpack: Final = HEADS.unpack_from
_pack: Final = HEADS.pack
_PAYLOAD: Final = slice(HEADER_SIZE, None)


class Travelled:
    """What a packet looks at of its track.

    An object begins with the slots of its first base, so these are side by side: two lines of the cache, where all slots of a track
    in the order of their names, which is Python's, are seven.
    """

    __slots__ = (
        "_heads", "_hearer", "_number", "_permitted_until", "_seconds_per_byte", "_socket", "evidence", "heard", "source", "taken",
    )  # fmt: skip


def travel(tracks: "list[Track]", loop: "Loop") -> None:
    """Read one datagram of each of these tracks and send on what is to be sent on."""
    if len(tracks) <= AT_ONCE:
        _take(tracks, _read(tracks), loop)
        return
    for start in range(0, len(tracks), AT_ONCE):
        some = tracks[start : start + AT_ONCE]
        _take(some, _read(some), loop)


def _read(tracks: "list[Track]") -> list[bytes]:
    """Give a datagram of each track; those that had none are taken off the list."""
    found: list[bytes] = []
    sockets = [track._socket for track in tracks]
    # The method of their class: one object for all of them, where each bound one would have to be fetched from memory.
    reading = map(type(sockets[0]).recv, sockets, repeat(DATAGRAM))
    while True:
        try:
            found.extend(reading)  # keeps what came before an error, and goes on behind it
        except OSError:
            # Nothing there after all, or the peer's system says that nobody listens there (ICMP).
            del tracks[len(found)]
        else:
            return found


def _take(tracks: "list[Track]", packets: list[bytes], loop: "Loop") -> None:
    """Take a datagram of each of these tracks' believed sources and send on what is to be sent on."""
    arrived = zip(tracks, packets, strict=True)
    now, looked, vacant = loop.now, loop.looked, loop.vacant
    longest, most = now - WAITED_SECONDS, now + BURST_SECONDS
    unpack, pack = _unpack, _pack
    arrivals: dict[int, int] = {}  # Hz → `now` in ticks, 32 bits of them
    senders: list[Sender] = []
    sockets: list[Socket | None] = []
    onward: list[bytes] = []
    while True:
        try:
            for track, data in arrived:
                since = vacant if track.heard < looked else longest
                track.heard = now
                size = len(data)
                until = track._permitted_until
                if until < since:  # noqa: PLR1730  # a call each
                    until = since
                if until > most:
                    track.flooded += 1
                    continue
                weight = size if size > LEAST else LEAST  # noqa: FURB136  # a call each
                track._permitted_until = until + weight * track._seconds_per_byte
                try:
                    head, sequence, timestamp, ssrc = unpack(data)
                except StructError:
                    track._take(data)
                    continue
                track.taken += size
                evidence = track.evidence
                if evidence is not None:
                    evidence(_time_ns(), track._believed, track.local, data)
                source, sender = track.source, track._hearer
                leaving = track._heads.get(head)
                if (
                    leaving is None
                    or sequence != source.highest + 1
                    or ssrc != source.ssrc
                    or not sender.straight
                    or (out := sender.out).source != track._number
                ):
                    route = track._routes[head & 0x7F]
                    if route is None or head & 0xC000 != 0x8000:
                        track.rejected += 1
                        continue
                    if senders:
                        _send(senders, sockets, onward, loop)  # whatever this one leads to comes after them
                    track._route(route, data, sequence, timestamp, ssrc, now)
                    continue
                source.highest = sequence
                source.count += 1
                rate = source.rate
                try:
                    transit = arrivals[rate] - timestamp
                except KeyError:
                    arrivals[rate] = ticks(now, rate) & MASK32
                    transit = arrivals[rate] - timestamp
                # Masking takes longer than to look whether a number of 16 or 32 bits wrapped.
                if transit < 0:
                    transit += WRAP32
                change = transit - source.transit
                if change < 0:
                    change = -change
                if change >= HALF32:
                    change = WRAP32 - change
                source.transit = transit
                jitter = source.jitter16
                source.jitter16 = jitter + change - ((jitter + 8) >> 4)
                sequence += out.sequence_offset
                if sequence > MASK16:
                    sequence -= WRAP16
                timestamp += out.timestamp_offset
                if timestamp > MASK32:
                    timestamp -= WRAP32
                out.sequence, out.timestamp, out.at = sequence, timestamp, now
                senders.append(sender)
                sockets.append(sender.direct)
                onward.append(pack(leaving, sequence, timestamp, out.ssrc) + data[_PAYLOAD])
        except Exception as error:  # noqa: BLE001  # logged and counted: one leg's failure must not end the others
            loop.failed(f"{track.leg}.{track.medium}", error)
        else:
            break
    if senders:
        _send(senders, sockets, onward, loop)


def _send(
    senders: "list[Sender]", sockets: "list[Socket | None]", packets: list[bytes], loop: "Loop"
) -> None:
    """Send packets, each its own way, which is the socket beside it unless that is None; the lists are empty then."""
    sent: list[int] = []
    sending: map[int]
    if not all(sockets):
        sending = map(call, [sender.transmit for sender in senders], packets)
    else:
        send: Callable[..., int] = type(sockets[0]).send  # type: ignore[union-attr]  # as in `_read`
        sending = map(send, sockets, packets)
    while len(sent) < len(packets):
        try:
            sent.extend(sending)  # as in `_read`
        except OSError:
            senders[len(sent)].failed += 1
            sent.append(0)
        except Exception as error:  # noqa: BLE001  # as above
            _failed(senders[len(sent)], loop, error)
            sent.append(0)
    for sender, size, packet in zip(senders, sent, packets, strict=True):
        if not size:
            continue
        sender.packets += 1
        sender.octets += size - HEADER_SIZE
        evidence = sender.evidence
        if evidence is not None and sender.remote is not None:
            try:
                evidence(_time_ns(), sender.local, sender.remote, packet)
            except Exception as error:  # noqa: BLE001  # as above
                _failed(sender, loop, error)
    senders.clear()
    sockets.clear()
    packets.clear()


def _failed(sender: "Sender", loop: "Loop", error: Exception) -> None:
    loop.failed(f"sender {sender.local[0]}:{sender.local[1]}", error)
