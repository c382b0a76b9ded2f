"""The guard on simulated time: floods, forged floods, overload. Bars L4, L5, L7, L8."""

import random
from collections import deque

import pytest
from msgspec.structs import replace

from pbx.guard.glance import Rank
from pbx.guard.guard import Guard, Limit, Refusal, Rules
from pbx.sip.flow import Flow
from pbx.sip.message import Response
from pbx.sip.parser import parse
from tests.kit import sip
from tests.kit.pressure import at_pressure

HERE = ("192.0.2.1", 5060)
METHODS = ("INVITE", "REGISTER", "OPTIONS", "MESSAGE", "SUBSCRIBE", "BYE", "ACK")


class Peers:
    """What the exchange would know."""

    def __init__(self):
        self.live, self.registered, self.dialogs = set(), set(), set()
        self.ports = 1_000_000  # for so many calls more
        self.many = False

    def flow(self, flow, now):
        return (
            "live" if flow.remote in self.live else "registered" if flow.remote in self.registered else None
        )

    def dialog(self, call_id, now):
        return call_id in self.dialogs

    def free(self, now):
        return self.ports

    def crowded(self, host, now):
        return self.many


def guard(seed=1, **rules):
    peers = Peers()
    made = Guard(Rules(**rules), peers, random.Random(seed).random, epoch=1_000_000.0)
    return made, peers


def udp(host="198.51.100.7", port=5062):
    return Flow("udp", HERE, (host, port))


def tcp(host="198.51.100.7", port=40_000):
    return Flow("tcp", HERE, (host, port), 7)


def message(method="OPTIONS", *, uri="sip:100@192.0.2.1", call_id="x", **what):
    return sip.request(method, uri=uri, call_id=call_id, flow=None, **what).encode()


HELP = message("INVITE", uri="sip:110@192.0.2.1")


def flood(it, flow, data, *, rate, start, seconds):
    """Send at a steady rate; returns the times of those let in."""
    times = [start + n / rate for n in range(int(rate * seconds))]
    return [at for at in times if it.judge(data, flow, at) is None]


# --- one host (bars L7) ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["OPTIONS", "REGISTER", "INVITE", "MESSAGE"])
def test_a_flood_from_one_flow_is_blocked_and_unblocked_in_time(method):
    it, _ = guard()
    data = message(method)
    let_in = flood(it, udp(), data, rate=3000, start=0.0, seconds=10)
    assert len(let_in) <= 61
    assert max(let_in) <= 2.0
    calm = [9.9997 + n / 4 for n in range(1, 80)]  # one every 250 ms afterwards
    heard = [at for at in calm if it.judge(data, udp(), at) is None]
    assert heard[0] - 10.0 <= 10.0
    assert it.counts["flow"] > 29_000


def test_a_flood_from_many_ports_of_one_host_is_blocked():
    it, _ = guard()
    let_in, data = [], message()
    for n in range(3000 * 8):
        at = n / 3000
        if it.judge(data, udp(port=1024 + n % 60_000), at) is None:
            let_in.append(at)
    assert max(let_in) <= 2.0
    assert len(let_in) <= 2000 + 200 * 2
    assert it.remembered <= 2 * 20_000 + 10_000
    assert it.news() == [("198.51.100.7", "requests")]
    assert it.news() == []


def test_behind_the_same_address_registered_phones_and_live_calls_go_on():
    it, peers = guard()
    peers.registered.add(("198.51.100.7", 7000))
    peers.live.add(("198.51.100.7", 7001))
    peers.dialogs.add("our-call")
    lost, data = 0, message()
    for n in range(3000 * 4):
        at = n / 3000
        it.judge(data, udp(port=1024 + n % 5000), at)
        if n % 300 == 0:
            lost += it.judge(message("MESSAGE"), udp(port=7000), at) is not None
            lost += it.judge(message("BYE", to_tag="t"), udp(port=7001), at) is not None
            # A phone whose NAT gave it another port in mid-call is known by its Call-ID.
            lost += it.judge(message("BYE", to_tag="t", call_id="our-call"), udp(port=9), at) is not None
            lost += it.judge(HELP, udp(port=7002), at) is not None if n % 3000 == 0 else 0
    assert lost == 0


def test_a_known_flow_has_a_limit_too():
    it, peers = guard()
    peers.registered.add(("198.51.100.7", 5062))
    let_in = flood(it, udp(), message(), rate=3000, start=0.0, seconds=4)
    assert len(let_in) <= 60 + 20 * 4 + 600 + 200 * 4
    assert it.counts["known"] > 5_000


