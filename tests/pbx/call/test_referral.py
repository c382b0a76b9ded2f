"""The subscription a REFER makes, asked about by SUBSCRIBE (RFC 3515 §2.4.4, RFC 6665 §4.1.2): refreshed, ended, and not begun."""

import pytest

from pbx.call.effects import SendRequest
from tests.kit.hands import seat, talking
from tests.kit.world import HOST
from tests.pbx.call.test_refer import challenged, refer, told


def waiting():
    """A blind transfer to a desk that is busy: its REFER has no outcome yet."""
    world = talking(signed_in=("d1", "d2"))
    world.invite("carol")
    assert refer(world, "d1", f"<sip:d2@{HOST}>").status == 202
    (made,) = world.exchange.hands.referrals.values()
    return world, made


def subscribe(world, event, *, expires=None):
    """The desk's phone asks in its permanent dialog; the final answer."""
    headers = (("Event", event), *((("Expires", str(expires)),) if expires is not None else ()))
    return world.answers[world.desk_request("d1", "SUBSCRIBE", headers=headers)][-1]


def states(world):
    found = [e.request for e in world.sent if isinstance(e, SendRequest) and e.request.method == "NOTIFY"]
    return [n.headers.get("Subscription-State") for n in found if n.content_type == "message/sipfrag"]


@pytest.mark.parametrize(("asked", "granted"), [(None, 180), (60, 60), (120, 120), (3600, 180)])
def test_a_refresh_is_answered_and_told_where_it_stands(asked, granted):
    world, made = waiting()
    answer = subscribe(world, made.event, expires=asked)
    # RFC 6665 §4.2.1.1: the 200 states the granted Expires, never a longer one than was asked for
    assert (answer.status, answer.headers.get("Expires")) == (200, str(granted))
    assert told(world)[-1] == ("SIP/2.0 100 Trying", "active", made.event)
    assert states(world)[-1] == f"active;expires={granted}"
    world.wait(21.0)
    assert told(world)[-1] == ("SIP/2.0 480 Temporarily Unavailable", "terminated", made.event), (
        "the outcome comes all the same"
    )


def test_the_answer_goes_before_its_notify():
    world, made = waiting()
    before = len(world.sent)
    subscribe(world, made.event)
    first, second = world.sent[before:]
    assert getattr(first, "response", None) is not None
    assert second.request.method == "NOTIFY"


def test_without_its_id_the_one_there_is_is_meant():
    world, made = waiting()
    assert subscribe(world, "refer").status == 200
    assert subscribe(world, f"Refer ; ID={made.event.partition('=')[2]}").status == 200


def test_who_wants_to_know_no_more_is_told_no_more():
    world, made = waiting()
    answer = subscribe(world, made.event, expires=0)
    assert (answer.status, answer.headers.get("Expires")) == (200, "0")
    assert states(world)[-1] == "terminated;reason=timeout"
    count = len(states(world))
    world.bye("carol")
    world.desk_request("d2", "BYE")
    world.wait(30.0)
    assert len(states(world)) == count
    assert not world.exchange.hands.referrals
    assert subscribe(world, made.event).status == 481, "it is over"


def test_what_was_asked_for_goes_on_though_nobody_wants_to_know():
    world, made = waiting()
    subscribe(world, made.event, expires=0)
    assert seat(world, "carol") == ("room-d2", "guest")
    world.bye("carol")
    assert seat(world, "bob") == ("room-d2", "guest"), "he is handed over when the desk is free"


@pytest.mark.parametrize(
    ("event", "expires", "status", "header"),
    [
        ("refer;id=999", None, 481, None),
        ("refer", 30, 423, ("Min-Expires", "60")),
        ("presence", None, 405, None),
        ("", None, 489, ("Allow-Events", "dialog, conference, presence, reg")),
        ("unheard-of", None, 489, ("Allow-Events", "dialog, conference, presence, reg")),
    ],
)
def test_what_is_refused(event, expires, status, header):
    world, made = waiting()
    answer = subscribe(world, event, expires=expires)
    assert answer.status == status
    if header is not None:
        assert answer.headers.get(header[0]) == header[1]
    assert made.id in world.exchange.hands.referrals, "nothing of it changes anything"


def test_it_can_not_be_begun_by_subscribe():
    """RFC 3515 §2.4.4: it is REFER that makes one."""
    world = talking()
    assert subscribe(world, "refer").status == 481
    answer = challenged(world, "SUBSCRIBE", "sip:room-d1@at110", "d1", headers=(("Event", "refer"),))
    assert answer.status == 489
    assert "refer" not in answer.headers.all("Allow-Events")


def test_in_a_dialog_of_its_own():
    """A REFER to the focus opens one; the SUBSCRIBE comes in that."""
    world = talking(signed_in=("d1",))
    world.register("d2")
    asked = challenged(world, "REFER", "sip:room-d1@at110", "d1", headers=(("Refer-To", f"<sip:d2@{HOST}>"),))
    assert asked.status == 202
    (made,) = world.exchange.hands.referrals.values()
    notify = world.asked("NOTIFY").request

    def again(expires, cseq):
        request = world.request(
            "SUBSCRIBE", str(asked.contact.uri), "d1", cseq=cseq, to_tag=asked.to.tag,
            headers=(("Event", "refer"), ("Expires", str(expires))),
        )  # fmt: skip
        request.headers.set("From", str(asked.from_))
        request.headers.set("Call-ID", notify.call_id)
        return world.answers[world.arrive(world._again(request), "d1")][-1]

    assert again(120, 100).status == 200
    assert states(world)[-1] == "active;expires=120"
    assert again(120, 99).status == 500, "RFC 3261 §12.2.2: out of order"
    assert again(0, 101).status == 200
    assert states(world)[-1] == "terminated;reason=timeout"
    assert made.id not in world.exchange.hands.referrals
    assert again(120, 102).status == 481


def test_a_phone_that_wanted_no_news_hangs_up_and_is_called_again():
    """RFC 4488: it hears nothing but the 202, and takes that for the end of its call."""
    world = talking()
    assert refer(world, "d1", f"<sip:d2@{HOST}>", headers=(("Refer-Sub", "false"),)).status == 202
    world.desk_request("d1", "BYE")
    world.pick_up("d1")
    assert world.exchange.room("d1").present
    assert seat(world, "bob") == ("room-d2", "guest")
