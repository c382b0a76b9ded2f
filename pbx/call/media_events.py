"""What the media process says, given to the machines it concerns.

in → out: an `Event` of `rtp.control` → effects.
"""

from typing import Final, assert_never

from pbx.call import answer, half_open, hangup, hearing, one_way, probe, talks, too_much, visits
from pbx.call import call as calls
from pbx.call import call_events as events
from pbx.call.effects import CallFinished, Effect, Item, LegDigit, Note, ToMedia
from pbx.call.exchange import Exchange
from pbx.call.leg import Leg, State
from pbx.call.noting import note, note_always
from pbx.call.owner import Owner
from pbx.sip import reason
from rtp.control import (
    CloseEvidence,
    CloseLeg,
    Dtmf,
    Event,
    EvidenceClosed,
    EvidenceOpened,
    FirstRelayed,
    Holdings,
    Join,
    Joined,
    LegOpened,
    LegReport,
    MediaLost,
    MediaStarted,
    Medium,
    OpenEvidence,
    OpenLeg,
    PictureWanted,
    PlayEnded,
    Refused,
    Secured,
    SecurityFailed,
    SoundLoad,
    StreamReport,
)
from rtp.moving import LegsMoved

BRIEF: Final = frozenset({"feature", "trial"})
"""Owners whose legs are hung up when their tone has been played."""


def media_said(exchange: Exchange, event: Event, now: float) -> list[Effect]:
    """Take one event of the media process."""
    return exchange.run(_items(exchange, event, now), now)


def _items(exchange: Exchange, event: Event, now: float) -> list[Item]:
    match event:
        case LegOpened(leg, ports, fingerprint):
            found = exchange.leg(leg)
            if found is None:
                return [ToMedia(CloseLeg(leg))]
            return list(answer.ports(found, ports, now, fingerprint))
        case Secured(leg, medium, suite, by):
            return note_always(exchange, leg, "media_encrypted", {"medium": medium, "suite": suite, "by": by})
        case SecurityFailed(leg, medium, why, source):
            return _security_failed(exchange, leg, {"medium": medium, "reason": why, "source": source[0]})
        case Refused():
            return _refused(exchange, event, now)
        case MediaStarted(leg, medium, at):
            return _media_started(exchange, leg, medium, at, now)
        case MediaLost(leg, medium, seconds):
            return _media_lost(exchange, leg, medium, seconds, now)
        case Dtmf(leg, digit):
            return [LegDigit(leg, digit)]
        case PictureWanted(leg):
            found = exchange.leg(leg)
            return [] if found is None else list(found.want_picture())
        case PlayEnded(leg, _):
            return _play_ended(exchange, leg)
        case FirstRelayed(room, leg, medium, at):
            return note(exchange, leg, "first_relayed", {"room": room, "medium": medium, "media_at_ns": at})
        case EvidenceOpened(call):
            return exchange.to_call(call, events.CaptureOpened(), now)
        case EvidenceClosed(call) if call in exchange.orphans:
            exchange.orphans.discard(call)
            # Its signalling process died: what was recorded is sealed all the same.
            return [Note("call_cut", None, {"cut": call}), CallFinished(call)]
        case EvidenceClosed(call, packets, size) if call in exchange.hands.talks:
            return talks.closed(exchange, call, packets, size)
        case EvidenceClosed(call, packets, size):
            return exchange.to_call(call, events.CaptureClosed(packets, size), now)
        case LegReport(leg, streams):
            return _report(exchange, leg, streams)
        case Joined() | LegsMoved() | SoundLoad():
            return []
        case Holdings():
            return _reconcile(exchange, event)
    assert_never(event)


def _refused(exchange: Exchange, event: Refused, now: float) -> list[Item]:
    match event.command:
        case "OpenLeg":
            found = exchange.leg(event.id)
            return [] if found is None else list(answer.no_ports(found))
        case "OpenEvidence" if event.id in exchange.hands.talks:
            return [Note("not_recorded", event.id, {"reason": event.reason})]
        case "CloseEvidence" if event.id in exchange.hands.talks:
            return talks.closed(exchange, event.id, 0, 0)  # it was never open
        case "CloseEvidence" if event.reason == "unknown_call":
            # It was restarted meanwhile: how much the capture held was told to nobody.
            return exchange.to_call(event.id, events.CaptureClosed(0, 0, "capture_not_closed"), now)
        case "OpenEvidence":
            return exchange.to_call(event.id, events.CaptureOpened(event.reason), now)
    call = event.id if event.id in exchange.calls else None
    return [Note("media_refused", call, {"command": event.command, "id": event.id, "reason": event.reason})]


def _security_failed(exchange: Exchange, leg: str, fields: dict[str, object]) -> list[Item]:
    """End a leg whose other end is not who its SDP says, and say so."""
    found, owner = exchange.leg(leg), exchange.owners.get(leg)
    if found is None or owner is None:
        return []
    # RFC 5763 §5: a fingerprint that does not match the certificate ends the media session at once.
    noted = note_always(exchange, leg, "security_failed", fields)
    if found.state is State.CONFIRMED:
        return [*noted, *hangup.give_up(found, "security_failed", reason.SECURITY)]
    return [*noted, *hangup.hang_up(found, reason.SECURITY)]


