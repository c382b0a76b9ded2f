"""Write the `manifest.json` of a call: what belongs to it, and the SHA-256 of each file.

in → out: folder → hashes of the originals → `manifest.json`; later the hashes of what was derived are added.

The form, checked by `verify` (which see for `canonical` and `digest`):

    format    1
    call      id of the call
    made_at   when the originals were hashed, UTC
    software  name, version, Python, SHA-256 over the sources of this package
    original  {"files": {name: {"sha256", "bytes"}}}; once written it is never written differently
    derived   {"files": {name: {"sha256", "bytes"}}, "from": sha256 of the capture, "state": pending | made | nothing |
              failed, "failed": reason or null, "report": what the renderer counted}
    people    [{"role", …}]: who took part, as signalling knows them
    clocks    first and last event, and by how much wall and monotonic clock moved against each other
    seals     []    place for the chain of seals: one object per second of capture {"seq", "at", "bytes", "sha256", "signature"}
    gaps      []    place for the gap ledger: one object per missing range {"stream", "from", "to", "why"}
    signature null  place for {"key", "algorithm", "value"} over the canonical form without `signature` and `digest`
    digest    SHA-256 over the canonical form of everything else, so that a changed manifest names itself
"""

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import msgspec

from recordings.events import read_events
from recordings.folder import DERIVED, EVENTS_NAME, MANIFEST_NAME, originals, utc, write_atomically
from recordings.verify import CHUNK, FORMAT, canonical, self_digest

MAX_PEOPLE: Final = 1000
"""More entries than a call can have people; the rest is left out."""

Manifest = dict[str, Any]


class ManifestError(Exception):
    """The manifest that is there can't be used: it was changed, or the originals are no longer what it states."""


def seal_originals(
    folder: Path, call: str, *, wall_ns: int, people: Sequence[Mapping[str, Any]] = ()
) -> Manifest:
    """Hash the originals and write the manifest; one that is there already is checked and given back unchanged.

    `wall_ns` is the present time. Raises OSError, and ManifestError if an existing manifest does not fit.
    """
    existing = read_manifest(folder)
    if existing is not None:
        if existing["original"]["files"] != hash_files(originals(folder)):
            raise ManifestError("the originals are not what the manifest states")
        return existing
    manifest: Manifest = {
        "format": FORMAT,
        "call": call,
        "made_at": utc(wall_ns),
        "software": software(),
        "original": {"files": hash_files(originals(folder))},
        "derived": {"files": {}, "from": None, "state": "pending", "failed": None, "report": {}},
        "people": [dict(person) for person in people[:MAX_PEOPLE]],
        "clocks": _clocks(folder),
        "seals": [],
        "gaps": [],
        "signature": None,
    }
    return write_manifest(folder, manifest)


def state_derived(
    folder: Path, manifest: Manifest, *, state: str, failed: str | None, report: Mapping[str, Any]
) -> Manifest:
    """Add the hashes of the derived files that are there now. Raises OSError."""
    files = hash_files([folder / name for name in DERIVED if (folder / name).is_file()])
    capture = manifest["original"]["files"].get("call.pcapng", {}).get("sha256")
    derived = {"files": files, "from": capture, "state": state, "failed": failed, "report": dict(report)}
    return write_manifest(folder, {**manifest, "derived": derived})


def write_manifest(folder: Path, manifest: Manifest) -> Manifest:
    """Give the manifest its digest and put it in place, whole or not at all. Raises OSError."""
    stated = {key: value for key, value in manifest.items() if key != "digest"}
    done = {**stated, "digest": hashlib.sha256(encode(stated)).hexdigest()}
    write_atomically(folder / MANIFEST_NAME, encode(done))
    return done


def encode(manifest: Manifest) -> bytes:
    """Give what `verify.canonical` gives, in a tenth of the time: with an indent `json` encodes in Python, without one in C."""
    text = json.dumps(manifest, ensure_ascii=False, allow_nan=False, sort_keys=True)
    return msgspec.json.format(text.encode("utf-8", "surrogatepass"), indent=1) + b"\n"


def read_manifest(folder: Path) -> Manifest | None:
    """Read a manifest of ours; None if there is none; ManifestError if it is not what we wrote. Raises OSError."""
    try:
        raw = (folder / MANIFEST_NAME).read_bytes()
    except FileNotFoundError:
        return None
    try:
        manifest = json.loads(raw)
        sound = canonical(manifest) == raw and manifest["digest"] == self_digest(manifest)
        sound = sound and manifest["format"] == FORMAT and isinstance(manifest["original"]["files"], dict)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        sound = False
    if not sound:
        raise ManifestError("the manifest was changed")
    result: Manifest = manifest
    return result


def hash_files(paths: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Give `{name: {"sha256": hex, "bytes": size}}`. Raises OSError."""
    found: dict[str, dict[str, Any]] = {}
    for path in paths:
        digest = hashlib.sha256()
        size = 0
        with path.open("rb") as file:
            while piece := file.read(CHUNK):
                digest.update(piece)
                size += len(piece)
        found[path.name] = {"sha256": digest.hexdigest(), "bytes": size}
    return found


@lru_cache(maxsize=1)
def software() -> dict[str, str]:
    """Name what recorded: version, Python and a hash over this package's sources, so that an expert can compare."""
    try:
        number = version("at110")
    except PackageNotFoundError:  # run from a plain copy of the sources
        number = "unknown"
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return {
        "name": "at110",
        "version": number,
        "python": platform.python_version(),
        "system": platform.platform(),
        "recordings_sha256": digest.hexdigest(),
    }


def _clocks(folder: Path) -> dict[str, Any]:
    """Tell from the events when the call was, and whether the wall clock was set meanwhile."""
    events = [
        event
        for event in read_events(folder / EVENTS_NAME)
        if isinstance(event.get("at"), str) and isinstance(event.get("mono"), int | float)
    ]
    if not events:
        return {}
    first, last = events[0], events[-1]
    return {
        "wall": "CLOCK_REALTIME",
        "monotonic": "CLOCK_MONOTONIC",
        "first_event": {"at": first["at"], "mono": first["mono"]},
        "last_event": {"at": last["at"], "mono": last["mono"]},
    }
