"""A phone that sends whatever it likes, in any order (bars F28). It may ruin its own calls; nobody else's changes.

Bob talks to a desk, Carol waits. After each step of Eve's their legs, their calls and the desk's leg are what they were, to the
last field. Eve knows Call-IDs, sequence numbers and our tags of some of them; what she can't know are both tags of a dialog.
"""

import itertools
import random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pbx.call import leg_snapshot
from pbx.call.call import State
from pbx.sip.effects import AckArrived, Cancelled, StrayResponse, TransactionFailed
from pbx.sip.errors import SipError
from pbx.sip.flow import Flow
from pbx.sip.message import Response
from pbx.sip.parser import parse
from tests.kit.world import HOST, World, sdp

METHODS = ("INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "MESSAGE", "INFO", "UPDATE", "PRACK", "SUBSCRIBE", "NOTIFY", "REFER",
           "REGISTER", "PUBLISH", "FOO")  # fmt: skip
VICTIMS = ("bob", "carol", "desk")
BODIES = (
    (b"", None),
    (sdp(), "application/sdp"),
    (sdp(audio=None), "application/sdp"),
    (sdp(direction="inactive", address="0.0.0.0"), "application/sdp"),
    (b"v=0\r\nrubbish", "application/sdp"),
    (b"Signal=5\r\nDuration=160\r\n", "application/dtmf-relay"),
    ("你好".encode(), "text/plain"),
    (b"\x00\xff" * 40, "application/octet-stream"),
)
EXTRA = (
    (),
    (("Require", "100rel, replaces"),),
    (("Replaces", "bob@phone;to-tag=x;from-tag=from-bob"),),
    (("Refer-To", f"<sip:110@{HOST}?Replaces=bob%40phone>"),),
    (("Route", f"<sip:{HOST};lr>"), ("Record-Route", "<sip:198.51.100.9;lr>")),
    (("P-Asserted-Identity", "<sip:d1@at110>"), ("Resource-Priority", "esnet.4")),
)


def peaceful():
    """Bob talks to d1, Carol waits."""
    world = World(desks=("d1",))
    world.sign_in("d1")
    for name in ("bob", "carol"):
        world.invite(name)
        world.ack(name)
    assert world.call("bob").state is State.TALKING
    assert world.call("carol").state is State.WAITING
    return world


def others(world):
    """All there is of everybody but Eve."""
    legs = [world.call("bob").leg, world.call("carol").leg, world.exchange.room("d1").leg]
    return (
        [leg_snapshot.snapshot(world.exchange.legs[leg]) for leg in legs],
        [world.call(name).snapshot() for name in ("bob", "carol")],
        world.exchange.room("d1").snapshot(),
        {leg: world.rooms.get(leg) for leg in legs},
        [b.contact for b in world.registrar.lookup(world.accounts["d1"].aor, world.now)],
    )


def dialog(world, victim):
    leg = world.desk_leg("d1") if victim == "desk" else world.exchange.legs[world.call(victim).leg]
    return leg.dialog


