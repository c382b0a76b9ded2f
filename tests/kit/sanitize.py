"""Run tests of the native engine on an instrumented build: `python -m tests.kit.sanitize address|thread`.

The tree is copied to a folder of its own and built there, so the build in place stays what it is whatever happens to the run. The
sanitizer's library has to be in the process before the interpreter, so it is preloaded; what CPython itself never frees is no finding.
Under TSan everything is many times slower, so there only what two threads share is tried: tapes, and the road that writes them.
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
TESTS = {
    "address": ("tests/rtp/native",),
    "thread": ("tests/rtp/native/test_tape.py", "tests/rtp/native/test_threads.py"),
}
OPTIONS = {
    "address": {"ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1", "PYTHONMALLOC": "malloc"},
    "thread": {"TSAN_OPTIONS": "halt_on_error=1:report_signal_unsafe=0"},
}
LIBRARY = {"address": "libasan.so", "thread": "libtsan.so"}
SECONDS = 170.0
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
        build(sanitize=kind, into=tree / "rtp" / "native")
        environment = {
            **os.environ,
            **OPTIONS[kind],
            "LD_PRELOAD": str(library),
            "PYTHONPATH": str(tree),
            "CI": "1",
        }
        command = [sys.executable, "-m", "pytest", "-q", "--capture=no", "--hypothesis-profile=sanitized"]
        command += ["-p", "no:cacheprovider", *TESTS[kind]]
        try:
            return subprocess.run(command, cwd=tree, env=environment, check=False, timeout=SECONDS).returncode
        except subprocess.TimeoutExpired:
            print(f"at110: not done after {SECONDS:g} s", file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
