"""The exchange with its real transaction layer on the virtual network, and a user agent that does as a test says.

`Stand` is a `World` that has an address: what it wants sent becomes packets. `Phone` keeps a ladder of everything it sends
and hears, so that a test can compare it with the figure of an RFC. Both can be told to lose what they would send.
"""

from collections import deque

from pbx.call.effects import (
    AnswerOnce,
    CallFinished,
    Note,
    Respond,
    SendAck,
    SendCancel,
    SendRequest,
    ToMedia,
)
from pbx.notifier import REF
from pbx.sip import effects as sip
from pbx.sip.dialog import Dialog, DialogState
from pbx.sip.digest import authorize
from pbx.sip.flow import Flow, stamp
from pbx.sip.message import Request
from pbx.sip.parser import parse
from pbx.sip.transactions import TransactionLayer
from pbx.sip.uri import parse_name_addr, parse_uri
from tests.kit.world import HOST, REALM, World, sdp

SERVER = (HOST, 5060)


def wait(network, seconds):
    """Let exactly so much time pass, whether or not anything happens in it."""
    end = network.clock.now + seconds
    network.run(seconds)
    network.clock.to(end)


def title(message):
    """Name a message as a ladder does: `INVITE`, `200 INVITE`."""
    if isinstance(message, Request):
        return message.method
    return f"{message.status} {message.cseq.method}"


class Node:
    """What stand and phone share: a transaction layer, what it wants sent, and what is lost on the way."""

    transport = "udp"

    def _start(self, address):
        self.address = address
        self.layer = TransactionLayer()
        self.packets = []
        self.lose = []  # titles; each loses one message of that name
        self.branches = 0

    def flow_to(self, remote):
        return Flow(self.transport, self.address, remote, 0 if self.transport == "udp" else 1)

    def branch(self):
        self.branches += 1
        return f"z9hG4bK{self.address[0]}-{self.address[1]}-{self.branches}"

    def via(self):
        return {"branch": self.branch(), "via_host": self.address[0], "via_port": self.address[1]}

    def put(self, data, flow):
        name = title(parse(data))
        if name in self.lose:
            self.lose.remove(name)
        else:
            self.packets.append((data, flow.remote))
        return name

    def drain(self):
        out, self.packets = self.packets, []
        return out

    def taken(self, data, source):
        message = parse(data)
        if isinstance(message, Request):
            stamp(message, source)
        return message


class Stand(World, Node):
    """See the module."""

    def __init__(self, *, transport="udp", checked=True, **how):
        super().__init__(**how)
        self.transport, self.checked = transport, checked
        self._start(SERVER)

    def check(self):
        if self.checked:
            super().check()

    @property
    def next_due(self):
        dues = (self.layer.next_due, self.exchange.next_due, self.answering.next_due)
        return min((due for due in dues if due is not None), default=None)

    def receive(self, data, source, now):
        self.now = now
        message = self.taken(data, source)
        self.run(self.layer.receive(message, self.flow_to(source), now))
        return self.drain()

    def expire(self, now):
        self.now = now
        self.run(self.layer.expire(now))
        self.run(self.exchange.expire(now))
        self.run(self.answering.expire(now))
        return self.drain()

    def run(self, effects):
        todo = deque(effects)
        while todo:
            todo.extendleft(reversed(self._carry(todo.popleft())))
        self.check()

    def _carry(self, effect):
        match effect:
            case sip.Transmit(data, flow):
                self.put(data, flow)
            case sip.RequestArrived():
                return self.answering.request(effect, self.now, 1.8e9)
            case sip.ResponseArrived() | sip.TransactionFailed() if (
                again := self.answering.other_way(effect, self.now)
            ) is not None:
                return [again]
            case sip.ResponseArrived(ref) | sip.TransactionFailed(ref) if ref.startswith(REF):
                return self.answering.watching.outcome(effect, self.now)
            case (
                sip.AckArrived() | sip.Cancelled() | sip.ResponseArrived() | sip.TransactionFailed()
                | sip.StrayResponse() | sip.ServerTimeout()
            ):  # fmt: skip
                return self.exchange.sip(effect, self.now)
            case Respond(transaction, response):
                return self.layer.respond(transaction, response, self.now)
            case AnswerOnce(transaction, response):
                return self.layer.answer_once(
                    transaction, response.status, self.now, reason=response.reason, headers=effect.headers
                )
            case SendRequest(ref, request, flow):
                road = self.answering.leaves(ref, request, flow)
                return self.layer.request(request, road, self.now, ref=ref, **self.via())
            case SendAck(request, flow):
                return self.layer.send_ack(request, flow, self.now, **self.via())
            case SendCancel(ref, headers):
                self.answering.cancelled(ref)
                return self.layer.cancel(ref, self.now, headers=headers)
            case ToMedia(command):
                self._media(command)
                return self._media_replies() if self.media_answers else []
            case Note():
                self.notes.append(effect)
                return self.answering.watching.noted(effect, self.now)
            case CallFinished(call):
                self.finished.append(call)
        return []

    @property
    def quiet(self):
        """Whether nothing of any call is left."""
        exchange = self.exchange
        return not (exchange.calls or exchange.legs or self.legs or len(self.layer))


