"""Queues and dispatchers in the settings file."""

import pytest

from pbx.queue_settings import QueueSettings, rules
from pbx.settings import SettingsError, load
from routing.queues import Profile, QueueRule, Skill

GOOD = """
[queue]
strategy = "fewest-calls"
no_sound_seconds = 0
[[queue.queues]]
name = "north"
overflow_to = ["default"]
overflow_seconds = 30
overflow_length = 20
trunk = "carrier"
trunk_number = "0535110"
[queue.queues.skills.sign]
weight = 5
relax_seconds = 60
[[queue.agents]]
user = "8001"
queues = { north = 1, default = 2 }
skills = ["sign", "en"]
[[trunk]]
name = "carrier"
peers = [{ host = "carrier.example" }]
"""


def loaded(tmp_path, text):
    (tmp_path / "at110.toml").write_text(text)
    return load({"AT110_STATE": str(tmp_path)})


def test_everything_reaches_the_rules(tmp_path):
    found = rules(loaded(tmp_path, GOOD).queue)
    assert found.queue("north") == QueueRule(
        "north",
        "fewest-calls",
        {"sign": Skill(5.0, 60.0)},
        ("default",),
        30.0,
        20,
        "carrier",
        None,
        "0535110",
    )
    assert found.queue("default").strategy == "fewest-calls"
    assert found.profile("8001") == Profile({"north": 1, "default": 2}, frozenset({"sign", "en"}))
    assert found.no_sound is None


def test_without_settings_one_queue_and_everybody_takes_everybody():
    found = rules(QueueSettings())
    assert set(found.queues) == {"default"}
    assert found.profile("anybody").level("anything") == 1
    assert (found.wrap_up, found.redial, found.no_sound) == (5.0, 120.0, 20.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[queue.queues]]\nname = 'a'\n[[queue.queues]]\nname = 'a'", "two queues are called 'a'"),
        ("[[queue.queues]]\nname = 'a'\noverflow_to = ['b']", "'b', which is no other queue"),
        ("[[queue.queues]]\nname = 'a'\noverflow_to = ['a']", "'a', which is no other queue"),
        ("[[queue.agents]]\nuser = 'x'\n[[queue.agents]]\nuser = 'x'", "two agents are called 'x'"),
        ("[[queue.queues]]\nname = 'north'\ntrunk = 'nowhere'", "which is no trunk"),
        ("[[queue.agents]]\nuser = 'x'\nqueues = {zoo = 1}", "'zoo', which is no queue"),
        ("[queue]\nstrategy = 'ring-all'", "queue.strategy"),
        ("[[queue.agents]]\nuser = 'x'\nqueues = {default = 0}", "queue.agents"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, text, said):
    with pytest.raises(SettingsError, match=said):
        loaded(tmp_path, text)
