"""An INFO that asks for a key frame reaches whoever sends the picture (RFC 5168)."""

import pytest

from pbx.call import indialog
from rtp.control import PictureWanted, WantPicture
from tests.kit.world import World

XML = "application/media_control+xml"


class Noticing(World):
    """A world that remembers every command to the media process."""

    def __init__(self):
        self.told = []
        super().__init__(desks=("d1",))

    def _media(self, command):
        self.told.append(command)
        super()._media(command)


@pytest.fixture
def world():
    made = Noticing()
    made.sign_in("d1")
    made.invite("bob")
    made.ack("bob")
    made.told.clear()
    return made


def wishes(world):
    return [command.leg for command in world.told if isinstance(command, WantPicture)]


def test_the_desk_asks_for_the_callers_picture(world):
    answer = world.desk_request("d1", "INFO", body=indialog.PICTURE_FAST_UPDATE, content_type=XML)
    assert world.answers[answer][-1].status == 200
    assert wishes(world) == [world.exchange.room("d1").leg]


def test_the_caller_asks_for_the_desks_picture(world):
    world.in_dialog("bob", "INFO", cseq=4, body=indialog.PICTURE_FAST_UPDATE, content_type=XML)
    assert wishes(world) == [world.call("bob").leg]


def test_a_wish_goes_on_as_info_to_a_phone_without_rtcp_feedback(world):
    world.says(PictureWanted(world.call("bob").leg))
    assert (world.sent[-1].request.method, world.sent[-1].request.content_type) == ("INFO", XML)


@pytest.mark.parametrize(
    ("body", "content_type", "asks"),
    [
        (b"<media_control><vc_primitive><to_encoder><picture_fast_update/></to_encoder></vc_primitive></media_control>", XML, True),
        (b"<m:media_control><m:picture_fast_update ></m:picture_fast_update></m:media_control>", XML, True),
        (b"<media_control>\r\n<picture_fast_update\r\n/></media_control>", "Application/Media_Control+XML", True),
        (b"<media_control><picture_fast_updates/></media_control>", XML, False),
        (b"<media_control><general_error>picture_fast_update</general_error></media_control>", XML, False),
        (b"", XML, False),
        (b"Signal=5\r\n<picture_fast_update/>", "application/dtmf-relay", False),
    ],
)  # fmt: skip
def test_what_asks_and_what_does_not(world, body, content_type, asks):
    answer = world.in_dialog("bob", "INFO", cseq=4, body=body, content_type=content_type)
    assert world.answers[answer][-1].status == 200
    assert bool(wishes(world)) is asks


def test_a_name_that_is_no_utf_8_stops_nobody():
    world = World(desks=("d1",))
    world.sign_in("d1")
    request = world.invites["eve"] = world.request("INVITE", "sip:110@192.0.2.1", "eve", body=b"", headers=())
    request.headers.set("From", "<sip:%ff%00@h>;tag=e")
    world.transactions["eve"] = world.arrive(world._again(request), "eve")
    assert world.last_answer("eve").status == 200
    assert world.exchange.room("d1").guest is not None
    texts = [e.request.body for e in world.sent if getattr(e, "ref", "").split("/")[1:2] == ["text"]]
    assert any(b"call: ?" in text for text in texts)
