"""REFER and Replaces: who may, what it does, what is told of it, and that nothing leaves for where a URI points (bars S7, S9)."""

import itertools

import pytest

from pbx.call.call import State
from pbx.call.effects import SendAck, SendRequest
from pbx.call.impossible import Impossible
from pbx.sip.digest import authorize
from pbx.sip.refer import Replaces, replaces
from tests.kit.hands import order, seat, talking
from tests.kit.world import HOST, REALM, sdp


def refer(world, desk, target, **more):
    """The desk's phone refers in its permanent dialog; returns the final answer."""
    headers = (("Refer-To", target), *more.pop("headers", ()))
    return world.answers[world.desk_request(desk, "REFER", headers=headers, **more)][-1]


def told(world):
    """Return (status line, Subscription-State, Event) of every NOTIFY that told of a REFER."""
    found = [e.request for e in world.sent if isinstance(e, SendRequest) and e.request.method == "NOTIFY"]
    return [
        (n.body.decode().strip(), n.headers.get("Subscription-State").split(";")[0], n.headers.get("Event"))
        for n in found
        if n.content_type == "message/sipfrag"
    ]


def challenged(world, method, uri, name, **more):
    """Send a request outside a dialog with its digest; returns the last answer."""
    world.register(name)
    first = world.request("REGISTER", f"sip:{REALM}", name, cseq=90)
    value = world.answers[world.arrive(first, name)][-1].headers.all("WWW-Authenticate")[0]
    token = authorize(value, user=name, password=f"pw-{name}", method=method, uri=uri, cnonce="c", nc=1)
    headers = (("Authorization", token), *more.pop("headers", ()))
    request = world.request(method, uri, name, headers=headers, cseq=99, **more)
    return world.answers[world.arrive(world._again(request), name)][-1]


# --- in the permanent dialog ------------------------------------------------------------------------------------------------


def test_refer_is_a_blind_transfer():
    world = talking()
    answer = refer(world, "d1", f"<sip:d2@{HOST}>")
    assert answer.status == 202
    assert answer.contact is not None
    assert seat(world, "bob") == ("room-d2", "guest")
    event = told(world)[0][2]
    assert event.startswith("refer;id=")
    assert told(world) == [
        ("SIP/2.0 100 Trying", "active", event),
        ("SIP/2.0 200 OK", "terminated", event),
    ]


def test_notifies_have_rising_cseq_and_the_answer_comes_first():
    world = talking()
    before = len(world.sent)
    refer(world, "d1", f"<sip:d2@{HOST}>")
    sent = world.sent[before:]
    assert getattr(sent[0], "response", None) is not None
    numbers = [
        e.request.cseq.number for e in sent if isinstance(e, SendRequest) and e.request.method == "NOTIFY"
    ]
    assert numbers == sorted(set(numbers))


def test_a_transfer_that_waits_is_told_when_it_is_over():
    world = talking(signed_in=("d1", "d2"))
    world.invite("carol")
    assert refer(world, "d1", f"<sip:d2@{HOST}>").status == 202
    assert [status for status, _, _ in told(world)] == ["SIP/2.0 100 Trying"]
    world.wait(21.0)
    assert told(world)[-1][:2] == ("SIP/2.0 480 Temporarily Unavailable", "terminated")
    assert seat(world, "bob") == ("room-d1", "guest")


def test_a_guest_who_hangs_up_on_the_way_ends_the_referral():
    world = talking(signed_in=("d1", "d2"))
    world.invite("carol")
    refer(world, "d1", f"<sip:d2@{HOST}>")
    world.bye("bob")
    assert told(world)[-1][0] == "SIP/2.0 487 Request Terminated"
    assert not world.exchange.hands.referrals


def test_norefersub_is_silent():
    world = talking()
    answer = refer(
        world, "d1", f"<sip:d2@{HOST}>", headers=(("Refer-Sub", "false"), ("Require", "norefersub"))
    )
    assert answer.status == 202
    assert answer.headers.get("Refer-Sub") == "false"
    assert told(world) == []
    assert seat(world, "bob") == ("room-d2", "guest")


