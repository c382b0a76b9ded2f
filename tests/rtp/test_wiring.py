from hypothesis import given
from hypothesis import strategies as st

from rtp.wiring import Edge, Gates, wiring

LEGS = st.sampled_from(["a", "b", "c", "d", "e"])
MEMBERS = st.dictionaries(LEGS, st.sampled_from(["host", "guest"]))
GATES = st.dictionaries(
    LEGS, st.builds(Gates, silent=st.booleans(), host_picture=st.booleans(), held=st.booleans())
)
PAIR = {"desk": "host", "caller": "guest"}


@given(MEMBERS, GATES)
def test_no_input_joins_two_guests(members, gates):
    for edge in wiring(members, gates):
        assert {members[edge.source], members[edge.destination]} == {"host", "guest"}


@given(MEMBERS, GATES)
def test_nobody_has_more_than_one_partner(members, gates):
    edges = wiring(members, gates)
    for leg in members:
        assert len({edge.destination for edge in edges if edge.source == leg}) <= 1
        assert len({edge.source for edge in edges if edge.destination == leg}) <= 1


@given(MEMBERS, GATES)
def test_a_silent_guest_has_no_open_way_of_sound_to_it(members, gates):
    for edge in wiring(members, gates):
        if gates.get(edge.destination, Gates()).silent and members[edge.destination] == "guest":
            assert edge.medium == "video" or edge.gate != "open"


def gate(gates, source, medium):
    destination = "caller" if source == "desk" else "desk"
    (found,) = (e.gate for e in wiring(PAIR, {"caller": gates}) if (e.source, e.medium) == (source, medium))
    assert Edge(source, destination, medium, found) in wiring(PAIR, {"caller": gates})
    return found


def test_everything_flows_without_gates():
    assert {edge.gate for edge in wiring(PAIR, {})} == {"open"}
    assert len(wiring(PAIR, {})) == 4


def test_silent_mode_closes_sound_to_the_caller_alone():
    gates = Gates(silent=True)
    assert gate(gates, "desk", "audio") == "silent"
    assert gate(gates, "caller", "audio") == "open"
    assert gate(gates, "caller", "video") == "open"


def test_the_hosts_picture_has_a_gate_of_its_own():
    gates = Gates(host_picture=False)
    assert gate(gates, "desk", "video") == "no_picture"
    assert gate(gates, "caller", "video") == "open"
    assert gate(gates, "desk", "audio") == "open"


def test_hold_closes_all_ways():
    gates = Gates(held=True)
    assert {edge.gate for edge in wiring(PAIR, {"caller": gates})} == {"held"}


def test_gates_of_a_host_mean_nothing():
    assert {edge.gate for edge in wiring(PAIR, {"desk": Gates(silent=True, held=True)})} == {"open"}
