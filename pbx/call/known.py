"""What is known of a caller beside who it is: needs, what the operator says, earlier calls, what dispatchers marked. Pure.

in → out: an account, what was asked and answered → needs of the queue, notes, advice to the dispatcher in the order it matters.

It never delays, never refuses and never moves a call: nothing of it reaches `routing` but what a person needs to be understood.
A claimed number is asked nothing about: anybody could dial under it, and be taken for whoever it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from pbx.blocked import moment, sentence
from pbx.call import call_events as events
from pbx.call.effects import AskFacts, Item, Note

if TYPE_CHECKING:
    from pbx.call.call import Call
    from pbx.call.caller import Caller
    from pbx.call.entry import Entry
    from pbx.call.exchange import Exchange
    from pbx.identity import Account

SKILLS: Final = {"deaf": "sign", "speech": "text"}
"""Need of a person → skill a dispatcher has for it. A skill nobody has is not waited for."""
NEEDS: Final = {
    "deaf": ("听力障碍：请打手语或书写", "deaf: sign or write"),
    "speech": ("言语障碍：请用文字", "can't speak: write"),
}
MARKED: Final = {"hoax": ("虚假报警", "hoaxes"), "nuisance": ("骚扰", "nuisance")}
SHOWN: Final = ("name", "address", "note")
"""Of what an operator says of a number, in this order."""


def of_account(account: Account | None) -> dict[str, Any]:
    """Return what an account says of its person's language and needs; empty when it says nothing."""
    if account is None or not (account.language or account.needs):
        return {}
    return {"account": {"language": account.language, "needs": list(account.needs)}}


def entering(entry: Entry, account: Account | None, *, speaks: bool) -> Entry:
    """Return how a caller enters the queue, its account's needs included. `speaks`: its phone names a language itself."""
    if account is None:
        return entry
    more = {SKILLS[need] for need in account.needs if need in SKILLS}
    if account.language and not speaks:
        more.add(account.language.partition("-")[0].lower())
    return replace(entry, needs=entry.needs | more)


def ask(call: str, caller: Caller) -> list[Item]:
    """Ask what others know of a caller: of a proven account, or of a number that a trunk vouches for."""
    if caller.user is None and (caller.trunk is None or caller.number is None):
        return []
    return [AskFacts(call, caller.user, caller.number, caller.trunk)]


def told(exchange: Exchange, call: str, answer: events.FactsTold, now: float) -> list[Item]:
    """Take an answer. The dispatcher who has the call already reads it too."""
    if (known := exchange.calls.get(call)) is None:
        return []
    before = advice(known)
    out = exchange.to_call(call, answer, now)
    fresh = [line for line in advice(known) if line not in before]
    host = exchange.rooms.get(known.desk or "")
    if not fresh or host is None or host.outside or host.leg is None:
        return out
    return [*out, events.Say(host.leg, "\n".join(fresh))]


def kept(call: Call, event: events.FactsTold) -> list[Any]:
    """Keep an answer with its call."""
    if event.why is not None:
        return [Note("caller_facts", call.id, {"source": event.source, "why": event.why})]
    call.facts[event.source] = event.found
    return [Note("caller_facts", call.id, {"source": event.source, "found": event.found})]


def advice(call: Call) -> list[str]:
    """Return what a dispatcher should know, what matters most first, each line in both languages.

    How to talk with the person comes before who it is, a danger that repeats itself before earlier calls, and what other
    dispatchers thought of those last, with a block of the account: it is no reason to believe anybody less now.
    """
    return [f"{zh} {en}" for zh, en in _advice(call)]


def _advice(call: Call) -> Iterator[tuple[str, str]]:
    account = call.facts.get("account", {})
    subscriber = call.facts.get("subscriber", {})
    history = call.facts.get("history", {})
    for need in dict.fromkeys([*account.get("needs", ()), *subscriber.get("needs", ())]):
        if need in NEEDS:
            yield NEEDS[need]
    if (recent := history.get("recent", 0)) > 0:
        yield f"一小时内第{recent + 1}次来电", f"call number {recent + 1} within an hour"
    said = ", ".join(str(subscriber[key]) for key in SHOWN if subscriber.get(key))
    if said:
        yield (
            f"机主信息（{subscriber.get('by', '?')}）：",
            f"subscriber by {subscriber.get('by', '?')}: {said}",
        )
    if (calls := history.get("calls", 0)) > 0:
        yield f"此前来电{calls}次", f"{calls} earlier calls"
    marks = history.get("marks", {})
    for mark, (zh, en) in MARKED.items():
        if count := marks.get(mark, 0):
            last = history.get("marked", {}).get(mark, {})
            whose = [word for word in (last.get("by"), moment(last.get("at"))) if word]
            yield (
                f"其中{count}次被标记为{zh}" + (f"（最近：{'，'.join(whose)}）" if whose else ""),
                f"{count} marked as {en} by dispatchers" + (f" (last: {', '.join(whose)})" if whose else ""),
            )
    if call.caller.blocked is not None:
        yield sentence(call.caller.blocked)
