"""The judges are judged first: phones and tools among themselves, without an exchange.

A judge that can't see a fault would pass everything, so each is shown a fault too.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.kit import media as pictures
from tests.live.kit import ports, sound, tshark, wire
from tests.live.kit.baresip import Account, Baresip
from tests.live.kit.media import Media
from tests.live.kit.oracle import Oracle
from tests.live.kit.sipp import Sipp

pytestmark = pytest.mark.beside

FAR = ("127.0.0.1", 9)


@pytest.fixture
def echo(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """A SIPp that answers every call and sends RTP back to where it came from."""
    port, media_port = ports.block(4), ports.block(8)
    with (tmp_path / "echo").open("wb") as log:
        process = subprocess.Popen(
            ["sipp", "-sn", "uas", "-i", ports.ADDRESS, "-p", str(port), "-mp", str(media_port), "-mi", ports.ADDRESS,
             "-rtp_echo", "-nostdin"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
        yield ports.ADDRESS, port
        process.kill()
        process.wait(5)


def test_two_phones_hear_and_see_each_other(media: Media, tmp_path: Path) -> None:
    blue = Account("bob", tone=1000, picture="blue", auto_answer=True)
    with Baresip(blue, exchange=FAR, folder=tmp_path / "bob", media=media) as bob:
        address = (ports.ADDRESS, bob.sip_port)
        red = Account("anna", tone=440, picture="red")
        with (
            Baresip(red, exchange=address, folder=tmp_path / "anna", media=media) as anna,
            tshark.Capture(tmp_path / "wire.pcapng", anna) as capture,
        ):
            anna.dial(f"sip:bob@{ports.ADDRESS}:{bob.sip_port}")
            anna.wait_to_hear(1000)
            bob.wait_to_hear(440)
            assert not anna.hears(440)
            assert anna.heard.part(-0.6).share(440) < 0.01
            assert pictures.border(anna.snapshot()) == "blue"
            assert pictures.border(bob.snapshot()) == "red"
            port = anna.rtp_port_of()
            anna.hang_up()
            bob.wait("CALL_CLOSED")
    packets = tshark.rtp(capture.file, to=port)
    assert len({packet.ssrc for packet in packets}) == 1
    assert tshark.missing(packets) == 0
    assert tshark.missing(packets[:10] + packets[12:]) == 2
    assert tshark.longest_gap(packets[:10] + packets[20:]) > 0.15
    assert sorted(stream.codec.lower() for stream in tshark.streams(capture.file)) == [
        "g711a",
        "g711a",
        "h264",
        "h264",
    ]
    assert tshark.ladder(capture.file)[0] == "INVITE"
    assert tshark.ladder(capture.file)[-1] == "200 BYE"


def test_oracle_knows_its_own_packets_from_those_of_others(echo: tuple[str, int]) -> None:
    with Oracle(7, exchange=echo) as phone:
        phone.call()
        phone.wait_heard(lambda packet: wire.owner(packet.payload) == (7, 10), "its tenth packet")
        assert phone.strangers == []
        numbers = [found[1] for packet in phone.heard if (found := wire.owner(packet.payload)) is not None]
        assert numbers == list(range(len(numbers)))
        phone.mark = 8  # its packets on the way are now those of another
        assert (7, 0) in phone.strangers
        assert phone.bye().status == 200


def test_sipp_reports_good_and_bad_calls(echo: tuple[str, int], media: Media, tmp_path: Path) -> None:
    words = {"sound": str(media.alaw(440)), "talk_ms": "300"}
    with Sipp("caller_hangs_up", exchange=echo, folder=tmp_path / "good", calls=3, keys=words) as good:
        good.wait(20).check(3)
    with Baresip(Account("bob", auto_answer=True), exchange=FAR, folder=tmp_path / "bob", media=media) as bob:
        address = (ports.ADDRESS, bob.sip_port)
        with Sipp(
            "caller_holds",
            service="bob",
            exchange=address,
            folder=tmp_path / "hold",
            keys=words | {"talk_ms": "800"},
        ) as hold:
            hold.wait(20).check(1)
        assert bob.heard.tone == pytest.approx(440, abs=5), "what came after the hold"
        with Sipp(
            "caller_mute", service="nobody", exchange=address, folder=tmp_path / "bad", keys=words
        ) as bad:
            result = bad.wait(20)
    assert (result.successful, result.failed) == (0, 1)
    assert "404" in result.errors
    with pytest.raises(AssertionError):
        result.check(1)


def test_marks() -> None:
    payload = wire.marked(5, 2**40)
    assert len(payload) == wire.FRAME
    assert wire.owner(payload) == (5, 2**40)
    assert wire.owner(b"\x80" * 7 + payload) == (5, 2**40)
    broken = bytearray(payload)
    broken[8] ^= 1
    assert wire.owner(bytes(broken)) is None
    assert wire.owner(b"\xd5" * wire.FRAME) is None


def test_alaw_and_tones(media: Media) -> None:
    decoded = sound.alaw(media.alaw(440).read_bytes()).part(0, 1)
    assert decoded.tone == pytest.approx(440, abs=1)
    assert decoded.rms == pytest.approx(sound.read(media.tone(440)).rms, rel=0.02)
    assert decoded.share(440) > 0.99
    assert sound.is_alaw_silence(b"\xd5\x55" * 80)
    assert not sound.is_alaw_silence(b"\xd5" * 159 + b"\xd4")
    assert not sound.is_alaw_silence(b"")
