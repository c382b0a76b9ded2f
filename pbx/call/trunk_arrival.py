"""A call that comes over a trunk: which trunk, whom it is for, who calls as the trunk says.

in → out: an INVITE and the flow it came on → its trunk; the number they dialled, as it is called here; the `Caller` and the
facts for the note of the arrival.

What a trunk says is believed as what it is: the trunk's word. It makes no person verified.
"""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from msgspec import structs

from pbx.call import progress
from pbx.call.caller import Caller
from pbx.call.exchange import Exchange
from pbx.call.leg import Leg, LegSetup
from pbx.identity import Authenticated
from pbx.sip.flow import Flow
from pbx.sip.message import Request
from pbx.sip.reason import Header
from pbx.sip.uri import Uri
from pbx.trunks import caller_id, causes, numbers
from pbx.trunks.line import Line
from pbx.trunks.trunk import Trunk

UNKNOWN_NUMBER: Header = causes.header(1)
"""Said to a trunk that dials a number nobody has here."""


def trunk_of(exchange: Exchange, flow: Flow, registered: Collection[str]) -> Trunk | None:
    """Return the trunk a flow is of. `registered`: addresses-of-record with a live binding on this very flow."""
    name = exchange.trunks.trust.of_flow(flow, registered)
    return None if name is None else exchange.trunks.get(name)


def proved(exchange: Exchange, verdict: object) -> Trunk | None:
    """Return the trunk whose account a request proved by digest."""
    if not isinstance(verdict, Authenticated) or verdict.account is None or verdict.proof != "digest":
        return None
    name = exchange.trunks.trust.of_account(verdict.account.user)
    return None if name is None else exchange.trunks.get(name)


def called(request: Request, trunk: Trunk) -> Request:
    """Return the request with the number it calls as that is called here: the trunk's `called` rules, then those of China."""
    uri = request.uri
    said = uri.host if uri.scheme == "tel" else uri.user_text if uri.is_sip else None
    if said is None:
        return request
    ours = numbers.rewritten(said.partition(";")[0], trunk.settings.called)
    if ours == said or not numbers.is_number(ours):
        return request
    meant = Uri("tel", None, None, ours) if uri.scheme == "tel" else structs.replace(uri, user=ours)
    return Request(request.method, meant, request.headers, request.body)


def caller(said: Request, flow: Flow, trunk: Trunk) -> tuple[Caller, dict[str, Any]]:
    """Return who calls, and what else the trunk says of the call."""
    found = caller_id.calling(said, trunk.settings)
    address = f"{flow.remote[0]}:{flow.remote[1]}"
    who = Caller(
        None,
        None,
        found.number.text or None,
        verified=False,
        proof="trunk",
        address=address,
        trunk=trunk.name,
        unavailable=None if found.number.text else "withheld",
    )
    facts = found.facts(trunk.name)
    if found.name is not None:
        facts["display_name"] = found.name
    return who, facts


def setup(site: LegSetup, trunk: Trunk | None) -> LegSetup:
    """Return what a call is answered with: the trunk's codecs before the others, for nobody is refused for a codec; no keys in
    the sound where they are to come by INFO.
    """
    if trunk is None:
        return site
    wanted = trunk.settings.codecs
    keys = trunk.settings.dtmf == "rfc4733"
    heard = [codec for codec in site.capabilities.audio if keys or codec.name != "TELEPHONE-EVENT"]
    heard.sort(key=lambda codec: wanted.index(codec.name) if codec.name in wanted else len(wanted))
    more = tuple(codec for codec in site.capabilities.understood if keys or codec.name != "TELEPHONE-EVENT")
    return replace(site, capabilities=replace(site.capabilities, audio=tuple(heard), understood=more))


def mark(leg: Leg, trunk: Trunk) -> None:
    """Let an incoming leg know its trunk."""
    leg.line = Line(trunk.name, dtmf=trunk.settings.dtmf)
    trunk.counts.incoming += 1


def early(request: Request, trunk: Trunk | None) -> bool:
    """Whether a call is to be heard before it is answered."""
    return trunk is not None and trunk.settings.early_media and progress.possible(request)