def test_who_is_limited_gets_no_answer():
    it, _ = guard()
    answers = [it.judge(message(), udp(), 0.0) for _ in range(100)]
    assert answers.count(None) == 60
    assert [a for a in answers if a is not None] == [Refusal()] * 40


def test_upstreams_are_not_limited_by_source():
    it, _ = guard(upstreams=("127.0.0.1", "10.1.0.0/16", "2001:db8::/32"))
    for host in ("127.0.0.1", "10.1.2.3", "2001:db8::9"):
        assert all(it.judge(message(), udp(host), 0.0) is None for _ in range(500)), host
    for host in ("127.0.0.2", "10.2.0.1", "2001:db9::9", "fe80::1%lo"):
        assert any(it.judge(message(), udp(host), 0.0) for _ in range(500)), host


def test_what_is_no_sip_counts_too():
    it, _ = guard()
    assert [it.judge(b"\x00\xff rubbish", udp(), 0.0) for _ in range(100)].count(None) == 60
    assert it.judge(b"", tcp(), 0.0) is None


# --- emergency calls ----------------------------------------------------------------------------------------------------


def test_an_emergency_call_from_a_blocked_flow_is_heard():
    it, _ = guard()
    flood(it, udp(), message(), rate=3000, start=0.0, seconds=5)
    assert it.judge(message(), udp(), 5.0) is not None
    assert it.judge(HELP, udp(), 5.0) is None
    assert it.judge(b"\r\n\r\n" + help_call("two"), udp(), 5.0) is None


def help_call(n):
    return message("INVITE", uri="sip:110@192.0.2.1", call_id=f"help-{n}")


def test_a_flood_of_emergency_calls_is_bounded_per_flow_per_host_and_in_all():
    it, peers = guard()
    peers.ports = 0
    assert len(flood(it, udp(), HELP, rate=3000, start=0.0, seconds=10)) <= 20 + 2 * 10
    assert it.judge(HELP, udp(port=9999), 10.0) is None  # another phone behind the same address
    let_in = [n for n in range(12_000) if it.judge(HELP, udp("192.0.2.200", 1024 + n), n / 3000) is None]
    assert len(let_in) <= 500 + 50 * 4 + 1
    assert it.judge(HELP, udp("192.0.2.201"), 10.0) is None
    assert ("192.0.2.200", "emergency_calls") in it.news()


def test_with_few_ports_free_a_flood_gets_them_over_the_life_of_an_invite():
    it, peers = guard()
    peers.ports = 320
    let_in = sum(it.judge(help_call(n), udp(), n / 3000) is None for n in range(30_000))
    waited = sum(len(it.waiting(n / 10)) for n in range(1, 101))
    assert let_in + waited <= (20 + 2 * 10) + (50 + 10 * 10) + 1, "ten a second"


def test_what_waits_is_bounded_and_what_made_room_is_answered_on_a_stream():
    """The newest of the source that holds most goes; who has less than its share finds room."""
    it, peers = guard(emergency_per_flow=Limit(1, 1), emergency_spare=Limit(10, 1))
    peers.ports = 300
    big = b"x" * 60_000
    waiting = []
    for n in range(600):
        refusal = it.judge(help_call(n) + big, tcp("192.0.2.200"), 0.0)
        waiting += [n] if refusal is not None and refusal.kept else []
    assert 270 <= len(waiting) <= 280, "16 MiB"
    assert it.counts["emergency"] == 600 - len(waiting) - 2
    assert it.farewells(0.0) == []
    refusals = [it.judge(help_call(f"other-{n}") + big, tcp("192.0.2.7", 40_001), 0.1) for n in range(101)]
    assert [one.kept for one in refusals[1:]] == [True] * 100
    farewells = it.farewells(0.1)
    assert len(farewells) == 100
    assert {flow for _, flow in farewells} == {tcp("192.0.2.200")}
    answer = parse(farewells[0][0])
    assert (answer.status, answer.call_id) == (503, f"help-{waiting[-1]}")
    assert 1 <= int(answer.headers.get("Retry-After")) <= 10
    assert it.farewells(0.2) == []


