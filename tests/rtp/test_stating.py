"""What is dropped is stated in the evidence of whoever hears it, and counted once."""

from rtp.call_evidence import FLOOD, OVERRUN, REJECTED, CallEvidence
from rtp.stating import state_flood, state_overrun, state_strangers
from tests.kit.media_wire import PHONE, Wire, engine, packet, rtp_socket

__all__ = ["engine"]

STRANGER = ("6.6.6.6", 666)


class Sink:
    def __init__(self):
        self.stated = []

    def packet(self, at_ns, source, destination, data):
        raise AssertionError("what is dropped is no packet of the call")

    def left_out(self, packets, first_ns, last_ns, reason):
        assert 0 < last_ns - first_ns <= 5_100_000_000
        self.stated.append((packets, reason))


def evidence():
    one, sink = CallEvidence("call", "/nowhere"), Sink()
    one.attach(sink)
    return one, sink


def test_strangers_are_stated_once(engine):
    wire = Wire()
    guest = wire.configured("guest")
    one, sink = evidence()
    two, other = evidence()
    for number in range(7):
        wire.loop.read(rtp_socket(guest), packet(number), STRANGER)
    wire.loop.read(rtp_socket(guest), packet(1), PHONE)
    state_strangers(guest, [one, two], 5.0)
    state_strangers(guest, [one, two], 5.0)
    assert sink.stated == other.stated == [(7, f"{REJECTED} 20000")]
    assert REJECTED.startswith("rejected-source")
    guest.strangers.kernel += 1000
    state_strangers(guest, [one], 5.0)
    assert sink.stated == [(7, f"{REJECTED} 20000"), (1000, f"{REJECTED} 20000")]


def test_a_flood_is_stated_once(engine):
    wire = Wire()
    guest = wire.configured("guest")
    one, sink = evidence()
    guest.flooded = 40
    state_flood(guest, [one], 0.1)
    state_flood(guest, [one], 0.1)
    guest.flooded = 41
    state_flood(guest, [one], 0.1)
    assert sink.stated == [(40, FLOOD), (1, FLOOD)]


def test_what_the_kernel_dropped_is_stated_once(engine):
    wire = Wire()
    guest = wire.configured("guest")
    one, sink = evidence()
    state_overrun(guest, [one], 5.0)
    guest.pair.rtp.dropped = 300
    state_overrun(guest, [one], 5.0)
    state_overrun(guest, [one], 5.0)
    guest.pair.rtp.dropped = 301
    state_overrun(guest, [one], 5.0)
    assert sink.stated == [(300, f"{OVERRUN} 20000"), (1, f"{OVERRUN} 20000")]


def test_what_the_kernel_drops_between_two_processes_is_stated_by_the_second(engine):
    wire = Wire()
    first, second = wire.configured("guest"), wire.configured("guest")
    one, sink = evidence()
    first.pair.rtp.dropped = 7
    state_overrun(first, [one], 5.0)
    carried = first.overrun.snapshot()
    second.pair.rtp.dropped = 9  # the same socket, a moment later
    second.overrun.resume(carried)
    state_overrun(second, [one], 5.0)
    assert sink.stated == [(7, f"{OVERRUN} 20000"), (2, f"{OVERRUN} 20000")]
