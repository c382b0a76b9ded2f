"""Writes down what happens: the call's event log, the database's outbox, the live feed, metrics and the log.

in → out: `Note`s → lines of `events.jsonl`, rows, feed events. Nothing here decides anything, and no fault here may touch
a call: a log that can't be written is stated and the call goes on.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import structlog

from pbx.call import leftovers, views
from pbx.call.call import CONFIRM_SECONDS, State
from pbx.call.effects import Note
from pbx.call.event_sheet import EventSheet, HandingOn
from pbx.call.exchange import Exchange
from pbx.call.rows import rows
from pbx.call.seats import seat_state
from pbx.call.views import Times
from pbx.live.outward import FINISH, LINE, Outward
from pbx.metrics import Metrics
from pbx.scribe import Scribe
from recordings.folder import EVENTS_NAME, MANIFEST_NAME

log = structlog.get_logger("signalling")

QUIET: Final = frozenset({"desk_changed", "location", "media_negotiated", "position", "routed"})
"""Notes that are no lines of the log: they follow from others, or say too much."""
IDENTITY: Final = frozenset({"user", "name", "number", "address"})
"""Fields that stay out of the log when the caller asked for privacy (RFC 3323)."""
PRIVATE: Final = frozenset(
    {"text", "digit", "geolocation", "claims", "claimed", "diverted", "found", "blocked"}
)
"""Fields that stay in evidence and database: a log is read by people who may not read those."""


class Outbox(Protocol):
    """What the database's outbox does for us."""

    def append(self, kind: str, record: dict[str, Any]) -> None: ...