def test_what_is_repeated_costs_nothing_and_reaches_its_transaction():
    it, _ = guard(emergency_per_flow=Limit(0.001, 1), emergency_spare=Limit(0.001, 1))
    sends = (0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5)  # RFC 3261 §17.1.1.2
    assert [it.judge(HELP, udp(), at) for at in sends] == [None] * 7
    assert len(flood(it, udp(port=7), HELP, rate=1000, start=0.0, seconds=30)) == 11
    assert it.counts["emergency_repeated"] == 30_000 - 11
    again = message("INVITE", uri="sip:110@192.0.2.1", call_id="again", branch="z9hG4bKtwo")
    assert it.judge(again, udp(port=7), 1.0) is None
    again = again.replace(b"z9hG4bKtwo", b"z9hG4bKthree")
    assert [it.judge(again, udp(port=7), at).kept for at in (1.0, 1.5, 2.0)] == [True] * 3
    assert it.counts["emergency_waits"] == 1, "another branch is another request: it waits, once"


def test_no_emergency_call_is_lost_while_a_port_is_free():
    """A hundred people behind one address, each phone a call of its own: all are taken, the last of them within seconds."""
    it, _ = guard(emergency_per_host=Limit(1, 10), emergency_spare=Limit(10, 20))
    people = [udp(port=30_000 + n) for n in range(100)]
    taken = {n for n, flow in enumerate(people) if it.judge(help_call(n), flow, 0.0) is None}
    assert len(taken) == 30
    at = 0.0
    while len(taken) < 100 and at < 32.0:
        at += 0.1
        taken |= {flow.remote[1] - 30_000 for _, flow in it.waiting(at)}
    assert len(taken) == 100
    assert at < 8.0
    assert it.counts["emergency"] == 0


def test_one_source_takes_neither_the_places_nor_the_turns_of_others():
    it, peers = guard(emergency_spare=Limit(10, 1))
    peers.ports = 200
    for n in range(3000):
        it.judge(help_call(n), udp("192.0.2.200", 1024 + n), 0.0)
    honest = [it.judge(help_call(f"honest-{n}"), udp("192.0.2.7"), 0.0) for n in range(30)]
    assert honest[:20] == [None] * 20
    assert all(refusal is not None and refusal.kept for refusal in honest[20:])
    turns = [flow.remote[0] for n in range(1, 22) for _, flow in it.waiting(n / 10)]
    assert len(turns) >= 10
    assert abs(2 * turns.count("192.0.2.7") - len(turns)) <= 1, "every second turn is its own"


def test_everybody_behind_one_address_is_taken_while_ports_are_free():
    """L5: 2,500 phones of one carrier's address translation call within a second; there are 4,000 ports."""
    it, peers = guard()
    peers.ports = 4000
    taken = set()
    for n in range(2500):
        if it.judge(help_call(n), udp(port=10_000 + n), n / 2500) is None:
            taken.add(10_000 + n)
            peers.ports -= 1
    for tenth in range(10, 330):
        for _, flow in it.waiting(tenth / 10):
            taken.add(flow.remote[1])
            peers.ports -= 1
    assert len(taken) == 2500
    assert it.counts["emergency"] == it.counts["emergency_late"] == 0


def test_a_flood_of_calls_never_takes_the_last_port_and_nobody_else_is_late():
    """L4, L5: one address sends 500 new emergency calls a second for a minute; each holds its port for 32 s, as one without ACK.
    Twenty other people a second, each at home, are all taken at once."""
    it, peers = guard()
    held, least = deque(), 800
    late, n = 0, 0
    for tick in range(600):
        now = tick / 10
        while held and held[0] <= now:
            held.popleft()
            peers.ports += 1
        peers.ports = 800 - len(held)
        came = [
            it.judge(help_call(f"f{n + k}"), udp("192.0.2.200", 1024 + (n + k) % 60_000), now)
            for k in range(50)
        ]
        n += 50
        held.extend([now + 32.0] * (came.count(None) + len(it.waiting(now))))
        least = min(least, 800 - len(held))
        for home in range(2):
            at_home = udp(f"203.0.{tick % 200}.{1 + home + 2 * (tick // 200)}")
            late += it.judge(help_call(f"h{tick}-{home}"), at_home, now) is not None
    assert late == 0
    assert least >= 0
    assert it.counts["emergency_waits"] > 0


