"""Statistics computed again from the raw events are those the running exchange gives, whatever happened."""

import datetime as dt
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbx.call import ledger, raw_events, seats
from pbx.call.ledger import Ledger
from recordings.events import EventLog
from routing.queues import Profile, QueueRule, Rules
from routing.statistics import compute
from rtp.control import LegReport, MediaLost, StreamReport
from tests.kit import places
from tests.kit.world import World, sdp
from tests.pbx.call.test_routing import place as dial

START = 1_763_769_600.0  # 2025-11-22T00:00:00Z
DESKS = ("d1", "d2")
RULES = Rules(
    wrap_up=2.0,
    queues={
        "default": QueueRule(),
        "q-west": QueueRule("q-west", overflow_to=("default",), overflow_after=9.0),
    },
    profiles={"d1": Profile({"default": 1}), "d2": Profile({"q-west": 1, "default": 2})},
)


class Notes(list):
    """Tells each note to the two who write things down, at the same moment by the same clock."""

    def __init__(self, world):
        super().__init__()
        self.world = world

    def append(self, note):
        super().append(note)
        self.world.written(note)


class Kept(World):
    """A world whose calls leave evidence, and whose exchange keeps its routing log."""

    def __init__(self, folder):
        super().__init__(routing=RULES, desks=DESKS, callers=("alice",))
        self.exchange.whereabouts.districts = places.districts()
        self.folder, self.notes = folder, Notes(self)
        self.ledger = Ledger(folder / "routing", self.exchange)
        self.logs = {}
        self.alices = []
        ledger.write(*self.ledger.started(START))

    def written(self, note):
        wall_ns = round((START + self.now) * 1e9) + 777_777
        if note.call is not None:
            where = self.folder / "evidence" / note.call
            if note.call not in self.logs:
                self.logs[note.call] = EventLog(note.call, str(where), wall_ns=wall_ns, mono=self.now)
            fields = {key: value for key, value in note.fields.items() if key != "call"}
            self.logs[note.call].append(note.event, fields, wall_ns=wall_ns, mono=self.now)
        found = self.ledger.line(note, wall_ns // 1_000_000 / 1e3)
        if found is not None:
            ledger.write(*found)

    def step(self, what, number, seconds):
        name, desk = f"c{number}", DESKS[number % len(DESKS)]
        self.now += seconds
        match what:
            case "call" if self.call(name) is None:
                inside = number % 2
                place = places.document(36.5, 120.5 + inside, 25.0)
                kind, body = places.phone.multipart(sdp(), place, content_id="p", boundary="b1")
                request = self.request("INVITE", "sip:110@192.0.2.1", name, body=body, content_type=kind)
                request.headers.add("Geolocation", "<cid:p>")
                self.invites[name] = request
                self.transactions[name] = self.arrive(request, name)
                self.ack(name)
            case "bye" if self.call(name) is not None and self.last_answer(name) is not None:
                self.bye(name)
            case "again":
                # Between a call of a person and the end of its last one passes at least the time a clock can tell.
                self.now += 0.002
                self.alices.append(dial(self, f"alice/{number}-{len(self.alices)}"))
                self.now += 0.002
            case "dies" if there := [call for call in self.alices if call in self.exchange.calls]:
                self.now += 0.002
                self.says(MediaLost(self.exchange.calls[there[number % len(there)]].leg, "audio", 5.0))
                self.wait(40.0)
            case "in" if not self.exchange.room(desk).present:
                self.sign_in(desk)
            case "out" if self.exchange.room(desk).present:
                self.run(seats.sign_out(self.exchange, desk, self.now))
            case "speaks" if self.exchange.room(desk).present:
                leg = self.desk_leg(desk).id
                self.count = getattr(self, "count", 0) + 1
                self.says(LegReport(leg, (StreamReport("audio", self.count, 0, 0.0, 0, 0),)))
        self.wait(0.0)


def figures(events, until):
    return compute(events, since=START, until=until, zone=dt.UTC, period="hour").view()


STEP = st.tuples(
    st.sampled_from(("call", "call", "bye", "again", "again", "dies", "in", "out", "speaks", "wait")),
    st.integers(0, 5),
    st.floats(0.0, 30.0).map(lambda s: round(s, 4)),
)


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(STEP, min_size=5, max_size=40))
def test_both_ways_give_the_same_figures_to_the_last_digit(steps):
    with tempfile.TemporaryDirectory() as name:
        world = Kept(Path(name))
        for step in steps:
            world.step(*step)
        until = START + world.now + 0.001
        for log in world.logs.values():
            log.close()
        said = figures(ledger.read(world.folder / "routing", START, until), until)
        again = figures(
            raw_events.read(world.folder / "evidence", world.folder / "routing", START, until), until
        )
        assert again == said
        attached = [note for note in world.noted("same_incident") if note.fields["why"] == "attached"]
        arrived = len(world.noted("call_arrived")) - len(attached)
        assert said["total"]["arrived"] == arrived
        assert sum(one["arrived"] for one in said["districts"].values()) == arrived


def test_a_call_that_a_desk_placed_is_nobodys_wait():
    records = [
        {
            "at": "2025-11-22T00:00:00.000+00:00",
            "call": "c",
            "event": "call_arrived",
            "direction": "outgoing",
        },
        {"at": "2025-11-22T00:00:01.000+00:00", "call": "c", "event": "put_through", "desk": "d1"},
    ]
    assert list(raw_events.of_call(records)) == []


def test_who_sat_at_the_desk_counts_and_not_the_desk():
    at = "2025-11-22T00:00:01.000+00:00"
    records = [{"at": at, "call": "c", "event": "put_through", "desk": "d1", "agent": "li"}]
    (event,) = raw_events.of_call(records)
    assert (event.agent, event.desk, event.at) == ("li", "d1", START + 1)


def test_a_folder_that_goes_while_it_is_looked_at_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    going = tmp_path / "evidence" / "film-being-made"
    going.mkdir(parents=True)
    look = os.scandir

    def scandir(path: str) -> Iterator[os.DirEntry[str]]:
        if Path(path) == going:
            going.rmdir()
        return look(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert list(raw_events.read(tmp_path / "evidence", tmp_path / "routing", START, START + 1)) == []
    assert not going.exists()
