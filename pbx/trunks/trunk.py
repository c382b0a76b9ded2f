"""One trunk: its peers, its registration, its credentials, as one machine.

in → out: start and stop, time, what came of its own requests and of calls → REGISTER and OPTIONS to send, notes of what
changed; where a call goes next, and whether credentials may go there.
"""

import ipaddress
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from pbx.call.effects import Note, SendElsewhere
from pbx.sip.effects import ResponseArrived, TransactionFailed
from pbx.sip.flow import Flow, default_port
from pbx.sip.message import Request, Response
from pbx.sip.uri import NameAddr, Uri
from pbx.sip.wakeups import earliest
from pbx.trunks import peers as peering
from pbx.trunks import registration as registering
from pbx.trunks.account import Account, Credentials
from pbx.trunks.line import Target
from pbx.trunks.peers import Health, Peer
from pbx.trunks.registration import Register, Registration
from pbx.trunks.settings import TrunkSettings

REF: Final = "trunk/"
"""Begins the `ref` of every request a trunk sends by itself: `trunk/NAME/register/7`, `trunk/NAME/options/0/12`."""
DEAD: Final = frozenset({408, 503})
"""Answers to OPTIONS that say nobody is there; any other answer, a refusal too, is a sign of life (RFC 3261 §11.2)."""
MAX_HOPS: Final = 64
"""Addresses that DNS gave for this trunk's peers and that are remembered, the newest."""

Mint = Callable[[str], str]
Draw = Callable[[], float]
Effect = SendElsewhere | Note


@dataclass(slots=True)
class Counts:
    """Calls since the start."""

    incoming: int = 0
    outgoing: int = 0
    failed: int = 0
    """Outgoing ones that nobody took."""
    failovers: int = 0
    """Times a call went on to the next peer."""