def test_who_gave_up_waiting_is_not_called_in():
    it, peers = guard(emergency_per_flow=Limit(1, 1), emergency_spare=Limit(0.01, 2))
    for n in range(7):
        it.judge(help_call(n), udp(), 0.0)
    peers.ports = 0
    assert it.waiting(31.0) == [], "no port came free in time"
    peers.ports = 1
    assert it.waiting(200.0) == []
    assert it.counts["emergency_late"] == 4
    assert it.remembered == 2, "of the flow and the address"


def test_without_a_free_port_it_is_answered_on_a_stream_and_left_to_retransmission_on_udp():
    it, peers = guard()
    peers.ports = 0
    heard = [it.judge(help_call(n), udp(), 0.0) for n in range(6)]
    assert heard == [None] * 5 + [Refusal()], (
        "a few of each address are answered all the same, with what a full exchange says"
    )
    refusal = it.judge(HELP, tcp(), 0.0)
    assert refusal is not None
    assert refusal.flow == tcp()
    assert parse(refusal.answer).status == 503


@pytest.mark.parametrize("rules", [{}, {"upstreams": ("198.51.100.7",)}, {"trunks": ("198.51.100.7",)}])
def test_whoever_calls_for_help_and_would_not_begin_in_time_is_told_so_at_once(rules):
    it, peers = guard(**rules)
    assert it.judge(help_call(0), udp(), 0.0) is None
    peers.dialogs.add("help-0")
    peers.many = True
    refusals = [it.judge(help_call(n), udp(), 0.0) for n in range(1, 40)]
    answers = [parse(refusal.answer) for refusal in refusals]
    assert {answer.status for answer in answers} == {503}
    assert {int(answer.headers.get("Retry-After")) for answer in answers} == set(range(1, 11)), (
        "spread at random"
    )
    assert it.counts["emergency_crowded"] == 39
    assert it.judge(help_call(0), udp(), 0.5) is None, "it was heard before, and its transaction answers"
    again = message("INVITE", uri="sip:110@192.0.2.1", call_id="help-41", to_tag="ours")
    assert it.judge(again, udp(), 0.6) is None, "an INVITE within a dialog, of a call that we placed for one"
    peers.many = False
    assert it.judge(help_call(40), udp(), 1.0) is None


def test_who_heard_503_hears_it_again_for_as_long_as_phones_repeat():
    it, peers = guard(upstreams=("198.51.100.7",))
    peers.many = True
    first = it.judge(help_call(1), udp(), 0.0)
    peers.many = False
    for at in (0.5, 1.5, 3.5, 7.5, 15.5, 31.5):
        assert it.judge(help_call(1), udp(), at) == first, "there is room by now, but nobody waits for it"
    assert (it.counts["emergency_crowded"], it.counts["emergency_repeated"]) == (1, 6)
    assert it.judge(help_call(2), udp(), 16.0) is None
    again = message("INVITE", uri="sip:110@192.0.2.1", call_id="help-1", branch="z9hG4bKagain", cseq=2)
    assert it.judge(again, udp(), 16.0) is None, "who tries again is a new call"
    assert it.judge(help_call(1), udp(), 64.1) is None
    assert it.remembered < 5


def test_the_ack_of_a_503_goes_no_further_and_harms_no_connection():
    it, peers = guard(upstreams=("198.51.100.7",))
    peers.many = True
    answer = parse(it.judge(help_call(1), tcp(), 0.0).answer)
    ack = message("ACK", uri="sip:110@192.0.2.1", call_id="help-1", to_tag=answer.to.tag)
    assert it.judge(ack, tcp(), 0.1) == Refusal(kept=True)
    assert it.judge(ack.replace(b"To:", b"t :"), tcp(), 0.1) == Refusal(kept=True)
    theirs = message("ACK", uri="sip:110@192.0.2.1", call_id="help-1", from_tag=answer.to.tag, to_tag="ours")
    assert it.judge(theirs, tcp(), 0.1) is None, "of a call that stands, whatever tag the peer chose"
    strict, _ = guard()
    heard = [strict.judge(ack, udp(), 0.0) for _ in range(200)]
    assert heard[0] == Refusal(kept=True)
    assert heard[-1] == Refusal(), "a flood of them is a flood"


