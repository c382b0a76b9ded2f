"""Drive Debian's Linphone 5.1 without a screen or a sound card: `linphone-daemon`, commanded over its standard input.

What it is here for: it transfers attended by itself, with a REFER whose Replaces it makes of its own second dialog, as baresip
1.0 can't.

Facts that shape this file: an answer begins with "Status:" and ends with a prompt, and events come in between; without a sound
card it speaks a file that is played into a call, and drops what it hears; its database is found by HOME and XDG_*; of a paused
call it stays the owner, and hangs it up when its REFER came true.
"""

import os
import re
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from tests.live.kit import ports
from tests.live.kit.exchange import Person
from tests.live.kit.media import Media

Address = tuple[str, int]
T = TypeVar("T")

REALM: Final = "at110"
SETTINGS: Final = """\
[sip]
bind_address=127.0.0.1
sip_port={sip}
sip_tcp_port=0
sip_tls_port=0
use_ipv6=0
guess_hostname=0
contact="{user}" <sip:{user}@127.0.0.1>
register_only_when_network_is_up=0
auto_net_state_mon=0
[rtp]
audio_rtp_port={rtp}-{rtp_last}
download_ptime={wished}
[storage]
uri={folder}/linphone.db
[misc]
version_check_url_root=
"""
RTP_PORTS: Final = 16
START_SECONDS: Final = 30.0
PATIENCE: Final = 20.0

ANSWERED: Final = re.compile(r"Status: (Ok|Error)\n.*?daemon-linphone>", re.DOTALL)
INCOMING: Final = re.compile(r"Event: LinphoneCallIncomingReceived\n(?:.*\n)?Id: ([0-9]+)")


class Linphone:
    """One registered phone of an account, which picks up by itself. `close()` ends it."""

    def __init__(
        self, person: Person, *, exchange: Address, folder: Path, media: Media, packet_ms: int = 0
    ) -> None:
        """`packet_ms`: the `a=ptime` it states; 0: none."""
        self.user = person.user
        self._exchange = exchange
        self._media = media
        folder.mkdir(parents=True)
        self.sip_port = ports.block(2 + RTP_PORTS)
        self.rtp_port = rtp = self.sip_port + 2
        settings = folder / "linphonerc"
        settings.write_text(
            SETTINGS.format(
                sip=self.sip_port,
                user=self.user,
                rtp=rtp,
                rtp_last=rtp + RTP_PORTS - 1,
                folder=folder,
                wished=packet_ms,
            )
        )
        homes = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"), str(folder))
        self._process = subprocess.Popen(
            ["linphone-daemon", "--config", str(settings), "--log", str(folder / "log"), "--auto-answer", "--disable-stats-events"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, **homes}, cwd=folder,
        )  # fmt: skip
        self._said = ""
        self._told = threading.Condition()
        self._reader = threading.Thread(target=self._read, name=f"linphone {self.user}", daemon=True)
        self._reader.start()
        self._wait(lambda: "daemon-linphone>" in self._said, "did not start", START_SECONDS)
        server = f"sip:{exchange[0]}:{exchange[1]};transport=udp"
        self.command(f"register sip:{self.user}@{exchange[0]} {server} {person.password} {self.user} {REALM}")
        self._until(
            lambda: "LinphoneRegistrationOk" in self.command("register-status ALL"), "is not registered"
        )

    @property
    def bpf(self) -> str:
        """A capture filter for all it sends and receives."""
        return f"udp portrange {self.sip_port}-{self.rtp_port + RTP_PORTS - 1}"

    # --- control ---

    def command(self, line: str) -> str:
        """Give a command and return its answer. Raises TimeoutError, RuntimeError when it is refused."""
        with self._told:
            since = len(self._said)
        self._send(line)
        found = self._wait(lambda: ANSWERED.search(self._said, since), f"no answer to {line}", PATIENCE)
        assert found is not None
        if found[1] != "Ok":
            raise RuntimeError(f"linphone {self.user}: {line}: {found[0]}")
        return found[0]

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        while data := os.read(self._process.stdout.fileno(), 65536):
            with self._told:
                self._said += data.decode(errors="replace")
                self._told.notify_all()

    def _wait(self, condition: Callable[[], T], complaint: str, timeout: float) -> T:
        with self._told:
            found = self._told.wait_for(condition, timeout)
            if not found:
                raise TimeoutError(f"linphone {self.user}: {complaint}:\n{self._said[-1500:]}")
            return found

    def _until(self, condition: Callable[[], bool], complaint: str) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"linphone {self.user}: {complaint}:\n{self._said[-1500:]}")
            time.sleep(0.05)

    # --- verbs ---

    def taken(self, times: int = 1) -> str:
        """Wait until it was called so often since it started, and the last of these calls stands; gives its number."""
        self._wait(lambda: len(INCOMING.findall(self._said)) >= times, "is not called", PATIENCE)
        last = str(INCOMING.findall(self._said)[-1])
        self._runs(last)
        return last

    def dial(self, user: str) -> str:
        """Call somebody and wait until the call stands; gives its number."""
        answer = self.command(f"call sip:{user}@{self._exchange[0]}:{self._exchange[1]}")
        found = re.search(r"Id: ([0-9]+)", answer)
        assert found is not None, answer
        self._runs(found[1])
        return found[1]

    def speak(self, tone: int, call: str) -> None:
        """Speak a tone into a call from now on."""
        self.command(f"incall-player-start {self._media.tone(tone)} {call}")

    def _runs(self, call: str) -> None:
        state = "State: LinphoneCallStreamsRunning"
        self._until(lambda: state in self.command(f"call-status {call}"), f"call {call} does not stand")

    def close(self) -> None:
        """Hang up, unregister and end the process; harmless when it has ended."""
        if self._process.poll() is None:
            try:
                self.command("unregister ALL")
                self._send("quit")
                self._process.wait(5)
            except (OSError, TimeoutError, RuntimeError, subprocess.TimeoutExpired):
                self._process.kill()
        self._process.wait(5)
        self._reader.join(5)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
