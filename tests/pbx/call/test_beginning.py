"""Calls for help in the shell: 100 before anything else is done, the call when the loop has nothing else to do."""

import asyncio

import pytest

from pbx.call import beginning as module
from pbx.call import control
from pbx.call.control import Control
from pbx.call.rim import Rim
from pbx.sip.flow import Flow
from pbx.sip.kept_transactions import KeptLayer
from pbx.sip.locate import Locator
from pbx.sip.message import Request, Response
from pbx.sip.outgoing import Outgoing
from pbx.sip.parser import parse
from rtp.control import EvidenceOpened, LegOpened, NoteSip, OpenEvidence, OpenLeg, PortPair
from tests.kit import sip
from tests.kit.world import HOST, World, sdp

PHONE = Flow("udp", (HOST, 5060), ("192.0.2.9", 5062))


class Shell:
    """Control with everything around it played."""

    def __init__(self):
        self.world = World(desks=("d1",))
        self.sent, self.commands, self.notes = [], [], []
        self.layer = KeptLayer()
        rim = Rim(self, self, self, self, self)
        self.control = Control(
            self.world.exchange,
            self.world.answering,
            self.layer,
            rim,
            outgoing=Outgoing(Locator(lambda: 0.5)),
        )

    def send(self, what, flow=None):
        """Transport and media link."""
        if flow is None:
            self.commands.append(what)
        else:
            self.sent.append(parse(what))

    def noted(self, note, *_):
        self.notes.append(note.event)

    def finished(self, _call): ...

    def hear(self, *messages):
        for message in messages:
            self.control.on_message(message, PHONE, message.encode())

    def media(self):
        """Have the media process do what it was told last."""
        told, self.commands = self.commands, []
        for command in told:
            match command:
                case OpenEvidence(call):
                    self.control.on_media(EvidenceOpened(call))
                case OpenLeg(leg, media):
                    pairs = tuple(PortPair(medium, 30_000, 30_001) for medium in media)
                    self.control.on_media(LegOpened(leg, pairs))

    @property
    def calls(self):
        return list(self.world.exchange.calls.values())

    @property
    def said(self):
        return [(one.status, one.cseq.method) for one in self.sent if isinstance(one, Response)]


def invite(name="a", **what):
    what = {"body": sdp(video=None), "extra": "Content-Type: application/sdp\r\n", **what}
    return sip.request(branch=f"z9hG4bK{name}", call_id=f"call-{name}", **what)


def of(method, name="a", **what):
    return sip.request(method, branch=f"z9hG4bK{name}", call_id=f"call-{name}", **what)


@pytest.fixture
async def shell():
    made = Shell()
    yield made
    made.control.close()


async def a_pass():
    """Let the loop go round once."""
    await asyncio.sleep(0)


async def test_a_phone_hears_100_before_anything_is_done(shell):
    shell.hear(invite())
    assert shell.said == [(100, "INVITE")]
    assert (shell.calls, shell.commands, shell.notes) == ([], [], [])
    assert len(shell.control.reception) == 1
    await a_pass()
    assert [call.state for call in shell.calls] == ["arriving"]
    assert shell.control.reception.empty
    kinds = [type(command) for command in shell.commands]
    assert kinds.index(OpenEvidence) < kinds.index(NoteSip)
    noted = [parse(command.data) for command in shell.commands if isinstance(command, NoteSip)]
    assert [type(one).__name__ for one in noted] == ["Request", "Response"], (
        "what was said before is in its evidence"
    )
    shell.media()
    assert shell.said == [(100, "INVITE"), (200, "INVITE")]


