"""Which waiting callers other desks may take too: neighbours by time, length of the queue or want of staff, then the trunk.

in → out: (line, scene) → changed places, each with what is to be told.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from msgspec.structs import replace

from routing.acd_events import Overflowed, OverflowToTrunk
from routing.assignment import Scene
from routing.queues import QueueRule, Rules, Waiting

Told = list[Overflowed | OverflowToTrunk]

NOTHING: Final = ("", 0)


def dues(rules: Rules, place: Waiting) -> Iterator[float]:
    """Give the moments at which time alone changes who may take a caller."""
    rule = rules.queue(place.queue)
    for need in place.needs:
        yield place.joined + rules.skill(place.queue, need).relax_after
    if rule.overflow_after is not None:
        yield from (place.joined + step * rule.overflow_after for step in range(1, len(rule.overflow_to) + 1))
    if rule.trunk is not None and rule.trunk_after is not None:
        yield place.joined + rule.trunk_after
    if place.trunk_from:
        yield place.trunk_from


def widen(line: Iterable[Waiting], scene: Scene) -> Iterator[tuple[Waiting, Waiting, Told]]:
    """Give (old place, new place, what is to be told) for everybody whose reach grows now."""
    ahead: Counter[str] = Counter()
    staffed: dict[str, int] = {}
    for place in line:
        ahead[place.queue] += 1
        rule = scene.rules.queue(place.queue)
        if not rule.overflow_to and rule.trunk is None:
            continue
        for queue in (place.queue, *rule.overflow_to):
            if queue not in staffed:
                staffed[queue] = scene.staffed(queue)
        why, steps = _steps(rule, place, ahead[place.queue], staffed, scene.now)
        more = tuple(queue for queue in rule.overflow_to[:steps] if queue not in place.reach)
        told: Told = [Overflowed(place.call, place.queue, queue, why) for queue in more]
        new = replace(place, reach=(*place.reach, *more)) if more else place
        trunk = _trunk(rule, place, staffed, scene.now)
        if trunk and rule.trunk is not None:
            told.append(OverflowToTrunk(place.call, rule.trunk, trunk, rule.trunk_number))
            new = replace(new, trunked=True)
        if told:
            yield place, new, told


def _steps(
    rule: QueueRule, place: Waiting, position: int, staffed: dict[str, int], now: float
) -> tuple[str, int]:
    """Return why, and how many of the neighbours may be asked."""
    if rule.overflow_length is not None and position > rule.overflow_length:
        return "length", len(rule.overflow_to)
    found = NOTHING
    if rule.overflow_after is not None:
        after = rule.overflow_after
        found = "time", sum(place.joined + n * after <= now for n in range(1, len(rule.overflow_to) + 1))
    if not staffed[place.queue]:
        there = (n for n, queue in enumerate(rule.overflow_to, 1) if staffed[queue])
        first = next(there, 0)
        if first > found[1]:
            return "unstaffed", first
    return found


def _trunk(rule: QueueRule, place: Waiting, staffed: dict[str, int], now: float) -> str:
    """Return why the trunk is to be asked now, empty when it is not."""
    if rule.trunk is None or place.trunked or now < place.trunk_from:
        return ""
    if rule.trunk_after is not None and place.joined + rule.trunk_after <= now:
        return "time"
    nobody = not any(staffed[queue] for queue in (place.queue, *rule.overflow_to))
    return "unstaffed" if nobody else ""