class Trunk:
    """See the module."""

    def __init__(
        self, settings: TrunkSettings, account: Account | None, *, mint: Mint, draw: Draw, us: NameAddr
    ) -> None:
        """`us`: a Contact to begin with; the shell makes it fit where a request leaves from (`SendElsewhere`)."""
        self.settings = settings
        self.counts = Counts()
        self.in_service = True
        self.peers = [Peer(peer) for peer in settings.peers]
        self.health = Health(self.peers, settings.options_seconds)
        self.registration = Registration(settings.register_seconds) if settings.register else None
        self._credentials = None if account is None else Credentials(account)
        self._mint, self._draw, self._us = mint, draw, us
        self._hops: dict[tuple[str, str, int], None] = {}
        self._fixed = frozenset(hop for peer in self.peers for hop in _literal(peer))
        self._call_id = mint("sip_call")
        self._tag = mint("tag")
        self._cseq = 0
        self._asked: dict[str, Request] = {}
        self._at: int = 0
        """Peer we register with; after a failure the next one."""

    @property
    def name(self) -> str:
        return self.settings.name

    # --- service ----------------------------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Begin to ask peers and to register."""
        self.in_service = True
        self.health.start(now, self._draw)
        if self.registration is not None:
            self.registration.start(now)

    def stop(self) -> list[Effect]:
        """Take no more outgoing calls and end the registration, so that they send calls elsewhere; what comes is taken."""
        self.in_service = False
        self.health.stop()
        if self.registration is None:
            return []
        return [effect for wish in self.registration.stop() for effect in self._register(wish)]

    # --- time -------------------------------------------------------------------------------------------------------

    @property
    def next_due(self) -> float | None:
        """When `expire` wants to be called."""
        dues = [self.health.next_due]
        if self.registration is not None:
            dues += [self.registration.next_due, self.registration.until]
        return earliest(*dues)

    def expire(self, now: float) -> list[Effect]:
        """Do what is due."""
        out: list[Effect] = []
        ask, down = self.health.expire(now)
        out += [self._changed("trunk_peer_down", peer=peer.name, why="timeout") for peer in down]
        out += [self._question(peer, number) for peer, number in ask]
        registration = self.registration
        if registration is not None:
            before, failures = registration.registered, registration.failures
            wishes = registration.expire(now, self._draw)
            self._at += registration.failures > failures
            for wish in wishes:
                out += self._register(wish)
            out += self._registration_changed(before=before)
        return out

    # --- its own requests -------------------------------------------------------------------------------------------

    def _question(self, peer: Peer, number: int) -> SendElsewhere:
        target = peer.uri()
        request = self._build("OPTIONS", target, NameAddr(None, target), self._mint("sip_call"), 1)
        return self._send(f"{REF}{self.name}/options/{self.peers.index(peer)}/{number}", request, peer)

    def _register(self, wish: Register) -> list[Effect]:
        peer = self.peers[self._at % len(self.peers)]
        domain = self.settings.domain or peer.settings.host.strip("[]")
        address = NameAddr(None, Uri("sip", self.settings.user, None, domain))
        self._cseq += 1
        # RFC 3261 §10.2: "The "userinfo" and "@" components of the SIP URI MUST NOT be present" in the Request-URI.
        request = self._build("REGISTER", Uri("sip", None, None, domain), address, self._call_id, self._cseq)
        request.headers.set("From", str(address.with_tag(self._tag)))
        request.headers.set("Expires", str(wish.seconds))
        return [self._send(f"{REF}{self.name}/register/{wish.number}", request, peer)]

    def _build(self, method: str, uri: Uri, to: NameAddr, call_id: str, cseq: int) -> Request:
        us = NameAddr(None, self._us.uri.bare()).with_tag(self._mint("tag"))
        return Request.build(
            method, uri, from_=us, to=to, call_id=call_id, cseq=cseq, contact=self._us, headers=()
        )

    def _send(self, ref: str, request: Request, peer: Peer) -> SendElsewhere:
        self._asked[ref] = request
        return SendElsewhere(ref, request, peer.hop, self.settings.attempt_seconds)

    def outcome(self, event: ResponseArrived | TransactionFailed, now: float) -> list[Effect]:
        """Hear what became of a request of `expire` or `stop`."""
        if isinstance(event, ResponseArrived) and event.response.status < 200:
            return []
        request = self._asked.pop(event.ref, None)
        if request is None:
            return []
        response = event.response if isinstance(event, ResponseArrived) else None
        _, _, kind, *numbers = event.ref.split("/")
        peer = self.peers[int(numbers[0]) if kind == "options" else self._at % len(self.peers)]
        if response is not None:
            peer.overload.heard(response.via, now)
            again = self._answered(request, response)
            if again is not None:
                return [self._send(event.ref, again, peer)]
        if kind == "options":
            return self._lives(peer, int(numbers[1]), response)
        return self._registered(int(numbers[0]), response, now)

    def _answered(self, request: Request, response: Response) -> Request | None:
        """Return a request of ours with the credentials the response wants; it goes to a peer of ours again."""
        if self._credentials is None:
            return None
        if request.method == "REGISTER":
            self._cseq += 1
        cseq = self._cseq if request.method == "REGISTER" else request.cseq.number + 1
        return self._credentials.answer(request, response, cseq=cseq, cnonce=self._mint("cnonce"))

    def _lives(self, peer: Peer, number: int, response: Response | None) -> list[Effect]:
        if response is None or response.status in DEAD:
            if peer.asked is None or peer.asked[0] != number:
                return []  # it was given up before
            peer.asked = None
            why = "transport" if response is None else str(response.status)
            return (
                [self._changed("trunk_peer_down", peer=peer.name, why=why)]
                if self.health.missed(peer)
                else []
            )
        came = self.health.answered(peer, number)
        return [self._changed("trunk_peer_up", peer=peer.name)] if came else []

    def _registered(self, number: int, response: Response | None, now: float) -> list[Effect]:
        registration = self.registration
        if registration is None or not self.in_service:
            return []
        before = registration.registered
        wishes = []
        if response is None:
            registration.unanswered(number, now, self._draw)
        else:
            wishes = registration.answered(number, response, self._us.uri.user or "", now, self._draw)
        if registration.state is registering.State.WAITING:
            self._at += 1  # the next attempt goes to the next peer
        out = [effect for wish in wishes for effect in self._register(wish)]
        return [*out, *self._registration_changed(before=before)]

    def _registration_changed(self, *, before: bool) -> list[Effect]:
        registration = self.registration
        assert registration is not None, "asked only of those that register"
        if registration.registered == before:
            return []
        if registration.registered:
            return [self._changed("trunk_registered")]
        return [self._changed("trunk_unregistered", status=registration.status)]

    def _changed(self, event: str, **fields: object) -> Note:
        return Note(event, None, {"trunk": self.name, **fields})

    # --- calls ------------------------------------------------------------------------------------------------------

    def targets(self, dialled: str, now: float, *, urgent: bool) -> list[Target]:
        """Return where a call to `dialled` goes, best first.

        RFC 7339: a peer that asks for less is left out with the share it names, unless the call is `urgent`; empty when all
        are.
        """
        found = []
        for peer in peering.order(self.peers, now, self._draw):
            if not urgent and peer.overload.holds_back(now, self._draw()):
                continue
            host = self.settings.domain or peer.settings.host.strip("[]")
            port = None if self.settings.domain else peer.settings.port
            found.append(
                Target(peer.name, peer.hop, Uri("sip", dialled, None, host, port, (("user", "phone"),)))
            )
        return found

    def redirected(self, contact: Uri, number: str) -> Target | None:
        """Return where a 302 leads: to one of our peers, or nowhere (RFC 3261 §8.1.3.4)."""
        if not contact.is_sip:
            return None
        for peer in self.peers:
            host, port = peer.settings.host.strip("[]").lower(), peer.settings.port
            usual = default_port(peer.settings.transport or "udp")
            if contact.host.lower() == host and (contact.port or usual) == (port or usual):
                user = contact.user or number
                uri = Uri("sip", user, None, self.settings.domain or contact.host, contact.port)
                return Target(peer.name, peer.hop, uri.with_params(user="phone"))
        return None

    def heard(self, peer: str, response: Response | None, now: float) -> list[Effect]:
        """Hear how a peer took a call: None: it did not answer at all."""
        found = next((one for one in self.peers if one.name == peer), None)
        if found is None:
            return []
        if response is None:
            down = self.health.broke(found, now)
            return [self._changed("trunk_peer_down", peer=peer, why="call")] if down else []
        found.overload.heard(response.via, now)
        if response.status == 503:
            wait = response.headers.get("Retry-After") or ""
            seconds = wait.partition("(")[0].partition(";")[0].strip(" \t")
            if seconds.isascii() and seconds.isdigit():
                # RFC 3261 §21.5.4: "It SHOULD NOT forward any other requests to that server for the duration specified in
                # the Retry-After header field, if present."
                found.quiet_until = now + min(float(seconds[:9]), peering.MAX_RETRY_AFTER)
            return []
        came = self.health.answered(found)
        return [self._changed("trunk_peer_up", peer=peer)] if came else []

    # --- credentials ------------------------------------------------------------------------------------------------

    def found(self, flow: Flow) -> None:
        """Note where a request to a peer of ours really goes, now that its name is resolved."""
        self._hops.pop(key := (flow.transport, *flow.remote), None)
        self._hops[key] = None
        while len(self._hops) > MAX_HOPS:
            del self._hops[next(iter(self._hops))]

    def leads(self, flow: Flow) -> bool:
        """Whether a flow leads to a peer of this trunk, over the transport it was called with."""
        key = (flow.transport, *flow.remote)
        return key in self._fixed or key in self._hops

    def credentials(self, request: Request, response: Response, cseq: int) -> Request | None:
        """Return a request of a call with the credentials a response wants; None when it wants none that we have.

        The request may go to a `Target` of this trunk, or over a flow that `leads` to one, and nowhere else (bars S6).
        """
        if self._credentials is None:
            return None
        return self._credentials.answer(request, response, cseq=cseq, cnonce=self._mint("cnonce"))

    # --- what stands ------------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Return plain data."""
        registration = self.registration
        return {
            "in_service": self.in_service,
            "peers": [peering.snapshot(peer) for peer in self.peers],
            "registration": None if registration is None else registration.snapshot(),
            "nonces": [] if self._credentials is None else self._credentials.snapshot(),
            "hops": [list(hop) for hop in self._hops],
            "call_id": self._call_id,
            "tag": self._tag,
            "cseq": self._cseq,
            "at": self._at,
        }

    def resume(self, data: dict[str, Any]) -> None:
        """Go on where `snapshot` was taken; peers that are no longer in the settings are forgotten."""
        self.in_service = data["in_service"]
        known = {peer["peer"]: peer for peer in data["peers"]}
        for peer in self.peers:
            if peer.name in known:
                peering.resume(peer, known[peer.name])
                peer.asked = None  # its transaction is gone
        if self.registration is not None and data["registration"] is not None:
            self.registration.resume(data["registration"])
        if self._credentials is not None:
            self._credentials.resume(data["nonces"])
        self._hops = {(hop[0], hop[1], hop[2]): None for hop in data["hops"]}
        self._call_id, self._tag = data["call_id"], data["tag"]
        self._cseq, self._at = data["cseq"], data["at"]


def _literal(peer: Peer) -> Iterator[tuple[str, str, int]]:
    """Give (transport, address, port) of a peer that is named by its address."""
    stated = peer.settings
    host, transport = stated.host.strip("[]"), stated.transport or "udp"
    try:
        address = str(ipaddress.ip_address(host))
    except ValueError:
        return
    yield transport, address, stated.port or default_port(transport)