def test_honest_emergency_calls_pass_a_forged_flood_of_all_methods():
    """L8: random addresses of a /16, seven methods, 3,000/s; memory stays bounded, every honest INVITE is heard at once."""
    it, _ = guard(flows=5000, hosts=2000)
    dice = random.Random(7)
    lost = 0
    floods = [message(method, to_tag="t" if method in ("BYE", "ACK") else None) for method in METHODS]
    for n in range(24_000):
        at = n / 3000
        source = udp(f"172.16.{dice.randrange(256)}.{dice.randrange(256)}", dice.randrange(1024, 65536))
        it.judge(dice.choice(floods), source, at)
        if n % 300 == 0:
            lost += it.judge(help_call(n), udp(f"203.0.113.{n % 250}"), at) is not None
    assert lost == 0
    assert it.remembered <= 3 * 5000 + 2 * 2000


# --- overload (bars L4, L5) -------------------------------------------------------------------------------------------


def shedding(pressure, seed=1):
    it, peers = guard(seed, upstreams=("0.0.0.0/0",))
    it.load = at_pressure(pressure)
    return it, peers


def test_at_the_top_only_calls_and_emergencies_pass():
    it, peers = shedding(3.0)
    peers.live.add(("198.51.100.7", 1))
    peers.registered.add(("198.51.100.7", 2))
    peers.dialogs.add("our-call")
    passes = {
        "emergency": (HELP, udp()),
        "in a call": (message("BYE", to_tag="t", call_id="our-call"), udp()),
        "an answer to us": (b"SIP/2.0 200 OK\r\n\r\n", udp(port=2)),
    }
    shed = {
        "owner": (message("REGISTER"), udp(port=1)),
        "register": (message("REGISTER"), udp(port=2)),
        "other": (message("OPTIONS"), udp(port=2)),
        "stranger": (message("INVITE", uri="sip:d1@192.0.2.1"), udp()),
        "wrong call": (message("BYE", to_tag="t"), udp()),
        "stray answer": (b"SIP/2.0 200 OK\r\n\r\n", udp()),
    }
    for what, (data, flow) in passes.items():
        assert it.judge(data, flow, 0.0) is None, what
    for what, (data, flow) in shed.items():
        assert it.judge(data, flow, 0.0) is not None, what
    assert it.counts == {"shed_owner": 1, "shed_register": 1, "shed_other": 4}


def test_lower_pressure_sheds_fewer_ranks():
    for pressure, shed in (
        (1.0, {"other"}),
        (2.0, {"other", "register"}),
        (3.0, {"other", "register", "owner"}),
    ):
        it, peers = shedding(pressure)
        peers.live.add(("198.51.100.7", 1))
        for data, port in ((message("REGISTER"), 1), (message("REGISTER"), 2), (message(), 2)):
            it.judge(data, udp(port=port), 0.0)
        assert {name.removeprefix("shed_") for name in it.counts} == shed


def test_a_dispatcher_who_comes_on_duty_is_shed_last_where_the_phone_is_registered():
    sign_in = message("INVITE", uri="sip:*10@192.0.2.1")
    for pressure, passes in ((1.0, True), (2.0, True), (3.0, False)):
        it, peers = shedding(pressure)
        peers.registered.add(("198.51.100.7", 2))
        assert (it.judge(sign_in, udp(port=2), 0.0) is None) is passes
        assert it.judge(sign_in, udp(port=9), 0.0) is not None, "a stranger may be anybody"


def test_a_shed_request_gets_a_503_with_a_random_wait():
    it, _ = shedding(1.0)
    waits = set()
    for _ in range(400):
        refusal = it.judge(message(), udp(), 0.0)
        answer = parse(refusal.answer)
        assert isinstance(answer, Response)
        assert (answer.status, refusal.flow) == (503, udp())
        waits.add(int(answer.headers.get("Retry-After")))
    assert waits == set(range(1, 11))


def test_the_answer_goes_where_answers_go():
    it, _ = shedding(1.0)
    data = message().replace(b";rport", b"").replace(b"192.0.2.9:5062", b"phone.example:5999")
    assert it.judge(data, udp(), 0.0).flow == udp(port=5999)  # RFC 3261 §18.2.2: to the port of sent-by
    data = data.replace(b"phone.example:5999", b"phone.example:22;maddr=10.0.0.1")
    assert it.judge(data, udp(), 0.0).flow == udp()


