"""What a peer says of itself that only a peer we trust may say: who calls, who diverted, how urgent, where.

in → out: a request → the same without such headers, and their names for the log. Nothing of them reaches another leg or counts
as verified (bars S8). The message as it came stays in the evidence; `Geolocation` is kept as what the caller states.
"""

from typing import Final

from pbx.sip.grammar import lower
from pbx.sip.message import Request

# RFC 3325 §9.1: "If the element receives the message from a node that it does not trust … it MUST … remove" the field.
CLAIMS: Final = frozenset({
    "p-asserted-identity", "p-preferred-identity", "remote-party-id", "p-associated-uri", "p-called-party-id",
    "p-served-user", "p-visited-network-id", "p-access-network-info", "p-charging-vector",
    "p-charging-function-addresses", "p-asserted-service", "p-preferred-service", "p-profile-key", "p-user-database",
    "p-early-media", "p-private-network-indication", "diversion", "history-info", "resource-priority", "priority",
    "identity", "identity-info", "referred-by", "x-verified-name", "x-verified", "x-caller-name", "x-real-name",
})  # fmt: skip
"""Header names in lower case: RFC 3325, 7315, 5806, 7044, 4412, 8224, 3892, and what vendors use for the same."""


def strip(request: Request) -> tuple[Request, tuple[str, ...]]:
    """Return the request without claims, and the names of those it had, in lower case; the request itself stays as it is."""
    found = tuple(sorted({lower(name) for name, _ in request.headers.items()} & CLAIMS))
    if not found:
        return request, ()
    headers = request.headers.copy()
    for name in found:
        headers.remove(name)
    return Request(request.method, request.uri, headers, request.body), found
