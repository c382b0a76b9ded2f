"""Keys reach whoever hears the leg they are pressed on, relayed or mixed, and pass no gate."""

import pytest

from rtp import control as c
from tests.kit.conversation import ROLES, Conversation


def test_digits_reach_who_hears_the_leg_in_a_mix():
    talk = Conversation("desk", "caller", "fire")
    talk.do(c.SetStaff("fire", "barge"))
    talk.talk(10)
    talk.say("desk", (talk.said["desk"] + 65_500) & 0xFFFF, payload=b"\x05\x8a\x03\x20", payload_type=101)
    talk.talk(20, "caller", "fire")
    assert c.Dtmf("desk", "5") in talk.events
    assert {p.payload[0] for p in talk.sent("caller") if p.payload_type == 101} == {5}


def keys(talk, name):
    """The digits this phone was sent, each event once."""
    return [p.payload[0] for p in talk.sent(name) if p.payload_type == 101 and p.marker]


@pytest.mark.parametrize(
    ("mode", "presser", "hear"),
    [
        ("listen", "caller", {"desk", "fire"}),
        ("listen", "desk", {"caller", "fire"}),
        ("listen", "fire", set()),
        ("whisper", "fire", {"desk"}),
        ("barge", "caller", {"desk", "fire"}),
        ("barge", "fire", {"desk", "caller"}),
    ],
)
def test_keys_by_info_reach_who_hears_the_leg_relayed_or_mixed(mode, presser, hear):
    talk = Conversation("desk", "caller", "fire")
    talk.do(c.SetStaff("fire", mode))
    talk.talk(10)
    assert talk.do(c.PassDtmf(presser, "5")) == []
    talk.talk(20)
    assert {name for name in ROLES if name in talk.said and keys(talk, name) == [5]} == hear
    assert {name for name in talk.said if keys(talk, name)} == hear


@pytest.mark.parametrize(
    ("gates", "hear"),
    [
        ((True, True, False), {"desk": {"fire"}, "caller": {"desk", "fire"}}),
        ((False, True, True), {"desk": {"fire"}}),
    ],
)
def test_keys_by_info_pass_no_gate(gates, hear):
    """A silent guest hears none; one on hold hears none and is not heard."""
    talk = Conversation("desk", "caller", "fire")
    talk.do(c.SetGates("caller", *gates))
    for presser, digit in (("desk", "1"), ("caller", "2")):
        talk.talk(10)
        talk.do(c.PassDtmf(presser, digit))
        talk.talk(20)
        heard = {name for name in talk.said if int(digit) in keys(talk, name)}
        assert heard == hear.get(presser, set())
