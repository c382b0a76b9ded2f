"""Who hears whom is arranged anew only where something changed; it must come to the same as arranging all of it anew."""

from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtp import control as c
from rtp.track import Track
from tests.kit.media_engine import GUEST, HOST, Running
from tests.kit.media_wire import EVENTS, H264, PCMA, PCMU, PHONE, engine, running, stream

__all__ = ["engine"]

EVIDENCE = {"a": "one", "b": None, "d": "two", "e": None}
LEGS = st.sampled_from(list(EVIDENCE))
CALLS = st.sampled_from(["one", "two"])
STREAMS = st.builds(
    lambda codec, remote, sending, receiving, picture: (
        stream("audio", (codec, EVENTS), remote=remote, sending=sending, receiving=receiving),
        *((stream("video", (H264,)),) if picture else ()),
    ),
    st.sampled_from([PCMA, PCMU]),
    st.sampled_from([PHONE, None]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
COMMANDS = st.one_of(
    st.builds(
        lambda leg, media: c.OpenLeg(leg, media, "127.0.0.1", EVIDENCE[leg]),
        LEGS,
        st.sampled_from([("audio",), ("audio", "video")]),
    ),
    st.builds(c.ConfigureLeg, LEGS, STREAMS, st.just((PHONE[0],))),
    st.builds(c.Join, st.sampled_from(["r", "s"]), LEGS, st.sampled_from(["host", "guest", "staff"])),
    st.builds(c.SetStaff, LEGS, st.sampled_from(["listen", "whisper", "barge"])),
    st.builds(c.SetGates, LEGS, st.booleans(), st.booleans(), st.booleans()),
    st.builds(c.Leave, LEGS),
    st.builds(c.CloseLeg, LEGS),
    st.builds(c.Play, LEGS, st.just("zip"), st.just(("tone:zip",))),
    st.builds(c.RecordTalk, LEGS, CALLS | st.none()),
    st.builds(c.OpenEvidence, CALLS, st.just("/none")),
)  # fmt: skip
PREPARED = [
    command
    for leg, call in EVIDENCE.items()
    for command in (
        c.OpenLeg(leg, ("audio", "video"), "127.0.0.1", call),
        c.ConfigureLeg(leg, (stream("audio", (PCMA, EVENTS)), stream("video", (H264,))), (PHONE[0],)),
    )
]
JOINED = [
    c.SetStaff("d", "barge"),
    c.Join("r", "a", "guest"),
    c.Join("r", "b", "host"),
    c.Join("r", "d", "staff"),
    c.Join("s", "e", "guest"),
]


class Site(Running):
    """An engine whose evidence is told apart by call."""

    def __init__(self):
        super().__init__()
        find, found = self.evidence.find, {}
        self.evidence.find = lambda call: (
            found.setdefault(call, find(call)) if call in self.evidence.rows else None
        )

    @property
    def tracks(self):
        return [track for leg in self.engine._legs.values() for track in leg.tracks.values()]

    @property
    def banks(self):
        return self.engine._mixing._banks.values()

    def ways(self):
        """Where packets of each track go, who else has them, what is heard in mixes, and what all of it is evidence of."""
        owners = {id(track.sender): track.leg for track in self.tracks}
        owned = {None: None, **owners}
        ways = {}
        for track in self.tracks:
            audience = track.audience
            landing = audience is not None and audience._landing
            ways[track.leg, track.medium] = (
                track.destination and track.destination.leg,
                track.fed_by and track.fed_by.leg,
                audience and audience.voice and audience.voice.leg,
                tuple(viewer.leg for viewer in audience.viewers) if audience is not None else (),
                [
                    (number, owned[route.sender and id(route.sender)], route.codec, route.special is not None or landing)
                    for number, route in enumerate(track._routes)
                    if route is not None and not landing
                ],
                track.evidence,
                track.sender.evidence,
                track.sender.silent,
                track.sender.transmit.__class__,
            )  # fmt: skip
        ears = {
            ear: tuple(voice.leg for voice in made.voices)
            for bank in self.banks
            for ear, made in bank.ears.items()
        }
        return ways, ears, {leg: made._holding is not None for leg, made in self.engine._legs.items()}

    def arrange_anew(self):
        """Arrange all legs as if nothing of it had been done before."""
        for leg in self.engine._legs.values():
            leg._apply_gates()
        for track in self.tracks:
            track._laid = track.evidence = track.sender.evidence = None
        with patch("rtp.mixing.Mixing._attended", lambda _mixing, _legs: True):
            self.engine._rewire(frozenset(self.engine._legs), self.loop.now)

    def guests(self):
        places = ((leg, self.engine._rooms.place(leg)) for leg in self.engine._legs)
        return {leg for leg, place in places if place is not None and place[1] == "guest"}


@pytest.mark.parametrize("name", ["python", "native"])
@settings(deadline=None)
@given(st.lists(COMMANDS, max_size=25))
def test_what_is_left_alone_is_what_arranging_all_anew_would_give(name, commands):
    with running(name), patch("rtp.track.disconnect", lambda sock: sock.connect(None)):
        site = Site()
        site.do(*PREPARED, *JOINED, *commands)
        before = site.ways()
        site.arrange_anew()
        assert site.ways() == before


@pytest.mark.parametrize("name", ["python", "native"])
@settings(deadline=None)
@given(st.lists(COMMANDS, max_size=25))
def test_no_guest_hears_or_sees_a_guest_whatever_is_left_alone(name, commands):
    with running(name), patch("rtp.track.disconnect", lambda sock: sock.connect(None)):
        site = Site()
        for command in (*PREPARED, *JOINED, *commands):
            site.do(command)
            guests, (ways, ears, _) = site.guests(), site.ways()
            for (leg, _), (destination, fed_by, _, viewers, routes, *_) in ways.items():
                if leg in guests:
                    assert not {destination, fed_by, *viewers, *(to for _, to, *_ in routes)} & guests
            assert not any(guests & set(ears.get(guest, ())) for guest in guests)


@pytest.mark.usefixtures("engine")
def test_a_command_that_changes_nothing_lays_no_route():
    site = Running()
    for leg in (HOST, GUEST):
        site.leg(leg)
    site.join(HOST, GUEST)
    audio = (stream("audio", (PCMA, EVENTS)),)
    with patch.object(Track, "_lay", side_effect=AssertionError("a route was laid")):
        site.do(
            c.SetGates(GUEST, silent=False, host_picture=True),
            c.SetStaff(GUEST, "listen"),
            c.ConfigureLeg(GUEST, audio, (PHONE[0],)),
            c.Join("room", GUEST, "guest"),
        )
    assert not site.loop.failures
