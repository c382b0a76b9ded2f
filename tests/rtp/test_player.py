import pytest

from rtp import codecs
from rtp.player import Player
from rtp.prompts import Prompts

PROMPTS = Prompts()


def drain(player, limit=10_000):
    heard = []
    while (frame := player.next_frame()) is not None:
        heard.append(frame)
        assert len(heard) < limit
    return heard


@pytest.mark.parametrize("codec", codecs.SPOKEN)
def test_items_follow_each_other(codec):
    items = ("en/welcome", "pause:60", "tone:zip")
    expected = [frame for item in items for frame in PROMPTS.frames(item, codec)]
    player = Player(items, False, codec, PROMPTS)
    assert drain(player) == expected
    assert player.next_frame() is None


def test_only_the_last_item_loops():
    player = Player(("tone:zip", "pause:40"), True, "PCMA", PROMPTS)
    heard = [player.next_frame() for _ in range(30)]
    assert heard == [*PROMPTS.frames("tone:zip", "PCMA"), *[codecs.silence("PCMA")] * 20]


def test_missing_items_are_skipped():
    player = Player(("en/nothing", "pause:20", "en/nothing"), False, "PCMU", PROMPTS)
    assert drain(player) == [codecs.silence("PCMU")]


@pytest.mark.parametrize("items", [(), ("en/nothing",), ("pause:20", "en/nothing")])
def test_a_loop_without_sound_ends(items):
    assert len(drain(Player(items, True, "PCMA", PROMPTS))) == items.count("pause:20")
