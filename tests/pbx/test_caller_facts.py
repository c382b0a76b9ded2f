"""Every source is asked at once and heard once, and what fails is said."""

import asyncio

import asyncpg
import pytest

from pbx.call.effects import AskFacts
from pbx.caller_facts import MAX_AT_ONCE, CallerFacts
from pbx.storage.database import DatabaseAwayError
from pbx.subscribers import SubscriberError, SubscriberSettings
from pbx.tasks import Tasks

TRUNK = AskFacts("c1", None, "+8613800138000", "t1")
ACCOUNT = AskFacts("c2", "alice", "13800000001", None)


class Histories:
    def __init__(self, answer=None):
        self.asked, self.answer = [], answer or {"calls": 3}

    async def of(self, database, call, account, number):
        self.asked.append((call, account, number))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Operator:
    def __init__(self, answer=None):
        self.asked, self.answer = [], answer or {"name": "王丽", "by": "o"}

    async def find(self, number):
        self.asked.append(number)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def heard(question, histories=None, operator=None):
    """Ask once; give what was told."""
    tasks = Tasks("test", lambda name, error: pytest.fail(f"{name}: {error!r}"))
    told = []
    facts = CallerFacts(histories or Histories(), None, tasks, SubscriberSettings(), subscribers=operator)
    facts.ask(question, lambda *answer: told.append(answer))
    assert told == [], "nobody waits for it"
    async with asyncio.timeout(5):
        while facts._running:
            await asyncio.sleep(0)
    await tasks.close()
    return sorted(told, key=lambda answer: answer[0])


async def test_a_number_of_a_trunk_is_known_by_both():
    histories, operator = Histories(), Operator()
    assert await heard(TRUNK, histories, operator) == [
        ("history", {"calls": 3}, None),
        ("subscriber", {"name": "王丽", "by": "o"}, None),
    ]
    assert histories.asked == [("c1", None, "+8613800138000")]
    assert operator.asked == ["+8613800138000"]


async def test_an_account_is_no_operators_business():
    operator = Operator()
    assert await heard(ACCOUNT, None, operator) == [("history", {"calls": 3}, None)]
    assert operator.asked == []


async def test_without_a_service_only_the_history():
    assert await heard(TRUNK) == [("history", {"calls": 3}, None)]


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (DatabaseAwayError(), "database away"),
        (TimeoutError(), "database away"),
        (asyncpg.UndefinedTableError("x"), "UndefinedTableError"),
    ],
)
async def test_a_database_that_is_away_is_said(error, why):
    assert await heard(ACCOUNT, Histories(error)) == [("history", None, why)]


async def test_one_that_fails_keeps_nobody_from_the_other():
    told = await heard(TRUNK, Histories(DatabaseAwayError()), Operator(SubscriberError("unknown there")))
    assert told == [("history", None, "database away"), ("subscriber", None, "unknown there")]


async def test_a_crowd_goes_without_advice_and_the_next_has_it():
    tasks = Tasks("test", lambda name, error: pytest.fail(f"{name}: {error!r}"))
    facts = CallerFacts(Histories(), None, tasks, SubscriberSettings())
    told = []
    for _ in range(MAX_AT_ONCE + 50):
        facts.ask(ACCOUNT, lambda *answer: told.append(answer))
    async with asyncio.timeout(10):
        while facts._running:
            await asyncio.sleep(0)
    assert len(told) == MAX_AT_ONCE
    facts.ask(ACCOUNT, lambda *answer: told.append(answer))
    async with asyncio.timeout(10):
        while facts._running:
            await asyncio.sleep(0)
    assert len(told) == MAX_AT_ONCE + 1
    await tasks.close()
