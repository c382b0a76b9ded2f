"""The pure exchange with phones and a media process played by the test: no socket, no clock, no sleep.

`World` answers what the exchange asks of the media process, keeps its own books of who is in which room, and checks after
every step what must be true always.
"""

import itertools
from collections import deque

from pbx import identity
from pbx.call import effects as wishes
from pbx.call import seats
from pbx.call.answering import Answering, Registrations
from pbx.call.call import State as CallState
from pbx.call.calling import CallOfOurs
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
from pbx.call.exchange import Exchange
from pbx.call.leg import LegSetup
from pbx.call.media_events import media_said
from pbx.call.probe import probe
from pbx.call.site import Policy, Site
from pbx.hands_settings import HandsSettings
from pbx.registrar import Registrar
from pbx.sdp.capabilities import CAPABILITIES
from pbx.sip.digest import NonceCounts, Nonces, authorize, ha1
from pbx.sip.effects import AckArrived, Cancelled, RequestArrived, ResponseArrived, TransactionFailed
from pbx.sip.flow import Flow
from pbx.sip.message import Request, Response
from pbx.sip.parser import parse
from routing.acd import DeskState
from rtp.control import (
    CloseEvidence,
    CloseLeg,
    EvidenceClosed,
    EvidenceOpened,
    Join,
    Leave,
    LegOpened,
    OpenEvidence,
    OpenLeg,
    PortPair,
    SetGates,
    SetStaff,
)

REALM = "at110"
HOST = "192.0.2.1"


def sdp(*, audio="8", video="96", direction="sendrecv", address="192.0.2.77", port=4000):
    """Return an offer: PCMA and H.264 unless told otherwise; None leaves a medium out."""
    lines = ["v=0", f"o=- 1 1 IN IP4 {address}", "s=-", f"c=IN IP4 {address}", "t=0 0"]
    if audio is not None:
        lines += [f"m=audio {port} RTP/AVP {audio}", f"a={direction}"]
    if video is not None:
        lines += [
            f"m=video {port + 2} RTP/AVP {video}",
            "a=rtpmap:96 H264/90000",
            "a=fmtp:96 profile-level-id=42e01f;packetization-mode=1",
            f"a={direction}",
        ]
    return ("\r\n".join(lines) + "\r\n").encode()


MUST_SAY = {
    401: ("WWW-Authenticate",), 405: ("Allow",), 415: ("Accept", "Accept-Encoding", "Accept-Language"), 420: ("Unsupported",),
    422: ("Min-SE",), 423: ("Min-Expires",), 489: ("Allow-Events",), 501: ("Allow",),
}  # fmt: skip
"""One of which an answer has to have, by its status (RFC 3261 §21.4, 4028 §6, 6665 §8.3.2; Allow in a 501 is issue 3's)."""


def says_what_it_must(effect):
    """Look at any answer of the exchange."""
    response = effect.response
    # RFC 3261 §8.2.6.2: "the UAS MUST add a tag to the To header field in the response (with the exception of the 100 (Trying)
    # response". To a refusal the transaction layer adds it.
    assert isinstance(effect, AnswerOnce) or response.status == 100 or response.to.tag, response
    must = MUST_SAY.get(response.status, ())
    assert not must or any(response.headers.get(name) is not None for name in must), response
    # RFC 3261 §12.1.1, §14.2, RFC 3311 §5.2, RFC 6665 §8: a dialog's target is said by every 2xx that makes or refreshes one.
    if 200 <= response.status < 300 and response.cseq.method in {"INVITE", "UPDATE", "SUBSCRIBE", "REFER"}:
        assert response.headers.get("Contact"), response


