"""Phones that watch: they subscribe with digest, answer NOTIFYs, and put together what they are told as the RFCs say.

Nothing of `pbx.packages` is used to read what `pbx.packages` wrote.
"""

from dataclasses import dataclass, field
from xml.etree import ElementTree as ET

from pbx.call.effects import SendRequest
from pbx.sip.digest import authorize
from pbx.sip.effects import ResponseArrived, TransactionFailed
from pbx.sip.message import Response
from pbx.sip.parser import parse
from tests.kit.world import HOST, World

DIALOG = "{urn:ietf:params:xml:ns:dialog-info}"
CONFERENCE = "{urn:ietf:params:xml:ns:conference-info}"
PIDF = "{urn:ietf:params:xml:ns:pidf}"
RPID = "{urn:ietf:params:xml:ns:pidf:rpid}"
REG = "{urn:ietf:params:xml:ns:reginfo}"


@dataclass
class Told:
    """What a watcher knows from the documents it got, in order."""

    version: int = -1
    states: list[str] = field(default_factory=list)
    """full or partial, by document."""
    lit: set[str] = field(default_factory=set)
    """Dialogs that stand."""
    users: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    """entity → label, role, status."""
    media: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """entity → what its phone sends and hears: medium, direction."""
    count: int = 0
    active: str = ""
    presence: tuple[str, str | None, tuple[str, ...]] | None = None
    phones: list[str] = field(default_factory=list)

    def take(self, body: bytes) -> None:
        root = ET.fromstring(body)
        kind = root.tag.partition("}")[2]
        if kind != "presence":
            version = int(root.attrib["version"])
            assert version == self.version + 1, f"version {version} after {self.version}"
            self.version = version
            self.states.append(root.attrib["state"])
            assert self.states[-1] in {"full", "partial"}
            assert version > 0 or self.states[-1] == "full"
        getattr(self, "_" + kind.replace("-", "_"))(root)

    def _dialog_info(self, root):
        if root.get("state") == "full":
            self.lit.clear()
        for one in root.findall(f"{DIALOG}dialog"):
            state = one.findtext(f"{DIALOG}state")
            assert state in {"confirmed", "terminated"}
            (self.lit.add if state == "confirmed" else self.lit.discard)(one.get("id"))

    def _conference_info(self, root):
        users = root.find(f"{CONFERENCE}users")
        assert users.get("state") == root.get("state")
        if root.get("state") == "full":
            self.users.clear()
            self.media.clear()
        for one in users:
            if one.get("state") == "deleted":
                del self.users[one.get("entity")]
                del self.media[one.get("entity")]
                continue
            assert one.get("state") == "full"
            text = one.findtext
            self.users[one.get("entity")] = (
                text(f"{CONFERENCE}display-text"),
                text(f"{CONFERENCE}roles/{CONFERENCE}entry"),
                text(f"{CONFERENCE}endpoint/{CONFERENCE}status"),
            )
            media = one.findall(f"{CONFERENCE}endpoint/{CONFERENCE}media")
            assert len({medium.attrib["id"] for medium in media}) == len(media), "the id is a key"
            self.media[one.get("entity")] = [tuple(e.text for e in medium) for medium in media]
        self.count = int(root.findtext(f"{CONFERENCE}conference-state/{CONFERENCE}user-count"))
        self.active = root.findtext(f"{CONFERENCE}conference-state/{CONFERENCE}active")
        assert self.count == len(self.users)

    def _presence(self, root):
        basic = root.findtext(f"{PIDF}tuple/{PIDF}status/{PIDF}basic")
        doing = next(
            (e.tag.removeprefix(RPID) for e in root.iter() if e.tag.startswith(RPID) and not len(e)), None
        )
        notes = tuple(e.text for e in root.iter(f"{PIDF}note"))
        self.presence = (basic, None if doing == "unknown" else doing, notes)

    def _reginfo(self, root):
        assert root.get("state") == "full"
        self.phones = [e.text for e in root.iter(f"{REG}uri")]