async def test_while_much_is_to_be_heard_a_call_begins_now_and_then(shell, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    beginning, waiting = shell.control.beginning, 0.5
    beginning.wire(lambda: waiting, lambda: None)
    shell.hear(*[invite(str(number)) for number in range(4)])
    await a_pass()
    assert len(shell.calls) == 1
    for _ in range(10):
        await a_pass()
    assert len(shell.calls) == 1
    now += module.AT_LEAST
    for _ in range(3):
        await a_pass()
    assert len(shell.calls) == 2
    waiting = module.UNHEARD
    await a_pass()
    assert len(shell.calls) == 4


async def test_where_beginning_a_call_takes_long_twice_as_long_is_heard(shell, monkeypatch):
    now, begin = 1000.0, shell.world.answering.request

    def slow(*what):
        nonlocal now
        now += 0.03
        return begin(*what)

    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    monkeypatch.setattr(shell.world.answering, "request", slow)
    shell.control.beginning.wire(lambda: 0.5, lambda: None)
    shell.hear(*[invite(str(number)) for number in range(3)])
    await a_pass()
    assert (len(shell.calls), now) == (1, 1000.03)
    now = 1000.0 + module.AT_LEAST
    await a_pass()
    assert len(shell.calls) == 1
    now = 1000.0901
    await a_pass()
    assert len(shell.calls) == 2


async def test_a_repetition_is_answered_by_its_transaction(shell):
    shell.hear(invite(), invite())
    assert shell.said == [(100, "INVITE")] * 2
    await a_pass()
    shell.hear(invite())
    assert shell.said == [(100, "INVITE")] * 3
    assert len(shell.calls) == 1


async def test_what_else_came_is_done_before_the_next_call_begins(shell, monkeypatch):
    monkeypatch.setattr(module, "BEGIN_SECONDS", 0.0)
    shell.hear(invite("a"), invite("b"), invite("c"))
    seen = []
    while not shell.control.reception.empty:
        await a_pass()
        seen.append(len(shell.calls))
    assert seen == [1, 2, 3], "one call each time the loop goes round"


async def test_as_many_begin_at_a_time_as_there_is_time_for(shell, monkeypatch):
    monkeypatch.setattr(module, "BEGIN_SECONDS", 3600.0)
    shell.hear(invite("a"), invite("b"), invite("c"))
    await a_pass()
    assert len(shell.calls) == 3


async def test_who_gives_up_before_it_begins_is_answered_and_taken_down(shell):
    shell.hear(invite(), of("CANCEL"))
    assert shell.said == [(100, "INVITE"), (200, "CANCEL"), (487, "INVITE")]
    assert shell.calls == []
    shell.hear(of("ACK", to_tag=shell.sent[-1].to.tag))
    await a_pass()
    shell.media()
    assert shell.notes[0] == "call_arrived"
    assert "call_ended" in shell.notes
    assert len(shell.said) == 3, "nothing more is said to it"


async def test_what_is_no_call_for_help_is_answered_at_once(shell):
    shell.hear(invite(uri="sip:*10@192.0.2.1"), of("OPTIONS", "b"))
    assert shell.said == [(401, "INVITE"), (200, "OPTIONS")]
    assert shell.control.reception.empty


async def test_who_would_not_begin_in_time_behind_a_proxy_is_told_so(shell, monkeypatch):
    monkeypatch.setattr("pbx.call.pace.LEAST", 1)
    turned_away = []
    shell.control.reception.patience = 0.0
    shell.control.beginning.wire(lambda: 0.0, lambda: turned_away.append(1))
    shell.hear(invite("a"), invite("b"), invite("b"))
    assert shell.said == [(100, "INVITE"), (503, "INVITE"), (503, "INVITE")], "a repetition is answered alike"
    one, again = shell.sent[1:]
    assert one.encode() == again.encode()
    assert 1 <= int(one.headers.get("Retry-After")) <= 10
    assert (len(turned_away), len(shell.control.reception)) == (1, 1)
    monkeypatch.setattr("pbx.call.pace.LEAST", 9)
    shell.hear(of("ACK", "b", to_tag=one.to.tag), invite("b"))
    assert (len(shell.control.reception), len(shell.said)) == (1, 3), "nor later: its phone has given up"


async def test_of_requests_that_wait_long_the_lines_alone_are_kept(shell):
    shell.hear(*[invite(str(number)) for number in range(module.FEW + 4)])
    read = [one.event.request.headers._parsed != {} for one in shell.control.reception]
    assert read == [True] * module.FEW + [False] * 4
    shell.hear(of("CANCEL", "0"))
    *_, gone = shell.control.reception
    assert gone.cancelled.request.headers._parsed == gone.event.request.headers._parsed == {}


async def test_the_pace_is_told_by_what_begins(shell, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    monkeypatch.setattr(module, "BEGIN_SECONDS", 0.0)
    shell.hear(*[invite(str(number)) for number in range(30)])
    before = shell.control.reception.most(now)
    while not shell.control.reception.empty:
        now += 1.0
        await a_pass()
    assert shell.control.reception.most(now) < before / 4, "one a second"


async def test_a_fault_of_ours_leaves_nobody_waiting(shell, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(shell.world.answering, "request", broken)
    shell.hear(invite())
    await a_pass()
    assert shell.said == [(100, "INVITE"), (500, "INVITE")]
    assert shell.control.reception.empty


async def test_at_the_end_nobody_is_left_waiting(shell):
    shell.hear(invite("a"), invite("b"), of("CANCEL", "b"))
    shell.control.hang_up_all()
    assert shell.said[-1] == (503, "INVITE")
    assert shell.sent[-1].headers.get("Retry-After") is not None
    assert shell.control.reception.empty
    assert shell.notes[0] == "call_arrived", "who gave up is taken down"
    shell.control.close()
    await a_pass()
    assert len(shell.calls) <= 1


async def test_who_calls_during_the_goodbyes_is_heard_and_told_and_later_nobody_is_taken(shell):
    """A call that is answered and never ended leaves its phone with an exchange that is gone, in front of which nobody sits."""
    shell.control.hang_up_all()
    shell.hear(invite("during"))
    shell.media()
    await a_pass()
    assert shell.said[-1] == (200, "INVITE")
    shell.hear(sip.request("ACK", branch="z9hG4bKack", call_id="call-during", to_tag=shell.sent[-1].to.tag))
    shell.control.turn_away()
    assert [one.method for one in shell.sent if isinstance(one, Request)] == ["BYE"]
    shell.hear(invite("after"))
    await a_pass()
    assert shell.said[-1] == (503, "INVITE")
    assert shell.sent[-1].headers.get("Retry-After") is not None
    assert len(shell.calls) <= 1


async def test_what_a_dead_process_left_waiting_goes_on():
    dead = Shell()
    dead.hear(invite())
    records = dict(dead.layer.changes()), dict(dead.control.reception.changes())
    dead.control.close()
    shell = Shell()
    assert shell.layer.resume(records[0], 0.0, 8.0) == []
    assert shell.control.reception.resume(records[1], shell.layer.asked) == []
    shell.control.beginning.resume()
    await a_pass()
    assert [call.state for call in shell.calls] == ["arriving"]
    noted = [command for command in shell.commands if isinstance(command, NoteSip)]
    assert [parse(one.data).method for one in noted] == ["INVITE"]
    shell.media()
    assert shell.said == [(200, "INVITE")]
    shell.control.close()


async def test_what_comes_in_one_pass_is_one_turn(shell, monkeypatch):
    monkeypatch.setattr(module, "BEGIN_SECONDS", 60.0)
    ended = []
    shell.control.settled = lambda: ended.append(len(shell.sent))
    shell.hear(invite("a"), invite("b"), invite("c"))
    assert (len(shell.sent), ended) == (3, []), "nobody is told before the turn is over"
    await a_pass()
    assert ended[0] == 3, "one end for three messages"
    assert len(shell.calls) == 3
    assert len(ended) == 1 + 3, "and one for each call that began, within the time calls may begin"
    await a_pass()
    assert len(ended) == 4, "nothing came, nothing ends"
    shell.control.act(lambda _now: [])
    turns = len(ended)
    shell.hear(invite("d"))
    shell.control.act(lambda _now: [])
    assert len(ended) == turns + 1, "a verb ends the turn at once, with what came before it"
    shell.hear(invite("e"))
    shell.control.close()
    assert len(ended) == turns + 2, "and so does the end of all"


async def test_a_fault_in_one_message_leaves_the_others_of_its_turn(shell, monkeypatch):
    taken, whole = shell.layer.receive, []

    def receive(message, flow, now):
        if message.call_id == "call-bad":
            raise ZeroDivisionError
        return taken(message, flow, now)

    faults = []
    monkeypatch.setattr(module, "BEGIN_SECONDS", 60.0)
    monkeypatch.setattr(shell.layer, "receive", receive)
    monkeypatch.setattr(control.log, "exception", lambda event, **_: faults.append(event), raising=False)
    shell.control.settled = lambda: whole.append(shell.said)
    shell.hear(invite("a"), invite("bad"), invite("b"))
    await a_pass()
    assert whole[0] == [(100, "INVITE")] * 2
    assert faults == ["event_failed"]
    assert len(shell.calls) == 2


async def test_what_waits_to_be_noted_stays_in_order(shell, monkeypatch):
    """Its call may begin in the very pass that its CANCEL came in."""
    monkeypatch.setattr(module, "BEGIN_SECONDS", 0.0)
    shell.hear(invite("a"), invite("b"))
    await a_pass()
    shell.hear(of("CANCEL", "b"))
    while not shell.control.reception.empty:
        await a_pass()
    await a_pass()
    (call,) = [one.call for one in shell.commands if isinstance(one, NoteSip) and b"CANCEL sip" in one.data]
    mine = [parse(one.data) for one in shell.commands if isinstance(one, NoteSip) and one.call == call]
    said = [one.status if isinstance(one, Response) else one.method for one in mine]
    assert said[:4] == ["INVITE", 100, "CANCEL", 200]
