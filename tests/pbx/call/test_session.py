"""Session timers on the legs of callers and desks (RFC 4028), and refreshes by UPDATE or re-INVITE."""

import pytest

from pbx.call.call import State
from pbx.call.effects import SendAck
from tests.kit.dialling import dial_in
from tests.kit.world import World, sdp

TIMER = ("Supported", "timer")
UPDATES = ("Allow", "UPDATE")


def call_up(*headers, desk=False, body=None):
    world = World()
    if desk:
        world.sign_in("d1")
    world.invite("bob", headers=headers, body=body)
    world.ack("bob")
    return world


def test_caller_that_refreshes_is_left_alone_while_it_does():
    world = call_up(TIMER, ("Session-Expires", "600;refresher=uac"))
    answer = world.last_answer("bob")
    assert answer.headers.get("Session-Expires") == "600;refresher=uac"
    assert "timer" in answer.headers.all("Require")
    assert "timer" in answer.headers.all("Supported")
    for cseq in range(2, 6):
        world.wait(400.0)
        refreshed = world.in_dialog(
            "bob", "UPDATE", cseq=cseq, headers=(TIMER, ("Session-Expires", "600;refresher=uac"))
        )
        assert world.answers[refreshed][-1].status == 200
        assert world.answers[refreshed][-1].headers.get("Session-Expires") == "600;refresher=uac"
        assert world.answers[refreshed][-1].body == b""
    assert world.asked("BYE") is None
    world.wait(599.0)
    assert world.call("bob") is not None
    world.wait(1.1)
    assert world.noted("call_ended")[0].fields["cause"] == "session_expired"
    assert world.asked("BYE").request.headers.get("Reason") == 'SIP;cause=408;text="Session expired"'


def test_we_refresh_by_update_where_the_phone_takes_it():
    world = call_up(TIMER, UPDATES, ("Session-Expires", "600;refresher=uas"))
    assert world.last_answer("bob").headers.get("Session-Expires") == "600;refresher=uas"
    for _ in range(3):
        world.wait(299.9)
        before = len(world.sent)
        world.wait(0.2)
        assert [type(e).__name__ for e in world.sent[before:]] == ["SendRequest"]
        asked = world.asked("UPDATE").request
        assert asked.headers.get("Session-Expires") == "600;refresher=uac"
        assert asked.contact is not None
        assert asked.body == b"", "a refresh touches no media"
        world.reply("UPDATE", headers=(("Session-Expires", "600;refresher=uac"),))
    assert world.asked("INVITE") is None


def test_we_refresh_by_a_reinvite_that_changes_nothing_where_it_does_not():
    world = call_up(TIMER, ("Session-Expires", "600;refresher=uas"))
    said = world.last_answer("bob").body
    streams = world.exchange.legs[world.call("bob").leg].negotiation.streams
    world.wait(300.1)
    asked = world.asked("INVITE").request
    # RFC 4028 §7.4: the same description, so the same version.
    assert asked.body == said
    assert asked.headers.get("Session-Expires") == "600;refresher=uac"
    world.reply("INVITE", headers=(("Session-Expires", "600;refresher=uac"),), body=sdp())
    assert isinstance(world.sent[-1], SendAck)
    assert world.exchange.legs[world.call("bob").leg].negotiation.streams == streams
    world.wait(300.1)
    assert world.asked("INVITE").request is not asked


@pytest.mark.parametrize("status", [405, 501])
def test_update_that_is_not_taken_after_all_becomes_a_reinvite(status):
    world = call_up(TIMER, UPDATES, ("Session-Expires", "600;refresher=uas"))
    world.wait(300.1)
    world.reply("UPDATE", status)
    update, first = world.asked("UPDATE"), world.asked("INVITE")
    world.reply("INVITE", headers=(("Session-Expires", "600;refresher=uac"),), body=sdp())
    world.wait(300.1)
    assert world.asked("INVITE") is not first
    assert world.asked("UPDATE") is update, "it is not asked for again"


@pytest.mark.parametrize("how", ["timeout", "transport", 481, 408, 500])
def test_caller_whose_refresh_fails_is_ended_only_after_the_whole_interval(how):
    world = call_up(TIMER, UPDATES, ("Session-Expires", "600;refresher=uas"))
    start = world.now
    tries = 0
    while world.now < start + 599.0:
        world.wait(1.0)
        if (asked := world.asked("UPDATE")) is not None and asked.request.cseq.number > tries:
            tries = asked.request.cseq.number
            if isinstance(how, str):
                world.fails("UPDATE", how)
            else:
                world.reply("UPDATE", how)
    assert tries > 2
    assert world.call("bob").state is State.WAITING
    assert world.asked("BYE") is None
    world.wait(1.1)
    assert world.asked("BYE") is not None
    assert world.noted("call_ended")[0].fields["cause"] == "session_expired"


