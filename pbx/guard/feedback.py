"""RFC 7339: how overloaded we are, told to the hop before us in the Via of every response.

in → out: a Via that carries `oc` → the same Via with our report. The Via of a request is changed when it arrives; each response
copies it, so that all of them carry the report.
"""

from typing import Final

from msgspec.structs import replace

from pbx.sip.grammar import lower
from pbx.sip.uri import Via

VALIDITY_MS: Final = 500
"""How long a report holds: the RFC's own default (§4.3), five of our probes."""

_PARAMETERS: Final = frozenset({"oc", "oc-algo", "oc-validity", "oc-seq"})


def asks(via: Via) -> bool:
    """Tell whether the hop before us wants reports: `oc` without a value, and the algorithm every client has."""
    # RFC 7339 §4.1, §4.2: a client writes `oc` without value and the list of algorithms it knows; "loss" is mandatory.
    if not via.has_param("oc"):
        return False
    offered = (via.param("oc-algo") or "loss").strip('"').split(",")
    return "loss" in {lower(name.strip(" \t")) for name in offered}


def report(via: Via, share: float, sequence: float) -> Via:
    """Write the report into a Via that `asks`.

    `share` 0…1 is the part of new requests to hold back; `sequence` grows with time, also over restarts: wall seconds.
    """
    kept = tuple((name, value) for name, value in via.params if lower(name) not in _PARAMETERS)
    loss = round(100 * share)
    # RFC 7339 §4.3: a validity of 0 ends overload control, which is the state of a server that has no need of it.
    ours = (
        ("oc", str(loss)),
        ("oc-algo", '"loss"'),
        ("oc-validity", str(VALIDITY_MS if loss else 0)),
        ("oc-seq", f"{sequence:.3f}"),
    )
    return replace(via, params=(*kept, *ours))
