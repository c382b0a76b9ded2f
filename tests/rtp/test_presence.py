from rtp.presence import Presence


def test_nothing_is_missed_before_anything_is_expected():
    presence = Presence()
    assert presence.missed(float("-inf"), 100.0, 2.5) is None
    presence.expect(receiving=True, now=100.0)
    assert presence.missed(float("-inf"), 102.0, 2.5) is None
    assert presence.missed(float("-inf"), 102.5, 2.5) == 2.5


def test_a_loss_is_told_again_and_again_and_its_end_once():
    presence = Presence()
    presence.expect(receiving=True, now=0.0)
    assert presence.began()
    assert not presence.began()
    told = [
        seconds for tick in range(200) if (seconds := presence.missed(1.0, 1.0 + tick / 10, 2.5)) is not None
    ]
    assert told == [2.5, 5.0, 7.5, 10.0, 12.5, 15.0, 17.5]
    assert presence.began()
    assert presence.missed(21.0, 22.0, 2.5) is None


def test_who_may_not_send_is_not_missed():
    presence = Presence()
    presence.expect(receiving=True, now=0.0)
    presence.expect(receiving=False, now=1.0)
    assert presence.missed(0.5, 60.0, 2.5) is None
    presence.expect(receiving=True, now=60.0)
    assert presence.missed(0.5, 62.0, 2.5) is None, "the time of a hold does not count"
    assert presence.missed(0.5, 62.5, 2.5) == 2.5
