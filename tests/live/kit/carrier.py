"""A carrier's switch: Kamailio that wants a password, takes registrations, and sends calls on to one place.

It challenges every INVITE (407) and REGISTER (401), record-routes, and relays to `onward`. `kill()` takes it away in the
middle of whatever it does.
"""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

from tests.live.kit import ports
from tests.live.kit.ports import ADDRESS

KAMAILIO = "/usr/sbin/kamailio"
MODULES = "/usr/lib/x86_64-linux-gnu/kamailio/modules/"
REALM = "carrier.test"
PASSWORD = "trunk-password"

CONFIGURATION = """#!KAMAILIO
debug=1
log_stderror=yes
children=1
disable_tcp=yes
auto_aliases=no
dns=no
rev_dns=no
listen=udp:{address}:{port}
mpath="{modules}"
loadmodule "kex.so"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "xlog.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"
modparam("usrloc", "db_mode", 0)
request_route {{
  xlog("L_ERR", "GOT $rm $ru\\n");
  if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
  if (is_method("OPTIONS") && !has_totag()) {{ sl_send_reply("200", "OK"); exit; }}
  if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
  if (has_totag()) {{
    if (loose_route()) {{ t_relay(); exit; }}
    if (is_method("ACK") && t_check_trans()) t_relay();
    exit;
  }}
  if (is_method("ACK")) {{ if (t_check_trans()) t_relay(); exit; }}
  if (is_method("REGISTER")) {{
    if (!pv_www_authenticate("{realm}", "{password}", "0")) {{ www_challenge("{realm}", "0"); exit; }}
    if (!save("location")) sl_reply_error();
    exit;
  }}
  if (!is_method("INVITE")) {{ sl_send_reply("405", "Method Not Allowed"); exit; }}
  if (!pv_proxy_authenticate("{realm}", "{password}", "0")) {{ proxy_challenge("{realm}", "0"); exit; }}
  consume_credentials();
  record_route();
  $du = "sip:{onward}";
  t_relay();
}}
"""


class Carrier:
    """One running Kamailio; a context manager."""

    def __init__(self, folder: Path, *, onward: str, port: int | None = None) -> None:
        """`onward`: `host:port` that calls go on to."""
        self.folder = folder
        self.port = ports.block(2) if port is None else port
        folder.mkdir(parents=True, exist_ok=True)
        text = CONFIGURATION.format(
            address=ADDRESS, port=self.port, modules=MODULES, realm=REALM, password=PASSWORD, onward=onward
        )
        (folder / "kamailio.cfg").write_text(text)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def peer(self) -> str:
        """Its name as a peer of a trunk."""
        return f"{ADDRESS}:{self.port}"

    @property
    def said(self) -> str:
        """What it logged: one line `GOT METHOD uri` for each request."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> Self:
        """Start it; it has opened its socket when it writes that it listens."""
        command = [
            KAMAILIO, "-f", str(self.folder / "kamailio.cfg"), "-DD", "-E", "-m", "32", "-M", "4",
            "-Y", str(self.folder), "-P", str(self.folder / "pid"),
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        end = time.monotonic() + 20
        while not self._answers():
            assert self._process.poll() is None, f"Kamailio ended at start\n{self.said[-2000:]}"
            assert time.monotonic() < end, f"Kamailio was not ready\n{self.said[-2000:]}"
        return self

    def _answers(self) -> bool:
        """Ask it, and wait a little for its answer."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((ADDRESS, 0))
            probe.settimeout(0.2)
            here = f"{ADDRESS}:{probe.getsockname()[1]}"
            lines = (
                f"OPTIONS sip:{self.peer} SIP/2.0",
                f"Via: SIP/2.0/UDP {here};branch=z9hG4bKprobe{time.monotonic_ns()}",
                f"From: <sip:probe@{here}>;tag=1",
                f"To: <sip:{self.peer}>",
                f"Call-ID: {time.monotonic_ns()}",
                "CSeq: 1 OPTIONS",
                "Max-Forwards: 5",
                "Content-Length: 0",
            )
            try:
                probe.sendto(("\r\n".join(lines) + "\r\n\r\n").encode(), (ADDRESS, self.port))
                return probe.recv(4096).startswith(b"SIP/2.0 200")
            except OSError:
                time.sleep(0.05)
                return False

    def kill(self) -> None:
        """Take it away at once; harmless when it is gone."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait(10)
