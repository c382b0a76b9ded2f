"""What callers show at this moment: pictures of live calls, made from their captures while somebody asks.

in → out: `looks/<call>.json` (a lease: signalling touches it while somebody looks) → `looks/<call>.jpg`, a new one each second,
its modification time the moment the picture came; both are gone when the lease has run out.

The capture is read as it grows (every 100 ms), so that neither the media process nor its loop knows of this; the first look at a
call reads it from the beginning, in which a decoder needs only what stands behind the last key frame. Runs in a thread of the
recorder. A moment's loss spoils a picture until the next key frame, which signalling asks for; what is spoilt is not shown.
"""

import io
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final, cast

import av
import av.error
import structlog
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from recordings.depacketize import DEPACKETIZERS, AccessUnit, Depacketizer
from recordings.events import read_events
from recordings.folder import CAPTURE_NAME, EVENTS_NAME, make_private_folder
from recordings.leases import FOLDER, LEASE_SECONDS, MAX_LOOKS
from recordings.pcapng import (
    INTERFACE_DESCRIPTION,
    SECTION_HEADER,
    Captured,
    PcapngError,
    blocks,
    read,
    whole_length,
)
from recordings.picture import parameter_sets
from recordings.rtp_header import parse_rtp
from recordings.snapshot import DECODERS, MAX_PIXELS, encode_jpeg
from recordings.streams import Format, StreamMap, from_events

PICTURE_SECONDS: Final = 1.0
"""Between two pictures of one call."""
TURN_SECONDS: Final = 0.2
CHUNK: Final = 1 << 20
MAX_UNITS: Final = 4000
"""Pictures behind one key frame that are kept while catching up: more than two minutes; who sends none for longer is asked."""
MAX_WIDTH: Final = 640
"""Of what is shown; larger pictures are made smaller."""
NEW: Final = ".new"

log = structlog.get_logger("recorder")


class Tail:
    """Reads a capture that still grows: whole blocks, each once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._head = b""  # section header and interfaces, without which a packet can't be read
        self._left = b""

    def take(self) -> list[Captured]:
        """Give the packets of the next piece; none when all there is was read. Raises PcapngError."""
        fresh = self._file.read(CHUNK)
        if not fresh:
            return []
        data = self._head + self._left + fresh
        whole = data[: whole_length(io.BytesIO(data))]
        self._left = data[len(whole) :]
        head = b""
        for offset, kind, body, _little in blocks(io.BytesIO(whole)):
            if kind == SECTION_HEADER:
                head = whole[offset : offset + len(body) + 12]
            elif kind == INTERFACE_DESCRIPTION:
                head += whole[offset : offset + len(body) + 12]
        self._head = head
        return list(read(io.BytesIO(whole)))


class Look:
    """One call that is looked at."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError when there is no capture."""
        self._events = folder / EVENTS_NAME
        self._events_size = -1
        self._streams = StreamMap()
        self._file = (folder / CAPTURE_NAME).open("rb")
        self._tail = Tail(self._file)
        self._depacketizers: dict[tuple[int, Format], Depacketizer] = {}
        self._sequences: dict[int, int] = {}
        self._units: list[
            tuple[AccessUnit, Format, int]
        ] = []  # from the newest key frame on, not yet decoded
        self._decoder: VideoCodecContext | None = None
        self.frame: VideoFrame | None = None
        self.moment = 0
        """When the first packet of `frame` came, ns since 1970."""

    def close(self) -> None:
        """Close the capture."""
        self._file.close()

    def catch_up(self, stopping: Callable[[], bool]) -> None:
        """Read all there is and decode to the newest picture. Raises OSError, PcapngError."""
        size = self._events.stat().st_size
        if size != self._events_size:
            self._streams, self._events_size = from_events(read_events(self._events)), size
        while not stopping() and (records := self._tail.take()):
            for record in records:
                self._hear(record)
        self._decode()

    def _hear(self, record: Captured) -> None:
        packet = parse_rtp(record.data)
        if packet is None:
            return
        match = self._streams.find(record.at_ns, record.source, record.destination, packet.payload_type)
        if match is None or match.party != "caller" or match.medium != "video" or match.format is None:
            return
        if match.format.name not in DECODERS:
            return
        before = self._sequences.get(packet.ssrc)
        step = 1 if before is None else (packet.sequence - before) & 0xFFFF
        if not step or step >= 0x8000:
            return  # again, or late
        self._sequences = {packet.ssrc: packet.sequence}
        key = (packet.ssrc, match.format)
        if key not in self._depacketizers:
            self._depacketizers = {key: DEPACKETIZERS[match.format.name]()}
        depacketizer = self._depacketizers[key]
        if step > 1:
            depacketizer.lost()
        for unit in depacketizer.push(packet.payload, packet.marker, packet.timestamp):
            self._keep(unit, match.format, record.at_ns)

    def _keep(self, unit: AccessUnit, form: Format, at_ns: int) -> None:
        if not unit.complete:
            # What follows would show what the loss left: wait for a key frame.
            self._units, self._decoder = [], None
        elif unit.key:
            self._units, self._decoder = [(unit, form, at_ns)], None
        elif (self._units or self._decoder is not None) and len(self._units) < MAX_UNITS:
            self._units.append((unit, form, at_ns))

    def _decode(self) -> None:
        units, self._units = self._units, []
        for unit, form, at_ns in units:
            data = unit.data
            if self._decoder is None:
                self._decoder = _decoder(form.name)
                data = parameter_sets(form.name, form.fmtp) + data
            try:
                frames = self._decoder.decode(av.Packet(data))
            except av.error.FFmpegError:
                self._decoder = None
                return
            for frame in frames:
                if not frame.is_corrupt and frame.width and frame.height:
                    self.frame, self.moment = frame, at_ns