def test_refresh_that_works_again_saves_the_call():
    world = call_up(TIMER, UPDATES, ("Session-Expires", "600;refresher=uas"))
    world.wait(300.1)
    world.fails("UPDATE")
    world.wait(76.0)
    world.reply("UPDATE", headers=(("Session-Expires", "600;refresher=uac"),))
    world.wait(299.0)
    assert world.call("bob") is not None
    assert world.noted("call_ended") == []


def test_too_short_an_interval_never_refuses_an_emergency():
    world = call_up(TIMER, ("Session-Expires", "5"))
    assert world.last_answer("bob").status == 200
    assert world.last_answer("bob").headers.get("Session-Expires") is None
    world.wait(100.0)
    assert world.call("bob") is not None


def test_phone_that_knows_no_timers_has_none():
    world = call_up()
    assert world.last_answer("bob").headers.get("Session-Expires") is None
    world.wait(10_000.0)
    assert world.call("bob") is not None


def test_phone_that_only_knows_timers_is_refreshed_by_us():
    world = call_up(TIMER)
    assert world.last_answer("bob").headers.get("Session-Expires") == "1800;refresher=uas"


# --- desks ------------------------------------------------------------------------------------------------------------


def desk_up(value="600;refresher=uac", *, allow="INVITE, ACK, BYE, UPDATE"):
    world = World()
    world.sign_in("d1", answer=False)
    headers = (("Allow", allow), *((("Session-Expires", value),) if value else ()))
    world.reply("INVITE", to_tag="desk", headers=headers, body=sdp(address="192.0.2.88"))
    assert world.exchange.room("d1").present
    return world


def test_our_invite_asks_for_a_timer():
    world = desk_up()
    invite = world.desk_invite("d1").request
    assert invite.headers.get("Session-Expires") == "1800"
    assert {"timer", "100rel"} <= set(invite.headers.all("Supported"))


def test_desk_that_leaves_a_refresh_unanswered_is_given_up_and_its_caller_waits_again():
    world = desk_up()
    world.invite("bob")
    world.ack("bob")
    world.wait(300.1)
    world.fails("UPDATE")
    assert world.asked("BYE").request.headers.get("Reason") == 'SIP;cause=408;text="Session expired"'
    assert world.exchange.room("d1").fault == "unreachable"
    assert world.call("bob").state is State.WAITING


def test_desk_that_does_not_refresh_is_given_up_before_the_interval_ends():
    world = desk_up("600;refresher=uas")
    world.wait(567.0)
    assert world.exchange.room("d1").present
    world.wait(1.1)
    assert not world.exchange.room("d1").present
    assert world.exchange.room("d1").fault == "session_expired"


@pytest.mark.parametrize("status", [481, 408])
def test_desk_that_knows_nothing_of_the_dialog_is_gone(status):
    world = desk_up()
    world.wait(300.1)
    world.reply("UPDATE", status)
    assert world.exchange.room("d1").fault == "unreachable"


def test_desk_whose_connection_broke_may_come_back():
    world = desk_up()
    world.wait(300.1)
    world.fails("UPDATE", "transport")
    assert world.exchange.room("d1").present
    world.wait(80.0)
    world.reply("UPDATE", headers=(("Session-Expires", "600;refresher=uac"),))
    world.wait(280.0)
    assert world.exchange.room("d1").present


def test_desk_without_a_timer_stays_for_the_shift():
    world = desk_up(None)
    world.wait(8 * 3600.0)
    assert world.exchange.room("d1").present


def test_desk_that_wants_a_longer_interval_is_asked_again():
    world = World()
    world.sign_in("d1", answer=False)
    first = world.desk_invite("d1")
    world.reply("INVITE", 422, to_tag="refused", headers=(("Min-SE", "3600"),))
    again = world.desk_invite("d1")
    assert again.ref != first.ref
    assert again.request.cseq.number == 2
    assert again.request.call_id == first.request.call_id
    assert again.request.from_.tag == first.request.from_.tag
    assert again.request.to.tag is None
    assert again.request.headers.get("Session-Expires") == "3600"
    assert again.request.headers.get("Min-SE") == "3600"
    assert again.request.body == first.request.body
    world.pick_up("d1")
    assert world.exchange.room("d1").present


def test_desk_that_is_never_content_is_not_asked_for_ever():
    world = World()
    world.sign_in("d1", answer=False)
    world.reply("INVITE", 422, to_tag="refused", headers=(("Min-SE", "3600"),))
    world.reply("INVITE", 422, to_tag="refused", headers=(("Min-SE", "3600"),))
    assert world.exchange.room("d1").fault == "refused"


def test_desk_that_dials_in_with_too_short_an_interval_hears_422():
    world = World()
    world.register("d1")
    transaction = dial_in(world, (TIMER, ("Session-Expires", "30")))
    assert world.answers[transaction][-1].status == 422
    assert world.answers[transaction][-1].headers.get("Min-SE") == "90"
    assert world.exchange.legs == {}
