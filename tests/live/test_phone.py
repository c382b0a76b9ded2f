"""The scripted phones against strangers: baresip answers them, SIPp asks them everything that may be asked in a call."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pbx.phone.media import PhoneMedia, bind_pair
from pbx.sdp.description import parse as parse_sdp
from pbx.tasks import Tasks
from rtp import rtcp
from rtp.packet import parse
from tests.live.kit import ports
from tests.live.kit.baresip import Account, Baresip
from tests.live.kit.drill import Running
from tests.live.kit.media import Media, contrast
from tests.live.kit.sipp import Sipp

FAR = ("127.0.0.1", 9)


NewPhone = Callable[..., Running]


@pytest.fixture
def start() -> Iterator[NewPhone]:
    """`start("call", "--seconds", "3")`."""
    made: list[Running] = []

    def new(command: str, *arguments: str) -> Running:
        made.append(Running(command, *arguments))
        return made[-1]

    yield new
    for one in made:
        one.stop()


@pytest.fixture
def bob(media: Media, tmp_path: Path) -> Iterator[Baresip]:
    account = Account("bob", tone=1000, picture="blue", auto_answer=True, audio_codecs="opus,pcma")
    with Baresip(account, exchange=FAR, folder=tmp_path / "bob", media=media) as phone:
        yield phone


@pytest.mark.parametrize("audio", ["pcma", "opus"])
def test_sound_and_picture_both_ways(audio: str, media: Media, tmp_path: Path, start: NewPhone) -> None:
    account = Account("bob", tone=1000, picture="blue", auto_answer=True, audio_codecs=audio)
    with Baresip(account, exchange=FAR, folder=tmp_path / "bob", media=media) as bob:
        place = f"127.0.0.1:{bob.sip_port}"
        caller = start("call", "--server", place, "--to", f"sip:bob@{place}", "--seconds", "4")
        bob.wait("CALL_ESTABLISHED")
        bob.wait_to_hear(440)
        picture = bob.snapshot()
        code, report = caller.end()
        bob.wait("CALL_CLOSED")
    assert contrast(picture) > 40, "the test card has light and dark bars"
    assert code == 0
    assert (report["sip_status"], report["ended_by"]) == (200, "us")
    assert report["tone_hz"] == pytest.approx(1000, abs=3)
    assert report["rms"] > 3000
    assert report["frames_decoded"] > 20
    for medium, least in (("audio", 180), ("video", 40)):
        counts = report["media"][medium]
        assert counts["sent"] >= least
        assert counts["received"] >= least
        assert counts["lost"] == 0
    times = report["times_ms"]
    assert 0 < times["answered"] < times["first_audio"] < 8000
    assert times["first_video"] < 8000


def test_a_phone_without_camera(bob: Baresip, start: NewPhone) -> None:
    place = f"127.0.0.1:{bob.sip_port}"
    caller = start(
        "call", "--server", place, "--to", f"sip:bob@{place}", "--seconds", "2", "--audio-only", "--json"
    )
    code, report = caller.end()
    assert code == 0
    assert caller.said == ""
    assert report["media"]["video"] == {"sent": 0, "received": 0, "lost": 0}
    assert report["media"]["audio"]["received"] > 60


def test_hung_up_by_the_other_side(bob: Baresip, start: NewPhone) -> None:
    place = f"127.0.0.1:{bob.sip_port}"
    caller = start("call", "--server", place, "--to", f"sip:bob@{place}")
    bob.wait("CALL_ESTABLISHED")
    bob.wait_to_hear(440)
    bob.hang_up()
    code, report = caller.end(10)
    assert (code, report["ended_by"]) == (0, "peer")


def test_held_by_the_other_side(bob: Baresip, start: NewPhone) -> None:
    place = f"127.0.0.1:{bob.sip_port}"
    caller = start("call", "--server", place, "--to", f"sip:bob@{place}", "--seconds", "6")
    bob.wait("CALL_ESTABLISHED")
    bob.wait_to_hear(440)
    bob.command("hold")
    time.sleep(1.5)
    bob.command("resume")
    code, report = caller.end()
    assert code == 0
    # 6 s are 300 packets of 20 ms; while held we send none
    assert 100 < report["media"]["audio"]["sent"] < 280
    assert "refused" not in caller.said


def test_interrupted(bob: Baresip, start: NewPhone) -> None:
    place = f"127.0.0.1:{bob.sip_port}"
    caller = start("call", "--server", place, "--to", f"sip:bob@{place}")
    bob.wait("CALL_ESTABLISHED")
    caller.interrupt()
    code, report = caller.end(8)
    assert (code, report["ended_by"]) == (0, "interrupt")
    bob.wait("CALL_CLOSED")


def test_a_desk_signs_in_and_answers_all_that_is_asked(tmp_path: Path, start: NewPhone) -> None:
    with Sipp("phone_is_asked", exchange=FAR, folder=tmp_path / "sipp", calls=2) as sipp:
        place = f"127.0.0.1:{sipp.sip_port}"
        desk = start("desk", "--user", "d1", "--password", "secret-1", "--server", place)
        code, report = desk.end()
        sipp.wait(10).check(2)
    assert (code, report["role"], report["ended_by"]) == (0, "desk", "peer")
    assert (report["sip_status"], report["evidence_id"]) == (200, "20261122-0001")
    assert report["messages"] == ["You are number 1 in the queue."]
    assert "signed in" in desk.said
    assert "key frame" in desk.said
    times = report["times_ms"]
    assert 0 < times["trying"] <= times["answered"]
    # Refused at first, the picture came with the second offer and lasted 1.5 s.
    assert report["media"]["video"]["sent"] > 10


def test_a_wrong_password(tmp_path: Path, start: NewPhone) -> None:
    with Sipp("phone_is_asked", exchange=FAR, folder=tmp_path / "sipp", calls=1) as sipp:
        place = f"127.0.0.1:{sipp.sip_port}"
        desk = start("desk", "--user", "d1", "--password", "secret-2", "--server", place)
        code, report = desk.end()
        sipp.wait(10).check(1)
    assert (code, report["sip_status"], report["ended_by"]) == (1, 401, "refused")
    assert report["times_ms"]["answered"] is None


def test_nobody_there(start: NewPhone) -> None:
    place = f"127.0.0.1:{ports.block(2)}"
    caller = start("call", "--server", place, "--seconds", "1")
    code, report = caller.end(10)
    assert (code, report["sip_status"], report["ended_by"]) == (1, None, "us")


async def test_a_picture_loss_is_answered_by_a_key_frame() -> None:
    loop = asyncio.get_running_loop()
    tasks = Tasks("test")
    media = PhoneMedia("caller", ports.ADDRESS, 440, with_picture=True, tasks=tasks)
    rtp, control = bind_pair(ports.ADDRESS)
    try:
        port = rtp.getsockname()[1]
        lines = (
            "v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", f"c=IN IP4 {ports.ADDRESS}", "t=0 0",
            f"m=video {port} RTP/AVP 96", "a=rtpmap:96 H264/90000", "a=fmtp:96 packetization-mode=1;profile-level-id=42e01f",
            "a=rtcp-fb:96 nack pli",
        )  # fmt: skip
        media.answer("\r\n".join([*lines, ""]).encode())
        media.start()
        keys: list[int] = []
        pictures = 0
        while pictures < 16:
            async with asyncio.timeout(5):
                packet = parse(await loop.sock_recv(rtp, 2000))
            if packet.payload[0] & 31 == 7:  # a sequence parameter set goes before every key frame
                keys.append(pictures)
            pictures += packet.marker
            if packet.marker and pictures == 4:
                assert media.picture is not None
                assert media.picture.stream is not None
                where = media.picture.stream.remote_rtcp
                assert where == (ports.ADDRESS, port + 1)
                report = rtcp.encode((rtcp.ReceiverReport(9), rtcp.PictureLoss(9, packet.ssrc)))
                own = parse_sdp(media.offer()).media[1].port
                await loop.sock_sendto(control, report, (ports.ADDRESS, own + 1))
        # Without the loss the second one would be picture 10.
        assert keys[0] == 0
        assert keys[1] in (4, 5, 6)
        async with asyncio.timeout(5):
            said = rtcp.parse(await loop.sock_recv(control, 2000))
        assert isinstance(said[0], rtcp.SenderReport)
        assert said[0].packets > 0
        assert isinstance(said[1], rtcp.Description)
    finally:
        media.close()
        await tasks.close()
        rtp.close()
        control.close()
