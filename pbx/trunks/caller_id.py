"""Who calls over a trunk, as its exchange says; and what we say of ourselves there (RFC 3325, RFC 3323, RFC 5806, RFC 7044).

in → out: an INVITE of a trunk, the trunk's rules → `Calling`; our number → headers. Only a trunk is asked: of anybody else
these headers are claims (`pbx.claims`).
"""

from dataclasses import dataclass
from typing import Any, Final

from pbx.sip import grammar
from pbx.sip.errors import SipError
from pbx.sip.message import Request
from pbx.sip.uri import NameAddr, Uri, parse_name_addr, parse_name_addr_list
from pbx.trunks import numbers
from pbx.trunks.settings import TrunkSettings

MAX_VALUES: Final = 10
"""Values of one header that are kept; ten diversions are a loop."""
MAX_LENGTH: Final = 256
"""Characters of one that are kept; the whole message is in the evidence."""

EMERGENCY: Final = ("Resource-Priority", "esnet.0")
"""RFC 7135: calls of public safety answering points, callbacks among them."""
ANONYMOUS: Final = NameAddr("Anonymous", Uri("sip", "anonymous", None, "anonymous.invalid"))
"""RFC 3323 §4.1.1.3."""
LEVELS: Final = frozenset({f"esnet.{level}" for level in range(5)})
"""RFC 7135 §4."""


@dataclass(frozen=True, slots=True)
class Calling:
    """What a trunk says of a caller."""

    number: numbers.Number
    name: str | None
    """Display name; nobody has proved it."""
    header: str | None
    """Where the number stood; None: nowhere."""
    private: bool
    """The caller wants its number kept back (RFC 3323); the dispatcher sees it all the same."""
    priority: str | None
    """`esnet.N` of RFC 7135."""

    def facts(self, trunk: str) -> dict[str, Any]:
        """Return plain data for the note of the arrival."""
        found = {
            "asserted_by": trunk,
            "number_kind": self.number.kind,
            "number_from": self.header,
            "resource_priority": self.priority,
        }
        return {key: value for key, value in found.items() if value is not None}


def calling(request: Request, trunk: TrunkSettings) -> Calling:
    """Return who calls. Any request gives an answer; none raises."""
    private = is_private(request)
    withheld = Calling(numbers.Number("", "withheld"), None, None, private, _priority(request))
    for header in trunk.identity:
        addresses = _addresses(request, header)
        name = next((address.display for address in addresses if address.display), None)
        for address in addresses:
            uri = address.uri
            said = uri.host if uri.scheme == "tel" else uri.user_text if uri.is_sip else None
            if said is None or grammar.lower(uri.host) == "anonymous.invalid":
                continue
            found = numbers.normalise(said, rules=trunk.calling, area=trunk.area)
            if found.kind == "withheld":
                continue
            return Calling(found, _name(name), header, private, withheld.priority)
    return withheld


def _addresses(request: Request, header: str) -> tuple[NameAddr, ...]:
    try:
        if header == "from":
            return (request.from_,)
        if header == "p-asserted-identity":
            # RFC 3325 §9.1: one sip or sips URI, one tel URI, or both; the number of the tel URI needs no guessing.
            found = [one for text in request.headers.lines(header) for one in parse_name_addr_list(text)]
            return tuple(sorted(found, key=lambda one: one.uri.scheme != "tel"))
        return tuple(parse_name_addr(text) for text in request.headers.all(header)[:MAX_VALUES])
    except SipError:
        return ()


def _name(display: str | None) -> str | None:
    return None if not display else display[:MAX_LENGTH]


def is_private(request: Request) -> bool:
    """Say whether its sender wants its number kept back (RFC 3323 §4.2, RFC 3325 §9.3)."""
    words = {
        grammar.lower(word.strip(" \t"))
        for line in request.headers.lines("Privacy")
        for word in line.replace(",", ";").split(";")
    }
    return bool(words & {"id", "user", "header", "history"}) or any(
        address.param("privacy") in ("full", "uri") for address in _addresses(request, "remote-party-id")
    )


def _priority(request: Request) -> str | None:
    said = {grammar.lower(value.strip(" \t")) for value in request.headers.all("Resource-Priority")}
    # The highest that is stated counts (RFC 7135 §4: 4 is the highest).
    return max(said & LEVELS, default=None)


# --- ours -----------------------------------------------------------------------------------------------------------


def ours(
    trunk: TrunkSettings, domain: str, number: str | None = None, *, private: bool = False
) -> tuple[NameAddr, list[tuple[str, str]]]:
    """Return our From (without tag) and the headers that say who we are there.

    `number`: shown instead of the trunk's own; `domain`: host of our From; `private`: whose number that is wants it kept
    back. It is told to the other emergency centre all the same, where only that and the exchanges between see it.
    """
    address = NameAddr(None, Uri("sip", number or trunk.caller_id, None, domain))
    kept = private and number is not None
    # RFC 3325 §9.3: "id" has the network take P-Asserted-Identity out where trust ends; From is left to us.
    wish = [("Privacy", "id")] if kept else []
    shown = ANONYMOUS if kept else address
    match trunk.caller_id_in:
        case "p-asserted-identity":
            return shown, [("P-Asserted-Identity", str(address)), *wish]
        case "remote-party-id":
            full = "full" if kept else "off"
            return shown, [("Remote-Party-ID", f"{address};party=calling;screen=yes;privacy={full}"), *wish]
        case "from":
            # There is no other place for it, and help matters more: who answers must know whom to call back.
            return address, wish
