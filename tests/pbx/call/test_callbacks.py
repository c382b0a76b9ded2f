"""What a task to call somebody back says: where the caller was last, and what it wrote; across restarts, and never in a log."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from pbx.call.callbacks import MAX_CHARACTERS, MAX_TEXTS, Callbacks
from pbx.call.effects import Note
from pbx.call.keeping import CALLBACKS_FILE, Keeping
from pbx.call.routing_service import callback_view
from pbx.call.watch import shown
from pbx.location.civic import Civic
from pbx.location.header import Said
from pbx.location.pidf import Located
from pbx.location.trail import Trail
from routing.shapes import Circle, Point
from tests.kit import places
from tests.kit.world import World, sdp

WALL = 1_800_000_000.0
WRITTEN = "他拿着刀，我在衣柜里 he has a knife"


def arrived(book, call="a"):
    book.noted(Note("call_arrived", call, {"user": "alice", "number": "13800138000"}), WALL)


def ended(book, call="a"):
    book.noted(Note("call_ended", call, {"while": "waiting", "cause": "bye"}), WALL + 9)


def abandoned_call(world, keeping):
    """A caller in the west says so, writes, and hangs up before anybody is there."""
    world.exchange.whereabouts.districts = places.districts()
    kind, body = places.phone.multipart(
        sdp(), places.document(36.5, 120.5), content_id="place@phone", boundary="b1"
    )
    request = world.request(
        "INVITE",
        "sip:110@192.0.2.1",
        "bob",
        body=body,
        content_type=kind,
        headers=(("Geolocation", "<cid:place@phone>"),),
    )
    world.invites["bob"], world.transactions["bob"] = request, world.arrive(request, "bob")
    world.ack("bob")
    seen = world.exchange.whereabouts.place(world.call("bob").id)
    world.in_dialog("bob", "MESSAGE", cseq=7, body=WRITTEN.encode(), content_type="text/plain;charset=UTF-8")
    world.bye("bob")
    for note in world.notes:
        keeping.noted(note, WALL)
    return seen


def test_a_task_says_where_the_caller_was_and_what_it_wrote_and_outlives_a_restart(tmp_path, scribe):
    world = World()
    keeping = Keeping(tmp_path, world.exchange, scribe)
    seen = abandoned_call(world, keeping)
    keeping.close()
    fresh = World()
    with capture_logs() as lines:
        (task,) = Keeping(tmp_path, fresh.exchange, scribe).callbacks.tasks()
    assert lines == []
    assert seen is not None
    assert seen["shape"] == "circle"
    assert task["place"] == json.loads(json.dumps(seen)), "as the view of the call showed it"
    assert task["texts"] == [{"at": WALL, "text": WRITTEN}]
    assert callback_view(task, places.districts())["district"] == {
        "district": "west", "by": "position", "name": {"zh": "west", "en": "west"},
    }  # fmt: skip


def test_neither_the_routing_log_nor_the_log_has_what_was_written(tmp_path, scribe):
    world = World()
    keeping = Keeping(tmp_path, world.exchange, scribe)
    abandoned_call(world, keeping)
    keeping.close()
    files = [file for file in tmp_path.rglob("*") if file.is_file() and file.name != CALLBACKS_FILE]
    assert files
    for file in files:
        assert WRITTEN.encode() not in file.read_bytes()
    (note,) = world.noted("text")
    assert WRITTEN not in str(shown(note))


def test_a_call_that_lives_through_a_restart_keeps_what_it_said_until_then(tmp_path, scribe):
    book = Callbacks()
    arrived(book)
    book.noted(Note("location", "a", {"by": "caller", "shape": "point", "number": 1}), WALL)
    book.noted(Note("text", "a", {"from": "caller", "text": "one"}), WALL)
    live, follows = book.of("a")
    later = Callbacks()
    later.resume("a", json.loads(json.dumps(live)), follows)
    later.noted(Note("text", "a", {"from": "caller", "text": "two"}), WALL + 5)
    ended(later)
    (task,) = later.tasks()
    assert [one["text"] for one in task["texts"]] == ["one", "two"]
    assert task["place"] == {"by": "caller", "shape": "point", "number": 1}


def test_who_dialled_again_before_the_first_call_was_given_up_is_not_called_back():
    book = Callbacks()
    arrived(book, "a")
    arrived(book, "b")
    book.noted(Note("same_incident", "b", {"incident": "a", "why": "attached"}), WALL + 1)
    ended(book, "a")
    assert book.tasks() == []
    ended(book, "b")
    assert [task["call"] for task in book.tasks()] == ["b"], "now nobody of this incident is there any more"


def test_that_somebody_else_waits_is_no_reason_not_to_call_back():
    book = Callbacks()
    arrived(book, "a")
    arrived(book, "b")
    ended(book, "a")
    assert [task["call"] for task in book.tasks()] == ["a"]


def test_what_a_desk_wrote_is_not_what_the_caller_wrote():
    book = Callbacks()
    arrived(book)
    book.noted(Note("text", "a", {"from": "d1", "text": "open the door"}), WALL)
    ended(book)
    assert book.tasks()[0]["texts"] == []


@pytest.mark.parametrize(
    ("length", "kept"), [(MAX_CHARACTERS, MAX_CHARACTERS), (MAX_CHARACTERS + 1, MAX_CHARACTERS + 1)]
)
def test_texts_are_kept_as_far_as_there_is_room(length, kept):
    book = Callbacks()
    arrived(book)
    book.noted(Note("text", "a", {"from": "caller", "text": "x" * length}), WALL)
    for _ in range(MAX_TEXTS + 5):
        book.noted(Note("text", "a", {"from": "caller", "text": "more"}), WALL)
    ended(book)
    (task,) = book.tasks()
    first, *rest = [one["text"] for one in task["texts"]]
    assert len(first) == kept
    assert first.endswith("…") == (length > MAX_CHARACTERS)
    assert rest == ["…"] * (MAX_TEXTS - 1), "that there was more is said"


def test_tasks_of_older_programs_are_read():
    old = {"call": "a", "incident": "a", "texts": [101.0], "places": ["<cid:x>"]}
    (task,) = Callbacks([old]).tasks()
    assert task == {
        **old, "place": None, "district": None, "blocked": None, "texts": [{"at": 101.0, "text": None}],
    }  # fmt: skip
    assert callback_view(task, places.districts())["district"] is None


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["caller", "trunk", "server"]), st.sampled_from(["point", "circle", "civic"])
        )
    )
)
def test_of_many_places_the_task_shows_the_one_the_call_showed(said):
    book, trail = Callbacks(), Trail()
    arrived(book)
    for number, (by, kind) in enumerate(said):
        shape_and_address = {
            "point": (Point((36.0, 120.0 + number / 1e3)), None),
            "circle": (Circle((36.0, 120.0 + number / 1e3), 25.0), None),
            "civic": (None, Civic((("A1", str(number)),))),
        }[kind]
        located = Located(*shape_and_address, None, None, None, None)
        if by == "server":
            entries = trail.fetched("https://lis.example/x", "lis.example", [located])
        else:
            entries = trail.add(
                [Said(None, None, (located,))], via="INVITE", trunk="carrier" if by == "trunk" else None
            )
        for entry in entries:
            book.noted(Note("location", "a", entry.plain()), WALL)
    ended(book)
    best = trail.best
    assert book.tasks()[0]["place"] == (None if best is None else best.plain())