def test_referred_by_is_noted_and_used_for_nothing():
    world = talking()
    refer(world, "d1", f"<sip:d2@{HOST}>", headers=(("Referred-By", "<sip:chief@police.example>"),))
    (note,) = world.noted("referred_by")
    assert note.fields["claims"] == "<sip:chief@police.example>"


def test_a_phone_that_hangs_up_because_its_refer_succeeded_is_called_again():
    world = talking()
    refer(world, "d1", f"<sip:d2@{HOST}>")
    world.desk_request("d1", "BYE")
    world.pick_up("d1")
    assert world.exchange.room("d1").present
    world.wait(11.0)
    world.desk_request("d1", "BYE")
    assert not world.exchange.room("d1").present, "later it means what it says"


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("<sip:nobody@192.0.2.1>", 404),
        ("<sip:d2@stranger.example>", 404),
        ("<sip:d1@192.0.2.1>", 403),
        ("<tel:+86119>", 404),
        ("<sip:alice@192.0.2.1>", 480),
        ("<http://x.example/>", 416),
        ("<sip:d2@192.0.2.1;method=SUBSCRIBE>", 400),
        ("<sip:d2@192.0.2.1?Replaces=x>", 400),
        ("<sip:d2@192.0.2.1?Replaces=x%3Bto-tag%3Da%3Bfrom-tag%3Db>", 481),
        ("nonsense", 400),
    ],
)
def test_what_is_refused(value, status):
    world = talking()
    seq = world.desk_leg("d1").dialog.local_seq
    assert refer(world, "d1", value).status == status
    assert told(world) == []
    assert seat(world, "bob") == ("room-d1", "guest")
    assert world.desk_leg("d1").dialog.local_seq == seq
    assert not world.exchange.hands.referrals


@pytest.mark.parametrize(
    "headers", [(), (("Refer-To", "<sip:d2@192.0.2.1>"), ("Refer-To", "<sip:d3@192.0.2.1>"))]
)
def test_exactly_one_refer_to(headers):
    world = talking()
    assert world.answers[world.desk_request("d1", "REFER", headers=headers)][-1].status == 400


def test_a_callers_refer_is_refused():
    world = talking()
    for target in ("<sip:d2@192.0.2.1>", "<sip:carol@192.0.2.77>"):
        transaction = world.in_dialog("bob", "REFER", cseq=7, headers=(("Refer-To", target),))
        assert world.answers[transaction][-1].status == 403
        world.wait(1.0)
    assert seat(world, "bob") == ("room-d1", "guest")
    assert told(world) == []


WEAPONS = (
    "127.0.0.1",
    "[::1]",
    "169.254.169.254",
    "10.0.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "evil.example",
)


@pytest.mark.parametrize(("host", "port"), list(itertools.product(WEAPONS, (22, 25, 5432, 5060))))
def test_nothing_goes_where_a_refer_points(host, port):
    world = talking(signed_in=("d1", "d2"))
    world.register("d3")
    known = {world.flow(name).remote for name in ("bob", "d1", "d2", "d3", "eve")}
    for user in ("d2", "d3", "x", "13800000001"):
        for value in (
            f"<sip:{user}@{host}:{port}>",
            f"<sip:{user}@{host}:{port};maddr={host}?Route=%3Csip:{host}%3E>",
            f"<sip:{user}@{host}?Replaces=a%3Bto-tag%3Db%3Bfrom-tag%3Dc>",
            f"<sip:{user}@{HOST}:{port};maddr={host};transport=tcp?Route=%3Csip:{host}%3E&Contact=%3Csip:{host}%3E>",
        ):
            refer(world, "d1", value)
            challenged(world, "REFER", "sip:room-d1@at110", "d1", headers=(("Refer-To", value),))
    world.wait(60.0)
    flows = {e.flow.remote for e in world.sent if isinstance(e, SendRequest | SendAck)}
    assert flows <= known
    uris = {e.request.uri.host for e in world.sent if isinstance(e, SendRequest)}
    assert host.strip("[]") not in uris


# --- a second call, attended ------------------------------------------------------------------------------------------------


