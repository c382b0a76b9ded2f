"""A running exchange: `at110 serve` as a child process, and its API.

Everything goes over what is promised to strangers: the environment variables, the line `at110 ready`,
`credentials.json`, the HTTP API, the evidence folders. Nothing of the program is imported, but for the making of an
empty database (`cluster`).
"""

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from tests.live.kit import cluster
from tests.live.kit.ports import ADDRESS, free_port

COMMAND = Path(sys.executable).parent / "at110"

PATIENCE = 20.0
"""Seconds to wait for anything that takes a fraction of one on an idle machine."""
START_SECONDS = 60.0
"""The first start makes a database cluster."""

View = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Person:
    """One account of credentials.json."""

    user: str
    password: str


class ApiError(Exception):
    """The API answered something else than 2xx."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text[:500]}")
        self.status = status


class Exchange:
    """One exchange with a state folder of its own. `start()` returns when it is ready; `stop()` checks the end."""

    def __init__(self, *, desks: int = 10, callers: int = 3, settings: str = "", host: str = ADDRESS) -> None:
        """`settings` is TOML, laid over: no wrap-up, English to callers. `host`: where it listens, 127.0.0.1 among it."""
        # Not pytest's tmp_path: its parents are closed to the user the database runs as when we are root.
        self.state = Path(tempfile.mkdtemp(prefix="at110-live-"))
        self.state.chmod(0o711)
        self.dispatchers = [Person(str(8001 + n), secrets.token_hex(8)) for n in range(desks)]
        self.callers = [Person(str(13_800_000_001 + n), secrets.token_hex(8)) for n in range(callers)]
        self.token = secrets.token_hex(16)
        self.sip = (ADDRESS, free_port())
        self.http = f"http://{ADDRESS}:{free_port()}"
        self._host = host
        self._settings = settings or "[queue]\nwrap_up_seconds = 0.0\nlanguage = 'en'\n"
        self.given_accounts = True
        """False: the exchange makes its own accounts at the first start, as for a newcomer."""
        self.files: int | None = None
        """How many files each of its processes may open; None: as many as this one."""
        self._looked_at = 0
        self._process: subprocess.Popen[bytes] | None = None

    # --- life ---

    def start(self) -> Self:
        """Start it and wait for the line `at110 ready` and for /healthz. Raises AssertionError with the log."""
        environment = self.environment()
        if self.given_accounts:
            cluster.plant(self.state)
        starts = self.log.count("at110 ready")
        limit = [] if self.files is None else ["prlimit", f"--nofile={self.files}:{self.files}"]
        with (self.state / "console.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*limit, str(COMMAND), "serve"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=self.state,
                start_new_session=True,
            )
        end = time.monotonic() + START_SECONDS
        while self.log.count("at110 ready") == starts:
            assert self._process.poll() is None, f"at110 serve ended at start\n{self.tail()}"
            assert time.monotonic() < end, f"at110 serve was not ready in {START_SECONDS:g} s\n{self.tail()}"
            time.sleep(0.02)
        people = json.loads((self.state / "credentials.json").read_text())
        self.token = people["api_token"]
        self.dispatchers = [Person(**person) for person in people["dispatchers"]]
        self.callers = [Person(**person) for person in people["callers"]]
        self.api("GET", "/healthz")
        return self

    def environment(self) -> dict[str, str]:
        """Write the files a start needs into the state folder, unless they are there, and give the variables for it."""
        people = {
            "dispatchers": [{"user": one.user, "password": one.password} for one in self.dispatchers],
            "callers": [{"user": one.user, "password": one.password} for one in self.callers],
            "api_token": self.token,
        }
        credentials = self.state / "credentials.json"
        if self.given_accounts and not credentials.exists():
            credentials.touch(mode=0o600)
            credentials.write_text(json.dumps(people))
        settings = self.state / "test.toml"
        settings.write_text(self._settings)
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("AT110_")},
            "AT110_STATE": str(self.state),
            "AT110_SETTINGS": str(settings),
            "AT110_HOST": self._host,
            "AT110_SIP_PORT": str(self.sip[1]),
            "AT110_HTTP_PORT": self.http.rpartition(":")[2],
            "PYTHONWARNINGS": "default",
        }

    @property
    def pid(self) -> int:
        assert self._process is not None, "the exchange was not started"
        return self._process.pid

    def kill(self) -> None:
        """Kill the supervisor alone; its processes are told so by the kernel."""
        process, self._process = self._process, None
        assert process is not None, "the exchange was not started"
        process.kill()
        process.wait(10)

    def stop(self) -> None:
        """Press Ctrl-C: all processes of the group get SIGINT, as in a terminal. Raises AssertionError unless it ends
        in order: status 0, nothing left running, no traceback and no forgotten task in what it said."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.poll() is None, (
            f"at110 serve had ended by itself, status {process.returncode}\n{self.tail()}"
        )
        os.killpg(process.pid, signal.SIGINT)
        try:
            status = process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
            raise AssertionError(f"at110 serve did not end in 30 s after Ctrl-C\n{self.tail()}") from None
        assert status == 0, f"at110 serve ended with {status} after Ctrl-C\n{self.tail()}"
        self.check_log()

    def check_log(self) -> None:
        """Raise AssertionError when the log tells of a bug that it had not told of at the last look."""
        fresh = self.log[self._looked_at :]
        self._looked_at += len(fresh)
        for sign in ("Traceback", "never retrieved", "never awaited"):
            where = fresh.find(sign)
            assert where < 0, (
                f"{sign!r} in the log of the exchange\n{_readable(fresh[max(0, where - 300) : where + 4000])}"
            )

    def remove(self) -> None:
        """Forget the state folder, evidence and all."""
        shutil.rmtree(self.state, ignore_errors=True)

    @property
    def log(self) -> str:
        """What all its processes printed; the log files hold nothing else."""
        path = self.state / "console.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def tail(self, lines: int = 60) -> str:
        """The end of the log, for a failure."""
        return "--- end of the exchange's log ---\n" + "\n".join(self.log.splitlines()[-lines:])

    # --- API ---

    def api(self, method: str, path: str, body: object = None, *, token: str | None = None) -> Any:
        """Ask the API and give the decoded JSON (text when it is none). Raises ApiError."""
        request = urllib.request.Request(
            f"{self.http}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self.token if token is None else token}",
                "Content-Type": "application/json",
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                text = answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                raise ApiError(error.code, error.read().decode(errors="replace")) from None
        try:
            return json.loads(text)
        except ValueError:
            return text

    def _rows(self, path: str, name: str) -> list[View]:
        answer = self.api("GET", path)
        rows = answer[name] if isinstance(answer, dict) else answer
        return list(rows)

    def calls(self) -> list[View]:
        """All live calls, oldest first."""
        return [call for call in self._rows("/api/calls", "calls") if call["state"] != "ended"]

    def queue(self) -> list[View]:
        """The waiting calls, next first."""
        return self._rows("/api/queue", "queue")

    def desks(self) -> dict[str, View]:
        """Every desk by its user."""
        return {str(desk["desk"]): desk for desk in self._rows("/api/desks", "desks")}

    def desk(self, user: str, verb: str) -> None:
        """POST sign-in, sign-out, pause, resume or end-call."""
        self.api("POST", f"/api/desks/{user}/{verb}")

    def silent(self, call: str, body: View) -> Any:
        """POST {"on": true}, {"off": "request"} or {"off": "confirm"}."""
        return self.api("POST", f"/api/calls/{call}/silent", body)

    def sign_in(self, *users: str) -> None:
        """Sign desks in, all at once, and wait until each is free, or busy because somebody waited."""
        for user in users:
            self.until(partial(self._is_registered, user), f"desk {user} is not registered")
            self.desk(user, "sign-in")
        for user in users:
            self.until(partial(self._is_signed_in, user), f"desk {user} is not signed in", timeout=PATIENCE)

    def sign_out(self, *users: str) -> None:
        """Sign desks out that are not, and wait for it."""
        for user in users:
            if self.desks()[user]["state"] == "signed_out":
                continue
            try:
                self.desk(user, "sign-out")
            except ApiError as error:
                if error.status != 409:  # its phone hung up in the same moment
                    raise
        for user in users:
            self.wait_desk(user, "signed_out", timeout=PATIENCE)

    def _is_registered(self, user: str) -> bool:
        return bool(self.desks()[user]["registered"])

    def _is_signed_in(self, user: str) -> bool:
        return self.desks()[user]["state"] in {"free", "busy"}

    # --- waiting ---

    def until(self, condition: Callable[[], T], complaint: str, *, timeout: float = PATIENCE) -> T:
        """Poll until `condition` gives something true, and give it. Raises AssertionError with the present state."""
        end = time.monotonic() + timeout
        while not (found := condition()):
            if time.monotonic() > end:
                raise AssertionError(
                    f"{complaint} after {timeout:g} s\ncalls: {self.calls()}\nqueue: {self.queue()}\n"
                    f"desks: {[desk for desk in self.desks().values() if desk['state'] != 'signed_out']}\n{self.tail(40)}"
                )
            time.sleep(0.02)
        return found

    def call_of(self, caller: str, *, state: str | None = None, timeout: float = PATIENCE) -> View:
        """Wait for the live call of a caller (part of what its phone says it is), and for its state."""

        def found() -> View | None:
            mine = [call for call in self.calls() if caller in str(call["caller"])]
            return mine[-1] if mine and state in (None, mine[-1]["state"]) else None

        call = self.until(
            found, f"no call of {caller}" + (f" that is {state}" if state else ""), timeout=timeout
        )
        assert call is not None
        return call

    def wait_gone(self, call: str, *, timeout: float = PATIENCE) -> None:
        """Wait until a call is over."""
        self.until(
            lambda: call not in [one["call"] for one in self.calls()],
            f"call {call} is still up",
            timeout=timeout,
        )
        log = self.state / "evidence" / call / "events.jsonl"
        if log.exists():  # what happened is written a moment after everybody was told
            self.until(lambda: b'"call_ended"' in log.read_bytes(), f"{call} has no end", timeout=timeout)

    def wait_desk(self, user: str, state: str, *, call: str | None = None, timeout: float = PATIENCE) -> View:
        """Wait until a desk is in a state, and, if given, has this call."""

        def found() -> View | None:
            desk = self.desks()[user]
            return desk if desk["state"] == state and call in (None, desk["call"]) else None

        desk = self.until(
            found, f"desk {user} is not {state}" + (f" with {call}" if call else ""), timeout=timeout
        )
        assert desk is not None
        return desk

    # --- evidence ---

    def evidence(self, call: str, *, finished: bool = True, timeout: float = 20.0) -> Path:
        """Give the evidence folder of a call; by default wait until what is derived has been made too."""
        folder = self.state / "evidence" / call
        manifest = folder / "manifest.json"

        def there() -> bool:
            if not finished:
                return folder.is_dir()
            return manifest.exists() and json.loads(manifest.read_text())["derived"]["state"] != "pending"

        self.until(there, f"no {'finished ' if finished else ''}evidence of {call}", timeout=timeout)
        return folder

    def events(self, call: str) -> list[View]:
        """Give what `events.jsonl` of a call holds once all that happened so far is written."""
        self.settle()
        return read_events(self.evidence(call, finished=False))

    def settle(self, timeout: float = 10.0) -> None:
        """Wait until what signalling saw so far stands in the log and in the event logs; at once if it doesn't run."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            try:
                metrics = self.api("GET", "/metrics")
            except OSError:
                return
            if "\nat110_scribe_waiting 0.0\n" in metrics:
                return
            time.sleep(0.01)
        raise AssertionError(f"what happened is not written down after {timeout:g} s\n{self.tail(40)}")

    def wait_sealed(self, timeout: float = 60.0) -> None:
        """Wait until every call that is over has its manifest and what is derived."""
        for folder in self.all_evidence():
            self.evidence(folder.name, timeout=timeout)

    def all_evidence(self) -> list[Path]:
        """Every folder with the evidence of one call."""
        return evidence_in(self.state)


def evidence_in(state: Path) -> list[Path]:
    """Give the folders with the evidence of one call each, of an exchange that may have ended long ago."""
    # No folder is looked through: those in which films are made come and go.
    return sorted(path.parent for path in state.glob("evidence/*/events.jsonl"))


def _readable(log: str) -> str:
    """Undo the escapes of JSON, so that a traceback has lines."""
    return log.replace("\\n", "\n").replace('\\"', '"')


def read_events(folder: Path) -> list[View]:
    """Give the lines of `events.jsonl` in order; a last line still being written is left out."""
    text = (folder / "events.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def at110(*arguments: str | Path, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Run another command of the program to its end."""
    command = [str(COMMAND), *(str(argument) for argument in arguments)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AT110_")}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, check=False, env=environment
    )


def safe(name: str) -> str:
    """Make a file name of a test's name."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name)[-80:]
