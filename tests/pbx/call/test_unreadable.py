"""What can't be read or obeyed, in dialogs and in calls for help (RFC 3261 §8.2, RFC 5621, RFC 5393)."""

import gzip

import pytest

from tests.kit.world import World, sdp
from tests.pbx.call.test_renegotiation import asked, call_up


@pytest.mark.parametrize("method", ["INVITE", "UPDATE", "MESSAGE", "INFO", "OPTIONS"])
def test_extension_required_inside_a_dialog(method):
    world = call_up()
    answer = asked(world, method, headers=(("Require", "precondition"),), body=b"")
    assert answer.status == 420
    assert answer.headers.get("Unsupported") == "precondition"


def test_bye_is_a_bye_whatever_it_requires():
    world = call_up()
    assert asked(world, "BYE", headers=(("Require", "precondition"),)).status == 200


def test_emergency_with_a_packed_offer_is_answered():
    world = World()
    world.invite("bob", body=gzip.compress(sdp()), headers=(("Content-Encoding", "gzip"),))
    assert world.last_answer("bob").status == 200
    assert b"m=audio" in world.last_answer("bob").body
    assert world.exchange.legs[world.call("bob").leg].negotiation.streams


def test_emergency_with_an_offer_nobody_can_unpack_gets_ours():
    world = World()
    world.invite("bob", body=b"\x00\x01", headers=(("Content-Encoding", "br"),))
    assert world.last_answer("bob").status == 200
    world.ack("bob", sdp())
    assert world.exchange.legs[world.call("bob").leg].negotiation.streams


def multipart(disposition):
    parts = [b"Content-Type: application/sdp\r\n\r\n" + sdp()]
    parts.append(b"Content-Type: application/foo\r\nContent-Disposition: " + disposition + b"\r\n\r\nx")
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"


@pytest.mark.parametrize("disposition", [b"render;handling=optional", b"render;handling=required"])
def test_emergency_with_parts_nobody_knows_is_answered(disposition):
    world = World()
    request = world.request(
        "INVITE", "sip:110@x", "bob", body=multipart(disposition), content_type="multipart/mixed;boundary=b"
    )
    world.invites["bob"] = request
    world.transactions["bob"] = world.arrive(request, "bob")
    assert world.last_answer("bob").status == 200


def test_desk_that_insists_on_a_part_nobody_knows_hears_415():
    world = World()
    world.sign_in("d1")
    for disposition, status in ((b"render;handling=required", 415), (b"render;handling=optional", 200)):
        transaction = world.desk_request(
            "d1", "INVITE", body=multipart(disposition), content_type="multipart/mixed;boundary=b"
        )
        assert world.answers[transaction][-1].status == status
    packed = world.desk_request(
        "d1", "UPDATE", body=b"x", content_type="application/sdp", headers=(("Content-Encoding", "gzip"),)
    )
    assert world.answers[packed][-1].status == 415
    assert world.answers[packed][-1].headers.get("Accept-Encoding") == "identity"


def test_max_breadth_is_for_those_who_fork():
    # RFC 5393 §5.3: a user agent does not act on it.
    world = World()
    world.invite("bob", headers=(("Max-Breadth", "0"),))
    assert world.last_answer("bob").status == 200


def test_everything_says_what_we_can():
    world = World()
    world.invite("bob")
    for answer in (
        world.last_answer("bob"),
        world.answers[world.arrive(world.request("OPTIONS", "sip:192.0.2.1", "carol"), "carol")][-1],
    ):
        assert {"UPDATE", "PRACK"} <= set(answer.headers.all("Allow"))
        assert set(answer.headers.all("Supported")) == {"timer", "100rel", "replaces", "norefersub"}
        assert answer.headers.get("Accept-Encoding") == "identity"