def _decoder(name: str) -> VideoCodecContext:
    decoder = cast("VideoCodecContext", av.CodecContext.create(DECODERS[name], "r"))
    decoder.thread_count = 1  # with more the newest picture is held back
    decoder.options = {"max_pixels": str(MAX_PIXELS), "flags": "low_delay"}
    return decoder


class Looks:
    """All calls that are looked at."""

    def __init__(
        self,
        evidence: Path,
        state: Path,
        *,
        stopping: Callable[[], bool],
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`evidence`: the folder in which all calls' folders lie; `state`: where the spool lies. Raises OSError when its own folder can't be made."""
        self._evidence = evidence.resolve()
        self._folder = state / FOLDER
        self._stopping = stopping
        self._wall = wall
        self._open: dict[str, Look] = {}
        self._written: dict[str, float] = {}
        make_private_folder(self._folder)
        for left in self._folder.iterdir():
            left.unlink(missing_ok=True)

    def turn(self) -> None:
        """Serve every lease once. Raises OSError when the folder can't be read."""
        now = self._wall()
        leases = {
            path.stem: path
            for path in self._folder.glob("*.json")
            if abs(now - path.stat().st_mtime) <= LEASE_SECONDS  # the clock may have been set back since
        }
        for call in [call for call in self._open if call not in leases]:
            self._end(call)
        for path in self._folder.iterdir():
            if path.suffix != NEW and path.stem not in leases:
                path.unlink(missing_ok=True)
        for call, path in sorted(leases.items())[:MAX_LOOKS]:
            if self._stopping():
                return
            try:
                self._serve(call, path, now)
            except (OSError, PcapngError, av.error.FFmpegError, ValueError) as error:
                log.warning("look_failed", call=call, reason=f"{type(error).__name__}: {error}")
                self._end(call)
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """End all looks."""
        for call in list(self._open):
            self._end(call)

    def _serve(self, call: str, lease: Path, now: float) -> None:
        look = self._open.get(call)
        if look is None:
            folder = Path(str(json.loads(lease.read_bytes())["folder"])).resolve()
            if self._evidence not in folder.parents:
                raise ValueError("its folder is not inside the evidence")
            look = self._open[call] = Look(folder)
        look.catch_up(self._stopping)
        if look.frame is None or now - self._written.get(call, 0.0) < PICTURE_SECONDS - TURN_SECONDS / 2:
            return
        made = self._folder / f"{call}.jpg"
        if made.exists() and made.stat().st_mtime_ns == look.moment:
            return
        fresh = made.with_suffix(NEW)
        fresh.touch(mode=0o600)
        fresh.write_bytes(encode_jpeg(_small(look.frame), f"110 call {call}"))
        os.utime(fresh, ns=(look.moment, look.moment))
        fresh.replace(made)
        self._written[call] = now

    def _end(self, call: str) -> None:
        self._open.pop(call).close() if call in self._open else None
        self._written.pop(call, None)
        (self._folder / f"{call}.jpg").unlink(missing_ok=True)

    def run(self, wait: Callable[[float], object]) -> None:
        """Serve leases until asked to stop; `wait(seconds)` returns early then. A fault of the disk is told once."""
        told = ""
        while not self._stopping():
            try:
                self.turn()
            except OSError as error:
                if str(error) != told:
                    told = str(error)
                    log.error("looks_failed", reason=told)
            wait(TURN_SECONDS)
        self.close()


def _small(frame: VideoFrame) -> VideoFrame:
    if frame.width <= MAX_WIDTH:
        return frame
    return frame.reformat(width=MAX_WIDTH, height=max(2, frame.height * MAX_WIDTH // frame.width & ~1))
