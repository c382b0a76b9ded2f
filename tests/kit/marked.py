"""A world in which all that a caller is known by carries a mark of its own, and nothing that is sent to another may carry it."""

import re
from collections import Counter

import msgspec

from pbx.call.effects import AnswerOnce, Respond, SendAck, SendRequest
from pbx.sip.effects import RequestArrived
from pbx.sip.flow import Flow
from tests.kit.world import HOST, World, sdp

MARK = re.compile(rb"m[a-z](\d{5})z|198\.(18|19)\.(\d{1,3})\.(\d{1,3})")
"""`mc00012z` and the like, or an address of the benchmark range (RFC 2544) that says the number."""


def address(number):
    """The media and signalling address of a caller."""
    return f"198.{18 + number // 65_536}.{number // 256 % 256}.{number % 256}"


def marks(data):
    """Numbers of the callers whose marks are in some bytes."""
    found = set()
    for text, high, middle, low in MARK.findall(data):
        found.add(int(text) if text else (int(high) - 18) * 65_536 + int(middle) * 256 + int(low))
    return found


class Marked(World):
    """Every call is a caller of its own: media edge, SDP, Contact, display name, Call-ID and source address are marked."""

    def __init__(self, **how):
        self.numbers = {}  # name of a call → its mark
        self.to = {}  # transaction → name
        self.scanned = Counter()
        super().__init__(**how)

    # --- what callers send ---

    def invite(self, name, **how):
        number = self.numbers.setdefault(name, len(self.numbers) + 1)
        body = how.pop("body", None)
        if body is None:
            body = sdp(address=address(number)).replace(b"o=- ", b"o=mo%05dz " % number)
        super().invite(name, body=body, **how)

    def flow(self, name):
        if name not in self.numbers:
            return super().flow(name)
        return Flow("udp", (HOST, 5060), (address(self.numbers[name]), 5000))

    def request(self, method, uri, name, **how):
        request = super().request(method, uri, name, **how)
        number = self.numbers.get(name)
        if number is None:
            return request
        sender = request.headers.get("From")
        request.headers.set("From", f'"md{number:05d}z" {sender}')
        request.headers.set("Call-ID", f"mi{number:05d}z")
        request.headers.set("Contact", f"<sip:mc{number:05d}z@{address(number)}:5000>")
        return self._again(request)

    def arrive(self, request, name):
        transaction = f"t{next(self._ids)}"
        self.to[transaction] = name
        event = RequestArrived(transaction, request, self.flow(name))
        self.run(self.answering.request(event, self.now, 1.8e9))
        return transaction

    # --- what is sent to them ---

    def run(self, effects):
        before = len(self.sent)
        super().run(effects)
        for effect in self.sent[before:]:
            self.scan(effect)

    def scan(self, effect):
        """Raise AssertionError when a message carries marks of others than its receiver."""
        match effect:
            case Respond(transaction, response) | AnswerOnce(transaction, response):
                name, data = self.to.get(transaction), response.encode()
                number = self.numbers.get(name)
            case SendRequest(request=message, flow=flow) | SendAck(message, flow):
                data, number = message.encode(), next(iter(marks(flow.remote[0].encode())), None)
            case _:
                return
        if number is not None:
            self.scanned["message to a caller"] += 1
            assert marks(data) <= {number}, (number, data)
        else:
            # A desk is told who calls, and never where the caller's media is.
            self.scanned["message to others"] += 1
            _, _, body = data.partition(b"\r\n\r\n")
            if body.startswith(b"v=0"):
                assert not marks(body), data

    def _media(self, command):
        leg = getattr(command, "leg", None)
        owner = self.exchange.owners.get(leg)
        if owner is not None:
            found = self.exchange.legs.get(leg)
            own = marks(found.flow.remote[0].encode()) if found is not None else set()
            self.scanned["command"] += 1
            data = msgspec.json.encode(command)
            assert marks(data) <= own, (own, data)
        super()._media(command)
