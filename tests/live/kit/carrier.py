"""A carrier's switch, by Kamailio: `Carrier` wants a password over UDP, `TlsCarrier` certificates of both sides.

Each record-routes and sends calls on to one place. `kill()` takes it away in the middle of whatever it does.
"""

import os
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from pbx.transport.certificates import self_made
from tests.live.kit import ports
from tests.live.kit.ports import ADDRESS

KAMAILIO = "/usr/sbin/kamailio"
MODULES = "/usr/lib/x86_64-linux-gnu/kamailio/modules/"
REALM = "carrier.test"
PASSWORD = "trunk-password"
NAME = "carrier.test"
"""What the certificate of a `TlsCarrier` is for, beside its address."""
START_SECONDS = 30.0

_HEAD = """#!KAMAILIO
debug=1
log_stderror=yes
children=1
auto_aliases=no
dns=no
rev_dns=no
{listen}
mpath="{modules}"
{load}
"""

_COMMON = ("kex", "tm", "sl", "rr", "pv", "maxfwd", "textops", "siputils", "xlog")

_ROUTE = """request_route {{
  xlog("L_ERR", "GOT $rm {said}\\n");
  if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
  if (is_method("OPTIONS") && !has_totag()) {{ sl_send_reply("200", "OK"); exit; }}
  if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
  if (has_totag()) {{
    if (loose_route()) {{ t_relay(); exit; }}
    if (is_method("ACK") && t_check_trans()) t_relay();
    exit;
  }}
  if (is_method("ACK")) {{ if (t_check_trans()) t_relay(); exit; }}
  {register}
  if (!is_method("INVITE")) {{ sl_send_reply("405", "Method Not Allowed"); exit; }}
  {invite}
  t_relay();
}}
"""

_REGISTER = """if (is_method("REGISTER")) {{
    if (!pv_www_authenticate("{realm}", "{password}", "0")) {{ www_challenge("{realm}", "0"); exit; }}
    if (!save("location")) sl_reply_error();
    exit;
  }}"""

_INVITE = """if (!pv_proxy_authenticate("{realm}", "{password}", "0")) {{ proxy_challenge("{realm}", "0"); exit; }}
  consume_credentials();
  record_route();
  $du = "sip:{onward}";"""

_INVITE_BY_TLS = """record_route();
  if ($proto == "tls") $du = "sip:{onward}"; else $du = "sip:{exchange};transport=tls";"""

_TLS = """[server:default]
method = TLSv1.2+
certificate = {certificate}
private_key = {key}
ca_list = {customers}
verify_certificate = yes
require_certificate = yes
[client:default]
method = TLSv1.2+
certificate = {certificate}
private_key = {key}
ca_list = {customers}
verify_certificate = yes
require_certificate = yes
"""


class _Switch(ABC):
    """One Kamailio of our own; a context manager that ends it."""

    port: int

    def __init__(self, folder: Path, *, onward: str) -> None:
        """`onward`: `host:port` that calls go on to."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.onward = folder, onward
        self._process: subprocess.Popen[bytes] | None = None

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def said(self) -> str:
        """What it logged: one line `GOT METHOD …` for each request."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _write(self, *, listen: str, modules: tuple[str, ...], settings: str, route: str) -> None:
        load = "\n".join(f'loadmodule "{name}.so"' for name in (*modules, *_COMMON))
        head = _HEAD.format(listen=listen, modules=MODULES, load=f"{load}\n{settings}")
        (self.folder / "kamailio.cfg").write_text(head + route)

    def _launch(self) -> None:
        """Start it, and wait until it is ready."""
        command = [
            KAMAILIO, "-f", str(self.folder / "kamailio.cfg"), "-DD", "-E", "-m", "32", "-M", "8",
            "-Y", str(self.folder), "-w", str(self.folder), "-P", str(self.folder / "pid"),
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        end = time.monotonic() + START_SECONDS
        while not self._is_ready():
            assert self._process.poll() is None, f"Kamailio ended at start\n{self.said[-2000:]}"
            assert time.monotonic() < end, f"Kamailio was not ready\n{self.said[-2000:]}"
            time.sleep(0.05)

    @abstractmethod
    def _is_ready(self) -> bool:
        """Whether it takes calls."""

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


class Carrier(_Switch):
    """It challenges every INVITE (407) and REGISTER (401), and takes registrations, over UDP."""

    def __init__(self, folder: Path, *, onward: str, port: int | None = None) -> None:
        """`onward`: `host:port` that calls go on to."""
        super().__init__(folder, onward=onward)
        self.port = ports.block(2) if port is None else port
        account = {"realm": REALM, "password": PASSWORD}
        self._write(
            listen=f"disable_tcp=yes\nlisten=udp:{ADDRESS}:{self.port}",
            modules=("usrloc", "registrar", "auth"),
            settings='modparam("usrloc", "db_mode", 0)',
            route=_ROUTE.format(
                said="$ru",
                register=_REGISTER.format(**account),
                invite=_INVITE.format(onward=onward, **account),
            ),
        )

    def __enter__(self) -> Self:
        return self.start()

    @property
    def peer(self) -> str:
        """Its name as a peer of a trunk."""
        return f"{ADDRESS}:{self.port}"

    def start(self) -> Self:
        """Start it; it is ready when it answers."""
        self._launch()
        return self

    def _is_ready(self) -> bool:
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
                return False


class TlsCarrier(_Switch):
    """It speaks TLS alone with its customers. What comes by TLS goes on to `onward`; what comes from there by UDP goes to the exchange,
    over TLS. It takes no connection without a certificate that `customers` vouches for, and makes none to a server that does not show one.
    Its own is there as soon as it is made.
    """

    def __init__(self, folder: Path, *, onward: str) -> None:
        """`onward`: `host:port` that calls go on to."""
        super().__init__(folder, onward=onward)
        self.port = ports.block(4)
        self.inner = (ADDRESS, self.port + 2)
        """Where its own network calls it, by UDP."""
        self.certificate, self._key = self_made(folder, [ADDRESS, NAME], datetime.now(UTC))

    def __enter__(self) -> Self:
        return self

    def start(self, *, exchange: str, customers: Path) -> Self:
        """Start it; `exchange`: `host:port` of the customer by TLS, `customers`: PEM file of their certificates."""
        here = f"tcp_children=1\nenable_tls=yes\nlisten=tls:{ADDRESS}:{self.port}\nlisten=udp:{ADDRESS}:{self.inner[1]}"
        self._write(
            listen=here,
            modules=("tls",),
            settings=f'modparam("tls", "config", "{self.folder}/tls.cfg")\nmodparam("rr", "enable_double_rr", 1)',
            route=_ROUTE.format(
                said="BY $proto FOR <$tls_peer_san_ip> <$tls_peer_verified>",
                register="",
                invite=_INVITE_BY_TLS.format(onward=self.onward, exchange=exchange),
            ),
        )
        tls = _TLS.format(certificate=self.certificate, key=self._key, customers=customers)
        (self.folder / "tls.cfg").write_text(tls)
        self._launch()
        return self

    def _is_ready(self) -> bool:
        try:
            with socket.create_connection((ADDRESS, self.port), 1):
                return True
        except OSError:
            return False