class World:
    """One exchange and everybody around it. `media_answers=False` leaves the media process mute until `media()`."""

    def __init__(
        self,
        *,
        desks=("d1", "d2"),
        wrap_up=0.0,
        media_answers=True,
        stay=0.0,
        routing=None,
        callers=("alice",),
        supervisors=(),
    ):
        self.now = 100.0
        self._ids = itertools.count(1)
        self._ports = itertools.count(20000, 4)
        site = Site(
            legs=LegSetup(CAPABILITIES, address=HOST, bind=HOST),
            policy=Policy("/evidence", ("en",), stay_seconds=stay),
            host=HOST,
            port=5060,
            wrap_up=wrap_up,
            routing=routing,
            hands=HandsSettings(supervisors=supervisors),
        )
        self.exchange = Exchange(
            site,
            lambda what: str(next(self._ids)) if what in {"session", "draw"} else f"{what}-{next(self._ids)}",
        )
        self.accounts = {
            name: identity.Account(
                user=name,
                realm=REALM,
                ha1={"SHA-256": ha1(name, REALM, f"pw-{name}", "SHA-256")},
                kind="dispatcher" if name in desks else "caller",
                verified_name=None if name in desks else f"Citizen {name}",
            )
            for name in (*desks, *callers)
        }
        self.registrar = Registrar()
        nonces = Nonces(b"n" * 32)
        gate = identity.Authenticator(
            identity.IdentitySettings(REALM), self.accounts, nonces, NonceCounts(), secret=b"s" * 32
        )
        self.gate = gate
        registrations = Registrations(self.registrar, gate, lambda: 0.0, lambda changes: None)
        self.answering = Answering(self.exchange, registrations)
        self.media_answers = media_answers
        self.commands = deque()  # of the media process, not yet answered
        self.rooms = {}  # leg -> (room, role), as the media process would hold it
        self.modes = {}  # leg of staff -> what it may do
        self.held = set()  # legs whose host put them on hold
        self.legs = set()
        self.closed = set()
        self.notes = []
        self.finished = []
        self.sent = []  # (effect) SIP that left, oldest first
        self.transactions = {}  # caller -> transaction of its INVITE
        self.invites = {}
        self.answers = {}  # transaction -> responses

    # --- running ---

    def run(self, effects):
        todo = deque(effects)
        while todo:
            effect = todo.popleft()
            match effect:
                case ToMedia(command):
                    self._media(command)
                    if self.media_answers:
                        todo.extend(self._media_replies())
                case Note():
                    self.notes.append(effect)
                    todo.extend(self.answering.watching.noted(effect, self.now))
                case CallFinished(call):
                    self.finished.append(call)
                case Respond(transaction, response) | AnswerOnce(transaction, response):
                    says_what_it_must(effect)
                    self.answers.setdefault(transaction, []).append(response)
                    self.sent.append(effect)
                case SendRequest(ref, request, flow):
                    self.answering.leaves(ref, request, flow)
                    self.sent.append(effect)
                case wishes.SendElsewhere() | SendAck() | SendCancel():
                    if isinstance(effect, SendCancel):
                        self.answering.cancelled(effect.ref)
                    self.sent.append(effect)
        self.check()

    def _media(self, command):
        match command:
            case Join(room, leg, role):
                taken = [r for other, (m, r) in self.rooms.items() if m == room and other != leg]
                assert role == "staff" or role not in taken, "a second " + role
                if role == "host":
                    owner = self.exchange.owners[leg]
                    assert (owner.kind, f"room-{owner.id}") == ("desk", room), "a host is at home"
                assert leg in self.legs, "joined before it was opened, or after it was closed"
                self.rooms[leg] = (room, role)
            case SetStaff(leg, mode):
                self.modes[leg] = mode
            case SetGates(leg, _, _, held):
                (self.held.add if held else self.held.discard)(leg)
            case Leave(leg):
                self.rooms.pop(leg, None)
            case CloseLeg(leg):
                self.rooms.pop(leg, None)
                self.legs.discard(leg)
                self.closed.add(leg)
            case OpenLeg() | OpenEvidence() | CloseEvidence():
                self.commands.append(command)

    def _media_replies(self):
        effects = []
        while self.commands:
            match self.commands.popleft():
                case OpenLeg(leg, media):
                    if leg not in self.closed:  # commands are taken in order, however late they are answered
                        self.legs.add(leg)
                    pairs = tuple(PortPair(m, p := next(self._ports), p + 1) for m in media)
                    effects += media_said(self.exchange, LegOpened(leg, pairs), self.now)
                case OpenEvidence(call):
                    effects += media_said(self.exchange, EvidenceOpened(call), self.now)
                case CloseEvidence(call):
                    effects += media_said(self.exchange, EvidenceClosed(call, 10, 1000), self.now)
        return effects

    def media(self):
        """Let the media process answer what it was asked."""
        self.run(self._media_replies())

    def says(self, event):
        self.run(media_said(self.exchange, event, self.now))

    def wait(self, seconds):
        """Let time pass, waking the exchange when it wants to be woken."""
        end = self.now + seconds
        while (due := self.exchange.next_due) is not None and due <= end:
            self.now = max(self.now, due)
            self.run(self.exchange.expire(self.now))
        self.now = end

    # --- what must be true always ---

    def check(self):
        calls = self.exchange.calls.values()
        queued = [w.call for w in self.exchange.acd.queue]
        attached = self.exchange.acd.attached
        talking = {d.call: d.desk for d in self.exchange.acd.desks if d.call is not None}
        scene = self.exchange.acd.scene(self.now)
        for place in self.exchange.acd.queue:
            assert not [d for d in scene.desks if scene.verdict(place, d) == "free"], (
                "an allowed desk is idle"
            )
        for call in calls:
            place = self.rooms.get(call.leg)
            match call.state:
                case CallState.WAITING:
                    assert (call.id in queued) != (call.id in attached)
                    assert place is None
                case CallState.TALKING:
                    assert talking[call.id] == call.desk
                    assert place == (f"room-{call.desk}", "guest")
                case CallState.ARRIVING | CallState.RINGING if isinstance(call, CallOfOurs):
                    assert talking.get(call.id) == call.desk
                    assert place is None
                case _:
                    assert call.id not in queued
                    assert call.id not in talking
                    assert place is None
        live = {
            c.id
            for c in calls
            if c.state in {CallState.WAITING, CallState.TALKING}
            or (isinstance(c, CallOfOurs) and c.state in {CallState.ARRIVING, CallState.RINGING})
        }
        assert set(queued) | set(talking) | set(attached) == live
        assert len(self.finished) == len(set(self.finished))
        self.check_staff()

    def check_staff(self):
        """Everybody who is in a room is where the exchange thinks; a guest is never in it with nobody to host it."""
        exchange = self.exchange
        for leg, (room, role) in self.rooms.items():
            owner = exchange.owners[leg]
            if role == "guest":
                assert owner.kind == "call"
                assert (room, "host") in self.rooms.values(), "the guest is never alone"
            elif role == "staff":
                assert owner.kind == "desk"
                visit = exchange.hands.visits[owner.id]
                assert visit.up
                assert room == f"room-{visit.host}"
                assert self.modes[leg] == visit.mode
        for visitor, visit in exchange.hands.visits.items():
            leg = exchange.rooms[visitor].leg
            assert visit.visitor == visitor
            assert not visit.up or self.rooms.get(leg) == (f"room-{visit.host}", "staff")
            found = exchange.acd.desk(visitor)
            assert found is None or found.state is DeskState.VISITING
            if visit.call is not None:
                assert visit.call in exchange.calls
        for call in exchange.calls.values():
            over = call.state in {CallState.CLOSING, CallState.ENDED}
            assert over or (call.leg in self.held) == call.held, (
                "a leg that says goodbye has no gates any more"
            )
            assert not call.held or call.state in {CallState.TALKING, CallState.CLOSING, CallState.ENDED}

    # --- phones ---

    def flow(self, name):
        return Flow("udp", (HOST, 5060), ("192.0.2.77", 5000 + sum(name.encode()) % 1000))

    def request(
        self, method, uri, name, *, body=b"", content_type=None, to_tag=None, cseq=1, headers=(), call_id=None
    ):
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP 192.0.2.77:5000;branch=z9hG4bK{name}{method}{cseq};rport=5000;received=192.0.2.77",
            "Max-Forwards: 70",
            f"From: <sip:{name}@{REALM}>;tag=from-{name}",
            f"To: <{uri}>" + (f";tag={to_tag}" if to_tag else ""),
            f"Call-ID: {call_id or name}@phone",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:{name}@192.0.2.77:5000>",
            "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, MESSAGE, INFO",
            *(f"{k}: {v}" for k, v in headers),
        ]
        if content_type:
            lines.append(f"Content-Type: {content_type}")
        lines.append(f"Content-Length: {len(body)}")
        message = parse(("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape") + body)
        assert isinstance(message, Request)
        return message

    def arrive(self, request, name):
        """Give a request to the exchange; returns its transaction id."""
        transaction = f"t{next(self._ids)}"
        self.run(
            self.answering.request(RequestArrived(transaction, request, self.flow(name)), self.now, 1.8e9)
        )
        return transaction

    def invite(self, name, *, uri="sip:110@192.0.2.1", body=None, headers=()):
        body = sdp() if body is None else body
        request = self.request(
            "INVITE", uri, name, body=body, content_type="application/sdp" if body else None, headers=headers
        )
        self.invites[name] = request
        self.transactions[name] = self.arrive(request, name)

    def last_answer(self, name):
        """Return the newest response to the caller's INVITE, None before there is one."""
        found = self.answers.get(self.transactions[name])
        return None if not found else found[-1]

    def call(self, name):
        """Return the caller's live call, None when it is over."""
        return next(
            (c for c in self.exchange.calls.values() if c.caller.number == name or c.caller.user == name),
            None,
        )

    def in_dialog(self, name, method, *, cseq=2, **more):
        """Send a request inside the caller's dialog; returns its transaction id."""
        tag = self.last_answer(name).to.tag
        request = self.request(method, f"sip:110@{HOST}", name, to_tag=tag, cseq=cseq, **more)
        if method == "ACK":
            self.run(self.exchange.sip(AckArrived(request, self.flow(name)), self.now))
            return ""
        return self.arrive(request, name)

    def ack(self, name, body=b""):
        self.in_dialog(name, "ACK", cseq=1, body=body, content_type="application/sdp" if body else None)

    def bye(self, name):
        return self.in_dialog(name, "BYE", cseq=50)

    def cancel(self, name):
        cancelled = Cancelled(self.transactions[name], self.invites[name], self.flow(name))
        self.run(self.exchange.sip(cancelled, self.now))

    # --- desks ---

    def register(self, name):
        """Register a phone with digest, as a real one does: challenged first."""
        uri = f"sip:{REALM}"
        aor = f"sip:{name}@{REALM}"
        cseq = next(self._ids)
        first = self.request("REGISTER", uri, name, cseq=cseq, call_id=f"reg-{name}")
        first.headers.set("To", f"<{aor}>")
        answer = self.answers[self.arrive(self._again(first), name)][-1]
        challenge = next(c for c in answer.headers.all("WWW-Authenticate") if "SHA-256" in c)
        token = authorize(
            challenge, user=name, password=f"pw-{name}", method="REGISTER", uri=uri, cnonce="c", nc=1
        )
        second = self.request(
            "REGISTER", uri, name, cseq=cseq + 1, call_id=f"reg-{name}", headers=(("Authorization", token),)
        )
        second.headers.set("To", f"<{aor}>")
        return self.answers[self.arrive(self._again(second), name)][-1]

    def _again(self, request):
        message = parse(request.encode())
        assert isinstance(message, Request)
        return message

    def sign_in(self, desk, *, answer=True):
        """Register the desk if it is not, have the exchange call it, and let its phone pick up."""
        account = self.accounts[desk]
        if not self.registrar.lookup(account.aor, self.now):
            assert self.register(desk).status == 200
        self.run(seats.sign_in(self.exchange, desk, self.registrar.lookup(account.aor, self.now), self.now))
        if answer:
            self.pick_up(desk)

    def desk_invite(self, desk):
        """Return the INVITE that went to a desk's phone, the newest."""
        found = [e for e in self.sent if isinstance(e, SendRequest) and e.request.method == "INVITE"]
        return next(e for e in reversed(found) if e.request.to.uri.user == desk)

    def pick_up(self, desk, status=200, body=None):
        self._desk_answers(
            self.desk_invite(desk), desk, status, sdp(address="192.0.2.88") if body is None else body
        )

    def answer_reinvite(self, desk, body, status=200):
        """The desk's phone answers the newest re-INVITE."""
        sent = next(e for e in reversed(self.sent) if isinstance(e, SendRequest) and "/reinvite/" in e.ref)
        self._desk_answers(sent, desk, status, body)

    def _desk_answers(self, sent, desk, status, body):
        tag = sent.request.to.tag or f"desk-{desk}-{next(self._ids)}"
        response = sent.request.response(
            status,
            to_tag=tag,
            headers=(
                ("Contact", f"<sip:{desk}@192.0.2.88:5000>"),
                ("Allow", "INVITE, ACK, BYE, MESSAGE, INFO, OPTIONS"),
            ),
            body=body if status == 200 else b"",
            content_type="application/sdp" if status == 200 else None,
        )
        # A response needs a Via; the transaction layer that would have put it on is not part of this world.
        response.headers.prepend("Via", "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKdesk")
        answer = parse(response.encode())
        assert isinstance(answer, Response)
        self.concluded(ResponseArrived(sent.ref, answer, self.flow(desk)))

    # --- what the exchange asked of a phone ---

    def asked(self, method):
        """Return the newest request of that method that went out, None when there was none."""
        found = [e for e in self.sent if isinstance(e, SendRequest) and e.request.method == method]
        return found[-1] if found else None

    def reply(self, method, status=200, *, to_tag=None, headers=(), body=b""):
        """Have the phone answer the newest request of that method."""
        sent = self.asked(method)
        response = sent.request.response(
            status,
            to_tag=to_tag,
            headers=(("Contact", "<sip:phone@192.0.2.88:5000>"), *headers),
            body=body,
            content_type="application/sdp" if body else None,
        )
        response.headers.prepend("Via", "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKasked")
        answer = parse(response.encode())
        assert isinstance(answer, Response)
        self.concluded(ResponseArrived(sent.ref, answer, sent.flow))

    def concluded(self, event):
        """Hear how a request of ours ended, as the shell does: perhaps it goes another way first."""
        again = self.answering.other_way(event, self.now)
        self.run(self.exchange.sip(event, self.now) if again is None else [again])

    def fails(self, method, why="timeout"):
        """Leave the newest request of that method unanswered."""
        self.concluded(TransactionFailed(self.asked(method).ref, why))

    def desk_leg(self, desk):
        return self.exchange.leg(self.exchange.room(desk).leg or "")

    def desk_request(self, desk, method, **more):
        """Send a request inside the permanent dialog, from the desk's phone."""
        leg = self.desk_leg(desk)
        dialog = leg.dialog
        cseq = (dialog.remote_seq or 0) + 1
        request = self.request(
            method, f"sip:room-{desk}@{HOST}", desk, cseq=cseq, to_tag=dialog.local_tag, **more
        )
        request.headers.set("From", f"<sip:{desk}@{HOST}>;tag={dialog.remote_tag}")
        request.headers.set("Call-ID", dialog.call_id)
        return self.arrive(self._again(request), desk)

    def desk_vanishes(self, desk):
        """The phone answers nothing any more: whatever we ask it fails."""
        leg = self.desk_leg(desk)
        self.run(self.exchange.run(probe(leg, self.now), self.now, leg.id))
        asked = next(
            e for e in reversed(self.sent) if isinstance(e, SendRequest) and e.request.method == "OPTIONS"
        )
        self.run(self.exchange.sip(TransactionFailed(asked.ref, "timeout"), self.now))

    def noted(self, name):
        """Return the notes of one name."""
        return [n for n in self.notes if n.event == name]