class Watch:
    """See the module."""

    def __init__(
        self,
        exchange: Exchange,
        *,
        outbox: Outbox,
        publish: Callable[[dict[str, Any]], None],
        metrics: Metrics,
        spool: Path,
        registered: Callable[[str], bool],
        scribe: Scribe,
        watched: Callable[[], bool] = lambda: True,
        also: Callable[[Note, float], None] | None = None,
        outward: Outward | None = None,
        there: Callable[[], None] = lambda: None,
    ) -> None:
        """`publish` takes events of the live feed, if it is `watched`; `spool`: where the recorder looks for finished calls; `there`: see `EventSheet`."""
        self._there = there
        self._exchange = exchange
        self._outbox = outbox
        self._publish = publish
        self._metrics = metrics
        self._spool = spool
        self._registered = registered
        self._also = also
        self._scribe = scribe
        self._watched = watched
        self._info = (
            structlog.get_logger("signalling").bind().info
        )  # bound once: it is called twelve times in a call
        self._sheets: dict[str, EventSheet] = {}
        self._changed: set[str] = set()
        self._reported: set[str] = set()  # legs whose streams were counted since the last flush
        self._over = False  # a call ended since the last flush
        self._handing_on = HandingOn(spool)
        self._before = leftovers.stamp(time.time())
        self._desk_since: dict[str, float] = {}
        self.times: dict[str, Times] = {}
        self._people: dict[str, list[dict[str, Any]]] = {}
        self._outward = outward or Outward()
        self._lines: dict[str, int] = {}  # call → lines of its log, those on their way there included
        self._ours: set[str] = (
            set()
        )  # calls this process had itself, or was told to be over, though they may be of one before it by their ids
        self._redone: set[str] = set()  # calls of which lines were written again after a restart
        self._kept: set[str] = set()  # calls and desks to write down for a restart

    # --- Watcher ------------------------------------------------------------------------------------------------

    def noted(self, note: Note, wall_ns: int, mono: float) -> None:
        """Take one note."""
        if self._also is not None:
            self._also(note, wall_ns // 1_000_000 / 1e3)  # to the millisecond, as evidence has it
        if note.call is not None:
            self._kept.add(note.call)
            self._keep_times(note, note.call, wall_ns / 1e9)
            fields = _plain(note.fields)
            self._to_evidence(note, note.call, fields, wall_ns, mono)
            for kind, row in rows(note, note.call, fields, wall_ns):
                self._outbox.append(kind, row)
        elif note.event == "call_cut":
            row = {"call": note.fields["cut"], "state": "ended", "reason": "cut", "ended_at": wall_ns}
            self._outbox.append("call", row)
            self._ours.add(note.fields["cut"])
            sheet = self._sheets[note.fields["cut"]] = self._sheet(note.fields["cut"])
            self._scribe.put(sheet, ("left_open", {"why": "died", "missing": None}, wall_ns, mono))
        if note.event not in QUIET:
            self._info(note.event, call=note.call, **shown(note))
        if note.event == "desk_changed" or note.event.startswith("desk_sign"):
            self._desk_changed(note.fields["desk"], wall_ns)
        elif note.call is not None:
            self._changed.add(note.call)
        if note.event.startswith("trunk_"):
            self._publish({"type": "trunk", "event": note.event, **shown(note)})
        room = self._exchange.rooms.peek(str(note.fields.get("desk")))
        if note.event.startswith("staff_") and room is not None and not room.outside:
            self._publish({"type": "desk", "desk": self.desk(note.fields["desk"])})
        self._count(note)

    def finished(self, call: str) -> None:
        """Close the call's log and hand its folder to the recorder."""
        folder = f"{self._exchange.site.policy.folder}/{call}"
        people = self._people.pop(call, [])
        self._outward.do(partial(self._hand_on, call, folder, people), (FINISH, call, folder, people))
        self.times.pop(call, None)
        self._lines.pop(call, None)
        self._kept.add(call)
        self._changed.discard(call)
        self._over = True
        self._publish({"type": "call_ended", "call": {"call": call}})

    def reported(self, leg: str) -> None:
        """Hear that the streams of a leg were counted: each leg every five seconds."""
        self._reported.add(leg)

    def flush(self) -> None:
        """Publish what changed since the last time; call it ten times a second.

        A caller who is put through moves two hundred others: gathering spares the watchers, and the loop.
        """
        if legs := views.legs_view(self._exchange, self._reported):
            self._publish({"type": "media", "legs": legs})
        self._reported.clear()
        if not self._changed and not self._over:
            return
        self._over = False
        for call in self._changed if self._watched() else ():
            found = self._exchange.calls.get(call)
            if found is not None and call in self.times:
                self._publish(
                    {"type": "call", "call": views.call_view(self._exchange, found, self.times[call])}
                )
        self._changed.clear()
        if self._watched():
            self._publish({"type": "queue", "queue": self.queue()})
        states = [call.state for call in self._exchange.calls.values()]
        self._metrics.calls.labels("waiting").set(sum(s is State.WAITING for s in states))
        self._metrics.calls.labels("active").set(sum(s is State.TALKING for s in states))

    def close(self) -> None:
        """Close every log that is still open, and wait until all is on disk."""
        for call in list(self._sheets):
            self.finished(call)
        self._scribe.flush()
        self._handing_on.close()

    # --- for the API ----------------------------------------------------------------------------------------------

    def calls(self) -> list[dict[str, Any]]:
        """Return the live calls, oldest first."""
        found = self._exchange.calls.values()
        return [views.call_view(self._exchange, c, self.times[c.id]) for c in found if c.id in self.times]

    def queue(self) -> list[dict[str, Any]]:
        """Return the queue."""
        return views.queue_view(self._exchange, self.times)

    def desk(self, desk: str) -> dict[str, Any]:
        """Return one desk."""
        since = self._desk_since.setdefault(desk, time.time())
        return views.desk_view(self._exchange, desk, since=since, registered=self._registered(desk))

    def desk_states(self, desks: Iterable[str]) -> dict[str, int]:
        """Count the desks by what they are."""
        counts = dict.fromkeys(("signed_out", "calling", "free", "busy", "wrap_up", "paused", "visiting"), 0)
        for desk in desks:
            counts[seat_state(self._exchange, desk)] += 1
        return counts

    # --- small pieces -----------------------------------------------------------------------------------------------

    def _keep_times(self, note: Note, call: str, wall: float) -> None:
        times = self.times.get(call)
        match note.event:
            case "call_arrived":
                self.times[call] = Times(wall)
                who = ("user", "name", "number", "verified", "proof", "address")
                self._people[call] = [{"role": "caller", **{key: note.fields[key] for key in who}}]
                return
            case "talk_began":
                self._people[call] = [{"role": "dispatcher", "user": note.fields["desk"]}]
            case "talk_joined":
                self._people[call].append({"role": note.fields["role"], "user": note.fields["who"]})
        if times is None:
            return
        match note.event:
            case "call_answered":
                times.answered = wall
                self._metrics.setup_seconds.observe(wall - times.started)
            case "put_through":
                times.attached = wall
                desk = {"role": "dispatcher", "user": note.fields["desk"]}
                if desk not in self._people[call]:
                    self._people[call].append(desk)
                self._metrics.wait_seconds.observe(note.fields["waited_ms"] / 1000)
            case "desk_lost":
                times.attached = None
            case "call_ended":
                times.ended = wall
            case "silent_off_asked":
                times.silent_off_until = wall + CONFIRM_SECONDS
            case "silent_off" | "silent_on" | "silent_off_refused":
                times.silent_off_until = None

    def _to_evidence(self, note: Note, call: str, fields: dict[str, Any], wall_ns: int, mono: float) -> None:
        if note.event in {"call_arrived", "talk_began"}:
            self._sheets[call] = self._sheet(call)
            self._lines[call] = 0
            if call <= self._before or call.startswith(
                self._before
            ):  # this second's; or the clock was set back
                self._ours.add(call)
        if call in self._lines:
            self._lines[call] += 1
            entry = (note.event, fields, wall_ns, mono)
            put = partial(self._scribe.put, self._sheets[call], entry)
            self._outward.do(put, (LINE, call, *entry, self._lines[call]))

    def _sheet(self, call: str) -> EventSheet:
        return EventSheet(call, f"{self._exchange.site.policy.folder}/{call}", self._there)

    def _hand_on(self, call: str, folder: str, people: list[dict[str, Any]]) -> None:
        sheet = self._sheets.pop(call, None) or EventSheet(call, folder, self._there)
        # Once its last line is written; flushing waits for the disk, so a thread of its own does it.
        self._scribe.then(sheet, partial(self._handing_on.take, sheet, call, folder, people))

    def sweep(self, evidence: Path) -> None:
        """Complete the evidence of calls nobody will end any more; once, when it is known which calls live."""
        exchange = self._exchange
        live = frozenset({*exchange.calls, *exchange.hands.talks})
        before, spool = self._before, self._spool

        def find(in_hand: Callable[[str], bool]) -> Iterator[leftovers.Leftover]:
            def known(call: str) -> bool:
                return call in live or call in exchange.orphans or call in self._ours or in_hand(call)

            return leftovers.find(evidence, spool, before=before, known=known)

        # Behind all that is written and handed on again after a restart.
        self._scribe.then(EventSheet("", ""), partial(self._handing_on.sweep, find, self._there))

    # --- across a restart -------------------------------------------------------------------------------------------

    def changes(self) -> Iterator[tuple[str, Any]]:
        """Give what is known of each call beside its machines, as far as it may have changed."""
        kept, self._kept = self._kept, set()
        for call in kept:
            times, people = self.times.get(call), self._people.get(call)
            known = [None if times is None else times.pack(), people, self._lines.get(call)]
            yield call, None if people is None else known

    def resume(self, records: Mapping[str, Any]) -> None:
        """Take up the calls `changes` told of that are live."""
        for call, (times, people, lines) in records.items():
            if call in self._exchange.calls or call in self._exchange.hands.talks:
                if times is not None:
                    self.times[call] = Times(**times)
                self._people[call] = list(people)
                self._changed.add(call)
                if lines is not None:
                    sheet = self._sheets[call] = self._sheet(call)
                    sheet.before = self._lines[call] = lines

    def again(self, out: Sequence[Any], present: dict[str, int]) -> None:
        """Do again what a dead process may not have done to files (`outward`), unless it has.

        `present`: call → lines its log has; filled here.
        """
        match out:
            case [kind, str(call), str(event), dict(fields), int(at), float(when), int(number)] if (
                kind == LINE
            ):
                folder = Path(self._exchange.site.policy.folder, call)
                if call not in present:
                    present[call] = _lines(folder / EVENTS_NAME)
                # The folder of a call that is over may be gone already; it is not made anew.
                if present[call] < number and (call in self._sheets or folder.is_dir()):
                    present[call] = number
                    sheet = self._sheets.setdefault(call, self._sheet(call))
                    if call not in self._redone:
                        self._redone.add(call)
                        sheet.before = number - 1
                    self._scribe.put(sheet, (event, fields, at, when))
            case [kind, str(call), str(folder), list(people)] if kind == FINISH:
                manifest, told = Path(folder) / MANIFEST_NAME, self._spool / f"{call}.json"
                if manifest.exists() or told.exists():
                    self._sheets.pop(call, None)
                else:
                    self._hand_on(call, folder, people)

    def _desk_changed(self, desk: str, wall_ns: int) -> None:
        self._desk_since[desk] = wall_ns / 1e9
        if self._watched():
            self._publish({"type": "desk", "desk": self.desk(desk)})
        room = self._exchange.rooms.peek(desk)
        state, guest = seat_state(self._exchange, desk), None if room is None else room.guest
        row = {"desk": desk, "account": desk, "state": state, "call": guest, "since": wall_ns}
        self._outbox.append("desk", row)

    def _count(self, note: Note) -> None:
        match note.event:
            case "call_ended":
                self._metrics.calls_total.labels(_result(note.fields)).inc()
            case "reconciled":
                self._metrics.reconciled.labels(note.fields["what"]).inc()
            case "desk_sent_no_sound" if note.fields["put_away"]:
                self._metrics.put_away.inc()
            case "not_recorded":
                self._metrics.not_recorded.labels(note.fields["reason"]).inc()
            case "capture_closed":
                self._metrics.evidence_bytes.inc(note.fields["bytes"])


def shown(note: Note) -> dict[str, Any]:
    """Return what of a note stands in the log."""
    hidden = PRIVATE | IDENTITY if note.fields.get("privacy") else PRIVATE
    return {key: value for key, value in note.fields.items() if key not in hidden}


def _result(fields: dict[str, Any]) -> str:
    if fields["while"] == "talking":
        return "answered"
    if fields["while"] == "waiting" or fields["cause"] == "cancelled":
        return "abandoned"
    return "refused" if fields["cause"] == "no_media_ports" else "failed"


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    """Rename fields that clash with those of the event log itself. Nobody changes a note's fields once it is told."""
    if "call" not in fields:
        return fields
    return {("dialled" if key == "call" else key): value for key, value in fields.items()}


def _lines(file: Path) -> int:
    """Count the whole lines of an event log; none when it is not there."""
    try:
        return file.read_bytes().count(b"\n")
    except OSError:
        return 0
