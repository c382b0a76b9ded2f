# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=False
"""The Python face of relay.c: records it shares with the machines, flows, tapes, the loop. No policy here.

`_relay.pyi` says what each is; `rtp.native` puts them to work.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.math cimport NAN, isnan
from libc.string cimport memcpy, memset

from rtp.jitter import DRY, LOST

include "records.pxi"
include "tape.pxi"
include "jitter.pxi"
include "flow.pxi"
include "mixing.pxi"
include "playing.pxi"
include "loop.pxi"
