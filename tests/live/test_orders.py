"""Two desks, three callers, a dozen orders of arrival and hang-up, all with real phones (How it is shown, 3).

The other interleavings, ten thousand of them, are tried on the pure machines.
"""

import itertools
from functools import partial

import pytest

from tests.live.conftest import NewPhone
from tests.live.kit.baresip import Baresip
from tests.live.kit.exchange import Exchange

pytestmark = pytest.mark.beside

CALLERS = {"ada": 620, "bea": 820, "cleo": 1150}
DESKS = (1600, 1900)
"""Tones of the desks; far from each other, from the callers' and from the 450 Hz of call progress tones."""

STRANGER_SHARE = 0.05
"""Share of the power another caller's tone may have in what a caller hears: leakage of the spectrum, not a voice."""

ORDERS = list(itertools.product(itertools.permutations(CALLERS), itertools.permutations(CALLERS)))[::3]


def _hears_a_desk(phone: Baresip) -> bool:
    return any(phone.hears(tone) for tone in DESKS)


def _heard_no_other_caller(phone: Baresip) -> None:
    latest = phone.heard.part(-1.0)
    for user, tone in CALLERS.items():
        if user != phone.account.user:
            assert latest.share(tone) < STRANGER_SHARE, f"{phone.account.user} hears {user}"


@pytest.mark.limit(240)
def test_a_dozen_orders(exchange: Exchange, phone: NewPhone, desk_phone: NewPhone) -> None:
    assert len(ORDERS) == 12
    desks = [desk_phone(number, tone=tone) for number, tone in enumerate(DESKS)]
    exchange.sign_in(*(desk.account.user for desk in desks))
    phones = {user: phone(user, tone=tone) for user, tone in CALLERS.items()}
    for arrivals, departures in ORDERS:
        _one_order(exchange, phones, arrivals, departures)
    for desk in desks:
        assert [event.type for event in desk.events].count("CALL_ESTABLISHED") == 1


def _one_order(
    exchange: Exchange, phones: dict[str, Baresip], arrivals: tuple[str, ...], departures: tuple[str, ...]
) -> None:
    order = f"arrival {arrivals}, hang-up {departures}"
    calls: dict[str, str] = {}
    for place, user in enumerate(arrivals):
        phones[user].dial(f"sip:110@{exchange.sip[0]}:{exchange.sip[1]}")
        calls[user] = str(exchange.call_of(user, state="waiting" if place == 2 else "active")["call"])
    through, waiting = list(arrivals[:2]), list(arrivals[2:])
    for user in departures:
        for one in through:
            exchange.until(partial(_hears_a_desk, phones[one]), f"{order}: {one} doesn't hear a desk")
        for one in through + waiting:
            _heard_no_other_caller(phones[one])
        hosts = [desk["call"] for desk in exchange.desks().values() if desk["state"] == "busy"]
        assert sorted(hosts) == sorted(calls[one] for one in through), order
        phones[user].hang_up()
        exchange.wait_gone(calls[user])
        if user in waiting:
            waiting.remove(user)
            continue
        through.remove(user)
        if waiting:
            through.append(waiting.pop(0))
            exchange.call_of(through[-1], state="active")
    exchange.until(
        lambda: all(desk["state"] in {"free", "signed_out"} for desk in exchange.desks().values()),
        f"{order}: a desk is busy",
    )
