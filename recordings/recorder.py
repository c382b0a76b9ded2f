"""The recorder process: seal the evidence of finished calls, then make film and snapshot of it.

in → out: `spool/<call>.json` (`{"call", "folder"}`, optionally `"people"`) → `manifest.json` at once → `call.mkv`,
`snapshot.jpg` → `manifest.json` with their hashes → the spool file is removed.

The spool file stays until everything is done, so a crash anywhere is repaired by doing it again. A render that fails,
or that takes the process down with it, is tried `MAX_TRIES` times; then the manifest says so and the call is left.
Derived files are made in a folder beside the evidence and moved in, so that a half-made one is never found there.
"""

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from recordings.capture import in_use
from recordings.folder import (
    CAPTURE_NAME,
    DERIVED,
    MOVIE_NAME,
    SNAPSHOT_NAME,
    make_private_folder,
    sync_file,
    sync_folder,
    write_atomically,
)
from recordings.looks import Looks
from recordings.manifest import Manifest, ManifestError, seal_originals, state_derived
from recordings.render import CancelledError, render
from recordings.spool import Job, Spool, SpoolError
from recordings.store import Store

MAX_TRIES: Final = 3
"""Renders of one call. A fault of the disk may pass; what fails three times is in the data."""
NICENESS: Final = 15
"""Added to the process: calls come first, always."""

LOOKS_END_SECONDS: Final = 5.0
"""How long the end waits for the picture that is being made."""
MAKING: Final = ".making-"
"""Folders beside the evidence folders in which derived files grow."""

log = structlog.get_logger("recorder")


@dataclass(frozen=True, slots=True)
class RecorderSettings:
    """Where the recorder works."""

    evidence: str
    """Folder that holds the evidence folders of all calls; a spool file that points elsewhere is refused."""
    spool: str
    """Folder in which signalling drops a file for each finished call."""
    poll_seconds: float = 0.5
    """Between two looks into the spool."""
    niceness: int = NICENESS
    store: Store | None = None
    """Which evidence folder this should be; None: whichever it is."""


def drop(spool: str, call: str, folder: str, *, people: tuple[dict[str, Any], ...] = ()) -> None:
    """Hand a finished call to the recorder: put its spool file there, whole or not at all. Raises OSError.

    `call` becomes a file name: ValueError if it can't be one.
    """
    if not call or "/" in call or "\0" in call or call.startswith("."):
        raise ValueError(f"{call!r} can't be a file name")
    make_private_folder(Path(spool))
    item: dict[str, Any] = {"call": call, "folder": folder}
    if people:
        item["people"] = list(people)
    write_atomically(Path(spool) / f"{call}.json", json.dumps(item, ensure_ascii=False).encode())


