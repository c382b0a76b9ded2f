import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp.wiring import Edge, Gates, roads, wiring

LEGS = st.sampled_from(["a", "b", "c", "d", "e"])
MEMBERS = st.dictionaries(LEGS, st.sampled_from(["host", "guest", "staff"]))
GATES = st.dictionaries(
    LEGS, st.builds(Gates, silent=st.booleans(), host_picture=st.booleans(), held=st.booleans())
)
MODES = st.dictionaries(LEGS, st.sampled_from(["listen", "whisper", "barge"]))
PAIR = {"desk": "host", "caller": "guest"}
ROOM = {**PAIR, "fire": "staff"}


@given(MEMBERS, GATES, MODES)
def test_no_input_joins_two_guests(members, gates, modes):
    edges = wiring(members, gates, modes)
    for edge in edges:
        assert {members[edge.source], members[edge.destination]} != {"guest"}
        assert edge.source != edge.destination
    way = roads(members, edges)
    pairs = [(source, destination) for (source, _), destination in way.relay.items()]
    pairs += [(source, ear) for ear, sources in way.mix.items() for source in sources]
    pairs += [(source, viewer) for source, viewers in way.show.items() for viewer in viewers]
    for source, destination in pairs:
        assert {members[source], members[destination]} != {"guest"}


@given(MEMBERS, GATES, MODES)
def test_a_room_that_breaks_the_rule_has_no_edges(members, gates, modes):
    roles = list(members.values())
    if roles.count("host") > 1 or roles.count("guest") > 1:
        assert wiring(members, gates, modes) == frozenset()


@given(MEMBERS, GATES, MODES)
def test_a_silent_guest_has_no_open_way_of_sound_to_it(members, gates, modes):
    for edge in wiring(members, gates, modes):
        if gates.get(edge.destination, Gates()).silent and members[edge.destination] == "guest":
            assert edge.medium == "video" or edge.gate != "open"


@given(MEMBERS, GATES, MODES)
def test_only_who_barges_is_heard_by_the_guest_and_a_listener_by_nobody(members, gates, modes):
    for edge in wiring(members, gates, modes):
        if members[edge.source] == "staff" and edge.gate == "open":
            assert edge.medium == "audio"
            mode = modes.get(edge.source, "listen")
            assert mode != "listen"
            assert mode == "barge" or members[edge.destination] == "host"


@given(MEMBERS, GATES, MODES)
def test_the_guest_sees_the_host_alone_and_staff_the_guest_alone(members, gates, modes):
    for edge in wiring(members, gates, modes):
        if edge.medium == "video":
            assert members[edge.source] == "guest" or (members[edge.source], members[edge.destination]) == (
                "host",
                "guest",
            )


@given(MEMBERS, GATES, MODES)
def test_roads_carry_every_open_edge_once_and_no_other(members, gates, modes):
    edges = wiring(members, gates, modes)
    way = roads(members, edges)
    carried = [(source, ear, medium) for (source, medium), ear in way.relay.items()]
    carried += [(source, ear, "audio") for ear, sources in way.mix.items() for source in sources]
    carried += [(source, viewer, "video") for source, viewers in way.show.items() for viewer in viewers]
    assert sorted(carried) == sorted((e.source, e.destination, e.medium) for e in edges if e.gate == "open")
    relayed_to = [ear for (_, medium), ear in way.relay.items() if medium == "audio"]
    assert len(set(relayed_to)) == len(relayed_to)
    assert not set(relayed_to) & way.mix.keys(), "who is sent a mix is relayed nothing"


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


@pytest.mark.parametrize(
    ("mode", "host", "guest"),
    [("listen", "listen", "listen"), ("whisper", "open", "whisper"), ("barge", "open", "open")],
)
def test_what_each_mode_opens(mode, host, guest):
    edges = wiring(ROOM, {}, {"fire": mode})
    assert Edge("fire", "desk", "audio", host) in edges
    assert Edge("fire", "caller", "audio", guest) in edges
    assert {Edge("desk", "fire", "audio", "open"), Edge("caller", "fire", "audio", "open")} <= edges
    assert {e.destination for e in edges if e.medium == "video" and e.source == "caller"} == {"desk", "fire"}


def test_hold_keeps_the_guest_from_staff_too_and_host_and_staff_go_on():
    edges = wiring(ROOM, {"caller": Gates(held=True)}, {"fire": "barge"})
    assert {e.gate for e in edges if "caller" in {e.source, e.destination}} == {"held"}
    assert Edge("fire", "desk", "audio", "open") in edges


def test_two_are_relayed_and_a_listener_delays_nobody():
    way = roads(ROOM, wiring(ROOM, {}, {}))
    assert way.relay == {
        ("caller", "audio"): "desk",
        ("desk", "audio"): "caller",
        ("caller", "video"): "desk",
        ("desk", "video"): "caller",
    }
    assert way.mix == {"fire": ("caller", "desk")}
    assert way.show == {"caller": ("fire",)}


def test_a_whisper_is_mixed_for_the_host_and_the_guest_goes_on_untouched():
    way = roads(ROOM, wiring(ROOM, {}, {"fire": "whisper"}))
    assert way.mix == {"fire": ("caller", "desk"), "desk": ("caller", "fire")}
    assert way.relay["desk", "audio"] == "caller"


def test_barging_in_mixes_for_everybody():
    way = roads(ROOM, wiring(ROOM, {}, {"fire": "barge"}))
    assert way.mix == {"fire": ("caller", "desk"), "desk": ("caller", "fire"), "caller": ("desk", "fire")}
    assert not any(medium == "audio" for _, medium in way.relay)


def test_two_of_any_kind_are_relayed():
    members = {"desk": "host", "fire": "staff"}
    way = roads(members, wiring(members, {}, {"fire": "whisper"}))
    assert way.relay == {("desk", "audio"): "fire", ("fire", "audio"): "desk"}
    assert way.mix == {}
