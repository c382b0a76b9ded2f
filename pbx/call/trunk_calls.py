"""Calls to numbers outside, over a trunk: placed here, whoever wants them; and what their legs hear, taken up.

in → out: a number and whose leg it is to be → the leg, on its way; the owner hears `LegUp`, `LegDigit`, `LegEnded` as of any
other leg. Digest, fail-over to the next peer, 302 and early media happen below and are not its business.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from pbx.call.effects import Item, Note
from pbx.call.encrypting import SECURE_TRANSPORTS
from pbx.call.impossible import Impossible
from pbx.call.leg import Leg, LegSetup, State
from pbx.call.owner import Owner
from pbx.location.writing import CONTENT_ID
from pbx.sdp.capabilities import CAPABILITIES
from pbx.sip.flow import Flow
from pbx.sip.message import MAX_FORWARDS, Request
from pbx.sip.uri import NameAddr
from pbx.trunks import caller_id
from pbx.trunks.line import Line
from pbx.trunks.settings import TrunkSettings
from pbx.trunks.trunk import Trunk
from pbx.trunks.trunks import NoTrunk

if TYPE_CHECKING:
    from pbx.call.exchange import Exchange


RING_SECONDS: Final = 90.0
"""How long a number outside may ring, all peers together: three minutes is what networks allow, half of it what people do."""


@dataclass(frozen=True, slots=True)
class Outside:
    """A call to be placed."""

    number: str
    """As a person dials it, or in E.164 with `+`."""
    trunk: str | None = None
    """Over this trunk; None: the first that takes the number, is in service and has room."""
    shown: str | None = None
    """Calling number shown instead of the trunk's own."""
    evidence: str | None = None
    """Capture its media is written to; it must be open."""
    urgent: bool = False
    """A call for help that goes on elsewhere: marked `esnet.0`, sent though the trunk asks for less (RFC 7339)."""
    ring_seconds: float = RING_SECONDS
    headers: tuple[tuple[str, str], ...] = ()
    """Further headers of the INVITE; never a stranger's words."""
    location: bytes | None = None
    """PIDF-LO of the caller who goes on there (RFC 6442)."""
    hops: int = MAX_FORWARDS
    """Max-Forwards of the INVITE: of a call that came from elsewhere, what is left of its own (RFC 5393)."""
    private: bool = False
    """Whose number is shown wants it kept back from all but those who must know (RFC 3323, RFC 3325)."""


def place(exchange: Exchange, wanted: Outside, owner: Owner, now: float) -> tuple[str, list[Item]]:
    """Place a call over a trunk; returns (leg, items for `Exchange.run`).

    The INVITE leaves by itself once the ports are open. Raises `Impossible`: `unknown_trunk`, `no_trunk`, `trunk_full`,
    `trunk_busy` (overloaded, and the call is not urgent), `bad_number`.
    """
    trunk, number, dialled = _choose(exchange, wanted)
    targets = trunk.targets(dialled, now, urgent=wanted.urgent)
    if not targets:
        raise Impossible("trunk_busy")
    first, *rest = targets
    flow = _flow(exchange, first.hop.param("transport") or "udp", first.hop.host)
    settings = trunk.settings
    us, said = caller_id.ours(
        settings, settings.domain or exchange.site.host, wanted.shown, private=wanted.private
    )
    if wanted.urgent:
        said.append(caller_id.EMERGENCY)
    if wanted.location is not None:
        said += [("Geolocation", f"<cid:{CONTENT_ID}>"), ("Geolocation-Routing", "yes")]
    contact = exchange.contact(us.uri.user or "110", flow)
    invite = Request.build(
        "INVITE",
        first.uri,
        from_=us.with_tag(exchange.mint("tag")),
        to=NameAddr(None, first.uri),
        call_id=exchange.mint("sip_call"),
        cseq=1,
        contact=contact,
        max_forwards=wanted.hops,
        headers=(*said, *wanted.headers),
    )
    setup = exchange.setup(flow, settings.name, urgent=wanted.urgent)
    if any(target.hop.param("transport") not in SECURE_TRANSPORTS for target in targets):
        # All peers are sent one description: keys stand in it only if they are secret on the way to each of them.
        clear = exchange.site.encryption.sdes_in_clear
        setup = replace(setup, encryption=replace(setup.encryption, sdes=clear))
    setup = replace(offered(setup, settings), ring_seconds=wanted.ring_seconds)
    leg, opening = Leg.outgoing(
        exchange.mint("leg"),
        invite,
        flow,
        session=exchange.session(),
        contact=contact,
        setup=setup,
        evidence=wanted.evidence,
    )
    leg.line = Line(
        trunk.name,
        dialled,
        settings.dtmf,
        settings.attempt_seconds,
        settings.progress_seconds,
        first,
        tuple(rest),
        location=wanted.location,
    )
    trunk.counts.outgoing += 1
    exchange.add_leg(leg, owner, None)
    told = {"trunk": trunk.name, "number": number.text, "leg": leg.id, "urgent": wanted.urgent}
    return leg.id, [Note("trunk_call_placed", wanted.evidence, told), *opening]


def _choose(exchange: Exchange, wanted: Outside) -> tuple[Trunk, Any, str]:
    try:
        return exchange.trunks.choose(wanted.number, lambda name: busy(exchange, name), trunk=wanted.trunk)
    except NoTrunk as error:
        raise Impossible(error.code) from error


def busy(exchange: Exchange, trunk: str) -> int:
    """Return how many calls a trunk has now."""
    return sum(
        leg.line is not None and leg.line.trunk == trunk and leg.state is not State.TERMINATED
        for leg in exchange.legs.values()
    )


def _flow(exchange: Exchange, transport: str, host: str) -> Flow:
    """Return the flow a call would take, as far as that is known before its peer's name is: it decides our addresses."""
    site = exchange.site
    local = site.places.source(transport, host) or (site.legs.bind, 0)
    return Flow(transport, local, (host, 0))


def offered(setup: LegSetup, trunk: TrunkSettings) -> LegSetup:
    """Return what a leg over a trunk offers: its codecs in its order, keys as it wants them."""
    wanted = list(trunk.codecs)
    known = (*CAPABILITIES.audio, *CAPABILITIES.understood)
    sound = [codec for name in wanted for codec in known if codec.name == name]
    rates = {codec.clock_rate for codec in sound}
    keys = [c for c in CAPABILITIES.audio if c.name == "TELEPHONE-EVENT" and c.clock_rate in rates]
    picture = setup.capabilities.video if trunk.video else ()
    audio = (*sound, *(keys if trunk.dtmf == "rfc4733" else ()))
    return replace(setup, capabilities=replace(setup.capabilities, audio=audio, video=picture))
