"""The key of the journal of live state: made by the supervisor, kept in memory alone, handed to each signalling process.

in → out: a supervisor → an open file without a name that its children inherit; in the child, its number → the key.

So the key dies with the supervisor, and with it every journal: what it sealed is noise for whoever finds the disk.
"""

import os
import secrets
from collections.abc import Mapping
from typing import Final

from pbx.live.frames import KEY_BYTES

VARIABLE: Final = "AT110_LIVE_KEY_FD"
"""Names the file in a child's environment; a number, not the key, which anybody who may look at processes could read there."""


def make() -> int:
    """Make a key; return the descriptor of the file in memory that holds it."""
    descriptor = os.memfd_create("at110-live-key", os.MFD_CLOEXEC)
    os.write(descriptor, secrets.token_bytes(KEY_BYTES))
    return descriptor


def take(environment: Mapping[str, str]) -> bytes | None:
    """Return the supervisor's key; None for a process nobody restarts, whose journal nobody would read."""
    number = environment.get(VARIABLE, "")
    if not number.isdecimal() or not number.isascii():
        return None
    try:
        key = os.pread(int(number), KEY_BYTES, 0)
        os.set_inheritable(int(number), False)
    except OSError:
        return None
    return key if len(key) == KEY_BYTES else None
