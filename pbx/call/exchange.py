"""The whole exchange as one pure machine: it finds the leg, call, room or queue an event is for, and nothing else.

in → out: what the transaction layer, the media process and the API say → effects for `control`.

Effects that are meant for another machine (`ToAcd`, `AnswerLeg`, `LegUp` …) are taken up here at once, depth first, so
that causes stay before consequences; only those for the outside are returned.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from pbx.call import (
    answer,
    by_presence,
    exchange_snapshot,
    hangup,
    leg_events,
    owners,
    place,
    trunk_outcomes,
    visits,
)
from pbx.call import call_events as events
from pbx.call import room as rooms
from pbx.call.agenda import Agenda
from pbx.call.call import Call
from pbx.call.effects import CallFinished, Effect, Item, SendRequest
from pbx.call.kinds import ACD_EFFECTS, LEG_EVENTS, OUTSIDE
from pbx.call.last_resort import LastResort
from pbx.call.last_resort import settle as cancel_attempts
from pbx.call.leg import Leg, LegSetup
from pbx.call.leg import State as LegState
from pbx.call.marked import Marked
from pbx.call.over_trunk import Counted, PeerSaid
from pbx.call.owner import Owner
from pbx.call.reach import Directory
from pbx.call.room import Room
from pbx.call.site import Site
from pbx.call.whereabouts import Whereabouts
from pbx.location.presence import Follow, Presence, Told
from pbx.location.presence_subscription import REF
from pbx.sip.effects import (
    AckArrived,
    Cancelled,
    RequestArrived,
    ResponseArrived,
    ServerTimeout,
    StrayResponse,
    TransactionFailed,
)
from pbx.sip.flow import Flow
from pbx.sip.message import Request
from pbx.sip.uri import NameAddr, Uri
from pbx.sip.wakeups import earliest
from pbx.trunks.trunks import Trunks
from routing.acd import Acd, DeskSignsIn, Requeue

Mint = Callable[[str], str]
"""Gives a fresh id nobody can guess; the argument says what for: `call`, `leg`, `tag`, or a number: `session`, `draw`."""

CALL_PATIENCE: Final = 12
"""Probes a caller may leave unanswered while its media is lost too: about a minute. Emergencies happen in tunnels."""
DESK_PATIENCE: Final = 1
"""A desk that neither sends nor answers is of no use to the caller in front of it."""


@dataclass(slots=True)
class Media:
    """What is known of a call's media, for the people who watch."""

    flowing: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    told: set[str] = field(default_factory=set)
    """Desks that were told that the picture is more than their phone takes."""


