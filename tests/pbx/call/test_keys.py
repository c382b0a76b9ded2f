"""Keys that come by INFO go on to who hears their sender as RFC 4733 events, which those that come as such events do by themselves."""

from pbx.call import silence
from pbx.call.effects import ToMedia
from rtp.control import Dtmf, PassDtmf
from tests.kit.trunks import TrunkWorld, trunk
from tests.kit.world import sdp

INFO = {"body": b"Signal=5\r\nDuration=160\r\n", "content_type": "application/dtmf-relay"}


class Listening(TrunkWorld):
    """Writes down whose digits are to go on."""

    def run(self, effects):
        effects = list(effects)
        self.digits = getattr(self, "digits", [])
        for effect in effects:
            if isinstance(effect, ToMedia) and isinstance(effect.command, PassDtmf):
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


def test_a_key_by_info_goes_on_to_who_hears_its_sender():
    world, call = talking()
    world.in_dialog("13800138000", "INFO", **INFO)
    assert world.digits == [(call.leg, "5")]
    world.desk_request("d1", "INFO", **INFO)
    assert world.digits[1:] == [(world.exchange.room("d1").leg, "5")]


def test_where_a_trunk_wants_info_it_goes_on_as_such():
    world, _ = talking(dtmf="info")
    world.desk_request("d1", "INFO", **INFO)
    assert [r.body.decode().split("\r\n")[0] for _, r, _ in world.out("INFO")] == ["Signal=5"]


def test_keys_in_the_sound_go_on_by_themselves():
    world, call = talking()
    world.says(Dtmf(call.leg, "7"))
    world.says(Dtmf(world.exchange.room("d1").leg, "8"))
    assert world.digits == []


def test_a_silent_caller_over_a_trunk_that_wants_info_hears_no_key():
    world, call = talking(dtmf="info")
    world.run(silence.silent_on(world.exchange, call.id, "api", world.now))
    assert call.silent
    world.desk_request("d1", "INFO", **INFO)
    assert world.out("INFO") == []