class Eve(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.world = peaceful()
        self.before = others(self.world)
        self.count = itertools.count(1)

    def send(self, request):
        try:
            request = self.world._again(request)
        except SipError:
            return
        if request.method == "ACK":
            self.world.run(
                self.world.exchange.sip(AckArrived(request, self.world.flow("eve")), self.world.now)
            )
        elif request.method == "CANCEL":
            transaction = f"cancelled-{next(self.count)}"
            effect = Cancelled(transaction, request, self.world.flow("eve"))
            self.world.run(self.world.exchange.sip(effect, self.world.now))
        else:
            self.world.arrive(request, "eve")

    @rule(
        victim=st.sampled_from(VICTIMS),
        method=st.sampled_from(METHODS),
        tags=st.sampled_from(["none", "ours", "theirs swapped", "guessed", "ours and none", "case"]),
        cseq=st.integers(0, 2**31 - 1),
        body=st.sampled_from(BODIES),
        extra=st.sampled_from(EXTRA),
    )
    def meddle(self, victim, method, tags, cseq, body, extra):
        """A request with somebody else's Call-ID, and all tags but the right pair."""
        found = dialog(self.world, victim)
        call_id, local, remote = found.key
        to_tag, from_tag = {
            "none": (None, "eve"),
            "ours": (local, "eve"),
            "theirs swapped": (remote, local),
            "guessed": (local[:-1], remote),
            "ours and none": (local, ""),
            "case": (local.swapcase() if local.swapcase() != local else local + "x", remote),
        }[tags]
        # A Call-ID alone makes a dialog of its own when it opens one: that is not theirs either.
        target = "110" if method == "INVITE" and to_tag is None else "x"
        request = self.world.request(
            method,
            f"sip:{target}@{HOST}",
            "eve",
            to_tag=to_tag,
            cseq=cseq,
            body=body[0],
            content_type=body[1],
            headers=extra,
        )
        request.headers.set("Call-ID", call_id if to_tag is not None else f"{call_id}-mine")
        request.headers.set("From", f"<sip:eve@at110>{';tag=' + from_tag if from_tag else ''}")
        self.send(request)

    @rule(
        method=st.sampled_from(METHODS),
        cseq=st.integers(0, 100),
        body=st.sampled_from(BODIES),
        extra=st.sampled_from(EXTRA),
    )
    def own_call(self, method, cseq, body, extra):
        """Anything inside a call of her own, in or out of order; the call is opened when there is none."""
        if self.world.call("eve") is None or "eve" not in self.world.transactions:
            number = next(self.count)
            self.world.invites["eve"] = self.world.request(
                "INVITE",
                f"sip:110@{HOST}",
                "eve",
                body=body[0],
                content_type=body[1],
                headers=extra,
                call_id=f"eve{number}",
            )
            self.world.transactions["eve"] = self.world.arrive(self.world.invites["eve"], "eve")
            self.call_id = f"eve{number}"
            return
        answer = self.world.last_answer("eve")
        if answer is None or answer.to.tag is None:
            return
        request = self.world.request(
            method, f"sip:110@{HOST}", "eve", to_tag=answer.to.tag, cseq=cseq, body=body[0], content_type=body[1],
            headers=extra, call_id=self.call_id,
        )  # fmt: skip
        self.send(request)

    @rule(
        victim=st.sampled_from(VICTIMS),
        status=st.sampled_from([100, 180, 200, 302, 401, 408, 481, 487, 500, 603]),
    )
    def stray_response(self, victim, status):
        """An answer to what we never asked her, from elsewhere, with the Call-ID and our tag of somebody's dialog."""
        call_id, local, _ = dialog(self.world, victim).key
        made = self.world.request("INVITE", f"sip:x@{HOST}", "eve").response(status, to_tag="eve")
        made.headers.set("Call-ID", call_id)
        made.headers.set("From", f"<sip:110@{HOST}>;tag={local}")
        made.headers.set("To", "<sip:eve@at110>;tag=eve")
        response = parse(made.encode())
        assert isinstance(response, Response)
        elsewhere = Flow("udp", (HOST, 5060), ("203.0.113.66", 5060))
        effects = self.world.exchange.sip(StrayResponse(response, elsewhere), self.world.now)
        assert effects == []
        self.world.run(effects)

    @rule(
        ref=st.sampled_from(["", "leg-1", "leg/1/2", "call-1/x", "nothing"]),
        why=st.sampled_from(["timeout", "transport"]),
    )
    def failure_of_nothing(self, ref, why):
        if ref.split("/")[0] in self.world.exchange.legs:
            return
        self.world.run(self.world.exchange.sip(TransactionFailed(ref, why), self.world.now))

    @rule(user=st.sampled_from(["bob", "carol", "d1", "alice"]), body=st.sampled_from(BODIES))
    def calls_as_somebody_else(self, user, body):
        """An emergency call whose From is another's: it is a call of its own, and not verified."""
        number = next(self.count)
        request = self.world.request(
            "INVITE", f"sip:110@{HOST}", "eve", body=body[0], content_type=body[1], call_id=f"mask{number}"
        )
        request.headers.set("From", f'"Chief" <sip:{user}@at110>;tag=mask{number}')
        transaction = self.world.arrive(self.world._again(request), "eve")
        for call in list(self.world.exchange.calls.values()):
            leg = self.world.exchange.legs[call.leg]
            if leg.transaction == transaction:
                assert not call.caller.verified
                # It hangs up again, so that the world stays small and names stay Bob's and Carol's.
                bye = self.world.request(
                    "BYE", f"sip:110@{HOST}", "eve", to_tag=leg.local_tag, cseq=9, call_id=f"mask{number}"
                )
                bye.headers.set("From", f"<sip:{user}@at110>;tag=mask{number}")
                self.world.arrive(self.world._again(bye), "eve")

    @rule(seconds=st.floats(0.1, 3.0))
    def time_passes(self, seconds):
        self.world.wait(seconds)
        self.before = others(self.world)

    @invariant()
    def nobody_else_changed(self):
        if hasattr(self, "world"):
            assert others(self.world) == self.before
            self.world.check()


TestByzantinePhone = Eve.TestCase
TestByzantinePhone.settings = settings(
    max_examples=200, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_thousand_guesses_at_a_dialog(victim):
    """The right Call-ID, one right tag, and a guess at the other: 1,000 times; the answer is always 481 or silence."""
    world = peaceful()
    before = others(world)
    call_id, local, remote = dialog(world, victim).key
    dice = random.Random(f"guess {victim}")
    for n in range(1000):
        method = dice.choice(("BYE", "INVITE", "INFO", "MESSAGE", "OPTIONS", "ACK", "UPDATE"))
        guess = "".join(dice.choice("0123456789abcdef-") for _ in range(len(local)))
        to_tag, from_tag = (local, guess) if n % 2 else (guess, remote)
        request = world.request(method, f"sip:110@{HOST}", "eve", to_tag=to_tag, cseq=1000 + n, body=sdp(),
                                content_type="application/sdp")  # fmt: skip
        request.headers.set("Call-ID", call_id)
        request.headers.set("From", f"<sip:{victim}@at110>;tag={from_tag}")
        if method == "ACK":
            world.run(world.exchange.sip(AckArrived(request, world.flow("eve")), world.now))
            continue
        answers = world.answers[world.arrive(world._again(request), "eve")]
        assert [answer.status for answer in answers] == [481]
    assert others(world) == before