class Exchange:
    """See the module. `answering` handles what opens something new; the verbs live in files of their own."""

    def __init__(self, site: Site, mint: Mint) -> None:
        self.site = site
        self.mint = mint
        self.acd = Acd(site.routing, wrap_up=site.wrap_up)
        self.trunks = Trunks()
        self.legs: dict[str, Leg] = {}
        self.calls: dict[str, Call] = {}
        self.rooms: Marked[Room] = Marked()
        self.owners: dict[str, Owner] = {}
        self.media: dict[str, Media] = {}
        self.sounds: dict[str, tuple[str, int]] = {}
        """Desk → its caller, and how many packets of sound it had sent when that was first looked at (`hearing`)."""
        self.away: dict[str, str] = {}
        """Dispatchers who are away, and why: what they are when they sign in again after a crash."""
        self.draining = False
        """It is being stopped: who asks whether we take calls is told to go elsewhere."""
        self.hands = visits.Hands()
        self.supervisors = frozenset(site.hands.supervisors)
        self.administrators: frozenset[str] = frozenset()
        """Dispatchers who may watch anybody's phones."""
        self.last_resort = LastResort()
        self.directory: Directory = visits.NOBODY
        """Who has an account and where phones are; given by whoever knows."""
        self.media_gap: dict[str, Any] = {}
        """From when to when the media process that holds nothing was away, as far as known: for `media_restarted`."""
        self.orphans: set[str] = set()
        """Captures the media process held of calls nobody knows any more; they are closed and sealed."""
        self.whereabouts = Whereabouts(
            site.districts, site.may_ask, serves=self.acd.rules.serves, lost=site.lost
        )
        self.presence = Presence(mint)
        self._agenda = Agenda()
        self._touched: set[str] = set()
        self._told: set[str] = set()
        """Calls of which only the place in the queue is to be looked at again."""
        self.changed: set[str] = set()
        """Legs and calls that were touched, for whoever keeps a journal; it takes them out."""
        self.placed: set[str] = set()
        """Calls that were only told their place in the queue, which is in the queue's own records too."""
        self._dialogs: dict[tuple[str, str], str] = {}  # (Call-ID, our tag) → leg
        self._invites: dict[str, str] = {}  # server transaction of an INVITE → leg
        self._sip_calls: dict[str, str] = {}  # Call-ID of a caller's leg → call

    # --- making ---

    def contact(self, user: str, flow: Flow, *, secure: bool = False) -> NameAddr:
        """Return our Contact for a leg over `flow`; `secure`: as sips."""
        return self.site.here(flow).contact(user, secure=secure)

    def uri(self, user: str) -> Uri:
        """Return what a user of ours is called by everybody, whatever they reach us over."""
        return Uri("sip", user, None, self.site.host, self.site.port)

    def setup(
        self, flow: Flow, name: str | None = None, *, emergency: bool = False, urgent: bool = False
    ) -> LegSetup:
        """Return what a leg over `flow` is set up with; `name`: the account or trunk it belongs to."""
        secret = self.mint("secret").encode()
        rule = self.site.encryption.rule(name, flow, emergency=emergency, secret=secret)
        apart = name in self.site.asymmetric
        return replace(self.site.setup(flow), encryption=rule, urgent=emergency or urgent, asymmetric=apart)

    def focus(self, room: str, flow: Flow, *, secure: bool = False) -> NameAddr:
        """Return our Contact where it is a conference's: a room's permanent leg, and who watches it."""
        # RFC 4579 §4.1 and RFC 3840: "isfocus" tells a phone that it talks to a conference it may subscribe to.
        return self.contact(room, flow, secure=secure).with_param("isfocus", None)

    def session(self) -> int:
        """Return a number for the o= line of an SDP."""
        return int(self.mint("session"))

    # --- finding ----------------------------------------------------------------------------------------------

    def room(self, desk: str) -> Room:
        """Return the room of a desk, made when first asked for."""
        return self.rooms.setdefault(desk, Room(desk))

    def add_leg(self, leg: Leg, owner: Owner, transaction: str | None) -> None:
        """Take a new leg in."""
        assert leg.invite is not None, "a leg is made of its INVITE"
        self.legs[leg.id] = leg
        self.owners[leg.id] = owner
        self._dialogs[leg.invite.call_id, leg.local_tag] = leg.id
        self._touched.add(leg.id)
        if owner.kind == "call":
            self._sip_calls[leg.invite.call_id] = owner.id
        if transaction is not None:
            self._invites[transaction] = leg.id

    def add_call(self, call: Call) -> None:
        """Take a new call in."""
        self.calls[call.id] = call
        self.media[call.id] = Media()
        self._touched.add(call.id)

    def touch(self, key: str) -> None:
        """Look at a machine's wake-up again when this event is done with."""
        self._touched.add(key)

    def leg(self, leg: str) -> Leg | None:
        """Return a leg to do something with; its wake-up is looked at again afterwards."""
        self._touched.add(leg)
        return self.legs.get(leg)

    def leg_in_dialog(self, request: Request) -> Leg | None:
        """Find the leg of a request that has a To tag. All of Call-ID and both tags must fit (RFC 3261 §12.2.2)."""
        leg = self.leg(self._dialogs.get((request.call_id, request.to.tag or ""), ""))
        return None if leg is None or leg.dialog_of(request) is None else leg

    def leg_named(self, call_id: str, one: str, other: str) -> Leg | None:
        """Find the leg of a dialog by its Call-ID and its tags in either order (RFC 3891 §3)."""
        for ours, theirs in ((one, other), (other, one)):
            leg = self.leg(self._dialogs.get((call_id, ours), ""))
            if leg is not None and leg.dialog is not None and leg.dialog.key == (call_id, ours, theirs):
                return leg
        return None

    def call_of(self, sip_call_id: str) -> str | None:
        """Return the call a SIP Call-ID belongs to, so that its messages become evidence."""
        return self._sip_calls.get(sip_call_id) or self.presence.call_of(sip_call_id)

    # --- in -----------------------------------------------------------------------------------------------------

    def sip(
        self,
        event: AckArrived | Cancelled | ResponseArrived | TransactionFailed | StrayResponse | ServerTimeout,
        now: float,
    ) -> list[Effect]:
        """Take what the transaction layer says about what already exists."""
        match event:
            case AckArrived(request, flow):
                leg = self.leg_in_dialog(request)
                return [] if leg is None else self.run(answer.ack(leg, request, flow), now)
            case Cancelled(transaction, request, _):
                leg = self.leg(self._invites.get(transaction, "")) or self.leg_in_dialog(request)
                return [] if leg is None else self.run(answer.cancelled(leg, transaction, request), now)
            case ResponseArrived(ref) | TransactionFailed(ref) if ref.startswith(REF):
                return self.run(by_presence.outcome(self, event, now), now)
            case ResponseArrived() | TransactionFailed() if taken := trunk_outcomes.outcome(self, event, now):
                return self.run(taken.items, now)
            case ResponseArrived(ref, response, flow):
                leg = self.leg(ref.split("/")[0])
                if leg is None:
                    return self.run(place.late(response, flow, self.contact("110", flow)), now)
                draw = int(self.mint("draw")) if response.status == 491 else 0
                return self.run(leg_events.response(leg, ref, response, flow, now, draw=draw), now)
            case TransactionFailed(ref, why):
                leg = self.leg(ref.split("/")[0])
                return [] if leg is None else self.run(leg_events.failed(leg, ref, why, now), now)
            case StrayResponse(response, flow):
                leg = self.leg(self._dialogs.get((response.call_id, response.from_.tag or ""), ""))
                # No transaction vouches for it: a repeated or forked 2xx comes from where the INVITE went (bars F28).
                if leg is None or flow.remote[0] != leg.flow.remote[0]:
                    return []
                return self.run(place.stray(leg, response, flow, now), now)
            case ServerTimeout():
                return []

    def in_dialog(self, event: RequestArrived, now: float) -> list[Effect]:
        """Take a request that has a To tag."""
        leg = self.leg_in_dialog(event.request)
        if leg is None:
            return self.run(by_presence.request(self, event, now), now)
        items: list[Item] = [*leg_events.request(leg, event.transaction, event.request, event.flow, now)]
        if (owner := self.owners[leg.id]).kind == "call":
            items += self.whereabouts.heard(owner.id, event.request, now)
        return self.run(items, now)

    # --- time -----------------------------------------------------------------------------------------------------

    @property
    def next_due(self) -> float | None:
        """When `expire` wants to be called."""
        return earliest(
            self._agenda.next_due, self.acd.next_due, self.trunks.next_due, self.presence.next_due
        )

    def expire(self, now: float) -> list[Effect]:
        """Do what is due."""
        out: list[Effect] = []
        for key, clock in (("acd", self.acd), ("trunks", self.trunks), ("presence", self.presence)):
            if (due := clock.next_due) is not None and due <= now:
                self._agenda.set(key, due)  # among the others, in order of time
        for key in list(self._agenda.expired(now)):
            if key in self.legs:
                out += self.run(trunk_outcomes.expire(self.legs[key], now), now, key)
            elif key in self.calls:
                out += self.run(self.calls[key].expire(now), now, key)
            elif key == "trunks":
                out += self.run(self.trunks.expire(now), now)
            else:
                out += self.run((self.presence if key == "presence" else self.acd).expire(now), now)
        return out

    # --- the pump -------------------------------------------------------------------------------------------------

    def run(self, items: Iterable[Item], now: float, *touched: str) -> list[Effect]:
        """Carry commands from machine to machine until only effects for the outside are left.

        `touched`: ids of the machines that made `items`.
        """
        out: list[Effect] = []
        self._touched.update(touched)
        todo: deque[Item] = deque(items)
        attempts = self.last_resort.attempts
        while todo or (attempts and cancel_attempts(self, todo)):
            item = todo.popleft()
            if type(item) not in OUTSIDE and (follow := self._take(item, now)) is not None:
                if follow:
                    todo.extendleft(reversed(follow))
                continue
            out.append(item)
            if type(item) is CallFinished:
                self._forget_call(item.call)
            elif type(item) is SendRequest:
                trunk_outcomes.sent(self, item)
        self._settle()
        return out

    def _settle(self) -> None:
        """Look again at what was touched: its wake-up, and whether it is over."""
        for key in self._touched | self._told if self._told else self._touched:
            if (leg := self.legs.get(key)) is not None:
                self._agenda.set(key, leg.next_due)
                if leg.state is LegState.TERMINATED and not self._needed(self.owners[key]):
                    self._forget_leg(key)
            elif (call := self.calls.get(key)) is not None:
                self._agenda.set(key, call.next_due)
            else:
                self._agenda.set(key, None)
        self.changed |= self._touched
        self._touched.clear()
        if self._told:
            self.placed |= self._told
            self._told.clear()

    def _take(self, item: Item, now: float) -> list[Item] | None:
        """Give an item to the machine it is for; None means it is for the outside."""
        if (kind := type(item)) in LEG_EVENTS:
            return owners.leg_said(self, item, now)
        if kind in ACD_EFFECTS:
            return owners.acd_said(self, item, now)
        match item:
            case events.AnswerLeg(leg, headers):
                return [] if (found := self.leg(leg)) is None else list(answer.answer(found, now, headers))
            case events.ProgressLeg(leg, headers):
                return [] if (found := self.leg(leg)) is None else trunk_outcomes.hear(found, headers, now)
            case events.PlaceLeg(leg):
                return [] if (found := self.leg(leg)) is None else list(place.place(found, now))
            case events.RefuseLeg(leg, status):
                return [] if (found := self.leg(leg)) is None else list(hangup.refuse(found, status))
            case events.EndLeg(leg):
                return [] if (found := self.leg(leg)) is None else list(hangup.hang_up(found))
            case events.Say(leg, text):
                return [] if (found := self.leg(leg)) is None else list(found.text(text))
            case events.ToAcd(DeskSignsIn(desk)):
                agent = self.room(desk).agent or desk
                return list(self.acd.receive(DeskSignsIn(desk, agent, self.away.get(agent)), now))
            case events.ToAcd(Requeue(call, queue) as event):
                if (waiting := self.calls.get(call)) is not None:  # one that is not answered yet enters there
                    waiting.entry = replace(waiting.entry, queue=queue)
                return list(self.acd.receive(event, now))
            case events.ToAcd(event):
                return list(self.acd.receive(event, now))
            case Follow() | Told():
                return by_presence.take(self, item, now)
            case PeerSaid() | Counted():
                return trunk_outcomes.take(self, item, now)
            case rooms.EndGuest(call, desk):
                return self.to_call(call, events.HostEnds(desk), now)
        return None

    def to_call(self, call: str, event: events.CallEvent, now: float) -> list[Item]:
        """Give a call an event; nothing happens if it is over."""
        found = self.calls.get(call)
        (self._told if isinstance(event, events.PlaceTold) else self._touched).add(call)
        return [] if found is None else list(found.receive(event, now))

    def forget(self, call: str) -> None:
        """Drop a call that can't be taken up again after a restart."""
        self._forget_call(call)

    def _forget_call(self, call: str) -> None:
        found = self.calls.pop(call, None)
        self.media.pop(call, None)
        self.whereabouts.ended(call)
        self.presence.end(call)
        if found is not None:
            self._touched |= {call, found.leg}

    def _needed(self, owner: Owner) -> bool:
        """Whether an ended leg stays findable: late messages of a call are still its evidence."""
        return owner.kind == "call" and owner.id in self.calls

    def _forget_leg(self, key: str) -> None:
        leg = self.legs.pop(key)
        del self.owners[key]
        self._agenda.set(key, None)
        assert leg.invite is not None, "a leg is made of its INVITE"
        self._dialogs.pop((leg.invite.call_id, leg.local_tag), None)
        self._sip_calls.pop(leg.invite.call_id, None)
        if leg.transaction is not None:
            self._invites.pop(leg.transaction, None)

    # --- what stands, for the journal and after a restart -----------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Return plain data."""
        return exchange_snapshot.snapshot(self)

    @classmethod
    def restore(cls, data: dict[str, Any], site: Site, mint: Mint) -> Self:
        """Make the exchange that `snapshot` described. Reports of media are not kept: the next ones come in seconds."""
        self = cls(site, mint)
        exchange_snapshot.resume(self, data)
        return self
