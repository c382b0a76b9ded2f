"""Accounts and trunks named in `media.asymmetric` are sent media where their SDP says."""

from dataclasses import replace

import pytest

from pbx.call.negotiation import Negotiation
from pbx.sip.flow import Flow
from rtp.control import PortPair
from tests.kit.world import HOST, World, sdp

FLOW = Flow("udp", (HOST, 5060), ("192.0.2.77", 5060))


@pytest.mark.parametrize(("name", "asymmetric"), [("gateway", True), ("alice", False), (None, False)])
def test_what_the_media_process_is_told_of_whoever_is_named(name, asymmetric):
    exchange = World(desks=()).exchange
    exchange.site = replace(exchange.site, asymmetric=frozenset({"gateway"}))
    setup = exchange.setup(FLOW, name)
    made = setup.negotiation(1)
    again = Negotiation.restore(made.snapshot(), setup.capabilities)
    for negotiation in (made, again):
        negotiation.opened((PortPair("audio", 20000, 20001), PortPair("video", 20002, 20003)))
        negotiation.answer(sdp())
        assert {stream.asymmetric for stream in negotiation.streams} == {asymmetric}
