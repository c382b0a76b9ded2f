"""An exchange with trunks, and the peers behind them played by the test."""

import msgspec

from pbx.call import trunk_calls
from pbx.call.effects import SendAck, SendCancel, SendElsewhere, SendRequest
from pbx.call.owner import Owner
from pbx.call.trunk_calls import Outside
from pbx.sip.digest import challenges
from pbx.sip.effects import ResponseArrived, TransactionFailed
from pbx.sip.flow import Flow
from pbx.sip.parser import parse
from pbx.sip.uri import Uri
from pbx.trunks.account import Account
from pbx.trunks.settings import TrunkSettings
from pbx.trunks.trunks import Trunks
from tests.kit.world import HOST, World, sdp

REALM = "carrier.example"
SECRET = "s3cret-of-the-trunk"
PEERS = ("198.51.100.1", "198.51.100.2")


def trunk(name="t1", **more):
    """Return settings: two peers, the first preferred, and an account."""
    table = {
        "name": name,
        "peers": [{"host": host, "priority": n} for n, host in enumerate(PEERS, 1)],
        "sources": ["198.51.100.0/24"],
        "user": "at110",
        "realm": REALM,
        "password_env": "SECRET",
        "options_seconds": 0.0,
        **more,
    }
    return msgspec.convert(table, TrunkSettings)


def account():
    return Account("at110", REALM, SECRET)


class TrunkWorld(World):
    """A `World` whose exchange has trunks. `draw` is what every random number is."""

    def __init__(self, *settings, draw=0.5, names=lambda flow: (), **more):
        super().__init__(**more)
        self.draw = draw
        settings = settings or (trunk(),)
        accounts = {one.name: account() for one in settings if one.user is not None}
        self.exchange.trunks = Trunks(
            settings, accounts, mint=self.exchange.mint, draw=lambda: self.draw, names=names
        )

    @property
    def trunk(self):
        return next(iter(self.exchange.trunks))

    def start(self):
        self.exchange.trunks.start(self.now)
        self.run(self.exchange.run((), self.now))

    # --- calls ---

    def place(self, number="13800138000", **more):
        """Place a call; returns its leg."""
        leg, items = trunk_calls.place(self.exchange, Outside(number, **more), Owner("trial", "t1"), self.now)
        self.run(self.exchange.run(items, self.now, leg))
        return leg

    def out(self, method=None):
        """Return what was sent to servers and in dialogs, oldest first: (ref, request, where)."""
        found = []
        for effect in self.sent:
            match effect:
                case SendElsewhere(ref, request, target):
                    found.append((ref, request, target))
                case SendRequest(ref, request, flow):
                    found.append((ref, request, flow))
        return [one for one in found if method is None or one[1].method == method]

    def acks(self):
        return [effect.request for effect in self.sent if isinstance(effect, SendAck)]

    def cancels(self):
        return [effect.ref for effect in self.sent if isinstance(effect, SendCancel)]

    def peer_flow(self, host=PEERS[0], transport="udp"):
        return Flow(transport, (HOST, 5060), (host, 5060))

    def respond(self, sent, status, *, host=None, tag="far", headers=(), body=b"", via="", flow=None):
        """Have a peer answer one of `out`."""
        ref, request, where = sent
        if flow is None:
            flow = where if isinstance(where, Flow) else self.peer_flow(host or where.host)
        ours = () if 300 <= status < 400 else (("Contact", f"<{Uri('sip', 'far', None, flow.remote[0])}>"),)
        answer = request.response(
            status,
            to_tag=tag if status > 100 else None,
            headers=(*ours, ("Allow", "INFO, UPDATE"), *headers),
            body=body,
            content_type="application/sdp" if body else None,
        )
        answer.headers.prepend("Via", f"SIP/2.0/UDP {HOST}:5060;branch=z9hG4bKout{via}")
        self.run(self.exchange.sip(ResponseArrived(ref, parse(answer.encode()), flow), self.now))

    def fails(self, sent, why="timeout"):
        self.run(self.exchange.sip(TransactionFailed(sent[0], why), self.now))

    def challenge(self, sent, *, status=407, realm=REALM, nonce="n1", stale=False, **more):
        name = "Proxy-Authenticate" if status == 407 else "WWW-Authenticate"
        values = challenges(realm, nonce, stale=stale)
        self.respond(sent, status, headers=tuple((name, value) for value in values), **more)

    def accept(self, sent, **more):
        self.respond(sent, 200, body=sdp(video=None, address=PEERS[0]), **more)

    # --- calls that come ---

    def comes(self, name="19900001111", *, number="110", host=PEERS[0], headers=(), body=None, flow=None):
        """An INVITE from the trunk's address; returns its transaction."""
        request = self.request(
            "INVITE",
            f"sip:{number}@{HOST}",
            name,
            body=sdp(video=None) if body is None else body,
            content_type="application/sdp" if body != b"" else None,
            headers=headers,
        )
        self.invites[name] = request
        self.flows = {**getattr(self, "flows", {}), name: flow or self.peer_flow(host)}
        self.transactions[name] = self.arrive(request, name)
        return self.transactions[name]

    def flow(self, name):
        return getattr(self, "flows", {}).get(name) or super().flow(name)

    def arrival(self):
        """Return the fields of the newest call's arrival."""
        return self.noted("call_arrived")[-1].fields
