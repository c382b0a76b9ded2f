"""The phone's SIP against a scripted other side: no socket, no transaction, messages as they are."""

import asyncio

import pytest

from pbx.phone.signalling import NoAnswerError
from pbx.phone.user_agent import SDP, Account, UserAgent
from pbx.sip.digest import challenges, find_credentials, ha1, verify
from pbx.sip.errors import SipError
from pbx.sip.message import Request
from pbx.sip.parser import parse
from pbx.sip.uri import NameAddr, Uri, parse_uri
from pbx.tasks import Tasks

SERVER = Uri("sip", None, None, "192.0.2.1", 5060)
OFFER, ANSWER = b"v=0 offer", b"v=0 answer"


class Wire:
    """Stands where `Signalling` stands: keeps what is sent, answers from a script."""

    host, port = "192.0.2.9", 40000

    def __init__(self):
        self.sent: list[Request] = []
        self.acks: list[Request] = []
        self.responses = []
        self.script = []
        self.cancelled = []

    async def request(self, request, *, ref, on_provisional=None):
        self.sent.append(request)
        on_the_wire = parse(with_via(request).encode())
        answer = self.script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer(on_the_wire)

    def ack(self, request):
        self.acks.append(request)

    def cancel(self, ref):
        self.cancelled.append(ref)

    def respond(self, transaction, response):
        self.responses.append((transaction, response))


class Owner:
    def __init__(self):
        self.log = []
        self.fits = True
        self.free = False

    def offer(self):
        return OFFER

    def accept(self, answer):
        self.log.append(("accept", answer))
        if not self.fits:
            raise SipError(488)

    def answer(self, offer):
        if offer == b"no good":
            raise SipError(488)
        self.log.append(("answer", offer))
        return ANSWER

    def take_call(self):
        return self.free

    def talking(self):
        self.log.append("talking")

    def text(self, text):
        self.log.append(("text", text))

    def fast_update(self):
        self.log.append("fast update")

    def ended(self, by):
        self.log.append(("ended", by))


def with_via(request):
    copy = request.copy()
    copy.headers.prepend("Via", "SIP/2.0/UDP 192.0.2.9:40000;branch=z9hG4bKx;rport")
    return copy


def says(status, *, headers=(), body=b""):
    def respond(request):
        contact = (("Contact", "<sip:room@192.0.2.1:5060>"),) if 200 <= status < 300 else ()
        return request.response(
            status, to_tag="srv", headers=(*contact, *headers), body=body, content_type=SDP if body else None
        )

    return respond


def asks(nonce="n1", header="WWW-Authenticate", status=401):
    return says(status, headers=[(header, value) for value in challenges("110.example", nonce)])


@pytest.fixture
async def tasks():
    made = Tasks("test")
    yield made
    await made.close()


@pytest.fixture
def phone(tasks):
    wire, owner = Wire(), Owner()
    agent = UserAgent(lambda _: wire, SERVER, Account("anna", "secret"), owner, tasks)
    return agent, wire, owner


async def call(agent, wire):
    wire.script.append(says(200, body=ANSWER))
    return await agent.invite(parse_uri("sip:110@192.0.2.1"), OFFER, SDP, ref="r")


def incoming(agent, wire, method, number, *, body=b"", content_type=None, headers=(), tag="srv"):
    """A request of the other side inside the present call."""
    invite = wire.sent[-1]
    request = Request.build(
        method,
        invite.contact.uri,
        from_=NameAddr(None, parse_uri("sip:110@192.0.2.1")).with_tag(tag),
        to=invite.from_,
        call_id=invite.call_id,
        cseq=number,
        contact=NameAddr(None, parse_uri("sip:room@192.0.2.1:5060")),
        headers=headers,
        body=body,
        content_type=content_type,
    )
    arrived = parse(with_via(request).encode())
    agent.requested("t", arrived)
    return wire.responses[-1][1] if wire.responses else None