def _media_started(exchange: Exchange, leg: str, medium: Medium, at: int, now: float) -> list[Item]:
    found, owner = exchange.leg(leg), exchange.owners.get(leg)
    if found is None or owner is None:
        return []
    found.alive()
    if owner.kind == "call" and (media := exchange.media.get(owner.id)) is not None:
        media.flowing.add(medium)
        media.lost.discard(medium)
    heard = hearing.started(exchange, owner.id) if owner.kind == "desk" and medium == "audio" else []
    began = note(exchange, leg, "media_started", {"medium": medium, "media_at_ns": at})
    return [*began, *one_way.back(exchange, found, medium, now), *heard]


def _media_lost(exchange: Exchange, leg: str, medium: Medium, seconds: float, now: float) -> list[Item]:
    found, owner = exchange.leg(leg), exchange.owners.get(leg)
    if found is None or owner is None:
        return []
    items = one_way.lost(exchange, found, medium, seconds, now)
    if owner.kind == "call" and (media := exchange.media.get(owner.id)) is not None:
        media.flowing.discard(medium)
        media.lost.add(medium)
        doubtful = medium == "audio" and seconds >= one_way.DOUBTFUL_SECONDS
        if doubtful and (given_up := half_open.replaced(exchange, owner.id)):
            return [*items, *given_up]
    if seconds < one_way.DOUBTFUL_SECONDS or (medium != "audio" and _has_sound(found)):
        return (
            items  # sound decides whether somebody is there: a picture may stop because a camera was covered
        )
    return [*items, *probe.probe(found, now)]


def _has_sound(leg: Leg) -> bool:
    return any(s.medium == "audio" for s in leg.negotiation.streams)


def _play_ended(exchange: Exchange, leg: str) -> list[Item]:
    owner = exchange.owners.get(leg)
    return [events.EndLeg(leg)] if owner is not None and owner.kind in BRIEF else []


def _report(exchange: Exchange, leg: str, streams: tuple[StreamReport, ...]) -> list[Item]:
    owner, found = exchange.owners.get(leg), exchange.legs.get(leg)
    before: tuple[StreamReport, ...] = ()
    if found is not None:
        before, found.report = found.report, streams
    if owner is not None and owner.kind == "desk":
        return hearing.reported(exchange, owner.id, streams)
    if owner is None or owner.kind != "call":
        return []
    return [*_strangers(owner.id, before, streams), *too_much.reported(exchange, owner.id, streams)]


def _strangers(call: str, before: tuple[StreamReport, ...], streams: tuple[StreamReport, ...]) -> list[Item]:
    """Say that somebody else sends to the caller's ports, each time the count has grown (bar S1)."""
    known = {stream.medium: stream.strangers for stream in before}
    grown = [(stream, stream.strangers - known.get(stream.medium, 0)) for stream in streams]
    return [
        Note(
            "media_rejected",
            call,
            {"leg": "caller", "medium": stream.medium, "packets": fresh, "all": stream.strangers},
        )
        for stream, fresh in grown
        if fresh > 0
    ]


def _reconcile(exchange: Exchange, held: Holdings) -> list[Item]:
    """Make the media process hold what signalling knows, after either of them was away.

    Legs it holds that nobody knows are closed. Legs it lost (it was restarted) are opened again on the same ports,
    configured and joined as before; the gap is stated in the evidence.
    """
    out: list[Item] = []
    kept = {h.leg for h in held.legs}
    out += [ToMedia(CloseLeg(leg)) for leg in kept if leg not in exchange.legs]
    known = exchange.calls.keys() | exchange.hands.talks.keys()
    exchange.orphans |= {call for call in held.evidence if call not in known}
    out += [ToMedia(CloseEvidence(call)) for call in held.evidence if call in exchange.orphans]
    for call in exchange.calls.values():
        if call.capture_closing and call.state is calls.State.CLOSING:
            out.append(ToMedia(CloseEvidence(call.id)))  # it, or its answer, may have been lost
        elif call.id not in held.evidence and call.state not in {calls.State.CLOSING, calls.State.ENDED}:
            out.append(ToMedia(OpenEvidence(call.id, f"{exchange.site.policy.folder}/{call.id}")))
            if call.state is not calls.State.ARRIVING:  # else it is the capture that was never opened
                out.append(Note("media_restarted", call.id, dict(exchange.media_gap)))
    for leg in exchange.legs.values():
        if leg.id in kept or not leg.live:
            continue
        ports = leg.negotiation.pairs
        owner = exchange.owners[leg.id]
        media = leg.negotiation.open_media or leg.asked
        out.append(ToMedia(OpenLeg(leg.id, media, leg.setup.bind, leg.evidence, ports, urgent=True)))
        if leg.negotiation.streams:
            out.append(ToMedia(leg.agreed()))
        out += rejoin(exchange, leg.id, owner)
    return [*out, *talks.resume(exchange, held.evidence)]


def rejoin(exchange: Exchange, leg: str, owner: Owner) -> list[Item]:
    """Put a leg back where it belongs, with its gates, and play what its owner waits by."""
    if owner.kind == "desk":
        room = exchange.rooms.get(owner.id)
        if room is None:
            return []
        if (visiting := visits.rejoin(exchange, owner.id, leg)) is not None:
            return visiting
        at_home = room.present and (not room.outside or room.user is not None or room.guest is not None)
        return [ToMedia(Join(room.id, leg, "host"))] if at_home else []
    call = exchange.calls.get(owner.id) if owner.kind == "call" else None
    if call is None:
        return []
    out: list[Item] = [call.gates()]
    if call.desk is not None and call.state is calls.State.TALKING:
        out.append(ToMedia(Join(exchange.room(call.desk).id, leg, "guest")))
    return [*out, *call.wait_sound()]
