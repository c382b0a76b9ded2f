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
from tests.live.test_media_worker import MediaProcess, Phone, media

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


def test_ffmpeg_sees_the_h263_of_another(media: MediaProcess, tmp_path: Path) -> None:
    caller, desk = Phone(payload_type=108, step=3000), Phone(payload_type=108)
    first = ports.block(2)
    for name, port in (("rtp", first), ("rtcp", first + 1)):
        getattr(desk, name).close()
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((ports.ADDRESS, port))
        setattr(desk, name, sock)
    media.leg("caller", None, caller, pictures=(H263,))
    media.leg("desk", None, desk, pictures=(H263,))
    desk.close()  # ffmpeg has its ports
    media.signalling.send(c.Join("room", "desk", "host"), c.Join("room", "caller", "guest"))
    media.settle()
    (tmp_path / "desk.sdp").write_text(SDP.format(port=first))
    seen = tmp_path / "seen.png"
    receiver = subprocess.Popen(
        ["ffmpeg", "-v", "error", "-y", "-protocol_whitelist", "file,udp,rtp", "-i", str(tmp_path / "desk.sdp"), "-frames:v", "20", "-update", "1", str(seen)],
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    sender = subprocess.Popen(
        ["ffmpeg", "-v", "error", "-re", "-i", str(Media(tmp_path).picture("red")), "-s", "352x288", "-c:v", "h263p", "-g", "15", "-f", "rtp", "-payload_type", "108", f"rtp://127.0.0.1:{caller.exchange[1]}?pkt_size=1200"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
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