async def test_registering_answers_the_challenge(phone):
    agent, wire, _ = phone
    wire.script += [asks(), says(200)]
    response = await agent.register()
    first, second = wire.sent
    assert response.status == 200
    assert agent.registered
    assert (str(first.uri), first.headers.get("Expires")) == ("sip:192.0.2.1:5060", "300")
    assert second.call_id == first.call_id
    # RFC 3261 §22.2: the repeated request has a CSeq one higher
    assert (first.cseq.number, second.cseq.number) == (1, 2)
    credentials = find_credentials(second.headers.all("Authorization"), "110.example")
    assert credentials is not None
    assert credentials.algorithm == "SHA-256", "the first of the two that were offered"
    assert verify(credentials, "REGISTER", b"", {"SHA-256": ha1("anna", "110.example", "secret", "SHA-256")})


async def test_unregistering(phone):
    agent, wire, _ = phone
    wire.script += [says(200), says(200)]
    await agent.register()
    await agent.register(0)
    assert wire.sent[1].headers.get("Expires") == "0"
    assert wire.sent[1].cseq.number == wire.sent[0].cseq.number + 1
    assert not agent.registered


async def test_a_wrong_password_is_not_tried_twice(phone):
    agent, wire, _ = phone
    wire.script += [asks("n1"), asks("n2")]
    response = await agent.register()
    assert response.status == 401
    assert len(wire.sent) == 2
    assert not agent.registered


async def test_a_call_is_acknowledged_with_its_credentials(phone):
    agent, wire, owner = phone
    wire.script.append(asks(header="Proxy-Authenticate", status=407))
    response = await call(agent, wire)
    assert response.status == 200
    assert agent.in_call
    (ack,) = wire.acks
    # RFC 3261 §13.2.2.4: the CSeq number and the credentials of the INVITE
    assert (ack.method, ack.cseq.number) == ("ACK", wire.sent[-1].cseq.number)
    assert ack.headers.get("Proxy-Authorization") == wire.sent[-1].headers.get("Proxy-Authorization")
    assert str(ack.uri) == "sip:room@192.0.2.1:5060"
    assert owner.log == [("accept", ANSWER)]


async def test_a_refused_call(phone):
    agent, wire, owner = phone
    wire.script.append(says(486))
    response = await agent.invite(parse_uri("sip:110@192.0.2.1"), OFFER, SDP, ref="r")
    assert (response.status, agent.in_call, wire.acks, owner.log) == (486, False, [], [])
    assert agent.call_id == wire.sent[0].call_id


async def test_an_answer_that_does_not_fit_ends_the_call(phone):
    agent, wire, owner = phone
    owner.fits = False
    wire.script += [says(200, body=ANSWER), says(200)]
    with pytest.raises(SipError):
        await agent.invite(parse_uri("sip:110@192.0.2.1"), OFFER, SDP, ref="r")
    assert [request.method for request in wire.sent] == ["INVITE", "BYE"]
    assert len(wire.acks) == 1


async def test_hanging_up(phone):
    agent, wire, _ = phone
    await call(agent, wire)
    wire.script += [asks(), says(200)]
    await agent.hang_up()
    await agent.hang_up()
    first, second = wire.sent[1:]
    assert (first.method, first.cseq.number) == ("BYE", wire.sent[0].cseq.number + 1)
    assert second.headers.get("Authorization")
    assert second.cseq.number == first.cseq.number + 1


async def test_hanging_up_when_nobody_is_there_any_more(phone):
    agent, wire, _ = phone
    await call(agent, wire)
    wire.script.append(NoAnswerError("timeout"))
    await agent.hang_up()
    assert not agent.in_call


async def test_the_other_side_hangs_up(phone):
    agent, wire, owner = phone
    await call(agent, wire)
    assert incoming(agent, wire, "BYE", 1).status == 200
    await asyncio.sleep(0)
    assert owner.log[-1] == ("ended", "peer")
    assert not agent.in_call
    assert incoming(agent, wire, "BYE", 2).status == 481


