"""What the web server of the signalling process serves, put together: HTTP API, live feed, console, and phones by WebSocket.

in → out: the parts of the process → one application of aiohttp.
"""

from aiohttp import web

from pbx.api.app import build
from pbx.api.blocks import BlockRoutes
from pbx.api.callers import CallerRoutes
from pbx.api.identities import IdentityRoutes
from pbx.api.places import PlaceRoutes
from pbx.api.roles import RoleRoutes
from pbx.api.snapshot import SnapshotRoutes
from pbx.api.trunks import Handlers
from pbx.block_service import BlockService
from pbx.call.control import Control
from pbx.call.keeping import LOG_FOLDER, Keeping
from pbx.call.looking import Looking
from pbx.call.places_service import PlacesService
from pbx.call.routing_service import RoutingService
from pbx.call.service import Service
from pbx.call.trunk_service import TrunkService
from pbx.caller_service import CallerService
from pbx.identity_service import IdentityService
from pbx.metrics import Metrics
from pbx.people import ApiPeople, RoleService
from pbx.settings import Settings
from pbx.storage.database import Database
from pbx.storage.roles import Roles
from pbx.transport.endpoint import Endpoint
from pbx.transport.websocket import SipSocket


def web_application(
    settings: Settings,
    control: Control,
    service: Service,
    *,
    endpoint: Endpoint,
    trunks: TrunkService,
    roles: Roles,
    people: ApiPeople,
    database: Database,
    identities: IdentityService,
    callers: CallerService,
    blocks: BlockService,
    keeping: Keeping,
    metrics: Metrics,
    token: str,
) -> web.Application:
    """Build the application; `token`: what the API asks of programs (RFC 6750)."""
    places = PlacesService(control.exchange, settings.location, settings.state)
    return build(
        service,
        token=token,
        evidence=settings.evidence_folder,
        metrics=metrics,
        max_readers=settings.limits.feed_readers,
        more=_by_websocket(settings, endpoint),
        further=[
            *Handlers(trunks).routes(),
            *PlaceRoutes(places).routes(),
            *RoleRoutes(RoleService(roles, database)).routes(),
            *SnapshotRoutes(Looking(control, settings.state)).routes(),
            *IdentityRoutes(identities).routes(),
            *CallerRoutes(callers).routes(),
            *BlockRoutes(blocks).routes(),
        ],
        people=people,
        changed=roles.on_change,
        routing=RoutingService(
            control,
            keeping.callbacks,
            log=settings.state / LOG_FOLDER,
            evidence=settings.evidence_folder,
        ),
    )


def _by_websocket(settings: Settings, endpoint: Endpoint) -> list[web.RouteDef]:
    """Give the door of phones in browsers (RFC 7118)."""
    wanted = settings.websocket
    if not wanted.enabled:
        return []
    door = SipSocket(endpoint.links, endpoint.limits, wanted.origins)
    return [web.get(wanted.path, door.handle, allow_head=False)]
