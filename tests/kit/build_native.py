"""Build the native engine in place: `python -m tests.kit.build_native`.

`pip install .` does it too (setup.py); this is for a checkout whose .venv is another's, and for instrumented builds. Prints one line.
"""

import argparse
import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "rtp" / "native"
CODE = ("relay.c", "loop.c", "tape.c", "block.c", "beat.c", "jitter.c")
PARTS = ("records.pxi", "tape.pxi", "jitter.pxi", "flow.pxi", "mixing.pxi", "playing.pxi", "loop.pxi")
SOURCES = ("_relay.pyx", "_relay.pxd", *PARTS, *CODE, "relay.h", "jitter.h")
FLAGS = ("-std=gnu11", "-ffp-contract=off", "-fPIC", "-shared", "-Wall", "-Wextra", "-Wno-unused-function")


def extension(folder: Path = FOLDER) -> Path:
    """Where the built module lies."""
    return folder / f"_relay{sysconfig.get_config_var('EXT_SUFFIX')}"


def build(*, sanitize: str = "", into: Path = FOLDER) -> Path:
    """Translate and compile. Raises CalledProcessError with what the compiler said, OSError without a compiler."""
    made = extension(into)
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")
    optimise = (
        [f"-fsanitize={sanitize}", "-fno-sanitize-recover=all", "-g", "-O1", "-fno-omit-frame-pointer"]
        if sanitize
        else ["-O2"]
    )
    with tempfile.TemporaryDirectory(prefix="at110-native-") as work:
        translated = Path(work) / "_relay.c"
        _run([sys.executable, "-m", "cython", "-3", str(FOLDER / "_relay.pyx"), "-o", str(translated)])
        fresh = Path(work) / made.name
        include = ["-I", str(FOLDER), "-I", sysconfig.get_path("include")]
        sources = [str(translated), *(str(FOLDER / name) for name in CODE)]
        _run([*compiler, *FLAGS, *optimise, *include, *sources, "-o", str(fresh), "-lpthread"])
        # Replaced, not written over: somebody may have the old one loaded.
        beside = made.with_suffix(".new")
        beside.write_bytes(fresh.read_bytes())
        beside.rename(made)
    return made


def fresh() -> bool:
    """Whether what is built is newer than what it is built from."""
    made = extension()
    return made.exists() and all((FOLDER / name).stat().st_mtime <= made.stat().st_mtime for name in SOURCES)


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


def main(argv: Sequence[str] | None = None) -> int:
    """0 when it is there."""
    parser = argparse.ArgumentParser(prog="python -m tests.kit.build_native")
    parser.add_argument("--sanitize", choices=("address", "address,undefined", "thread"), default="")
    parser.add_argument("--into", type=Path, default=FOLDER)
    parser.add_argument(
        "--if-needed", action="store_true", help="do nothing when it is newer than its sources"
    )
    parser.add_argument(
        "--or-skip", action="store_true", help="succeed without it, unless CI is set: its tests are left out"
    )
    options = parser.parse_args(argv)
    if options.if_needed and fresh():
        print(f"native engine: {extension()} is up to date")
        return 0
    try:
        made = build(sanitize=options.sanitize, into=options.into)
    except (subprocess.CalledProcessError, OSError) as error:
        said = (
            f"{error.cmd[0]}: {error.stderr}" if isinstance(error, subprocess.CalledProcessError) else error
        )
        print(f"native engine: not built, its tests are left out: {said}", file=sys.stderr)
        extension(options.into).unlink(missing_ok=True)  # an older one is not what is to be tested
        return 0 if options.or_skip and not os.environ.get("CI") else 1
    print(f"native engine: {made}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
