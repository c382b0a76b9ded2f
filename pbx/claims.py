"""What a peer says of itself that only a peer we trust may say: who calls, who diverted, how urgent, where.

in → out: a request → the same without such headers, and their names for the log. Nothing of them reaches another leg or counts
as verified (bars S8). The message as it came stays in the evidence; `Geolocation` is kept as what the caller states.
"""

from typing import Final

from pbx.sip.grammar import lower
from pbx.sip.message import Request

# RFC 3325 §9.1: "If the element receives the message from a node that it does not trust … it MUST … remove" the field.
NAMES: Final = (
    "P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID", "P-Associated-URI", "P-Called-Party-ID",
    "P-Served-User", "P-Visited-Network-ID", "P-Access-Network-Info", "P-Charging-Vector",
    "P-Charging-Function-Addresses", "P-Asserted-Service", "P-Preferred-Service", "P-Profile-Key", "P-User-Database",
    "P-Early-Media", "P-Private-Network-Indication", "Diversion", "History-Info", "Resource-Priority", "Priority",
    "Identity", "Identity-Info", "Referred-By", "X-Verified-Name", "X-Verified", "X-Caller-Name", "X-Real-Name",
)  # fmt: skip
"""Header names as they are written: RFC 3325, 7315, 5806, 7044, 4412, 8224, 3892, and what vendors use for the same."""
CLAIMS: Final = frozenset(lower(name) for name in NAMES)


def strip(request: Request) -> tuple[Request, tuple[str, ...]]:
    """Return the request without claims, and the names of those it had, in lower case; the request itself stays as it is."""
    claims = (
        CLAIMS - {"referred-by"} if request.method == "REFER" else CLAIMS
    )  # it is noted there, and used for nothing
    found = tuple(sorted(request.headers.among(claims)))
    if not found:
        return request, ()
    headers = request.headers.copy()
    for name in found:
        headers.remove(name)
    return Request(request.method, request.uri, headers, request.body), found
