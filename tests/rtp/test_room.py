import msgspec
from hypothesis import given
from hypothesis import strategies as st

from rtp.control import CloseLeg, Join, Leave, SetGates, SetStaff
from rtp.room import Entered, RefusedEntry, Rewire, Rooms
from rtp.wiring import Gates

LEGS = st.sampled_from(["a", "b", "c", "d"])
ROOMS = st.sampled_from(["r", "s"])
COMMANDS = st.one_of(
    st.builds(Join, ROOMS, LEGS, st.sampled_from(["host", "guest", "staff"])),
    st.builds(SetStaff, LEGS, st.sampled_from(["listen", "whisper", "barge"])),
    st.builds(Leave, LEGS),
    st.builds(SetGates, LEGS, st.booleans(), st.booleans(), st.booleans()),
    st.builds(CloseLeg, LEGS),
)


def rooms(*commands):
    made = Rooms()
    for command in commands:
        made.receive(command, 0.0)
    return made


@given(st.lists(COMMANDS, max_size=60))
def test_a_room_never_has_two_hosts_or_two_guests(commands):
    state = Rooms()
    for command in commands:
        state.receive(command, 0.0)
        for room in ("r", "s"):
            roles = list(state.members(room).values())
            assert roles.count("host") <= 1
            assert roles.count("guest") <= 1
        for leg in "abcd":
            place, partner = state.place(leg), state.partner(leg)
            assert sum(leg in state.members(room) for room in ("r", "s")) == (place is not None)
            if partner is not None:
                assert state.partner(partner) == leg
                assert {place[1], state.place(partner)[1]} == {"host", "guest"}


@given(st.lists(COMMANDS, max_size=40))
def test_every_command_is_idempotent(commands):
    state = Rooms()
    for command in commands:
        first = state.receive(command, 0.0)
        before = state.snapshot()
        again = state.receive(command, 1.0)
        assert state.snapshot() == before
        if any(isinstance(effect, RefusedEntry) for effect in first):
            assert again == first


@given(st.lists(COMMANDS, max_size=40), st.lists(COMMANDS, max_size=40))
def test_restored_rooms_go_on_alike(before, after):
    one = rooms(*before)
    two = Rooms.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(one.snapshot())))
    for command in after:
        assert one.receive(command, 0.0) == two.receive(command, 0.0)
    assert one.snapshot() == two.snapshot()
    assert {leg: one.edges(leg) for leg in "abcd"} == {leg: two.edges(leg) for leg in "abcd"}


def test_join_tells_who_is_to_be_rewired():
    state = rooms(Join("r", "desk", "host"))
    assert state.receive(Join("r", "caller", "guest"), 0.0) == [
        Rewire(frozenset({"desk", "caller"})),
        Entered("r", "caller", "guest", fresh=True),
    ]
    assert state.receive(Join("r", "caller", "guest"), 0.0) == [Entered("r", "caller", "guest", fresh=False)]


def test_a_second_guest_is_refused_and_stays_where_it_was():
    state = rooms(Join("r", "desk", "host"), Join("r", "one", "guest"), Join("s", "two", "guest"))
    assert state.receive(Join("r", "two", "guest"), 0.0) == [RefusedEntry("r", "two", "second_guest")]
    assert state.receive(Join("r", "other", "host"), 0.0) == [RefusedEntry("r", "other", "second_host")]
    assert state.place("two") == ("s", "guest")
    assert state.partner("one") == "desk"


def test_a_move_leaves_the_old_room_first():
    state = rooms(Join("r", "desk", "host"), Join("r", "caller", "guest"), Join("s", "other", "host"))
    effects = state.receive(Join("s", "caller", "guest"), 0.0)
    assert effects[0] == Rewire(frozenset({"desk", "caller"}))
    assert state.partner("desk") is None
    assert state.partner("caller") == "other"


def test_gates_belong_to_the_leg_and_end_with_it():
    state = rooms(
        SetGates("caller", silent=True, host_picture=False), Join("r", "caller", "guest"), Leave("caller")
    )
    assert state.gates("caller") == Gates(silent=True, host_picture=False)
    assert state.receive(SetGates("caller", silent=True, host_picture=True), 0.0) == [
        Rewire(frozenset({"caller"}))
    ]
    state.receive(CloseLeg("caller"), 0.0)
    assert state.gates("caller") == Gates()
    assert state.receive(Leave("caller"), 0.0) == []


def test_nothing_waits_for_a_time():
    assert (Rooms().next_due, Rooms().expire(5.0)) == (None, [])


def test_any_number_of_staff_comes_in_and_is_nobodys_partner():
    state = rooms(Join("r", "desk", "host"), Join("r", "caller", "guest"))
    for name in ("fire", "ambulance"):
        assert Entered("r", name, "staff", fresh=True) in state.receive(Join("r", name, "staff"), 0.0)
    assert (state.partner("desk"), state.partner("caller"), state.partner("fire")) == ("caller", "desk", None)
    assert {state.guest(leg) for leg in ("desk", "caller", "fire", "ambulance")} == {"caller"}
    assert set(state.company("fire")) == {"desk", "caller", "ambulance"}


def test_a_mode_belongs_to_the_leg_and_survives_joins():
    state = rooms(SetStaff("fire", "barge"), Join("r", "fire", "staff"), Join("s", "fire", "staff"))
    assert state.mode("fire") == "barge"
    assert state.receive(SetStaff("fire", "whisper"), 0.0) == [Rewire(frozenset({"fire"}))]
    state.receive(CloseLeg("fire"), 0.0)
    assert state.mode("fire") == "listen"


def test_who_sets_what_is_set_changes_no_edge():
    state = rooms(
        Join("r", "a", "guest"), SetGates("a", silent=True, host_picture=True), SetStaff("b", "barge")
    )
    assert state.receive(SetGates("a", silent=True, host_picture=True), 0.0) == []
    assert state.receive(SetStaff("b", "barge"), 0.0) == []
    assert state.receive(SetStaff("c", "listen"), 0.0) == []
    assert state.receive(SetGates("a", silent=False, host_picture=True), 0.0) == [Rewire(frozenset("a"))]
    assert state.receive(SetGates("a", silent=True, host_picture=True), 0.0) == [Rewire(frozenset("a"))]
