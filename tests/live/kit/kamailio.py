"""Kamailio as the edge proxy that `docs/kamailio.cfg` makes of it, between phones and an exchange.

The very file that operators are given runs, with other addresses. Nothing of Debian's own service is used: own settings,
ports, control sockets and process.
"""

import socket
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Self

from pbx.transport.certificates import self_made
from tests.live.kit import ports
from tests.live.kit.flowphone import trusting

DOCS = Path(__file__).parents[3] / "docs"
CONFIG, TLS_CONFIG = DOCS / "kamailio.cfg", DOCS / "kamailio-tls.cfg"
START_SECONDS = 30.0

Inner = Literal["udp", "tcp", "tls"]


class Kamailio:
    """One proxy. Use as a context manager."""

    def __init__(self, exchange: tuple[str, int], inner: Inner, folder: Path, *, authority: Path) -> None:
        """`inner`: the transport between it and `exchange`, which has another IP address; `authority`: PEM file with the exchange's certificate."""
        folder.mkdir(parents=True)
        first = ports.block(4)
        self._outer = first
        self._folder = folder
        self._log = folder / "log"
        certificate, key = self_made(folder, [ports.ADDRESS], datetime.now(UTC))
        tls = TLS_CONFIG.read_text()
        for stated, ours in (
            ("/etc/kamailio/edge.pem", certificate),
            ("/etc/kamailio/edge.key", key),
            ("/etc/kamailio/at110.pem", authority),
        ):
            assert stated in tls, f"{stated} is not in {TLS_CONFIG}"
            tls = tls.replace(stated, str(ours))
        (folder / "tls.cfg").write_text(tls)
        inside = f"{inner}:{ports.ADDRESS}:{first + 2}"
        words = {
            "EDGE_UDP": f"udp:{ports.ADDRESS}:{first}",
            "EDGE_TCP": f"tcp:{ports.ADDRESS}:{first}",
            "EDGE_TLS": f"tls:{ports.ADDRESS}:{first + 1}",
            "INNER": inside,
            "INNER_SOCKET": f'"{inside}"',
            "AT110_HOST": f'"{exchange[0]}"',
            "AT110": f'"sip:{exchange[0]}:{exchange[1]};transport={inner}"',
            "TLS_SETTINGS": f'"{folder / "tls.cfg"}"',
        }
        for name in words:
            assert f"#!define {name} " in CONFIG.read_text(), f"{name} is not in {CONFIG}"
        self._command = [
            "kamailio", "-f", str(CONFIG), "-DD", "-E", "-m", "32", "-M", "8", "-n", "1", "-N", "1",
            "-Y", str(folder), "-w", str(folder), "-P", str(folder / "pid"),
            *(f"-A{name}={value}" for name, value in words.items()),
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it takes connections. Raises AssertionError with its log."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
            )
        end = time.monotonic() + START_SECONDS
        while not self._is_up():
            assert self._process.poll() is None, f"kamailio ended at start\n{self.log}"
            assert time.monotonic() < end, f"kamailio did not start\n{self.log}"
            time.sleep(0.05)

    def door(self, transport: str) -> tuple[str, int]:
        """Where phones come: UDP and TCP at one port, TLS at the next."""
        return (ports.ADDRESS, self._outer + (transport == "tls"))

    def _is_up(self) -> bool:
        try:
            with socket.create_connection(self.door("tls"), 1) as raw, trusting().wrap_socket(raw):
                return True
        except OSError:
            return False

    def stop(self) -> None:
        """End it, children and all; connections break."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")
