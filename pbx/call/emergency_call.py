"""Verb: begin an emergency call.

in → out: an INVITE that means 110, who sent it and over which trunk → the call, its leg, where it goes, and what is noted.
"""

from dataclasses import dataclass

from pbx import identity
from pbx.call import half_open, known, trunk_arrival
from pbx.call.call import Call
from pbx.call.claims import claims as stated
from pbx.call.effects import Item, Note
from pbx.call.entry import entry
from pbx.call.exchange import CALL_PATIENCE, Exchange
from pbx.call.leg import Leg
from pbx.call.newcomer import stated_caller, with_contact
from pbx.call.owner import Owner
from pbx.sip import acceptance
from pbx.sip.effects import RequestArrived
from pbx.sip.message import Request
from pbx.targets import Emergency
from pbx.trunks.trunk import Trunk


@dataclass(frozen=True, slots=True)
class Said:
    """A request as it came, and which of its headers we did not go by."""

    request: Request
    ignored: tuple[str, ...]


def begin(
    exchange: Exchange,
    event: RequestArrived,
    verdict: identity.Authenticated,
    emergency: Emergency,
    now: float,
    *,
    said: Said,
    trunk: Trunk | None,
) -> list[Item]:
    """Open the call: its capture, its leg, its place in a queue. It is never refused for who sends it."""
    request = acceptance.readable(with_contact(event.request, event.flow))
    facts = stated(said.request)
    if trunk is None:
        caller = stated_caller(request, event.flow, verdict)
    else:
        caller, more = trunk_arrival.caller(said.request, event.flow, trunk)
        facts |= more
    call_id = exchange.mint("call")
    leg, opening = Leg.incoming(
        exchange.mint("leg"),
        request,
        event.flow,
        event.transaction,
        local_tag=exchange.mint("tag"),
        session=exchange.session(),
        contact=exchange.contact("110", event.flow, secure=request.uri.scheme == "sips"),
        setup=trunk_arrival.setup(
            exchange.setup(event.flow, caller.user or caller.trunk, emergency=True), trunk
        ),
        evidence=call_id,
        now=now,
        patience=CALL_PATIENCE,
        emergency=True,
    )
    leg.vouched = caller.verified or trunk is not None
    over = None if trunk is None else trunk.settings
    arrival = exchange.whereabouts.arrived(
        call_id, said.request, now, trunk=None if over is None else over.name, number=caller.number
    )
    queue = arrival.decision.queue
    if over is not None and arrival.decision.by == "default" and over.queue != "default":
        queue = over.queue
    entering = entry(
        said.request,
        facts,
        silent=emergency.silent,
        identity=caller.user,
        number=caller.number,
        trusted=trunk is not None,
        queue=queue,
    )
    account = verdict.account if trunk is None else None
    call, arriving = Call.arrive(
        call_id,
        leg.id,
        caller,
        exchange.site.policy,
        silent=emergency.silent,
        now=now,
        target=emergency.asked,
        claims=facts,
        early=trunk_arrival.early(request, trunk),
        entry=known.entering(entering, account, speaks=bool(facts.get("languages"))),
    )
    call.facts = known.of_account(account)
    call.greeting = arrival.headers
    if trunk is not None:
        trunk_arrival.mark(leg, trunk)
    exchange.add_leg(leg, Owner("call", call_id), event.transaction)
    exchange.add_call(call)
    place: list[Item] = [
        Note("location_sent", call_id, {"geolocation": value}) for value in request.headers.all("Geolocation")
    ]
    place += arrival.effects
    if trunk is None and said.ignored:
        place.append(Note("claims_ignored", call_id, {"headers": list(said.ignored)}))
    # The new call is in the books before the old one leaves: whoever dials again is never without one.
    old = [] if caller.user is None else half_open.supersede(exchange, caller.user, now)
    return [*arriving[:2], *opening, *arriving[2:], *place, *old, *known.ask(call_id, caller)]
