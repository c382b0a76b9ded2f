import struct

from recordings import senders
from recordings.pcapng import Captured
from recordings.senders import Listener, moments
from recordings.streams import from_events
from tests.kit.evidence import CALLER, US_CALLER_AUDIO, nanoseconds
from tests.kit.rtp_media import sound

EVENT = {
    "event": "media_negotiated",
    "leg": "caller",
    "at": "2026-09-21T14:13:20.000+00:00",
    "streams": [
        {
            "medium": "audio",
            "local_port": US_CALLER_AUDIO[1],
            "remote": list(CALLER),
            "codecs": [
                {"name": "PCMA", "payload_type": 8, "clock_rate": 8000},
                {"name": "TELEPHONE-EVENT", "payload_type": 101, "clock_rate": 8000},
            ],
        }
    ],
}


def record(at: float, data: bytes) -> Captured:
    return Captured(nanoseconds(at), CALLER, US_CALLER_AUDIO, data)


def hear(listener: Listener, records: list[Captured]) -> list:
    found = [heard for entry in records for heard in listener.hear(entry)]
    return found + list(listener.flush())


def test_the_second_hearing_knows_the_moments() -> None:
    packets = sound("PCMA", 440, 1.0, ssrc=5)
    # Every packet but each tenth 30 ms late, and two swapped.
    records = [record(p.at + (0.03 if n % 10 else 0), p.data) for n, p in enumerate(packets)]
    records[20], records[21] = records[21], records[20]
    first = Listener(from_events([EVENT]))
    assert len(hear(first, records)) == 50
    second = Listener(from_events([EVENT]), moments(first))
    found = hear(second, records)
    assert second.start == nanoseconds(0)
    assert [h.moment for h in found] == [nanoseconds(p.at) for p in packets]
    assert [h.unit.data for h in found] == [p.data[12:] for p in packets]


def test_digits_and_unknown_types_are_counted_but_no_gap() -> None:
    packets = [p.data for p in sound("PCMA", 440, 0.2, ssrc=5)]
    packets[3] = packets[3][:1] + bytes([101]) + packets[3][2:]
    packets[4] = packets[4][:1] + bytes([77]) + packets[4][2:]
    listener = Listener(from_events([EVENT]))
    assert len(hear(listener, [record(n * 0.02, data) for n, data in enumerate(packets)])) == 8
    [sender] = listener.senders.values()
    assert (sender.packets, sender.unknown, sender.order.missing) == (10, 2, 0)


def test_a_flood_of_sources_is_bounded() -> None:
    listener = Listener(from_events([EVENT]))
    hear(listener, [record(n * 0.001, struct.pack(">BBHII", 0x80, 8, 1, 1, n) + b"x") for n in range(500)])
    assert len(listener.senders) == senders.MAX_SENDERS
    assert listener.ignored == 500 - senders.MAX_SENDERS


def test_a_clock_that_leaps_for_ever_stays_in_64_bits() -> None:
    listener = Listener(from_events([EVENT]))
    leaps = [struct.pack(">BBHII", 0x80, 8, n, n * 0x7FFFFFFF & 0xFFFFFFFF, 1) + b"x" for n in range(20_000)]
    hear(listener, [record(n * 0.02, data) for n, data in enumerate(leaps)])
    [placed] = moments(listener).values()
    assert abs(placed - nanoseconds(200)).max() < 500 * 10**9, "a moment stays where the packet arrived"
