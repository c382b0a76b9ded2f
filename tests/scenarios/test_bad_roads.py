"""Whole calls over roads that lose, double, reorder and delay (bars F11), a session refresh in every second one."""

import pytest

from pbx.call.leg import State
from tests.kit.network import Network, Road
from tests.kit.size import times
from tests.kit.stand import Phone, Stand, wait

CALLS = times(200, 2000)
"""Of each profile."""
LOST = times(2, 6)
"""Calls that may stay down at 30 %. One of some 1,100 does: 14 of 16,000 did. In 2,000 that is 1.8, and in one run of a hundred 6."""

PROFILES = {
    "clean": Road(),
    "1 %": Road(loss=0.01),
    "5 %": Road(loss=0.05, duplicate=0.05),
    "10 %": Road(loss=0.1, duplicate=0.05, reorder=0.1),
    "20 %": Road(loss=0.2, duplicate=0.05, reorder=0.1, jitter=0.1),
    "30 %": Road(loss=0.3, duplicate=0.05, reorder=0.1, jitter=0.1),
}
TIMER = (("Supported", "timer"), ("Session-Expires", "200;refresher=uas"))


@pytest.mark.limit(times(120, 1800))
@pytest.mark.parametrize("name", PROFILES)
def test_both_sides_always_agree(name):
    network = Network(110, PROFILES[name])
    stand = Stand()
    stand.now = network.clock.now
    network.attach(stand.address, stand)
    phone = Phone(network, "bob")
    up = 0
    for number in range(CALLS):
        phone.responses.clear()
        network.trace.clear()
        phone.invite(headers=TIMER)
        wait(network, 70.0)
        legs = [leg for leg in stand.exchange.legs.values() if leg.invite.call_id == phone.invited.call_id]
        ours = any(leg.state is State.CONFIRMED for leg in legs)
        theirs = phone.dialog is not None and not phone.ended
        assert ours == theirs, f"call {number}"
        assert len(legs) <= 1
        if theirs:
            up += 1
            if number % 2:
                wait(network, 60.0)  # a refresh is due in it
            if phone.ended:
                continue
            phone.send("BYE")
            wait(network, 70.0)
        assert not stand.exchange.calls, f"call {number} is left"
    # What RFC 3261's timers promise: all of them up to 20 %. At 30 % seven INVITEs are all lost once in 4,600 calls, and
    # eleven 200s that each need their ACK leave one in 1,600 down (0.51 ** 11).
    assert up >= CALLS - (LOST if name == "30 %" else 0)
    assert ("< UPDATE" in phone.ladder) or ("UPDATE" not in phone.allow)
    wait(network, 100.0)
    assert stand.quiet
    assert len(stand.finished) == len(stand.noted("call_arrived")) == CALLS
