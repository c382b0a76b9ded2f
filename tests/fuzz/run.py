"""Fuzz every target: `python -m tests.fuzz.run [SECONDS] [TARGET …]`; 60 s each unless told.

With atheris it is guided by coverage; without, by seeded mutation, and it says which. Exits 1 when a promise was broken; the
input is written to `fuzz-TARGET.bin` then, and run again by giving that file as a target's name: `python -m tests.fuzz.run
message=fuzz-message.bin`.
"""

import os
import random
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.fuzz.mutate import mutants
from tests.fuzz.targets import TARGETS, seeds, timed

BATCH = 500


def main(arguments: list[str]) -> int:
    """Run what was asked; returns the exit status."""
    if arguments[:1] == ["--guided"]:
        return guided(arguments[1], float(arguments[2]), arguments[3])
    seconds = 60.0
    if arguments and arguments[0].isdecimal():
        seconds = float(arguments.pop(0))
    broken = 0
    for name in arguments or list(TARGETS):
        target, _, file = name.partition("=")
        if file:
            timed(TARGETS[target], Path(file).read_bytes())
            print(f"{target}: {file} passes")
        elif has_atheris():
            broken += run_guided(target, seconds)
        else:
            broken += blind(target, seconds)
    return 1 if broken else 0


def has_atheris() -> bool:
    """Tell whether atheris can be imported, in a process of its own: its import changes the interpreter."""
    done = subprocess.run([sys.executable, "-c", "import atheris"], capture_output=True, check=False)
    return done.returncode == 0


def run_guided(name: str, seconds: float) -> bool:
    """Fuzz one target with atheris in a process of its own; True when it broke."""
    with tempfile.TemporaryDirectory() as corpus:
        for number, data in enumerate(seeds(name)):
            (Path(corpus) / f"seed-{number:03}").write_bytes(data)
        command = [sys.executable, "-m", "tests.fuzz.run", "--guided", name, str(seconds), corpus]
        began = time.monotonic()
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": "."}
        )
    last = [line for line in done.stderr.splitlines() if "exec/s" in line or line.startswith("Done")]
    print(f"{name}: atheris, {time.monotonic() - began:.0f} s, {last[-1] if last else ''}", flush=True)
    if done.returncode:
        print(done.stdout[-4000:], done.stderr[-4000:], sep="\n", file=sys.stderr)
    return done.returncode != 0


def guided(name: str, seconds: float, corpus: str) -> int:
    """Be the process that atheris fuzzes in."""
    import atheris  # type: ignore[import-not-found, import-untyped, unused-ignore]  # optional: see the Makefile

    atheris.instrument_all() if os.environ.get("FUZZ_ALL") else _instrument(atheris)
    artifact = f"-artifact_prefix=fuzz-{name}-"
    atheris.Setup(
        [sys.argv[0], corpus, f"-max_total_time={int(seconds)}", "-max_len=16384", "-timeout=20", artifact],
        lambda data: timed(TARGETS[name], data),
    )
    atheris.Fuzz()
    return 0


def _instrument(atheris: object) -> None:
    """Instrument what is fuzzed: every function of the modules that read what strangers send."""
    import types

    from pbx.guard import feedback, glance, refusal
    from pbx.sdp import codecs, description
    from pbx.sip import body, digest, grammar, headers, message, parser, uri

    for module in (
        feedback,
        glance,
        refusal,
        codecs,
        description,
        body,
        digest,
        grammar,
        headers,
        message,
        parser,
        uri,
    ):
        for found in list(vars(module).values()):
            owners = (
                [found]
                if isinstance(found, types.FunctionType)
                else list(vars(found).values())
                if isinstance(found, type)
                else []
            )
            for function in owners:
                if isinstance(function, types.FunctionType) and function.__module__ == module.__name__:
                    atheris.instrument_func(function)  # type: ignore[attr-defined]


def blind(name: str, seconds: float) -> bool:
    """Fuzz one target by seeded mutation; True when it broke."""
    began, count = time.monotonic(), 0
    dice = random.Random(f"{name} {os.environ.get('FUZZ_SEED', '1')}")
    corpus = seeds(name)
    while time.monotonic() - began < seconds:
        for data in mutants(corpus, BATCH, dice)[len(corpus) :]:
            count += 1
            try:
                timed(TARGETS[name], data)
            except Exception:  # noqa: BLE001 - whatever escapes is what is looked for
                traceback.print_exc()
                Path(f"fuzz-{name}.bin").write_bytes(data)
                print(f"{name}: broken after {count} inputs; written to fuzz-{name}.bin", file=sys.stderr)
                return True
    print(f"{name}: no atheris, seeded mutation, {seconds:.0f} s, {count} inputs", flush=True)
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
