"""Drive Debian's baresip 1.0 without a screen: one folder and one process per phone.

baresip reads `config` and `accounts` from its folder, is commanded over TCP in netstrings of JSON (module ctrl_tcp),
writes what it hears to `dump-*-dec.wav` (module sndfile) and what it sees to a PNG on demand (module snapshot).

Facts that shape this file: the interface is given as an address because it skips one named "lo"; the rates of source and
player are pinned or a sound file is refused for most codecs; REGISTER may succeed before the control connection
stands, so registration is read from the log; stdin must be a pipe; `quit` waits for the BYE to be answered.
"""

import json
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.live.kit import ports, sound
from tests.live.kit.media import Media

Address = tuple[str, int]

CONFIG = """\
poll_method epoll
sip_listen 127.0.0.1:{sip}
net_interface 127.0.0.1
call_local_timeout 120
call_max_calls 8
audio_path /usr/share/baresip
audio_source {audio_source}
audio_player aubridge,nowhere
audio_alert none,none
ausrc_srate 48000
ausrc_channels 1
auplay_srate 48000
auplay_channels 1
ausrc_format s16
auplay_format s16
auenc_format s16
audec_format s16
audio_buffer 20-160
{video}
rtp_ports {rtp}-{rtp_last}
rtcp_mux {mux}
jitter_buffer_delay 5-10
rtp_stats yes
ringback_disabled yes
menu_bell no
snd_path {folder}
opus_bitrate 28000
module_path /usr/lib/baresip/modules
module g711.so
module g722.so
module opus.so
module aufile.so
module aubridge.so
module sndfile.so
module stdio.so
{encryption}
{video_modules}
module_tmp account.so
module_app contact.so
module_app debug_cmd.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:{control}
"""

VIDEO = """\
video_source avformat,{picture}
video_display fakevideo,nil
video_size 320x240
video_bitrate 300000
video_fps 15
videnc_format yuv420p"""

VIDEO_MODULES = """\
module avcodec.so
module vp8.so
module avformat.so
module fakevideo.so
module snapshot.so"""

ENCRYPTION = """\
module srtp.so
module dtls_srtp.so"""

PATIENCE = 20.0
"""Seconds to wait for anything that takes a fraction of one on an idle machine."""
SIP_PORTS = 2
"""baresip also listens for TLS on the port after its SIP port."""
NEAR_HZ = 8.0
LOUD = 300.0
"""RMS of 32768 above which something is heard; the test tones have about 9000."""
RTP_PORTS = 24
"""Two pairs per call; generous because a re-INVITE or a second call takes others."""


@dataclass(frozen=True, slots=True)
class Account:
    """How a phone speaks: whose it is, what it sends, which codecs it knows (baresip's names), how it answers."""

    user: str
    password: str = ""
    """Empty: it doesn't register."""
    tone: int = 440
    """Hz of the tone it speaks."""
    picture: str | None = None
    """Colour of the picture it sends (`media.COLOURS`); None for a phone without video."""
    audio_codecs: str = "pcma"
    video_codecs: str = "h264"
    auto_answer: bool = False
    transport: str = "udp"
    register_seconds: int = 300
    encryption: str = ""
    """baresip's mediaenc: `srtp`, `srtp-mand`, `dtls_srtp`; empty: none."""
    mux: bool = False
    """RTCP on the RTP port."""
    packet_ms: int = 0
    """Its `a=ptime`; 0: 20."""


@dataclass(slots=True)
class Event:
    """One event baresip told, with the moment it reached us (seconds, `time.monotonic`)."""

    at: float
    type: str
    fields: Mapping[str, Any] = field(default_factory=dict)