class Phone(Node):
    """A user agent. `auto` names what it does by itself: `answer`, `ack`, `ok` (200 to everything else)."""

    def __init__(self, network, name, *, port=5070, transport="udp", auto=("ack", "ok")):
        self.network, self.name, self.transport = network, name, transport
        self.auto = set(auto)
        self._start(("192.0.2.77", port))
        self.ladder = []
        self.dialog = None
        self.invited = None  # the INVITE that is out
        self.responses = []
        self.requests = []  # arrived, not answered: (transaction, request)
        self.sdp = sdp()
        self.allow = "INVITE, ACK, BYE, CANCEL, UPDATE, PRACK, OPTIONS, INFO"
        self.ended = False
        self.calls = self.registrations = self.nc = 0
        self.password, self.challenge = f"pw-{name}", None
        self.tag = f"t-{name}"  # another one is another phone behind the same proxy
        self.contact = parse_name_addr(f"<sip:{name}@{self.address[0]}:{self.address[1]}>")
        network.attach(self.address, self)

    # --- what a node does ---

    @property
    def next_due(self):
        return self.layer.next_due

    def receive(self, data, source, now):
        message = self.taken(data, source)
        self.ladder.append(f"< {title(message)}")
        self._run(self.layer.receive(message, self.flow_to(source), now))
        return self.drain()

    def expire(self, now):
        self._run(self.layer.expire(now))
        return self.drain()

    def put(self, data, flow):
        self.ladder.append(f"> {super().put(data, flow)}")

    def _run(self, effects):
        todo = deque(effects)
        while todo:
            effect = todo.popleft()
            match effect:
                case sip.Transmit(data, flow):
                    self.put(data, flow)
                case sip.RequestArrived(transaction, request):
                    todo.extendleft(reversed(self._asked(transaction, request)))
                case sip.ResponseArrived(_, response):
                    self.responses.append(response)
                    todo.extendleft(reversed(self._answered(response)))

    def _asked(self, transaction, request):
        self.requests.append((transaction, request))
        if request.method == "BYE":
            self.ended = True
        if request.method == "INVITE":
            if "answer" not in self.auto:
                return []
            return self._accept(transaction, request)
        return self._reply(transaction, request, 200) if "ok" in self.auto else []

    def _answered(self, response):
        if response.cseq.method != "INVITE" or not 200 <= response.status < 300:
            return []
        if self.dialog is None or self.dialog.state is DialogState.EARLY:
            self.dialog = Dialog.uac(self.invited, response)
        return self._ack(response) if "ack" in self.auto else []

    # --- what a test tells it to do ---

    def _go(self, effects):
        self._run(effects)
        self.network.send(self.address, self.drain())

    def ask(self, request, *, ref="x", remote=SERVER):
        self.last = request
        self._go(
            self.layer.request(request, self.flow_to(remote), self.network.clock.now, ref=ref, **self.via())
        )

    def invite(self, *, uri="sip:110@192.0.2.1", headers=(), body=None):
        self.calls += 1
        body = self.sdp if body is None else body
        self.dialog, self.ended = None, False
        self.invited = self._build("INVITE", uri, headers=headers, body=body)
        self.ask(self.invited, ref="invite")

    def _build(self, method, uri, *, headers=(), body=b"", cseq=1, contact=True):
        return Request.build(
            method,
            parse_uri(uri),
            from_=parse_name_addr(f"<sip:{self.name}@{REALM}>;tag=f{self.calls}"),
            to=parse_name_addr(f"<{uri}>"),
            call_id=f"{self.name}-{self.calls}",
            cseq=cseq,
            contact=self.contact if contact else None,
            headers=(("Allow", self.allow), *headers),
            body=body,
            content_type="application/sdp" if body else None,
        )

    def cancel(self, headers=()):
        self._go(self.layer.cancel("invite", self.network.clock.now, headers=headers))

    def send(self, method, *, headers=(), body=b"", content_type=None):
        """Send a request inside the dialog."""
        kind = content_type or ("application/sdp" if body else None)
        self.ask(self.dialog.request(method, headers=headers, body=body, content_type=kind), ref=method)

    def ack(self, body=b""):
        """Acknowledge the newest 2xx."""
        found = next(r for r in reversed(self.responses) if r.cseq.method == "INVITE" and r.status < 300)
        self._go(self._ack(found, body))

    def _ack(self, response, body=b""):
        ack = self.dialog.ack(
            response.cseq.number, body=body, content_type="application/sdp" if body else None
        )
        return self.layer.send_ack(ack, self.flow_to(SERVER), self.network.clock.now, **self.via())

    def reply(self, status, method="INVITE", *, headers=(), body=b""):
        """Answer the newest request of that method that arrived."""
        transaction, request = next(one for one in reversed(self.requests) if one[1].method == method)
        if method == "INVITE" and 200 <= status < 300:
            self._go(self._accept(transaction, request, headers=headers, body=body))
        else:
            self._go(self._reply(transaction, request, status, headers=headers, body=body))

    def _accept(self, transaction, request, *, headers=(), body=b""):
        if self.dialog is None:
            self.dialog = Dialog.uas(request, local_tag=self.tag, contact=self.contact)
            self.dialog.confirm()
        return self._reply(transaction, request, 200, headers=headers, body=body or sdp(address="192.0.2.88"))

    def _reply(self, transaction, request, status, *, headers=(), body=b""):
        response = request.response(
            status,
            to_tag=self.tag,
            headers=(("Contact", str(self.contact)), ("Allow", self.allow), *headers),
            body=body,
            content_type="application/sdp" if body else None,
        )
        return self.layer.respond(transaction, response, self.network.clock.now)

    def register(self):
        """Register, challenged first, as a real phone does; returns the last response."""
        self._register((("Contact", str(self.contact)), ("Expires", "3600")))
        return self.again_registered(contact=str(self.contact))

    def again_registered(self, *, contact, expires=3600):
        """Register `contact`, or ask what is registered when it is None."""
        headers = (("Expires", str(expires)), *((("Contact", contact),) if contact else ()))
        challenge = next(c for c in self.challenge.headers.all("WWW-Authenticate") if "SHA-256" in c)
        self.nc += 1
        token = authorize(
            challenge, user=self.name, password=self.password, method="REGISTER", uri=f"sip:{REALM}",
            cnonce="c", nc=self.nc,
        )  # fmt: skip
        return self._register((("Authorization", token), *headers))

    def _register(self, headers):
        self.registrations += 1
        request = self._build(
            "REGISTER", f"sip:{REALM}", headers=headers, cseq=self.registrations, contact=False
        )
        request.headers.set("To", f"<sip:{self.name}@{REALM}>")
        request.headers.set("Call-ID", f"{self.name}-registers")
        self.ask(request, ref="register")
        wait(self.network, 0.5)
        self.challenge = self.responses[-1] if self.responses[-1].status == 401 else self.challenge
        return self.responses[-1]

    @property
    def contacts(self):
        """What the registrar said is registered."""
        return self.last_response("REGISTER").headers.all("Contact")

    def last_response(self, method):
        return next((r for r in reversed(self.responses) if r.cseq.method == method), None)
