"""A stand, a caller's phone and a desk's phone on one virtual network: where the flows of the RFCs are played."""

from pbx.call import seats
from pbx.call.hangup import hang_up
from pbx.call.leg import State as LegState
from pbx.sip.digest import authorize
from tests.kit.network import Network
from tests.kit.stand import Phone, Stand, wait
from tests.kit.world import REALM

CROSSED = 0.5  # seconds after which what crossed has arrived and been answered


class Place:
    """See the module; `desk`: its phone is registered and being called."""

    def __init__(self, transport, *, desk=False, auto=("ack", "ok")):
        self.network = Network(1)
        self.stand = Stand(transport=transport)
        self.stand.now = self.network.clock.now
        self.network.attach(self.stand.address, self.stand)
        self.caller = Phone(self.network, "bob", transport=transport, auto=auto)
        self.desk = Phone(self.network, "d1", port=5080, transport=transport, auto=("ok", "ack"))
        if desk:
            assert self.desk.register().status == 200
            self.sign_in()
            self.desk.ladder.clear()

    def sign_in(self):
        """Have the exchange call the desk's phone, which is registered."""
        bindings = self.stand.registrar.lookup(self.stand.accounts["d1"].aor, self.stand.now)
        self.do(lambda: seats.sign_in(self.stand.exchange, "d1", bindings, self.stand.now))

    def do(self, verb, seconds=CROSSED):
        """Have the exchange do something, and let time pass."""
        self.stand.now = self.network.clock.now
        self.stand.run(verb())
        self.network.send(self.stand.address, self.stand.drain())
        if seconds:
            self.run(seconds)

    def run(self, seconds=CROSSED):
        wait(self.network, seconds)
        self.stand.now = self.network.clock.now

    def call_up(self):
        self.caller.invite()
        self.run()
        assert self.leg.state is LegState.CONFIRMED
        self.caller.ladder.clear()

    def desk_up(self):
        self.desk.reply(200)
        self.run()
        assert self.desk_leg.state is LegState.CONFIRMED
        self.desk.ladder.clear()

    def end_call(self, seconds=CROSSED):
        """Hang up the caller, as a dispatcher does."""
        leg = self.leg
        self.do(lambda: self.stand.exchange.run(hang_up(leg), self.stand.now, leg.id), seconds)

    @property
    def leg(self):
        return next(
            leg
            for leg in self.stand.exchange.legs.values()
            if self.stand.exchange.owners[leg.id].kind == "call"
        )

    @property
    def desk_leg(self):
        return self.stand.desk_leg("d1")

    def all_gone(self):
        """Everything of the dialog is over within the longest timers (RFC 5407: Morgue)."""
        self.run(100.0)
        assert self.stand.quiet, (self.stand.exchange.legs, self.stand.exchange.calls)
        assert len(self.caller.layer) == 0


def dial_in(place, *, body):
    uri = f"sip:*10@{REALM}"
    place.desk.invite(uri=uri, body=body)
    place.run(0.2)
    challenge = next(
        c for c in place.desk.last_response("INVITE").headers.all("WWW-Authenticate") if "SHA-256" in c
    )
    token = authorize(challenge, user="d1", password="pw-d1", method="INVITE", uri=uri, cnonce="c", nc=1)
    place.desk.invited = place.desk._build(
        "INVITE", uri, headers=(("Authorization", token),), body=body, cseq=2
    )
    place.desk.ask(place.desk.invited, ref="invite")
    place.run(0.2)
    assert place.desk.last_response("INVITE").status == 200
