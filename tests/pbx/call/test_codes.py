"""Keys typed on a desk's phone become orders, or nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.call.codes import MAX_KEYS, pressed
from pbx.hands_settings import TAKES_TARGET, HandsSettings

SETTINGS = HandsSettings()


def typed(text, settings=SETTINGS):
    """Type a text; returns the orders that came of it, and what is left."""
    kept, orders = "", []
    for key in text:
        kept, order = pressed(settings, kept, key)
        if order is not None:
            orders.append(order)
    return orders, kept


def test_every_code_gives_its_verb():
    for code, verb in SETTINGS.codes().items():
        takes = verb in TAKES_TARGET
        assert typed(f"{code}8002#" if takes else code) == ([(verb, "8002" if takes else "")], "")


@pytest.mark.parametrize("text", ["*99", "17", "#", "*15#", "*158002", "*1", "*15*", "8002#", "*1A"])
def test_what_is_no_order(text):
    assert typed(text)[0] == []


def test_a_star_begins_anew():
    assert typed("*1580*17")[0] == [("complete", "")]
    assert typed("*17*18")[0] == [("complete", ""), ("cancel", "")]


def test_a_site_has_its_own_codes():
    assert typed("*70", HandsSettings(hold="*70"))[0] == [("hold", "")]


@given(st.text(alphabet="0123456789*#ABCD", max_size=200))
def test_what_is_kept_is_bounded_and_every_order_is_a_verb(text):
    orders, kept = typed(text)
    assert len(kept) <= MAX_KEYS
    assert {verb for verb, _ in orders} <= set(SETTINGS.codes().values())
    assert all(bool(target) is (verb in TAKES_TARGET) for verb, target in orders)
