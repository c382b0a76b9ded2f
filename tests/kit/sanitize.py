"""Run tests of the native engine on an instrumented build: `python -m tests.kit.sanitize address|thread`.

The tree is copied to a folder of its own and built there, so the build in place stays what it is whatever happens to the run. The
sanitizer's library has to be in the process before the interpreter, so it is preloaded; what CPython itself never frees is no finding.
Both run all tests of the native engine and then some of the soak: real sockets, real threads, real evidence.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.kit.build_native import FOLDER, build

ROOT = FOLDER.parents[1]
PARTS = ("pbx", "routing", "rtp", "recordings", "tests", "server.py", "pyproject.toml")
TESTS = "tests/rtp/native"
SOAK = ("-m", "tests.soak.run", "--engine", "native", "--minutes", "0.5", "--rooms", "3")
KINDS = {"address": "address,undefined", "thread": "thread"}
"""What the compiler is asked for."""
OPTIONS = {
    "address": {
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        "PYTHONMALLOC": "malloc",
    },
    "thread": {"TSAN_OPTIONS": "halt_on_error=1:report_signal_unsafe=0"},
}
LIBRARY = {"address": "libasan.so", "thread": "libtsan.so"}
SECONDS = 600.0
"""A run that takes longer has failed; on an idle machine one takes less than a quarter of that."""


def main(argv: list[str]) -> int:
    """The status of pytest; 2 for a wrong word, 1 when it can't be built or does not end."""
    if len(argv) != 1 or argv[0] not in OPTIONS:
        print("usage: python -m tests.kit.sanitize address|thread", file=sys.stderr)
        return 2
    kind = argv[0]
    said = subprocess.run(
        ["gcc", f"-print-file-name={LIBRARY[kind]}"], check=True, capture_output=True, text=True
    )
    library = Path(said.stdout.strip())
    if not library.is_absolute():
        print(f"at110: gcc has no {LIBRARY[kind]} here", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="at110-sanitize-") as folder:
        tree = Path(folder)
        for name in PARTS:
            if (ROOT / name).is_dir():
                shutil.copytree(
                    ROOT / name, tree / name, ignore=shutil.ignore_patterns("*.so", "__pycache__")
                )
            else:
                shutil.copy(ROOT / name, tree)
        build(sanitize=KINDS[kind], into=tree / "rtp" / "native")
        environment = {
            **os.environ,
            **OPTIONS[kind],
            "LD_PRELOAD": str(library),
            "PYTHONPATH": str(tree),
            "CI": "1",
        }
        tests = (
            "-m",
            "pytest",
            "-q",
            "--capture=no",
            "--hypothesis-profile=sanitized",
            "-p",
            "no:cacheprovider",
            TESTS,
        )
        for words in (tests, SOAK):
            try:
                status = subprocess.run(
                    [sys.executable, *words], cwd=tree, env=environment, check=False, timeout=SECONDS
                ).returncode
            except subprocess.TimeoutExpired:
                print(f"at110: not done after {SECONDS:g} s", file=sys.stderr)
                return 1
            if status:
                return status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
