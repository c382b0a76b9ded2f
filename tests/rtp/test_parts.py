"""Who is asked for a beat and looked at in a sweep: nobody who has nothing to do, everybody else."""

import pytest

from rtp.latch import QUIET_SECONDS
from rtp.parts import LookingPhase, stirred
from tests.kit.media_engine import GUEST, HOST, Running


@pytest.fixture
def calm():
    """An engine whose guest and host are heard and seen, and whose reports are not due."""
    made = Running(report_seconds=1000.0, rtcp_seconds=1000.0)
    for name in (GUEST, HOST):
        made.leg(name, "audio", "video")
    made.join(HOST, GUEST)
    for sequence in range(1, 60):
        for name in (GUEST, HOST):
            made.say(name, sequence)
            made.say(name, sequence, "video", payload_type=96, payload=b"\x65x")
        made.pass_time(0.02)
    return made


def legs(made):
    return list(made.engine._legs.values())


def test_legs_that_flow_are_left_alone(calm):
    assert stirred(legs(calm), calm.loop.now, QUIET_SECONDS) == []
    calm.pass_time(0.31)
    assert stirred(legs(calm), calm.loop.now, QUIET_SECONDS) == legs(calm)


def test_silence_that_counts_sooner_is_looked_at_sooner(calm):
    calm.pass_time(0.15)
    assert stirred(legs(calm), calm.loop.now, QUIET_SECONDS) == []
    assert stirred(legs(calm), calm.loop.now, 0.1) == legs(calm)


def flood(track):
    track.flooded += 1


def gap(track):
    track.source.gaps += 1


def want(track):
    track.pictures.wanted = True


def open_to_all(track):
    track._open()


def protect(track):
    track.protect(lambda: None, None)


@pytest.mark.parametrize(
    ("medium", "what", "looked_at"),
    [
        ("audio", flood, True),
        ("video", flood, True),
        ("audio", gap, False),
        ("video", gap, True),
        ("video", want, True),
        ("audio", open_to_all, True),
        ("video", protect, True),
    ],
)
def test_what_a_sweep_is_for(calm, medium, what, looked_at, monkeypatch):
    monkeypatch.setattr("rtp.track.disconnect", lambda sock: sock.connect(None))
    guest = calm.engine._legs[GUEST]
    what(guest.tracks[medium])
    assert stirred(legs(calm), calm.loop.now, QUIET_SECONDS) == ([guest] if looked_at else [])


@pytest.mark.parametrize("due", ["rtcp_due", "report_due"])
def test_reports_that_are_due(calm, due):
    host = calm.engine._legs[HOST]
    setattr(host, due, calm.loop.now)
    assert stirred(legs(calm), calm.loop.now, QUIET_SECONDS) == [host]


def test_a_beat_is_for_who_is_sent_nothing_else(calm):
    phase = LookingPhase()
    guest, host = (calm.engine._legs[name] for name in (GUEST, HOST))
    phase.put(guest)
    phase.put(host)
    assert len(phase) == 2
    assert phase.restless(calm.loop.now) == []
    host.activity.busy = True
    assert phase.restless(calm.loop.now) == [host]
    assert phase.restless(calm.loop.now + 0.05) == [guest, host]
    phase.drop(host)
    phase.drop(host)
    assert phase.restless(calm.loop.now + 0.05) == [guest]