class WatchedWorld(World):
    """A world whose desks' phones may watch. `replies`: status of the answer to a NOTIFY, None for none."""

    def __init__(self, **how):
        super().__init__(**how)
        self.told: dict[str, Told] = {}  # Call-ID of the subscription → what its watcher knows
        self.notified: dict[str, list] = {}  # Call-ID → NOTIFYs, oldest first
        self.times: dict[str, list[float]] = {}
        self.replies = lambda request: 200
        self._seen = 0

    @property
    def notifier(self):
        return self.answering.watching.notifier

    def run(self, effects):
        super().run(effects)
        while self._seen < len(self.sent):
            effect = self.sent[self._seen]
            self._seen += 1
            if isinstance(effect, SendRequest) and effect.ref.startswith("notify/"):
                self._notified(effect)

    def _notified(self, effect):
        request = effect.request
        key = request.call_id
        before = self.notified.setdefault(key, [])
        assert not before or request.cseq.number == before[-1].cseq.number + 1
        before.append(request)
        self.times.setdefault(key, []).append(self.now)
        self.told.setdefault(key, Told()).take(request.body)
        status = self.replies(request)
        if status is not None:
            self.outcome(effect, status)

    def outcome(self, effect, status, headers=()):
        """The watcher's phone answers a NOTIFY; `timeout` and `transport`: it does not."""
        if isinstance(status, str):
            self.run(self.answering.watching.outcome(TransactionFailed(effect.ref, status), self.now))
            return
        response = effect.request.response(status, headers=headers)
        response.headers.prepend("Via", "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKnotify")
        answer = parse(response.encode())
        assert isinstance(answer, Response)
        self.run(self.answering.watching.outcome(ResponseArrived(effect.ref, answer, effect.flow), self.now))

    def check(self):
        """What the exchange promises is tested elsewhere; here it is what watchers are told."""

    def wait(self, seconds):
        """Let time pass for calls and for watchers."""
        end = self.now + seconds
        while True:
            dues = [
                d for d in (self.exchange.next_due, self.answering.next_due) if d is not None and d <= end
            ]
            if not dues:
                break
            self.now = max(self.now, min(dues))
            self.run(self.exchange.expire(self.now))
            self.run(self.answering.expire(self.now))
        self.now = end

    # --- SUBSCRIBE ---

    def ask(self, name, event, uri, *, call_id, cseq=1, headers=(), to_tag=None, tries=2):
        """Send a SUBSCRIBE, answer the challenge, give the last response."""
        sent = [("Event", event)] if event is not None else []
        sent += headers
        token = ()
        for number in range(tries):
            request = self.request(
                "SUBSCRIBE",
                uri,
                name,
                cseq=cseq + number,
                call_id=call_id,
                to_tag=to_tag,
                headers=(*sent, *token),
            )
            answer = self.answers[self.arrive(request, name)][-1]
            if answer.status != 401:
                return answer
            challenge = next(c for c in answer.headers.all("WWW-Authenticate") if "SHA-256" in c)
            token = (
                (
                    "Authorization",
                    authorize(
                        challenge,
                        user=name,
                        password=f"pw-{name}",
                        method="SUBSCRIBE",
                        uri=uri,
                        cnonce="c",
                        nc=1,
                    ),
                ),
            )
        return answer

    def watch(self, name, event, uri=None, *, expires=600, call_id=None):
        """Subscribe; gives the Call-ID as the phone wrote it, to look things up with."""
        call_id = call_id or f"{event}-{name}-{next(self._ids)}"
        uri = uri or f"sip:{name}@{HOST}"
        answer = self.ask(name, event, uri, call_id=call_id, headers=(("Expires", str(expires)),))
        assert answer.status == 200, answer
        return f"{call_id}@phone"

    def again(self, name, key, *, cseq, expires, event=None):
        """Refresh or end a subscription inside its dialog."""
        notify = self.notified[key][0]
        return self.ask(
            name,
            event or notify.headers.get("Event"),
            str(notify.contact.uri),
            call_id=key.removesuffix("@phone"),
            cseq=cseq,
            to_tag=notify.from_.tag,
            headers=(("Expires", str(expires)),),
        )

    def last(self, key):
        return self.notified[key][-1]

    def state_of(self, key):
        return self.last(key).headers.get("Subscription-State")
