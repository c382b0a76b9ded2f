"""`[queue]` of the settings file: queues, dispatchers, and what callers are told.

in → out: settings → `QueueSettings`; `rules(…)` makes of it what `routing` goes by, `wrong(…)` names what doesn't fit.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Literal

import msgspec

from pbx.section import Count, Seconds, Section
from routing.queues import DEFAULT, Profile, QueueRule, Rules, Skill, Strategy

__all__ = ["AgentTable", "QueueSettings", "QueueTable", "SkillTable", "rules", "wrong"]

QueueName = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_.-]{1,64}\Z")]
SkillName = Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9-]{1,32}\Z")]
Level = Annotated[int, msgspec.Meta(ge=1, le=99)]
Weight = Annotated[float, msgspec.Meta(ge=0, le=1000)]
Language = Literal["zh", "en"]


class SkillTable(Section, frozen=True, kw_only=True):
    """What a skill counts for in one queue: `[queue.queues.skills.sign]`."""

    weight: Weight = 1.0
    relax_seconds: Seconds = 30.0
    """A caller waits so long for somebody who has it, if anybody is signed in who has; 0: only a preference."""


class QueueTable(Section, frozen=True, kw_only=True):
    """One queue: a `[[queue.queues]]` table. `default` is the one of callers who belong to no other."""

    name: QueueName = DEFAULT
    strategy: Strategy | None = None
    """None: `queue.strategy`."""
    skills: Mapping[SkillName, SkillTable] = msgspec.field(default_factory=dict)
    overflow_to: tuple[QueueName, ...] = ()
    overflow_seconds: Seconds | None = None
    overflow_length: Count | None = None
    trunk: QueueName | None = None
    trunk_seconds: Seconds | None = None
    trunk_number: Annotated[str, msgspec.Meta(pattern=r"\A\+?[0-9]{1,20}\Z")] = "110"


class AgentTable(Section, frozen=True, kw_only=True):
    """One dispatcher: a `[[queue.agents]]` table. Who has none takes every queue at level 1."""

    user: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    queues: Mapping[QueueName, Level] = msgspec.field(default_factory=dict)
    skills: tuple[SkillName, ...] = ()


class QueueSettings(Section, frozen=True, kw_only=True):
    """Waiting callers and desks."""

    wrap_up_seconds: Seconds = 5.0
    """How long a desk rests after a call; 0 allowed."""
    language: Language = "zh"
    """Language of prompts and texts to callers."""
    spoken: tuple[Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*\Z")], ...] = (
        "zh",
        "en",
    )
    """Languages dispatchers speak, best first (BCP 47): the answer to a phone that asks (RFC 8373)."""
    strategy: Strategy = "longest-idle"
    """Which of the desks that may take a caller gets it."""
    redial_seconds: Seconds = 120.0
    """How long the place of a caller who dropped is kept."""
    stay_seconds: Seconds = 60.0
    """How often a waiting caller is told the place again and asked to stay; 0: only when it changes."""
    no_sound_seconds: Seconds = 20.0
    """A desk that has sent no sound for so long since it was given its caller is put away; 0: never."""
    queues: tuple[QueueTable, ...] = ()
    """Queues with rules of their own."""
    agents: tuple[AgentTable, ...] = ()
    """Dispatchers who do not take everything."""


def rules(queue: QueueSettings) -> Rules:
    """Return the settings as the queue goes by them."""
    tables = {DEFAULT: QueueTable(), **{table.name: table for table in queue.queues}}
    return Rules(
        wrap_up=queue.wrap_up_seconds,
        queues={name: _rule(table, queue.strategy) for name, table in tables.items()},
        profiles={one.user: Profile(dict(one.queues), frozenset(one.skills)) for one in queue.agents},
        redial=queue.redial_seconds,
        no_sound=queue.no_sound_seconds or None,
    )


def _rule(table: QueueTable, strategy: Strategy) -> QueueRule:
    return QueueRule(
        table.name,
        table.strategy or strategy,
        {name: Skill(skill.weight, skill.relax_seconds) for name, skill in table.skills.items()},
        table.overflow_to,
        table.overflow_seconds,
        table.overflow_length,
        table.trunk,
        table.trunk_seconds,
        table.trunk_number,
    )


def wrong(queue: QueueSettings, trunks: Collection[str] = ()) -> Iterator[str]:
    """Name what does not fit together. `trunks`: the names of all there are."""
    for table in queue.queues:
        if table.trunk is not None and table.trunk not in trunks:
            yield f"queue {table.name!r} overflows to trunk {table.trunk!r}, which is no trunk"
    names = [table.name for table in queue.queues]
    known = {DEFAULT, *names}
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"two queues are called {name!r}"
    for table in queue.queues:
        for to in table.overflow_to:
            if to not in known or to == table.name:
                yield f"queue {table.name!r} overflows to {to!r}, which is no other queue"
    users = [agent.user for agent in queue.agents]
    for user in sorted({user for user in users if users.count(user) > 1}):
        yield f"two agents are called {user!r}"
    for agent in queue.agents:
        for name in agent.queues:
            if name not in known:
                yield f"agent {agent.user!r} serves {name!r}, which is no queue"
