"""Beats that C keeps by itself, and legs it finds for a sweep: the same as Python's look at each leg."""

import os
import time
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp.activity import FILL_SECONDS
from rtp.control import CloseLeg
from rtp.engine import BEAT_SECONDS, PHASES
from rtp.picture import INTERVAL_SECONDS
from tests.kit.media_engine import GUEST, HOST, Running
from tests.kit.media_wire import H264, running, settle
from tests.kit.native_engine import demand

STEP = BEAT_SECONDS / PHASES
QUIET = 2.5


def built():
    """What was built; without it these tests are left out."""
    demand("native")
    from rtp.native import _relay, loop, track

    return SimpleNamespace(relay=_relay, track=track, loop=loop.NativeLoop)


@pytest.fixture
def native():
    return built()


@pytest.fixture
def loop(native):
    made = native.loop()
    yield made
    made.close()


def leg_of(native, name="leg", **fields):
    """What a phase asks of a leg; its sound has never sent anything."""
    activity = native.track.NativeActivity()
    activity.out = native.track.NativeOut(1, 2, 3)
    activity.rtcp_due = activity.report_due = 1e9
    for field, value in fields.items():
        setattr(activity, field, value)
    return SimpleNamespace(leg=name, activity=activity)


def phases_of(native, *legs):
    phases = tuple(native.relay.NativePhase(FILL_SECONDS) for _ in range(PHASES))
    for number, leg in enumerate(legs):
        phases[number % PHASES].put(leg)
    return phases


@given(
    sounds=st.booleans(),
    relaying=st.booleans(),
    busy=st.booleans(),
    at=st.sampled_from([None, 9.0, 9.95, 9.961, 10.0]),
)
def test_a_leg_is_restless_when_python_finds_it_not_content(sounds, relaying, busy, at):
    native = built()
    leg = leg_of(native, busy=busy)
    leg.activity.out.relaying, leg.activity.out.at = relaying, at
    if not sounds:
        leg.activity.out = None
    phase = native.relay.NativePhase(FILL_SECONDS)
    phase.put(leg)
    assert (phase.restless(10.0) == []) == leg.activity.content(10.0)


@given(
    st.lists(st.floats(0.0, 0.004) | st.floats(0.0, 0.5), min_size=1, max_size=60),
)
def test_beats_stand_on_the_grid_of_the_python_engine(waits):
    native = built()
    loop = native.loop()
    legs = [leg_of(native, str(number)) for number in range(PHASES)]
    loop.relay.keep_beats(phases_of(native, *legs), 100.0, STEP)
    now, beats, told, expected = 100.0, 0, [], []
    for wait in waits:
        now += wait
        if (found := loop.relay.restless(now)) is not None:
            told.append((found[0], pytest.approx(found[1])))
        due = 100.0 + beats * STEP  # the timer of rtp.engine, to the last bit
        if due <= now:
            expected.append(([legs[beats % PHASES]], now - due))
            beats = max(beats + 1, int((now - 100.0) / STEP))
    loop.close()
    assert expected == told


def test_the_loop_tells_of_restless_legs_and_of_how_late_their_beat_is(native, loop):
    leg, told = leg_of(native), []
    started = time.monotonic() - 0.7
    loop.keep_beats(phases_of(native, leg), started, STEP, lambda *heard: told.append(heard))
    loop.turn(0.0)
    ((legs, now, late),) = told
    assert legs == [leg]
    assert now == loop.now
    assert late == pytest.approx(now - started)


def test_a_turn_ends_for_a_restless_leg_and_not_for_a_quiet_one(native, loop):
    quiet, restless, told = leg_of(native, "quiet"), leg_of(native, "restless"), []
    quiet.activity.out.relaying, quiet.activity.out.at = True, time.monotonic() + 60.0
    loop.keep_beats(
        phases_of(native, quiet, restless), time.monotonic(), STEP, lambda *heard: told.append(heard)
    )
    loop.at(time.monotonic() + 60.0, lambda _: None, "never")
    for _ in range(3):
        loop.turn(60.0)  # hours of nothing, were there no beats
    assert [legs for legs, _, _ in told] == [[restless]] * 3


