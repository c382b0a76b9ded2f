"""Verb: ask a peer whose media stopped whether it lives, and count what it leaves unanswered.

in → out: media lost → OPTIONS in the dialog; no answer, often enough → `LegEnded("unreachable")`.
"""

from pbx.call.effects import Effect, LegEvent
from pbx.call.leg import PROBE_SECONDS, SDP, Leg, State


def probe(leg: Leg, now: float) -> list[Effect | LegEvent]:
    """Ask the peer whether it lives, because its media stopped."""
    if leg.state is not State.CONFIRMED or leg.probe_deadline is not None or leg.dialog is None:
        return []
    leg.probe_deadline = now + PROBE_SECONDS
    return [leg.ask("probe", "OPTIONS", (("Accept", SDP),))]


def missed(leg: Leg) -> list[Effect | LegEvent]:
    """Count a probe that got no answer."""
    pending, leg.probe_deadline = leg.probe_deadline, None
    if pending is None or leg.state is not State.CONFIRMED:
        return []
    leg.missed += 1
    return leg.end("unreachable") if leg.missed >= leg.patience else []
