"""Any commands in any order, on both engines: nobody hears or sees who is not in the room with them, and no guest a guest (bar F30)."""

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from rtp import control as c
from rtp import g711
from rtp.packet import parse
from rtp.wiring import wiring
from tests.kit.media_engine import Running
from tests.kit.media_wire import EVENTS, H264, PCMA, PCMU, PHONE, running, stream

LEGS = ("a", "b", "c", "d", "e", "f")
LEVELS = dict(zip(LEGS, (1000, 2000, 4000, 8000, 14_000, 25_000), strict=True))
"""What each says, as a constant: it survives being coded anew, so that every packet tells whose it is."""
CODECS = {leg: PCMU if leg in "be" else PCMA for leg in LEGS}
DECODE = {8: g711.decode_alaw, 0: g711.decode_ulaw}
ENCODE = {8: g711.encode_alaw, 0: g711.encode_ulaw}
WORDS = {
    leg: ENCODE[CODECS[leg].payload_type](np.full(160, level, np.int16)) for leg, level in LEVELS.items()
}
NAMES, ROOMS = st.sampled_from(LEGS), st.sampled_from(["r", "s"])
ROLES = st.sampled_from(["host", "guest", "guest", "staff"])
JOIN = st.builds(c.Join, ROOMS, NAMES, ROLES)
COMMANDS = st.one_of(
    JOIN,
    JOIN,
    JOIN,
    st.builds(c.Leave, NAMES),
    st.builds(c.SetStaff, NAMES, st.sampled_from(["listen", "whisper", "barge", "barge"])),
    st.builds(c.SetGates, NAMES, st.booleans(), st.booleans(), st.booleans(), st.booleans()),
    st.builds(c.PassDtmf, NAMES, st.just("5")),
    st.builds(c.WantPicture, NAMES),
    st.builds(c.AskPicture, NAMES),
    st.builds(
        c.Play,
        NAMES,
        st.just("p"),
        st.sampled_from([("tone:zip",), ("pause:40", "tone:waiting")]),
        st.booleans(),
    ),
    st.builds(c.StopPlay, NAMES),
    st.tuples(st.just("hold"), NAMES, st.booleans(), st.booleans()),
    st.tuples(st.just("close"), NAMES),
    st.tuples(st.just("pass"), st.sampled_from([0.02, 0.1, 0.5])),
)

BEGIN = (
    c.Join("r", "a", "host"),
    c.Join("r", "b", "guest"),
    c.Join("s", "c", "host"),
    c.Join("s", "e", "guest"),
    c.SetStaff("d", "barge"),
)
"""Two rooms; of the other two one may barge into any, and one may come as a second guest."""


def whose(data: bytes, medium: str) -> str | None:
    """Who said that; None for silence, tones, digits and what else is made here."""
    said = parse(data)
    if medium == "video":
        return chr(said.payload[1]) if len(said.payload) == 3 else None
    if said.payload_type not in DECODE or len(said.payload) != 160 or len(set(said.payload[:150])) > 1:
        return None
    level = int(DECODE[said.payload_type](said.payload)[0])
    return next((leg for leg, own in LEVELS.items() if abs(level - own) < own * 0.06), None)


class Town(Running):
    """Phones that all talk and film all the time, and who was sent whose words."""

    def __init__(self):
        super().__init__()
        self.seen = {}
        self.numbers = dict.fromkeys(LEGS, 0)
        self.words = 0
        for leg in LEGS:
            self.open(leg)
        for step in BEGIN:
            self.perform(step)

    def open(self, leg, *, sending=True, receiving=True):
        self.do(c.OpenLeg(leg, ("audio", "video"), "127.0.0.1"))
        how = {"sending": sending, "receiving": receiving}
        streams = (
            stream("audio", (CODECS[leg], EVENTS), **how),
            stream("video", (H264,), feedback=("nack pli",), **how),
        )
        self.do(c.ConfigureLeg(leg, streams, (PHONE[0],)))

    def perform(self, step):
        match step:
            case ("hold", leg, sending, receiving):
                self.open(leg, sending=sending, receiving=receiving)
            case ("close", leg):
                self.judge()
                self.do(c.CloseLeg(leg))
                for key in [key for key in self.seen if key[0] == leg]:
                    del self.seen[key]
                self.open(leg)
            case ("pass", seconds):
                self.pass_time(seconds)
            case command:
                self.do(command)
        self.judge()
        for number in range(2):
            for leg in LEGS:
                self.numbers[leg] += 1
                usual = CODECS[leg].payload_type
                self.say(leg, self.numbers[leg], payload=WORDS[leg], payload_type=usual, ssrc=ord(leg))
                picture = (b"\x65%c%c" if number else b"\x41%c%c") % (ord(leg), number)
                self.say(leg, self.numbers[leg], "video", payload=picture, payload_type=96, ssrc=ord(leg))
                self.judge()
            self.pass_time(0.02)
            self.judge()

    def judge(self):
        """Compare what has left since with who may hear whom now."""
        rooms = self.engine._rooms
        open_ways = {
            (edge.source, edge.destination, edge.medium)
            for room in ("r", "s")
            for edge in wiring(rooms.members(room), rooms._gates, rooms._modes)
            if edge.gate == "open"
        }
        mixed = {}
        for bank in self.engine._mixing._banks.values():
            for name, ear in bank.ears.items():
                mixed[name] = {voice.leg for voice in ear.voices}
                for voice in mixed[name]:
                    assert (voice, name, "audio") in open_ways
        for leg in LEGS:
            for medium in ("audio", "video"):
                sent = self.sockets(leg, medium)[0].sent
                before = self.seen.get((leg, medium), 0)
                self.seen[leg, medium] = len(sent)
                for data, _ in sent[before:]:
                    who = whose(data, medium)
                    if who is None or (medium == "audio" and leg in mixed):
                        continue  # a mix is of nobody's words alone
                    self.words += 1
                    assert (who, leg, medium) in open_ways, f"{leg} is sent the {medium} of {who}"
                    roles = {place[1] for one in (who, leg) if (place := rooms.place(one))}
                    assert roles != {"guest"}


@pytest.mark.parametrize("engine", ["python", "native"])
@settings(max_examples=min(40, settings().max_examples))  # a second and more each on a busy machine
@given(st.lists(COMMANDS, min_size=4, max_size=25))
def test_nobody_hears_or_sees_who_is_not_in_the_room_with_them(engine, script):
    with running(engine), patch("rtp.track.disconnect", lambda sock: sock.connect(None)):
        town = Town()
        for step in script:
            town.perform(step)
        assert town.loop.failures == []
        event(f"words heard: {town.words // 100 * 100}")


@pytest.mark.parametrize("engine", ["python", "native"])
def test_the_judge_hears_who_may_be_heard_and_who_may_not(engine):
    with running(engine), patch("rtp.track.disconnect", lambda sock: sock.connect(None)):
        town = Town()
        assert town.words >= 16
        legs = town.engine._legs
        legs["b"].tracks["audio"].wire(legs["e"].tracks["audio"], town.loop.now)
        with pytest.raises(AssertionError, match="e is sent the audio of b"):
            town.perform(("pass", 0.02))