def second_call(world, target="d2"):
    """d1's phone calls another desk beside its permanent call; returns the answer and the request."""
    uri = f"sip:{target}@{REALM}"
    answer = challenged(
        world,
        "INVITE",
        uri,
        "d1",
        body=sdp(address="192.0.2.88"),
        content_type="application/sdp",
        call_id="second",
    )
    if answer.status == 200:
        ack = world.request("ACK", uri, "d1", cseq=99, to_tag=answer.to.tag, call_id="second")
        leg = world.exchange.leg_in_dialog(ack)
        world.run(world.exchange.run(_acked(world, leg, ack), world.now))
    return answer


def _acked(world, leg, ack):
    from pbx.call import answer

    return answer.ack(leg, ack, world.flow("d1"))


def test_attended_with_replaces():
    world = talking()
    answer = second_call(world)
    assert answer.status == 200
    assert seat(world, "d2")[1] == "staff"
    value = f"second@phone;to-tag={answer.to.tag};from-tag=from-d1".replace(";", "%3B").replace("=", "%3D")
    assert refer(world, "d1", f"<sip:d2@{HOST}?Replaces={value}>").status == 202
    assert seat(world, "bob") == ("room-d2", "guest")
    assert seat(world, "d2") == ("room-d2", "host")
    assert told(world)[-1][0] == "SIP/2.0 200 OK"
    assert world.asked("BYE").request.call_id == "second@phone", "the second call has done its work"
    world.reply("BYE")
    assert not [room for room in world.exchange.rooms.values() if room.outside]


def test_attended_with_the_refer_in_the_second_call():
    world = talking()
    answer = second_call(world)
    dialog = world.desk_leg("d1").dialog
    value = f"{dialog.call_id}%3Bto-tag%3D{dialog.local_tag}%3Bfrom-tag%3D{dialog.remote_tag}"
    request = world.request(
        "REFER",
        f"sip:d2@{REALM}",
        "d1",
        cseq=100,
        to_tag=answer.to.tag,
        call_id="second",
        headers=(("Refer-To", f"<sip:room-d1@{HOST}?Replaces={value}>"),),
    )
    assert world.answers[world.arrive(request, "d1")][-1].status == 202
    assert seat(world, "bob") == ("room-d2", "guest")
    assert told(world)[-1][0] == "SIP/2.0 200 OK"


def test_somebody_elses_dialog_is_not_replaced():
    world = talking()
    answer = second_call(world)
    value = f"second@phone%3Bto-tag%3D{answer.to.tag}%3Bfrom-tag%3Dfrom-d1"
    world.invite("carol")
    assert world.call("carol").desk == "d3"
    assert refer(world, "d3", f"<sip:d2@{HOST}?Replaces={value}>").status == 403
    assert seat(world, "carol") == ("room-d3", "guest")


def test_a_second_call_that_is_hung_up_frees_the_other():
    world = talking()
    second_call(world)
    leg = next(leg for leg in world.exchange.legs.values() if leg.invite.call_id == "second@phone")
    world.arrive(
        world.request("BYE", f"sip:d2@{REALM}", "d1", cseq=100, to_tag=leg.local_tag, call_id="second"), "d1"
    )
    assert seat(world, "d2") == ("room-d2", "host")
    assert not world.exchange.hands.visits


def test_a_second_call_to_a_busy_desk():
    world = talking(signed_in=("d1", "d2"))
    world.invite("carol")
    assert second_call(world).status == 486


def test_an_invite_with_replaces_moves_the_permanent_leg_of_the_same_desk():
    world = talking()
    dialog = world.desk_leg("d1").dialog
    value = f"{dialog.call_id};to-tag={dialog.local_tag};from-tag={dialog.remote_tag}"
    offer = {"body": sdp(address="192.0.2.88"), "content_type": "application/sdp"}
    for name, wanted in (("d2", 403), ("alice", 403), ("d1", 200)):
        answer = challenged(
            world,
            "INVITE",
            "sip:room-d1@at110",
            name,
            headers=(("Replaces", value),),
            call_id=f"again-{name}",
            **offer,
        )
        assert answer.status == wanted
        assert world.call("bob").state is State.TALKING
    assert world.exchange.room("d1").leg in world.exchange.legs


