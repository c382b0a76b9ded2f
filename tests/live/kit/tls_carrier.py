"""A carrier's switch that speaks TLS alone with its customers, with certificates of both sides: Kamailio.

What comes by TLS goes on to `onward`; what comes from there by UDP goes to the exchange, over TLS. It takes no connection
without a certificate that `customers` vouches for, and makes none to a server that does not show one.
"""

import os
import signal
import socket
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from pbx.transport.certificates import self_made
from tests.live.kit import ports
from tests.live.kit.carrier import KAMAILIO, MODULES
from tests.live.kit.ports import ADDRESS

NAME = "carrier.test"
"""What its certificate is for, beside its address."""

CONFIGURATION = """#!KAMAILIO
debug=1
log_stderror=yes
children=1
tcp_children=1
auto_aliases=no
dns=no
rev_dns=no
enable_tls=yes
listen=tls:{address}:{tls}
listen=udp:{address}:{udp}
mpath="{modules}"
loadmodule "tls.so"
loadmodule "kex.so"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "xlog.so"
modparam("tls", "config", "{folder}/tls.cfg")
modparam("rr", "enable_double_rr", 1)
request_route {{
  xlog("L_ERR", "GOT $rm BY $proto FOR <$tls_peer_san_ip> <$tls_peer_verified>\\n");
  if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
  if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
  if (has_totag()) {{
    if (loose_route()) {{ t_relay(); exit; }}
    if (is_method("ACK") && t_check_trans()) t_relay();
    exit;
  }}
  if (is_method("ACK")) {{ if (t_check_trans()) t_relay(); exit; }}
  if (is_method("OPTIONS")) {{ sl_send_reply("200", "OK"); exit; }}
  if (!is_method("INVITE")) {{ sl_send_reply("405", "Method Not Allowed"); exit; }}
  record_route();
  if ($proto == "tls") $du = "sip:{onward}"; else $du = "sip:{exchange};transport=tls";
  t_relay();
}}
"""

TLS = """[server:default]
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


class TlsCarrier:
    """One running Kamailio; a context manager. Its certificate is there as soon as it is made."""

    def __init__(self, folder: Path, *, onward: str) -> None:
        """`onward`: `host:port` that calls go on to."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.onward = folder, onward
        self.port = ports.block(4)
        self.inner = (ADDRESS, self.port + 2)
        """Where its own network calls it, by UDP."""
        self.certificate, self._key = self_made(folder, [ADDRESS, NAME], datetime.now(UTC))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, exchange: str, customers: Path) -> Self:
        """Start it; `exchange`: `host:port` of the customer by TLS, `customers`: PEM file of their certificates."""
        words = {"address": ADDRESS, "tls": self.port, "udp": self.inner[1], "modules": MODULES}
        text = CONFIGURATION.format(folder=self.folder, onward=self.onward, exchange=exchange, **words)
        (self.folder / "kamailio.cfg").write_text(text)
        tls = TLS.format(certificate=self.certificate, key=self._key, customers=customers)
        (self.folder / "tls.cfg").write_text(tls)
        command = [
            KAMAILIO, "-f", str(self.folder / "kamailio.cfg"), "-DD", "-E", "-m", "32", "-M", "8",
            "-Y", str(self.folder), "-w", str(self.folder), "-P", str(self.folder / "pid"),
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        end = time.monotonic() + 30
        while not self._listens():
            assert self._process.poll() is None, f"Kamailio ended at start\n{self.said[-2000:]}"
            assert time.monotonic() < end, f"Kamailio was not ready\n{self.said[-2000:]}"
            time.sleep(0.05)
        return self

    def _listens(self) -> bool:
        try:
            with socket.create_connection((ADDRESS, self.port), 1):
                return True
        except OSError:
            return False

    @property
    def said(self) -> str:
        """What it logged: one line `GOT METHOD BY proto …` for each request."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait(10)