@pytest.mark.parametrize(
    ("method", "body", "status", "told"),
    [
        ("MESSAGE", "请稍候".encode(), 200, ("text", "请稍候")),
        ("MESSAGE", b"\xff", 200, ("text", "\ufffd")),
        ("INFO", b"<media_control><picture_fast_update/></media_control>", 200, "fast update"),
        ("INFO", b"<x:picture_fast_update />", 200, "fast update"),
        ("INFO", b"Signal=5", 200, ("accept", ANSWER)),
        ("OPTIONS", b"", 200, ("accept", ANSWER)),
        ("SUBSCRIBE", b"", 405, ("accept", ANSWER)),
        ("REFER", b"", 405, ("accept", ANSWER)),
    ],
)
async def test_what_may_be_asked_in_a_call(phone, method, body, status, told):
    agent, wire, owner = phone
    await call(agent, wire)
    response = incoming(agent, wire, method, 1, body=body, content_type="text/plain" if body else None)
    assert response.status == status
    assert owner.log[-1] == told
    assert status != 405 or "INVITE" in response.headers.get("Allow")


async def test_a_new_offer_is_answered_and_repeated_until_acknowledged(phone):
    agent, wire, owner = phone
    await call(agent, wire)
    response = incoming(agent, wire, "INVITE", 1, body=b"v=0 hold", content_type=SDP)
    assert (response.status, response.body, response.content_type) == (200, ANSWER, SDP)
    assert owner.log[-1] == ("answer", b"v=0 hold")
    incoming(agent, wire, "ACK", 1)  # no response: still the 200 is the last one


async def test_a_new_offer_that_does_not_fit_leaves_the_call(phone):
    agent, wire, _ = phone
    await call(agent, wire)
    assert incoming(agent, wire, "INVITE", 1, body=b"no good", content_type=SDP).status == 488
    assert agent.in_call


async def test_an_invite_without_offer_gets_ours_and_its_ack_answers(phone):
    agent, wire, owner = phone
    await call(agent, wire)
    response = incoming(agent, wire, "INVITE", 1)
    assert response.body == OFFER
    invite = wire.sent[0]
    ack = Request.build(
        "ACK",
        invite.contact.uri,
        from_=NameAddr(None, parse_uri("sip:110@192.0.2.1")).with_tag("srv"),
        to=invite.from_,
        call_id=invite.call_id,
        cseq=1,
        body=b"v=0 theirs",
        content_type=SDP,
    )
    agent.acknowledged(ack)
    agent.acknowledged(ack)
    assert owner.log.count(("accept", b"v=0 theirs")) == 1


async def test_a_stranger_cannot_end_the_call(phone):
    agent, wire, _ = phone
    await call(agent, wire)
    assert incoming(agent, wire, "BYE", 1, tag="guessed").status == 481
    assert agent.in_call


async def test_requests_out_of_order_are_refused(phone):
    agent, wire, _ = phone
    await call(agent, wire)
    assert incoming(agent, wire, "OPTIONS", 5).status == 200
    assert incoming(agent, wire, "MESSAGE", 4).status == 500


def invitation(agent):
    request = Request.build(
        "INVITE",
        agent.contact.uri,
        from_=NameAddr(None, parse_uri("sip:room@192.0.2.1")).with_tag("srv"),
        to=NameAddr(None, parse_uri("sip:anna@192.0.2.1")),
        call_id="theirs",
        cseq=1,
        contact=NameAddr(None, parse_uri("sip:room@192.0.2.1:5060")),
        body=b"v=0 call",
        content_type=SDP,
    )
    return parse(with_via(request).encode())


async def test_a_desk_takes_the_exchanges_call(phone):
    agent, wire, owner = phone
    owner.free = True
    agent.requested("t", invitation(agent))
    await asyncio.sleep(0)
    (_, response) = wire.responses[-1]
    assert (response.status, response.body) == (200, ANSWER)
    assert response.to.tag
    assert owner.log == [("answer", b"v=0 call"), "talking"]
    assert (agent.in_call, agent.call_id) == (True, "theirs")
    wire.script.append(says(200))
    await agent.hang_up()
    assert str(wire.sent[-1].uri) == "sip:room@192.0.2.1:5060"


async def test_others_are_busy(phone):
    agent, wire, owner = phone
    agent.requested("t", invitation(agent))
    assert wire.responses[-1][1].status == 486
    owner.free = True
    await call(agent, wire)
    agent.requested("t", invitation(agent))
    assert wire.responses[-1][1].status == 486
