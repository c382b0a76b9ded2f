"""What of the shift outlives a restart: who is away, whom to call back, and the routing log."""

import json
import stat

from structlog.testing import capture_logs

from pbx.call import seats
from pbx.call.keeping import AWAY_FILE, CALLBACKS_FILE, LOG_FOLDER, Keeping
from pbx.call.ledger import read
from tests.kit.world import World

WALL = 1_800_000_000.0


def told(world, keeping, since=0):
    for number, note in enumerate(world.notes[since:]):
        keeping.noted(note, WALL + number)
    return len(world.notes)


def test_a_restarted_exchange_knows_who_is_away_and_whom_to_call_back(tmp_path, scribe):
    world = World()
    keeping = Keeping(tmp_path, world.exchange, scribe)
    keeping.started(WALL)
    world.sign_in("d1")
    world.run(seats.pause(world.exchange, "d1", world.now, "lunch"))
    world.invite("bob")
    world.ack("bob")
    world.bye("bob")
    told(world, keeping)
    keeping.close()
    assert json.loads((tmp_path / AWAY_FILE).read_bytes()) == {"d1": "lunch"}
    assert stat.S_IMODE((tmp_path / CALLBACKS_FILE).stat().st_mode) == 0o600

    fresh = World()
    again = Keeping(tmp_path, fresh.exchange, scribe)
    again.started(WALL + 1)
    assert fresh.exchange.away == {"d1": "lunch"}
    (task,) = again.callbacks.tasks()
    assert task["number"] == "bob"
    assert again.callbacks.done(task["call"])
    again.close()
    assert json.loads((tmp_path / CALLBACKS_FILE).read_bytes()) == []


def test_the_routing_log_has_what_statistics_need_and_no_name(tmp_path, scribe):
    world = World()
    keeping = Keeping(tmp_path, world.exchange, scribe)
    keeping.started(WALL)
    world.sign_in("d1")
    world.invite("bob")
    world.ack("bob")
    world.bye("bob")
    told(world, keeping)
    keeping.close()
    events = list(read(tmp_path / LOG_FOLDER, WALL, WALL + 100))
    assert [event.what for event in events if event.what != "desk"] == [
        "start",
        "arrived",
        "district",
        "through",
        "ended",
    ]
    states = [(event.desk, event.state) for event in events if event.what == "desk"]
    assert states == [("d1", "idle"), ("d1", "talking"), ("d1", "idle")]
    (file,) = (tmp_path / LOG_FOLDER).iterdir()
    assert b"bob" not in file.read_bytes()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_damaged_files_and_a_full_disk_are_said_and_nothing_more(tmp_path, scribe):
    (tmp_path / AWAY_FILE).write_text("{")
    (tmp_path / LOG_FOLDER).write_text("in the way")
    world = World()
    with capture_logs() as lines:
        keeping = Keeping(tmp_path, world.exchange, scribe)
        keeping.started(WALL)
        keeping.close()
    assert {line["event"] for line in lines} == {"not_read", "routing_not_recorded"}
    assert world.exchange.away == {}