def test_a_beat_has_its_turn_behind_packets_for_python(native, loop):
    order, leg = [], leg_of(native)
    reader, writer = os.pipe()
    os.write(writer, b"x")
    loop.add(reader, lambda: order.append("packet"), "pipe")
    loop.keep_beats(phases_of(native, leg), time.monotonic() - 1.0, STEP, lambda *_: order.append("beat"))
    loop.turn(0.0)
    loop.remove(reader)
    os.close(reader)
    os.close(writer)
    assert order == ["packet", "beat"]


def test_who_is_dropped_between_packets_and_beat_has_none(native, loop):
    leg, told = leg_of(native), []
    phases = phases_of(native, leg)
    loop.keep_beats(phases, time.monotonic() - 1.0, STEP, lambda *heard: told.append(heard))
    phases[0].drop(leg)
    loop.turn(0.0)
    assert told == []


def test_beats_of_another_kind_are_refused(native, loop):
    with pytest.raises(ValueError, match="another kind"):
        loop.relay.keep_beats(phases_of(native)[:2], 0.0, STEP)
    with pytest.raises(ValueError, match="another kind"):
        loop.relay.keep_beats(phases_of(native), 0.0, 0.0)
    assert loop.relay.restless(1e9) is None


# --- sweeps -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def talking():
    """Guest and host with sound and picture, latched, relayed and swept: nothing is to be done at them."""
    with running("native"):
        talk = Running()
        for name in (GUEST, HOST):
            talk.leg(name, "audio", "video")
        talk.join(GUEST, HOST)
        for number in range(1, 4):
            for name in (GUEST, HOST):
                talk.say(name, number)
                talk.say(name, number, "video", payload_type=H264.payload_type)
        settle()
        for leg in talk.engine._legs.values():
            leg.rtcp_due = leg.report_due = 1e9
            for track in leg.tracks.values():
                track.pictures.answered()
                track.sweep(talk.loop.now, QUIET)
        assert stirred(talk) == []
        yield talk


def stirred(talk, after=0.0):
    now = talk.loop.now + after
    return sorted(leg.leg for phase in talk.engine._phases for leg in phase.stirred(now, QUIET))


@pytest.mark.parametrize("due", ["rtcp_due", "report_due"])
def test_a_report_that_is_due_is_found(talking, due):
    setattr(talking.engine._legs[GUEST], due, talking.loop.now + 1.0)
    assert stirred(talking, 0.99) == []
    assert stirred(talking, 1.0) == [GUEST]


def test_silence_is_found(talking):
    assert stirred(talking, QUIET - 0.01) == []
    assert stirred(talking, QUIET + 0.01) == [GUEST, HOST]


def test_a_flood_that_is_not_stated_is_found(talking):
    track = talking.engine._legs[HOST].tracks["audio"]
    track.flooded += 1
    assert stirred(talking) == [HOST]
    track.flood_stated = track.flooded
    assert stirred(talking) == []


def test_a_gap_in_a_picture_is_found_until_a_sweep_has_seen_it(talking):
    track = talking.engine._legs[GUEST].tracks["video"]
    track.source.gaps += 1
    assert stirred(talking) == [GUEST]
    track.sweep(talking.loop.now, QUIET)
    track.pictures.answered()
    track.sweep(talking.loop.now, QUIET)
    assert stirred(talking) == []
    talking.engine._legs[GUEST].tracks["audio"].source.gaps += 1  # in sound nothing is asked for
    assert stirred(talking) == []


def test_a_picture_that_is_wanted_still_is_found_until_it_was_asked_for(talking):
    track = talking.engine._legs[GUEST].tracks["video"]
    track.want_picture(talking.loop.now)
    assert stirred(talking) == [], "asked by INFO, which SIP repeats"
    track.want_picture(talking.loop.now)  # too soon after that
    assert stirred(talking) == [GUEST]
    talking.loop.now += INTERVAL_SECONDS
    track.heard = talking.loop.now
    track.sweep(talking.loop.now, QUIET)
    assert stirred(talking) == []


def test_a_socket_that_is_not_lent_is_found(talking):
    track = talking.engine._legs[HOST].tracks["video"]
    track.protect(lambda: None, None)
    assert stirred(talking) == [HOST]


def test_a_leg_that_was_closed_is_not(talking):
    talking.engine._legs[HOST].report_due = 0.0
    talking.do(CloseLeg(HOST))
    assert stirred(talking, QUIET + 0.01) == [GUEST]