def test_the_reported_share_is_what_is_shed():
    it, _ = shedding(0.37)
    asked = sip.request("OPTIONS", uri="sip:100@192.0.2.1", flow=None)
    asked.set_via(replace(asked.via, params=(*asked.via.params, ("oc", None), ("oc-algo", '"loss"'))))
    shed = sum(it.judge(asked.encode(), udp(), 0.0) is not None for _ in range(5000))
    it.report(asked, 12.5)
    share = int(asked.via.param("oc"))
    assert share == 37
    assert abs(100 * shed / 5000 - share) <= 10  # bars L4
    assert asked.via.param("oc-seq") == "1000012.500"
    again = sip.request("OPTIONS", flow=None)
    it.report(again, 13.0)
    assert not again.via.has_param("oc")


class Loop:
    """A server that does one thing at a time, with a queue in front of it: the loop and its socket. Costs are in seconds;
    those of refusing and dropping are what the guard and the socket were measured to take, and ample."""

    SERVE, REFUSE, DROP = 1 / 300, 0.00004, 0.00002

    def __init__(self, it, queue=6000):
        self.it, self.size, self.queue = it, queue, deque()
        self.free_at = self.probed_at = self.worked = 0.0
        self.served, self.overflow, self.refused = {"help": 0, "other": 0}, 0, 0
        self.waits = []  # of emergency calls

    def arrive(self, kind, data, now):
        self.run(now)
        if len(self.queue) < self.size:
            self.queue.append((now, kind, data))
        else:
            self.overflow += 1

    def run(self, until):
        while self.free_at < until:
            if self.free_at >= self.probed_at + 0.1:
                passed, self.probed_at = self.free_at - self.probed_at, self.free_at
                self.it.load.probe(passed - 0.1, len(self.queue) / self.size, self.worked / passed)
                self.worked = 0.0
            if self.queue and self.queue[0][0] <= self.free_at:
                self._serve(*self.queue.popleft())
            else:
                self.free_at = min(until, self.probed_at + 0.1, self.queue[0][0] if self.queue else until)

    def _serve(self, came, kind, data):
        refusal = self.it.judge(data, udp(), self.free_at)
        if refusal is None:
            self.served[kind] += 1
            if kind == "help":
                self.waits.append(self.free_at - came)
            cost = self.SERVE
        else:
            self.refused += 1
            cost = self.REFUSE if refusal.answer else self.DROP
        self.free_at += cost
        self.worked += cost


@pytest.mark.parametrize(("times", "goodput"), [(2, 0.9), (5, 0.9), (10, 0.7)])
def test_goodput_stays_up_under_overload_and_emergencies_are_served(times, goodput):
    """L4, L5: 2, 5 and 10 times of what can be served is offered, a part of it emergency calls."""
    it, _ = guard(upstreams=("0.0.0.0/0",))
    loop = Loop(it)
    capacity, seconds = 1 / Loop.SERVE, 20.0
    dice = random.Random(3)
    other, calls = message("INVITE", uri="sip:d1@192.0.2.1"), 0
    shares = []
    for n in range(int(capacity * times * seconds)):
        at = n / (capacity * times)
        if dice.random() < 0.1 / times:
            calls += 1
            loop.arrive("help", HELP, at)
        else:
            loop.arrive("other", other, at)
        if at > 3.0 and n % 100 == 0:
            shares.append(it.load.share(Rank.OTHER))
    served = sum(loop.served.values())
    assert served >= goodput * capacity * seconds
    assert loop.overflow == 0
    assert loop.served["help"] >= 0.97 * calls  # the others are in the queue still
    assert loop.refused == it.counts["shed_other"]
    # The share we report to upstreams is the share we shed, ten points more or less.
    assert abs(sum(shares) / len(shares) - loop.refused / (loop.refused + loop.served["other"])) <= 0.1
    loop.run(seconds + 5.0)
    assert it.load.pressure == 0.0, "back to normal 5 s after the load ends"
    assert loop.served["help"] == calls
    assert max(loop.waits) <= 4.0  # bars L8: honest INVITEs get their 100 in 4 s


def test_another_exchange_is_neither_limited_nor_shed():
    """Its calls are many people's calls for help; whoever is near its address is not it."""
    made, _ = guard(trunks=("198.51.100.0/28",), upstreams=())
    made.load = at_pressure(3.0)
    near = [Flow("udp", HERE, ("198.51.100.5", 5060)), Flow("udp", HERE, ("198.51.100.99", 5060))]
    data = sip.request("INVITE", uri="sip:0535110@at110").encode()
    inside, outside = ([made.judge(data, flow, n / 1000) for n in range(3000)] for flow in near)
    assert inside == [None] * 3000
    assert any(judged is not None for judged in outside)
