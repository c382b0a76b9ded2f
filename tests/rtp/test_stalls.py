"""A process that is kept from its work, once or again and again: what honest phones sent meanwhile is no flood, and nothing of it is lost."""

import itertools
from collections import deque

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rtp import control as c
from rtp.flood import BURST_SECONDS, FACTOR, permitted
from tests.kit.media_engine import GUEST, HOST, Running
from tests.kit.media_wire import packet, running

FRAME = 0.02
ROUND = 0.002
"""Seconds from one look at the sockets to the next while nothing holds the process up."""
HELD = 20.0
"""Seconds of sound in all that wait for somebody who reads it: more than the kernel keeps."""
SIZES = {"audio": 160, "video": 8_000}
"""Bytes of a phone's packets, fifty a second: PCMA, and a picture of 3.2 Mbit/s."""

STALLS = st.lists(
    st.tuples(
        st.floats(0.3, 0.99) | st.floats(0.3, 0.99) | st.floats(0.0, 0.3) | st.floats(1.0, 6.0),
        st.integers(1, 4) | st.integers(1, 40) | st.just(400),
    ),
    min_size=1,
    max_size=20,
).filter(lambda stalls: sum(seconds for seconds, _ in stalls) < HELD)
"""Seconds nothing runs, and how many rounds are made then, one after the other."""


class Sockets:
    """A phone with sound and picture in front of a host, and what the kernel holds of what it sent until somebody reads."""

    def __init__(self, *media):
        self.running = Running()
        self.loop = self.running.loop
        self.media = media or tuple(SIZES)
        self.running.do(c.OpenEvidence("call", "/f"))
        self.running.leg(GUEST, *SIZES, evidence="call")
        self.running.leg(HOST, *SIZES)
        self.running.join(HOST, GUEST)
        self.began = self.loop.now
        self.said = dict.fromkeys(self.media, 0)
        self.waiting = {medium: deque() for medium in self.media}
        for medium in SIZES:
            self.running.say(HOST, 0, medium, payload_type=8 if medium == "audio" else 96, ssrc=8)

    def track(self, medium):
        return self.running.engine._legs[GUEST].tracks[medium]

    def arrive(self, medium):
        self.said[medium] += 1
        self.waiting[medium].append(
            packet(
                self.said[medium],
                self.said[medium].to_bytes(4) * (SIZES[medium] // 4),
                payload_type=8 if medium == "audio" else 96,
                timestamp=self.said[medium] * (160 if medium == "audio" else 1800),
            )
        )

    def pass_time(self, seconds):
        """Let time pass in which this process does nothing, and then make one round: sockets, then timers."""
        now = self.loop.now + seconds
        for medium in self.media:
            while self.began + self.said[medium] * FRAME <= now:
                self.arrive(medium)
        self.loop.now = now
        for medium, waiting in self.waiting.items():
            if waiting:
                self.loop.read(self.running.sockets(GUEST, medium)[0], waiting.popleft())
        self.running.pass_time(0)

    def calm(self):
        """Go on until nothing waits, and a second longer."""
        for _ in range(100_000):
            if not any(self.waiting.values()):
                break
            self.pass_time(ROUND)
        for _ in range(50):
            self.pass_time(FRAME)
        while any(self.waiting.values()):
            self.pass_time(ROUND)


@pytest.mark.parametrize("engine", ["python", "native"])
@settings(max_examples=25)
@given(stalls=STALLS)
@example(stalls=[(0.9, 3)] * 20)
@example(stalls=[(6.0, 20), (1.2, 5), (0.5, 5)])
@example(stalls=[(0.35, 1)] * 20)
def test_nothing_of_an_honest_phone_is_dropped_whatever_this_process_is_kept_from(engine, stalls):
    with running(engine):
        sockets = Sockets()
        for _ in range(100):
            sockets.pass_time(ROUND)
        for seconds, rounds in stalls:
            sockets.pass_time(seconds)
            for _ in range(rounds - 1):
                sockets.pass_time(ROUND)
        sockets.calm()
        rows = sockets.running.evidence.rows["call"]
        for medium, said in sockets.said.items():
            track, size = sockets.track(medium), SIZES[medium] + 12
            assert track.flooded == 0
            assert (track.source.received, track.source.lost, track.rejected) == (said, 0, 0)
            kept = [
                int.from_bytes(data[12:16])
                for data in rows
                if len(data) == size and data[8:12] == b"\0\0\0\7"
            ]
            assert kept == list(range(1, said + 1)), "each is in evidence, in the order in which it came"
            heard = [data for data, _ in sockets.running.sockets(HOST, medium)[0].sent if len(data) == size]
            assert [int.from_bytes(data[12:16]) for data in heard] == kept, "and went on"


@pytest.mark.parametrize("engine", ["python", "native"])
@settings(max_examples=25)
@given(stalls=STALLS, rate=st.sampled_from([1, 20]))
def test_a_flood_is_one_whatever_this_process_is_kept_from(engine, stalls, rate):
    """Bar L9: no more than twice the negotiated rate, and a second of burst."""
    with running(engine):
        sockets = Sockets("audio")
        for _ in range(100):
            sockets.pass_time(ROUND)
        track, since = sockets.track("audio"), sockets.loop.now
        before = track.source.received
        for seconds, rounds in [(0.0, 200), *stalls]:
            sockets.pass_time(seconds)
            for _, _ in itertools.product(range(rounds - 1), range(rate)):
                sockets.arrive("audio")
            for _ in range(rounds - 1):
                sockets.pass_time(ROUND)
            while sockets.waiting["audio"]:
                sockets.loop.read(
                    sockets.running.sockets(GUEST, "audio")[0], sockets.waiting["audio"].popleft()
                )
        passed = (track.source.received - before) * (SIZES["audio"] + 12)
        elapsed = sockets.loop.now - since
        assert passed <= permitted(track.stream) * (elapsed + BURST_SECONDS + 2 * FRAME) + 2 * 172
        if rate > 1:
            assert track.flooded > 0
            assert passed >= FACTOR * 172 / FRAME * min(elapsed, 0.4)