class Baresip:
    """One phone. Use as a context manager, or call `close()`."""

    def __init__(self, account: Account, *, exchange: Address, folder: Path, media: Media) -> None:
        self.account = account
        self.exchange = exchange
        self.folder = folder
        first = ports.block(SIP_PORTS + 2 + RTP_PORTS)
        self.sip_port, self.control_port, self.rtp_port = first, first + SIP_PORTS, first + SIP_PORTS + 2
        folder.mkdir(parents=True)
        self._write_settings(media)
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen(
            ["baresip", "-4", "-f", str(folder)],
            stdin=subprocess.PIPE, stdout=self._log, stderr=subprocess.STDOUT, cwd=folder,
        )  # fmt: skip
        self.events: list[Event] = []
        self._answers: dict[str, dict[str, Any]] = {}
        self._told = threading.Condition()
        self._snapshots = 0
        self._token = 0
        self._control = self._connect()
        threading.Thread(target=self._read, name=f"baresip {account.user}", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write_settings(self, media: Media) -> None:
        account, host, port = self.account, *self.exchange
        picture = account.picture
        (self.folder / "config").write_text(
            CONFIG.format(
                sip=self.sip_port, control=self.control_port, rtp=self.rtp_port,
                rtp_last=self.rtp_port + RTP_PORTS - 1, folder=self.folder,
                audio_source=f"aufile,{media.tone(account.tone)}",
                video=VIDEO.format(picture=media.picture(picture)) if picture else "",
                video_modules=VIDEO_MODULES if picture else "",
                mux="yes" if account.mux else "no",
                encryption=ENCRYPTION if account.encryption else "",
            )
        )  # fmt: skip
        parameters = [
            f"auth_user={account.user}",
            f"auth_pass={account.password or 'none'}",  # without one baresip asks for it at start
            f"regint={account.register_seconds if account.password else 0}",
            f'outbound="sip:{host}:{port};transport={account.transport}"',
            f"audio_codecs={account.audio_codecs}",
            f"video_codecs={account.video_codecs}" if picture else "",
            "answermode=auto" if account.auto_answer else "",
            f"mediaenc={account.encryption}" if account.encryption else "",
            f"ptime={account.packet_ms}" if account.packet_ms else "",
        ]
        uri = f"sip:{account.user}@{host}:{port};transport={account.transport}"
        (self.folder / "accounts").write_text(f"<{uri}>;{';'.join(filter(None, parameters))}\n")
        (self.folder / "contacts").write_text('"nobody" <sip:nobody@127.0.0.1>\n')

    @property
    def bpf(self) -> str:
        """A capture filter for all the phone sends and receives."""
        return f"udp portrange {self.sip_port}-{self.rtp_port + RTP_PORTS - 1}"

    # --- control ---

    def _connect(self) -> socket.socket:
        end = time.monotonic() + 10
        while True:
            try:
                control = socket.create_connection((ports.ADDRESS, self.control_port), 1)
            except OSError:
                if time.monotonic() > end or self._process.poll() is not None:
                    self._end()
                    raise RuntimeError(
                        f"baresip {self.account.user} did not start:\n{self.log[-3000:]}"
                    ) from None
                time.sleep(0.02)
            else:
                control.settimeout(None)
                return control

    def _read(self) -> None:
        pending = b""
        while True:
            try:
                data = self._control.recv(65536)
            except OSError:
                return
            if not data:
                return
            pending += data
            while b":" in pending:
                length, rest = pending.split(b":", 1)
                if len(rest) < int(length) + 1:
                    break
                self._tell(json.loads(rest[: int(length)].decode("utf-8", "replace")))
                pending = rest[int(length) + 1 :]

    def _tell(self, message: dict[str, Any]) -> None:
        with self._told:
            if message.get("event"):
                self.events.append(Event(time.monotonic(), str(message.get("type")), message))
            else:
                self._answers[str(message.get("token"))] = message
            self._told.notify_all()

    def command(self, name: str, params: str = "", *, timeout: float = 5.0) -> str:
        """Give a command and return what baresip printed for it. Raises TimeoutError, RuntimeError when refused."""
        with self._told:
            self._token += 1
            token = str(self._token)
        body = json.dumps({"command": name, "params": params, "token": token}).encode()
        self._control.sendall(b"%d:%s," % (len(body), body))
        with self._told:
            if not self._told.wait_for(lambda: token in self._answers, timeout):
                raise TimeoutError(f"baresip {self.account.user}: no answer to {name}")
            answer = self._answers.pop(token)
        if not answer.get("ok"):
            raise RuntimeError(f"baresip {self.account.user}: {name} {params}: {answer}")
        return str(answer.get("data", ""))

    def wait(self, kind: str, *, timeout: float = PATIENCE, since: int = 0) -> Event:
        """Wait for an event of a type, from the `since`-th on. Raises TimeoutError with what came instead."""

        def found() -> Event | None:
            return next((event for event in self.events[since:] if event.type == kind), None)

        with self._told:
            if not self._told.wait_for(lambda: found() is not None, timeout):
                came = ", ".join(event.type for event in self.events[since:]) or "nothing"
                raise TimeoutError(f"baresip {self.account.user}: no {kind} in {timeout:g} s, but {came}")
            event = found()
        assert event is not None
        return event

    # --- verbs ---

    def wait_registered(self, timeout: float = PATIENCE) -> None:
        """Wait until the log tells of an accepted REGISTER. Raises TimeoutError."""
        self._until(lambda: "200 OK" in self.log and "binding" in self.log, "not registered", timeout)

    def dial(self, uri: str, *, timeout: float = PATIENCE) -> float:
        """Call, wait until the call stands, and give the seconds from the command to the 200."""
        since, start = len(self.events), time.monotonic()
        self.command("dial", uri)
        return self.wait("CALL_ESTABLISHED", timeout=timeout, since=since).at - start

    def hang_up(self) -> None:
        """End the present call and wait until it is closed."""
        since = len(self.events)
        self.command("hangup")
        self.wait("CALL_CLOSED", since=since)

    def snapshot(self, name: str = "seen.png", *, timeout: float = 5.0) -> Path:
        """Save the next decoded picture of the far end. Raises TimeoutError when none comes."""
        # A name of its own for each: baresip writes it when the next picture comes, and a file that is there already would be
        # taken for it, or read while it is written anew.
        self._snapshots += 1
        path = self.folder / f"{self._snapshots}-{name}"
        self.command("snapshot_recv", str(path))
        self._until(
            lambda: path.exists() and path.read_bytes()[-8:-4] == b"IEND", "no picture decoded", timeout
        )
        return path

    def rtp_port_of(self, medium: str = "audio") -> int:
        """Give the local RTP port of a medium of the present call; baresip takes any of its range."""
        text = self.command(f"{medium}_debug")
        match = re.search(r"local: [0-9.]+:([0-9]+)", text)
        assert match is not None, f"baresip {self.account.user} has no {medium}: {text}"
        return int(match[1])

    @property
    def heard(self) -> sound.Sound:
        """What the phone decoded in its latest call, from its start to now."""
        files = sorted(self.folder.glob("dump-*-dec.wav"), key=lambda path: path.stat().st_mtime_ns)
        return sound.read(files[-1]) if files else sound.NOTHING

    def hears(self, tone: float) -> bool:
        """Say whether the last 0.6 s the phone heard are a tone, within the resolution of the spectrum."""
        latest = self.heard.part(-0.6)
        return latest.rms > LOUD and abs(latest.tone - tone) < NEAR_HZ

    def wait_to_hear(self, tone: float, *, timeout: float = PATIENCE) -> None:
        """Wait until the phone hears a tone. Raises TimeoutError."""
        self._until(lambda: self.hears(tone), f"doesn't hear {tone:g} Hz", timeout)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    # --- the end ---

    def kill(self) -> None:
        """End the process as a power cut does: nothing is sent."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(5)
        self.close()

    def close(self) -> None:
        """Hang up, unregister and end the process; harmless when it has ended."""
        if self._process.poll() is None:
            try:
                self.command("quit", timeout=1)
                self._process.wait(4)
            except (OSError, TimeoutError, RuntimeError, subprocess.TimeoutExpired):
                pass
        self._control.close()
        self._end()

    def _end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(5)
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._log.close()

    def _until(self, condition: Callable[[], bool], complaint: str, timeout: float) -> None:
        end = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > end or self._process.poll() is not None:
                raise TimeoutError(f"baresip {self.account.user}: {complaint}:\n{self.log[-1500:]}")
            time.sleep(0.02)
