"""What an exchange is set up with: its names, its places, and what every leg and call of it shares. Pure values."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from pbx.call.encrypting import EncryptionRules
from pbx.call.gates import HostPicture
from pbx.call.leg import LegSetup
from pbx.hands_settings import HandsSettings
from pbx.location.presence_uri import Server
from pbx.places import Place, Places
from pbx.sip.flow import Flow
from routing.districts import Districts
from routing.queues import Rules


def never(_uri: str) -> bool:
    """No server is asked."""
    return False


@dataclass(frozen=True, slots=True)
class Policy:
    """What a site decides for its calls."""

    folder: str
    """Where evidence folders are made."""
    languages: tuple[str, ...] = ("zh", "en")
    host_picture: HostPicture = "on"
    """Whether callers see the dispatcher, nobody, or the site's still image."""
    host_picture_in_silent: bool = False
    stay_seconds: float = 60.0
    """How often a waiting caller whose place does not change is told it again and asked to stay; 0: never."""


@dataclass(frozen=True, slots=True)
class Site:
    """What the exchange is set up with."""

    legs: LegSetup
    policy: Policy
    host: str
    """Host of our Contact."""
    port: int
    wrap_up: float = 5.0
    routing: Rules | None = None
    """Queues and dispatchers; None: one queue, and every desk takes everybody."""
    hands: HandsSettings = field(default_factory=HandsSettings)
    districts: Districts = field(default_factory=Districts)
    may_ask: Callable[[str], bool] = never
    """Whether the settings name the server of a URI as one that keeps locations."""
    presence_servers: frozenset[Server] = frozenset()
    """Servers a location by reference may be subscribed at."""
    lost: bool = False
    """Whether a LoST server is asked which district serves a place."""
    places: Places = field(default_factory=Places)
    """Where we listen; empty: at `host` and `port` only, whatever the transport."""
    encryption: EncryptionRules = field(default_factory=EncryptionRules)
    """Whose media are encrypted."""
    asymmetric: frozenset[str] = frozenset()
    """Accounts and trunks whose phones do not hear where they send from."""

    def here(self, flow: Flow) -> Place:
        """Return where `flow` ends on our side: what stands in Via, Contact and SDP of what goes over it."""
        found = self.places.of(flow)
        if found is not None:
            return found
        legs = self.legs
        return Place(flow.transport, legs.bind, self.port, self.host, self.port, legs.address, legs.bind)

    def setup(self, flow: Flow) -> LegSetup:
        """Return what a leg over `flow` is set up with: media go where the signalling came in."""
        place, legs = self.here(flow), self.legs
        near = place.media_bind in ("::1", "127.0.0.1") or (
            legs.loopback_ok and place.media_bind == legs.bind
        )
        return replace(legs, address=place.media_address, bind=place.media_bind, loopback_ok=near)
