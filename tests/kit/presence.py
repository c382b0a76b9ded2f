"""A presence server on the virtual network, and the exchange among it and phones."""

from typing import Any

from pbx.call.effects import SendElsewhere, SendRequest
from pbx.location.presence_uri import server
from pbx.sip.dialog import Dialog
from pbx.sip.message import Request
from pbx.sip.uri import parse_name_addr
from tests.kit import places
from tests.kit.network import Network
from tests.kit.stand import SERVER, Phone, Stand

PIDF = "application/pidf+xml"
ADDRESS = ("192.0.2.80", 5060)
HOST = "presence.example"
URI = f"sip:place-of-anna@{HOST}"


class PresenceStand(Stand):
    """A stand whose settings name one presence server, which DNS would find at `ADDRESS`."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**how)
        named = server(HOST)
        assert named is not None
        site = self.exchange.site
        self.exchange.site = type(site)(
            legs=site.legs,
            policy=site.policy,
            host=site.host,
            port=site.port,
            presence_servers=frozenset({named}),
        )

    def _carry(self, effect: Any) -> Any:
        if isinstance(effect, SendElsewhere):
            assert effect.request.uri.host == HOST, "only to servers the settings name"
            flow = self.flow_to(ADDRESS)
            contact = self.exchange.contact("110", flow)
            self.exchange.presence.found(effect.ref, flow, contact)
            return super()._carry(SendRequest(effect.ref, effect.request, flow))
        return super()._carry(effect)


class PresenceServer(Phone):
    """Accepts SUBSCRIBEs unless told otherwise and sends the NOTIFYs a test tells it to."""

    def __init__(self, network: Network, *, address: tuple[str, int] = ADDRESS) -> None:
        super().__init__(network, "presence", port=5999, auto=("ack", "ok"))
        self._start(address)
        self.ladder = []
        self.contact = parse_name_addr(f"<sip:presence@{address[0]}:{address[1]}>")
        network.attach(address, self)
        self.subscribed: list[Request] = []
        self.status, self.granted, self.least = 200, 600, 0
        self.watcher: Dialog | None = None

    def _asked(self, transaction: Any, request: Any) -> Any:
        if request.method != "SUBSCRIBE":
            return super()._asked(transaction, request)
        self.subscribed.append(request)
        if self.status == 100:
            return self.layer.respond(transaction, request.response(100), self.network.clock.now)
        if request.expires < self.least:
            least = (("Min-Expires", str(self.least)),)
            short = request.response(423, to_tag="short", headers=least)
            return self.layer.respond(transaction, short, self.network.clock.now)
        if request.to.tag is None and self.status == 200:
            self.watcher = Dialog.uas(request, local_tag=f"p{len(self.subscribed)}", contact=self.contact)
        assert self.watcher is not None or self.status >= 300
        tag = "refused" if self.watcher is None else self.watcher.local_tag
        expires = min(self.granted, request.expires or 0)
        headers = (("Expires", str(expires)), ("Contact", str(self.contact)))
        return self.layer.respond(
            transaction,
            request.response(self.status, to_tag=tag, headers=headers),
            self.network.clock.now,
        )

    def notify(self, body: bytes = b"", *, state: str = "active;expires=500", kind: str = PIDF) -> None:
        """Send the next NOTIFY of the dialog."""
        assert self.watcher is not None, "somebody subscribed"
        self.tell(self.built(body, state=state, kind=kind))

    def built(self, body: bytes, *, state: str = "active;expires=500", kind: str = PIDF) -> Request:
        """Build the next NOTIFY of the dialog."""
        assert self.watcher is not None, "somebody subscribed"
        headers = (("Event", "presence"), ("Subscription-State", state))
        return self.watcher.request("NOTIFY", headers=headers, body=body, content_type=kind if body else None)

    def tell(self, request: Request) -> None:
        """Send a NOTIFY."""
        self.ask(request, ref="notify", remote=SERVER)


def document(latitude: float) -> bytes:
    """A place east of Yantai."""
    return places.document(latitude, 121.5)
