"""A notifier with requests made of bytes, and a random life of one."""

import random

import msgspec

from pbx.call.effects import SendRequest
from pbx.notifier import Notifier, Watch
from pbx.packages.dialog import Lamp
from pbx.packages.table import Wish
from pbx.sip.effects import RequestArrived, ResponseArrived, TransactionFailed
from pbx.sip.parser import parse
from pbx.sip.uri import parse_name_addr
from tests.kit import sip

TOPIC = ("dialog", "8001")
CONTACT = parse_name_addr("<sip:8001@192.0.2.1:5060>")


def lamp(*dialogs):
    return Lamp("sip:8001@at110", dialogs)


def watch(document=None, *, user="u", seconds=600, topic=TOPIC):
    return Watch(user, topic, Wish("dialog", "dialog", seconds), document or lamp(), CONTACT)


def arrived(call_id, *, cseq=1, to_tag=None):
    request = sip.request("SUBSCRIBE", uri="sip:8001@192.0.2.1", call_id=call_id, cseq=cseq, to_tag=to_tag)
    return RequestArrived(f"t-{call_id}-{cseq}", request, sip.UDP)


def notifies(effects):
    return [effect for effect in effects if isinstance(effect, SendRequest)]


def answer(sent, status=200, **how):
    response = sent.request.response(status, **how)
    response.headers.prepend("Via", "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKn")
    return ResponseArrived(sent.ref, parse(response.encode()), sent.flow)


class NotifierTwin:
    """A notifier and a random life; `tests/test_snapshots.py` compares two of them."""

    def __init__(self, seed):
        self.notifier, self.chance, self.now, self.said = Notifier(), random.Random(seed), 0.0, []
        self.count, self.open, self.tags = 0, [], {}

    def step(self):
        self.now += self.chance.choice([0.0, 0.01, 0.3, 40.0])
        self._say(self.notifier.expire(self.now))
        self.said.append(self.notifier.next_due)
        topic = ("dialog", self.chance.choice(["8001", "8002"]))
        match self.chance.choice(
            ["new", "change", "change", "answer", "answer", "fail", "refresh", "gone", "forbid"]
        ):
            case "new":
                self.count += 1
                call_id, user = f"c{self.count}", self.chance.choice("uv")
                self.tags[call_id] = (user, topic)
                seconds = self.chance.choice([0, 60, 600])
                self._say(
                    self.notifier.subscribe(
                        arrived(call_id), watch(user=user, seconds=seconds, topic=topic), self.now, tag="t"
                    )
                )
            case "change":
                dialogs = self.chance.sample(["a", "b", "c"], self.chance.randint(0, 2))
                self._say(self.notifier.change(topic, lamp(*dialogs), self.now))
            case "answer" if self.open:
                sent = self.open.pop(self.chance.randrange(len(self.open)))
                headers = self.chance.choice([(), (("Retry-After", "3"),)])
                self._say(
                    self.notifier.outcome(
                        answer(sent, self.chance.choice([200, 200, 500]), headers=headers), self.now
                    )
                )
            case "fail" if self.open:
                self._say(self.notifier.outcome(TransactionFailed(self.open.pop().ref, "timeout"), self.now))
            case "refresh" if self.tags:
                call_id = self.chance.choice(list(self.tags))
                user, topic = self.tags[call_id]
                self.count += 1
                again = arrived(call_id, cseq=self.count + 10, to_tag="t")
                wish = watch(user=user, seconds=self.chance.choice([0, 600]), topic=topic)
                self.said.append(self.notifier.holds(again.request))
                if self.said[-1]:
                    self._say(self.notifier.refresh(again, wish, self.now))
            case "gone" if self.chance.random() < 0.1:
                self._say(self.notifier.change(topic, None, self.now))
            case "forbid" if self.chance.random() < 0.1:
                self._say(self.notifier.forbid(self.chance.choice("uv"), self.now))

    def _say(self, effects):
        self.open += notifies(effects)
        for effect in effects:
            told = effect.request if isinstance(effect, SendRequest) else effect.response
            self.said.append(told.encode())

    def restart(self):
        packed = msgspec.msgpack.encode(self.notifier.snapshot())
        self.notifier = Notifier.restore(msgspec.msgpack.decode(packed))