class Recorder:
    """The work itself, without a process around it."""

    def __init__(
        self,
        settings: RecorderSettings,
        *,
        stopping: Callable[[], bool] = lambda: False,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """`stopping` is asked often while a film is made; `wall_ns` gives the present time, ns since 1970."""
        self._evidence = Path(settings.evidence)
        self._store = settings.store or Store(self._evidence, "")
        self._missing = False
        self._spool = Spool(Path(settings.spool), self._evidence, lambda: self._store.there)
        self._stopping = stopping
        self._wall_ns = wall_ns
        self._sealed: dict[Path, Manifest] = {}
        self._told: dict[Path, str] = {}

    def prepare(self) -> None:
        """Make the folders and remove what a crash left half-made. Raises OSError."""
        make_private_folder(self._spool.folder)
        if not self._there():
            return
        make_private_folder(self._evidence)
        for left in self._evidence.glob(f"{MAKING}*"):
            shutil.rmtree(left, ignore_errors=True)

    def turn(self) -> bool:
        """Seal every finished call, then make the derived files of one; whether anything could be done.

        Faults of the disk are logged and met again at the next turn.
        """
        if not self.seal() or self._stopping() or (first := self._spool.next()) is None:
            return False
        try:
            self._serve(first)
        except OSError as error:
            self._tell(self._spool.folder, "spool_failed", error)
            return False
        finally:
            self._spool.forget(first)
        self._told.pop(self._spool.folder, None)
        return True

    def seal(self) -> bool:
        """Seal every finished call that is not sealed; False if the spool can't be read. Faults are logged."""
        if not self._there():
            return False  # what waits is taken when it is back
        try:
            self._spool.look(self._seal)
        except OSError as error:
            self._tell(self._spool.folder, "spool_failed", error)
            return False
        return True

    def _there(self) -> bool:
        """Whether the evidence folder is the one that was set up; said when that changes."""
        missing = not self._store.there
        if missing != self._missing:
            self._missing = missing
            if missing:
                log.error("evidence_store_missing", folder=str(self._evidence))
            else:
                log.info("evidence_store_back", folder=str(self._evidence))
        return not missing

    def _seal(self, job: Job) -> bool:
        """Have the manifest of the originals, writing it if it is not there; False if that can't be done now."""
        if job.spool_file in self._sealed:
            return True
        try:
            if in_use(
                job.folder
            ):  # it was handed on by somebody who waited no longer: the media process hangs, or its disk
                self._tell(job.spool_file, "capture_in_use", "its media process has not closed it")
                return False
            manifest = seal_originals(job.folder, job.call, wall_ns=self._wall_ns(), people=job.people)
        except ManifestError as error:
            self._refuse(job, error)
            return False
        except OSError as error:
            self._tell(job.spool_file, "seal_failed", error)
            return False
        self._sealed[job.spool_file] = manifest
        log.info("evidence_sealed", call=job.call, files=sorted(manifest["original"]["files"]))
        return True

    def _serve(self, job: Job) -> None:
        """Make the derived files of a sealed call, after another look at its file. Raises OSError as `_derive`."""
        try:
            job = self._spool.read(job.spool_file)
        except SpoolError as error:  # its folder went meanwhile
            self._refuse(job, error)
        else:
            self._derive(job, self._sealed[job.spool_file])

    def _derive(self, job: Job, manifest: Manifest) -> None:
        """Make film and snapshot of one call. Raises OSError only if its outcome can't be written down."""
        if manifest["derived"]["state"] != "pending":  # all was done but removing the spool file
            self._finish(job)
            return
        if CAPTURE_NAME not in manifest["original"]["files"]:
            self._give_up(job, manifest, "there is no capture")
            return
        if job.tries >= MAX_TRIES:  # the process died in the last try
            self._give_up(job, manifest, job.why or "the renderer ended the process")
            return
        self._note(job, job.tries + 1, "the renderer ended the process")
        begun = time.monotonic()
        making = self._evidence / f"{MAKING}{job.spool_file.stem}"
        try:
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir(mode=0o700)
            report = render(
                job.folder,
                making / MOVIE_NAME,
                making / SNAPSHOT_NAME,
                call=job.call,
                original_sha256=manifest["original"]["files"][CAPTURE_NAME]["sha256"],
                cancelled=self._stopping,
            )
            state = self._move_in(making, job.folder)
        except CancelledError:
            self._note(job, job.tries, job.why)
            return
        except Exception as error:  # noqa: BLE001  whatever a stranger's media provokes is stated, never fatal
            if not self._store.there:  # the disk went under it: that is no try
                self._note(job, job.tries, job.why)
                return
            why = f"{type(error).__name__}: {error}"
            log.warning("render_failed", call=job.call, tries=job.tries + 1, reason=why)
            if job.tries + 1 >= MAX_TRIES:
                self._give_up(job, manifest, why)
            else:
                self._note(job, job.tries + 1, why)
            return
        finally:
            shutil.rmtree(making, ignore_errors=True)
        done = state_derived(job.folder, manifest, state=state, failed=None, report=report)
        log.info(
            "evidence_derived",
            call=job.call,
            state=state,
            files=sorted(done["derived"]["files"]),
            seconds=round(time.monotonic() - begun, 3),
        )
        self._finish(job)

    def _move_in(self, making: Path, folder: Path) -> str:
        """Put what was made into the evidence folder, and nothing older beside it; `made` or `nothing`."""
        state = "nothing"
        for name in DERIVED:
            if (making / name).is_file():
                (making / name).chmod(0o600)
                sync_file(making / name)
                (making / name).replace(folder / name)
                state = "made"
            else:
                (folder / name).unlink(missing_ok=True)
        sync_folder(folder)
        return state

    def _give_up(self, job: Job, manifest: Manifest, why: str) -> None:
        for name in DERIVED:
            (job.folder / name).unlink(missing_ok=True)
        state_derived(job.folder, manifest, state="failed", failed=why, report={})
        log.error("render_given_up", call=job.call, reason=why)
        self._finish(job)

    def _note(self, job: Job, tries: int, why: str) -> None:
        """Write down how often a call was tried, before the try: a crash must count."""
        item = {
            "call": job.call,
            "folder": str(job.folder),
            "people": list(job.people),
            "tries": tries,
            "why": why,
        }
        write_atomically(job.spool_file, json.dumps(item, ensure_ascii=True).encode())

    def _finish(self, job: Job) -> None:
        job.spool_file.unlink(missing_ok=True)
        sync_folder(self._spool.folder)
        self._sealed.pop(job.spool_file, None)
        self._told.pop(job.spool_file, None)

    def _refuse(self, job: Job, error: Exception) -> None:
        self._spool.refuse(job.spool_file, error)
        self._sealed.pop(job.spool_file, None)

    def _tell(self, about: Path, event: str, error: OSError | str) -> None:
        """Log a fault once, not at every turn."""
        if self._told.get(about) != str(error):
            self._told[about] = str(error)
            log.error(event, file=about.name, reason=str(error))


def stand_back(more: int) -> None:
    """Let this process come after others, by `more` steps of nice(2).

    sched(7), "The autogroup feature": where it is on, "the nice value has an effect only for scheduling relative to other
    threads in the same session", and this process has a session of its own; so the session stands back too.
    """
    os.nice(more)
    if os.getsid(0) == os.getpid():  # else it is the session of whoever started us
        with suppress(OSError):  # a kernel without it, or one that was asked by somebody else this moment
            Path("/proc/self/autogroup").write_text(str(min(19, os.getpriority(os.PRIO_PROCESS, 0))))


def run(settings: RecorderSettings, *, beat: Callable[[], None] = lambda: None) -> None:
    """Be the recorder process, until SIGTERM or SIGINT: a film being made then is left for the next start. `beat` says that it goes on.

    Calls that ended while the exchange ended (signalling ends first) are sealed still: between two starts, which may
    be days, nobody can change their originals unseen.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    stand_back(settings.niceness)

    def stopping() -> bool:
        beat()
        return stop.is_set()

    recorder = Recorder(settings, stopping=stopping)
    recorder.prepare()
    looks = Looks(Path(settings.evidence), Path(settings.spool).parent, stopping=stop.is_set)
    looking = threading.Thread(target=looks.run, args=(stop.wait,), name="looks", daemon=True)
    looking.start()
    log.info("recorder_ready", spool=settings.spool)
    while not stopping():
        if not recorder.turn():
            stop.wait(settings.poll_seconds)
    recorder.seal()
    looking.join(LOOKS_END_SECONDS)
    log.info("recorder_ended")
