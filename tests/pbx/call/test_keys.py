"""Keys that come by INFO go on to the other side as RFC 4733 events, which those that come as such events do by themselves."""

import pytest

from pbx.call.effects import ToMedia
from rtp.control import Dtmf, SendDtmf
from tests.kit.hands import order
from tests.kit.trunks import TrunkWorld, trunk
from tests.kit.world import World, sdp

INFO = {"body": b"Signal=5\r\nDuration=160\r\n", "content_type": "application/dtmf-relay"}


class Listening(TrunkWorld):
    """Writes down which digits are sent where."""

    def run(self, effects):
        effects = list(effects)
        self.digits = getattr(self, "digits", [])
        for effect in effects:
            if isinstance(effect, ToMedia) and isinstance(effect.command, SendDtmf):
                self.digits.append((effect.command.leg, effect.command.digits))
        super().run(effects)


def talking(**more):
    world = Listening(trunk(**more))
    world.sign_in("d1")
    world.comes("13800138000", body=sdp(audio="8 101", video=None))
    world.ack("13800138000")
    (call,) = world.exchange.calls.values()
    assert call.desk == "d1"
    return world, call


def test_a_guests_key_by_info_is_sent_to_the_host():
    world, _ = talking()
    world.in_dialog("13800138000", "INFO", **INFO)
    assert world.digits == [(world.exchange.room("d1").leg, "5")]


def test_a_hosts_key_by_info_is_sent_to_the_guest():
    world, call = talking()
    world.desk_request("d1", "INFO", **INFO)
    assert world.digits == [(call.leg, "5")]


def test_where_a_trunk_wants_info_it_goes_on_as_such():
    world, _ = talking(dtmf="info")
    world.desk_request("d1", "INFO", **INFO)
    assert world.digits == []
    assert [r.body.decode().split("\r\n")[0] for _, r, _ in world.out("INFO")] == ["Signal=5"]


def test_keys_in_the_sound_go_on_by_themselves():
    world, call = talking()
    world.says(Dtmf(call.leg, "7"))
    world.says(Dtmf(world.exchange.room("d1").leg, "8"))
    assert world.digits == []


@pytest.mark.parametrize("waits", [True, False])
def test_who_waits_or_is_held_hears_no_key_and_none_of_its_own_goes_on(waits):
    world, call = talking()
    if waits:
        world.comes("13900139000", body=sdp(audio="8 101", video=None))
        world.ack("13900139000")
        world.in_dialog("13900139000", "INFO", **INFO)
    else:
        order(world, "d1", "hold")
        assert call.held
        world.in_dialog("13800138000", "INFO", **INFO)
        world.desk_request("d1", "INFO", **INFO)
    assert world.digits == []


def test_a_silent_caller_hears_no_key():
    world = World(desks=("d1",))
    world.sign_in("d1")
    world.invite("bob", uri="sip:110-silent@192.0.2.1")
    world.ack("bob")
    assert world.call("bob").silent
    seen = []
    media = world._media
    world._media = lambda command: (seen.append(command), media(command))
    world.desk_request("d1", "INFO", **INFO)
    assert not [command for command in seen if isinstance(command, SendDtmf)]
