"""Pictures nobody here looks into, relayed as they are: ffmpeg sends H.263 of 1998, another ffmpeg decodes it."""

import socket
import subprocess
import time
from pathlib import Path
from typing import Final

import pytest

from rtp import control as c
from tests.live.kit import ports
from tests.live.kit.media import Media, border
from tests.live.kit.worker import MediaProcess, Phone, media

__all__ = ["media"]

pytestmark = pytest.mark.beside

H263: Final = c.Codec("H263-1998", 108, 90000, 1, "CIF=1;QCIF=1")
SDP: Final = """\
v=0
o=- 1 1 IN IP4 127.0.0.1
s=-
c=IN IP4 127.0.0.1
t=0 0
m=video {port} RTP/AVP 108
a=rtpmap:108 H263-1998/90000
"""
PATIENCE: Final = 40.0


def at(phone: Phone, first: int) -> int:
    """Give a phone these two ports; the first of them."""
    for name, port in (("rtp", first), ("rtcp", first + 1)):
        getattr(phone, name).close()
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((ports.ADDRESS, port))
        setattr(phone, name, sock)
    return first


@pytest.mark.parametrize(
    ("every", "waits", "pictures"),
    # Of the second only the first picture is a key frame: who comes later sees it because it is kept.
    [pytest.param(15, 0.0, 20, id="at once"), pytest.param(1000, 1.5, 30, id="a caller who waited")],
)
def test_ffmpeg_sees_the_h263_of_another(
    media: MediaProcess, tmp_path: Path, every: int, waits: float, pictures: int
) -> None:
    caller, desk = Phone(payload_type=108, step=3000), Phone(payload_type=108)
    of_caller, of_desk = (at(phone, ports.block(2)) for phone in (caller, desk))
    media.leg("caller", None, caller, pictures=(H263,))
    media.leg("desk", None, desk, pictures=(H263,))
    media.settle()
    for phone in (caller, desk):
        phone.close()  # ffmpeg has its ports
    (tmp_path / "desk.sdp").write_text(SDP.format(port=of_desk))
    seen = tmp_path / "seen.png"
    receiver = subprocess.Popen(
        ["ffmpeg", "-v", "error", "-y", "-protocol_whitelist", "file,udp,rtp", "-i", str(tmp_path / "desk.sdp"), "-frames:v", str(pictures), "-update", "1", str(seen)],
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    sender = subprocess.Popen(
        ["ffmpeg", "-v", "error", "-re", "-i", str(Media(tmp_path).picture("red")), "-s", "352x288", "-c:v", "h263p", "-g", str(every), "-f", "rtp", "-payload_type", "108", f"rtp://127.0.0.1:{caller.exchange[1]}?pkt_size=1200&localrtpport={of_caller}&localrtcpport={of_caller + 1}"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        media.signalling.wait(c.MediaStarted, seconds=PATIENCE)
        time.sleep(waits)
        media.signalling.send(c.Join("room", "desk", "host"), c.Join("room", "caller", "guest"))
        end = time.monotonic() + PATIENCE
        while receiver.poll() is None:
            assert time.monotonic() < end, "no picture was decoded"
            assert sender.poll() is None, "ffmpeg does not send"
            time.sleep(0.05)
    finally:
        for process in (sender, receiver):
            process.kill()
            process.wait(10)
    assert border(seen) == "red"  # of the last of them: the first ones came before a key frame