@pytest.mark.parametrize(
    ("value", "status"),
    [("nobody;to-tag=a;from-tag=b", 481), ("nobody;to-tag=a", 400), ("", 400), (";to-tag=a;from-tag=b", 400)],
)
def test_an_invite_with_a_replaces_that_fits_nothing(value, status):
    world = talking()
    answer = challenged(
        world, "INVITE", "sip:room-d1@at110", "d1", headers=(("Replaces", value),), body=sdp(),
        content_type="application/sdp",
    )  # fmt: skip
    assert answer.status == status


def test_a_call_for_help_replaces_nothing():
    world = talking()
    dialog = world.exchange.legs[world.call("bob").leg].dialog
    value = f"{dialog.call_id};to-tag={dialog.local_tag};from-tag={dialog.remote_tag}"
    world.invite("eve", headers=(("Replaces", value),))
    assert world.last_answer("eve").status == 200
    assert seat(world, "bob") == ("room-d1", "guest")


def test_replaces_is_read_as_written():
    found = replaces("98asjd8@test.org;from-tag=r33th4x0r;to-tag=ff87ff;early-only")
    assert found == Replaces("98asjd8@test.org", "ff87ff", "r33th4x0r", early_only=True)


# --- to the focus -----------------------------------------------------------------------------------------------------------


def to_focus(world, name, room, target):
    return challenged(world, "REFER", f"sip:{room}@at110", name, headers=(("Refer-To", target),))


def test_refer_to_the_focus_adds_and_removes():
    world = talking()
    answer = to_focus(world, "d1", "room-d1", f"<sip:d2@{HOST}>")
    assert answer.status == 202
    assert answer.to.tag
    assert seat(world, "d2") == ("room-d1", "staff")
    assert seat(world, "bob") == ("room-d1", "guest")
    assert [status for status, _, _ in told(world)] == ["SIP/2.0 100 Trying", "SIP/2.0 200 OK"]
    assert {event for _, _, event in told(world)} == {"refer"}
    assert to_focus(world, "d1", "room-d1", f"<sip:d2@{HOST};method=BYE>").status == 202
    assert seat(world, "d2") == ("room-d2", "host")


def test_the_focus_calls_who_is_not_there():
    world = talking(signed_in=("d1",))
    world.register("d2")
    assert to_focus(world, "d1", "room-d1", f"<sip:d2@{HOST}>").status == 202
    world.reply("INVITE", 486, to_tag="far")
    assert told(world)[-1][:2] == ("SIP/2.0 480 Temporarily Unavailable", "terminated")


def test_who_is_called_because_of_a_refer_is_told_who_referred():
    """RFC 3892 §3, in our own words: what the phone claims goes nowhere (bars S8)."""
    world = talking(signed_in=("d1",))
    world.register("d2")
    claimed = (("Referred-By", "<sip:chief@110.example>"),)
    assert refer(world, "d1", f"<sip:d2@{HOST}>", headers=claimed).status == 202
    assert world.asked("INVITE").request.headers.all("Referred-By") == [f"<sip:d1@{HOST}>"]
    other = talking(signed_in=("d1",))
    other.register("d2")
    order(other, "d1", "transfer", "d2")
    assert "Referred-By" not in other.asked("INVITE").request.headers


def test_a_refer_that_has_to_wait_for_a_trunk_is_told_to_come_again(monkeypatch):
    def full(*_args, **_more):
        raise Impossible("trunk_full")

    world = talking()
    monkeypatch.setattr("pbx.call.reach.place_call", full)
    answer = refer(world, "d1", f"<sip:13800000000@{HOST}>")
    assert (answer.status, answer.headers.get("Retry-After")) == (503, "10")


def test_only_the_host_and_supervisors_refer_to_a_focus():
    world = talking(supervisors=("d3",))
    for name, wanted in (("d2", 403), ("alice", 403), ("d3", 202)):
        assert to_focus(world, name, "room-d1", f"<sip:d2@{HOST}>").status == wanted
    assert to_focus(world, "d1", "d2", f"<sip:d3@{HOST}>").status == 403
    order(world, "d1", "remove")
