"""The native engine: the packet road of tracks that are simply relayed, in C; everything else stays where it was.

What `rtp.track` decides (who is believed, which payload type goes where, as what) is put into a `Flow`; while the loop waits,
`relay.c` reads lent sockets, sends on what follows the decision and puts both copies on evidence tapes, without the interpreter.
Whatever it does not understand or may not relay comes to Python as before: first packets, gaps, restarts, digits,
transcoding, laid-over tones, silent mode, other payload types, misshapen packets.

One thread, one set of numbers: `relay.c` reads and writes the very counters and stream numbers that `rtp.source` and
`rtp.outstream` do, and never while Python of the loop runs. So there is nothing to hand over between prompts and relay.

The extension is built when there is a C compiler; `find` gives None where it was not.
"""

from typing import Final

from rtp.parts import PYTHON, Parts

ENGINES: Final = ("auto", "native", "python")
"""Values of the setting `media.engine`."""


class NoEngineError(RuntimeError):
    """`native` was asked for and was not built; the text says what is missing."""


def choose(engine: str) -> Parts:
    """Give the parts for a value of ENGINES. Raises NoEngineError."""
    if engine == "python":
        return PYTHON
    try:
        from rtp.native.track import NATIVE
    except ImportError as error:
        if engine == "native":
            raise NoEngineError(f"the native media engine was not built: {error}") from error
        return PYTHON
    return NATIVE
