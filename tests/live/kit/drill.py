"""Run the project's own scripted phones, `at110 call` and `at110 desk`, as a person at a terminal does."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
MODULES = {"call": "caller", "desk": "desk"}


class Running:
    """One scripted phone in a process of its own."""

    def __init__(self, command: str, *arguments: str, sip_port: int | None = None) -> None:
        """`command` is call or desk; `sip_port` what AT110_SIP_PORT says."""
        code = f"import sys; from pbx.phone.{MODULES[command]} import main; sys.exit(main(sys.argv[1:]))"
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("AT110_", "LC_"))}
        environment["LANG"] = "en_US.UTF-8"
        if sip_port is not None:
            environment["AT110_SIP_PORT"] = str(sip_port)
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        self.said = ""

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def end(self, timeout: float = 30) -> tuple[int, dict[str, Any]]:
        """Wait for the end: exit code and report."""
        try:
            out, self.said = self._process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            out, self.said = self._process.communicate()
            raise TimeoutError(f"the phone goes on:\n{self.said}\n{out}") from None
        lines = out.splitlines()
        assert len(lines) == 1, f"{out}\n{self.said}"
        return self._process.returncode, json.loads(lines[0])

    def stop(self) -> None:
        """End it now; harmless when it has ended."""
        self._process.kill()
        self._process.communicate()
