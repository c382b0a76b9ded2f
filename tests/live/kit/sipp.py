"""Run SIPp scenarios: callers by the dozen, and callers that misbehave on purpose.

A scenario is a file of `tests/live/sipp`. What is in it: `service` is whom it calls, `[media_port]` where RTP goes.
SIPp 3.6 has no TLS and no `-min_rtp_port`; a `[fieldN]` inside `[authentication …]` is not expanded, so credentials
stand whole in the CSV file; a sound stream is bare A-law.
"""

import csv
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.live.kit import ports
from tests.live.kit.ports import ADDRESS

SCENARIOS = Path(__file__).parent.parent / "sipp"

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended."""

    exit_code: int
    """SIPp's: 0 all calls went as the scenario says, 1 at least one did not, 97 and up it could not run."""
    successful: int
    failed: int
    retransmissions: int
    errors: str
    """What SIPp wrote about calls that went wrong."""

    def check(self, calls: int) -> None:
        """Raise AssertionError unless exactly `calls` calls went as the scenario says."""
        assert (self.exit_code, self.successful, self.failed) == (0, calls, 0), (
            f"SIPp: exit code {self.exit_code}, {self.successful} of {calls} as wanted, {self.failed} failed\n{self.errors}"
        )


class Sipp:
    """One running SIPp. `wait()` for the end, `stop()` to end it; a context manager."""

    def __init__(
        self,
        scenario: str,
        *,
        exchange: Address,
        folder: Path,
        service: str = "110",
        calls: int = 1,
        rate: float = 10.0,
        keys: Mapping[str, str | Path] | None = None,
        fields: Sequence[str] = (),
        transport: str = "u1",
        auth_uri: str = "",
        address: str = ADDRESS,
        sip_port: int | None = None,
        lives: bool = True,
        media_ports: int | None = None,
    ) -> None:
        """Start `scenario` (a file name without .xml).

        `keys` are values for `[name]` in the scenario, `fields` the lines of the CSV file, `rate` calls a second,
        `transport` SIPp's -t (u1 UDP, t1 TCP), `auth_uri` the URI its digests are made for, without `sip:` (by itself
        SIPp takes the exchange's address without a user), `address` its own, for a peer that is told by it, `lives` whether
        it answers an OPTIONS its scenario knows nothing of, `media_ports` how many are kept free for its RTP: by default four a call.
        """
        self.scenario, self.folder = scenario, folder
        folder.mkdir(parents=True, exist_ok=True)
        text = (SCENARIOS / f"{scenario}.xml").read_text("latin-1")
        for name, value in (keys or {}).items():
            text = text.replace(f"[{name}]", str(value))
        (folder / "scenario.xml").write_text(text, "latin-1")
        self.sip_port = ports.block(4) if sip_port is None else sip_port
        self.media_port = ports.block(4 * calls + 8 if media_ports is None else media_ports)
        self._statistics, self._errors = folder / "statistics.csv", folder / "errors.log"
        command = [
            "sipp", f"{exchange[0]}:{exchange[1]}", "-sf", str(folder / "scenario.xml"), "-s", service,
            "-i", address, "-p", str(self.sip_port), "-mi", address, "-mp", str(self.media_port),
            "-m", str(calls), "-l", str(calls), "-r", f"{rate:g}", "-t", transport, "-nostdin",
            "-timeout", "110s", "-timeout_error", "-trace_stat", "-stf", str(self._statistics), "-fd", "1",
            "-trace_err", "-error_file", str(self._errors), "-trace_msg", "-message_file", str(folder / "messages.log"),
        ]  # fmt: skip
        if lives:
            command.append("-aa")
        if auth_uri:
            command += ["-auth_uri", auth_uri]
        if fields:
            (folder / "fields.csv").write_text("SEQUENTIAL\n" + "".join(f"{line}\n" for line in fields))
            command += ["-inf", str(folder / "fields.csv")]
        self._output = (folder / "output").open("wb")
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._output, stderr=subprocess.STDOUT, cwd=folder
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def messages(self) -> str:
        """Every SIP message sent and received."""
        path = self.folder / "messages.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def wait(self, timeout: float = 60.0) -> Result:
        """Wait for the end. Raises TimeoutError with the tail of what it said."""
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.stop()
            raise TimeoutError(
                f"SIPp {self.scenario} ran longer than {timeout:g} s\n{self._said()}"
            ) from None
        row = self._counts()
        return Result(
            exit_code=code,
            successful=int(row.get("SuccessfulCall(C)") or 0),
            failed=int(row.get("FailedCall(C)") or 0),
            retransmissions=int(row.get("Retransmissions(C)") or 0),
            errors=self._said(),
        )

    def stop(self) -> None:
        """End it now; harmless when it has ended."""
        if self.running:
            self._process.terminate()
            try:
                self._process.wait(3)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(3)
        self._output.close()

    def _counts(self) -> dict[str, str]:
        end = time.monotonic() + 2
        while not self._statistics.exists() and time.monotonic() < end:
            time.sleep(0.02)
        if not self._statistics.exists():
            return {}
        with self._statistics.open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter=";"))
        return rows[-1] if rows else {}

    def _said(self) -> str:
        errors = self._errors.read_text("utf-8", "replace")[-2000:] if self._errors.exists() else ""
        output = (self.folder / "output").read_text("utf-8", "replace")[-400:]
        return f"{errors}\n{output if not errors else ''}".strip()
