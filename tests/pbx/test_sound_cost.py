import pytest

from pbx.metrics import Metrics
from pbx.sound_cost import SoundCost
from rtp.control import SoundLoad


def load(mixing: float, mixed: int) -> SoundLoad:
    return SoundLoad(mixing, mixing / 2, mixed, mixed // 2, mixed // 10, voices=3)


def test_counters_grow_by_what_came_since_and_go_on_when_the_process_begins_anew() -> None:
    metrics = Metrics()
    cost = SoundCost(metrics)

    def value(name: str, what: str) -> float | None:
        return metrics.registry.get_sample_value(name, {"what": what})

    for sums in (load(1.0, 100), load(1.5, 200), load(0.25, 10)):
        cost.take(sums)
    assert value("at110_media_sound_seconds_total", "mixing") == pytest.approx(1.75)
    assert value("at110_media_sound_seconds_total", "transcoding") == pytest.approx(0.875)
    assert value("at110_media_sound_frames_total", "mixed") == 210
    assert value("at110_media_sound_frames_total", "transcoded") == 105
    assert value("at110_media_sound_frames_total", "concealed") == 21
    assert metrics.registry.get_sample_value("at110_media_voices") == 3
