"""What the bench tells of rtpengine: its pcaps are counted whole, its figures stand beside ours, and without it they say why."""

import struct
from pathlib import Path

import pytest

from tests.bench import anchor
from tests.bench.anchor import MissingError, Turns
from tests.bench.native import Counts, Sound
from tests.bench.spell import Spell
from tests.kit.rtpengine import bdecode, bencode


def counted(share: float, *, sent: int = 1000, received: int = 1000, p99_us: float = 200.0) -> Spell:
    return Spell(share * 2.0, 2.0, Counts(sent, received, received, 60.0, p99_us), sent + 500)


def measured(*spells: Spell, kept: int | None = None) -> Turns:
    its = Turns(Silence(), 0, 7)
    its.spells, its.kept = list(spells), kept
    return its


class Silence(Sound):
    """Phones nobody hears of."""

    def __init__(self) -> None:
        self.ports = list(range(40000, 40008))


def pcap(*lengths: int) -> bytes:
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
    return head + b"".join(struct.pack("<IIII", 1, 2, size, size) + bytes(size) for size in lengths)


def test_every_packet_of_a_pcap_is_counted() -> None:
    assert anchor.packets(pcap()) == 0
    assert anchor.packets(pcap(200, 1028, 200)) == 3


@pytest.mark.parametrize(
    "data",
    [b"", pcap(200)[:23], b"\n\r\r\n" + bytes(40), pcap(200)[:-1], pcap(200) + bytes(15)],
    ids=["empty", "head", "pcapng", "packet", "its head"],
)
def test_a_cut_pcap_is_none(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"pcap|cut"):
        anchor.packets(data)


def test_a_packet_that_was_kept_in_part_is_no_record() -> None:
    with pytest.raises(ValueError, match="cut"):
        anchor.packets(pcap() + struct.pack("<IIII", 1, 2, 96, 1000) + bytes(96))


def test_a_description_names_the_ports_in_order() -> None:
    sdp = anchor.description([("audio", 4000), ("video", 4002)])
    assert anchor.described_ports(sdp) == [4000, 4002]
    assert b"m=video 4002 RTP/AVP 8\r\na=rtpmap:8 H264/90000\r\n" in sdp


def test_what_is_said_to_rtpengine_is_bencoded() -> None:
    said = bencode({"sdp": b"v=0\r\n", "call-id": "a", "replace": ["origin"]})
    assert said == b"d7:call-id1:a7:replacel6:origine3:sdp5:v=0\r\ne"
    assert bdecode(said) == {"call-id": b"a", "replace": [b"origin"], "sdp": b"v=0\r\n"}
    assert bdecode(b"d7:packetsi12ee") == {"packets": 12}


class Answering(anchor.Anchor):
    """Rtpengine that gives one port after the other."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[int]]] = []
        self._calls, self._words = [], {}
        self._port = 20000

    def _command(self, name: str, **words: object) -> dict[str, object]:
        sdp = words["sdp"]
        assert isinstance(sdp, bytes)
        self.asked.append((name, anchor.described_ports(sdp)))
        first, self._port = self._port, self._port + 8
        return {"sdp": anchor.description([("audio", first), ("video", first + 4)])}


def test_a_phone_sends_where_its_peer_was_told_of() -> None:
    engine = Answering()
    # Of each call: sound of guest and host, then picture of guest and host.
    targets = engine.rooms(range(2), ("audio", "video"), [1, 2, 3, 4, 5, 6, 7, 8])
    assert engine.asked == [("offer", [1, 3]), ("answer", [2, 4]), ("offer", [5, 7]), ("answer", [6, 8])]
    # What the offer became goes to the host, what the answer became to the guest.
    assert targets == [20008, 20000, 20012, 20004, 20024, 20016, 20028, 20020]


def test_our_cost_is_told_beside_its() -> None:
    ours = [counted(0.3), counted(0.5), counted(0.45)]
    its = measured(counted(0.6), counted(0.5, p99_us=900.0), counted(0.6), kept=4500)
    found = {one.name: one for one in anchor.figures("Q2", ours, its, lambda one: one.share, "core", 0.79)}
    assert found["Q2.rtpengine"].value == pytest.approx(0.6)
    assert found["Q2.rtpengine"].bar is None
    assert found["Q2.of_rtpengine"].value == pytest.approx(0.75)  # 0.5, 1.0, 0.75
    assert found["Q2.of_rtpengine"].ok
    assert found["Q2.rtpengine_p99"].value == pytest.approx(0.2)
    assert found["Q2.rtpengine_lost"].value == 0.0
    assert found["Q2.rtpengine_recorded"].value == 1.0
    assert not any(one.note for one in found.values())


def test_it_costs_by_the_packet_where_that_is_asked() -> None:
    its = measured(counted(0.5, received=500))
    found = anchor.figures("Q1", [counted(0.5)], its, lambda one: one.packet_us, "µs")
    assert [one.value for one in found[:2]] == [2000.0, 0.5]
    assert found[0].unit == "µs"
    assert all(one.bar is None for one in found)
    assert "Q1.rtpengine_recorded" not in {one.name for one in found}


def test_who_loses_packets_is_told_so_and_saves_nothing() -> None:
    its = measured(counted(0.4, received=800))
    share, of, *_ = anchor.figures("Q2", [counted(0.4)], its, lambda one: one.share, "core", 0.79)
    assert share.note == of.note == "it lost 20.0 % of the packets"
    assert share.value == pytest.approx(0.4)
    assert of.value == pytest.approx(0.8)


def test_without_rtpengine_its_figures_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with anchor.turns(tmp_path, Silence(), 0, 2, ("audio", "video"), recorded=True) as its:
        assert its.threads == []
        assert its.take(1.0) is None
        its.close_recordings()
    share, of = anchor.figures("Q2", [counted(0.4)], its, lambda one: one.share, "core", 0.79)
    assert (share.value, share.ok, of.value, of.ok) == (None, None, None, False)
    assert share.note == of.note == "no rtpengine on this machine (Debian's rtpengine-daemon)"


def test_without_our_engine_its_cost_is_told_alone() -> None:
    its = measured(counted(0.4))
    found = anchor.figures("Q1", [], its, lambda one: one.packet_us, "µs")
    assert found[0].value == pytest.approx(800.0)
    assert (found[1].value, found[1].note) == (None, "ours was not measured")


class Recording(Answering):
    """Rtpengine that counts what it took, and what is in its pcaps."""

    def __init__(self, taken: int, kept: int | MissingError) -> None:
        super().__init__()
        self.taken, self.kept = taken, kept
        self.running = False

    def resume(self) -> None:
        self.running = True

    def carried(self) -> int:
        assert self.running
        return self.taken

    def close_recordings(self) -> int:
        if isinstance(self.kept, MissingError):
            raise self.kept
        return self.kept


@pytest.mark.parametrize(
    ("kept", "why"),
    [
        (1500, ""),
        (1499, "rtpengine took 1500 packets and recorded 1499"),
        (MissingError("rtpengine does not close its pcaps"), "rtpengine does not close its pcaps"),
    ],
)
def test_an_rtpengine_that_does_not_record_all_is_no_anchor(kept: int | MissingError, why: str) -> None:
    its = measured(counted(0.6))
    its.engine = Recording(1500, kept)
    its.close_recordings()
    share, of, *_ = anchor.figures("Q2", [counted(0.4)], its, lambda one: one.share, "core", 0.79)
    assert share.note == of.note == why
    assert (of.value is None) is bool(why)
