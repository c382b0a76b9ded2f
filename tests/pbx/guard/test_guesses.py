"""Wrong passwords per identity and address (bars S4)."""

from pbx.guard.guesses import WINDOW, Guesses


def test_ten_a_minute_then_it_waits():
    guesses = Guesses(10)
    for n in range(10):
        assert guesses.wait("anna", "192.0.2.9", float(n)) == 0.0
        guesses.failed("anna", "192.0.2.9", float(n))
    assert guesses.wait("anna", "192.0.2.9", 10.0) == WINDOW - 10.0
    assert guesses.wait("anna", "192.0.2.8", 10.0) == 0.0  # the true owner is elsewhere
    assert guesses.wait("bert", "192.0.2.9", 10.0) == 0.0
    assert guesses.wait("anna", "192.0.2.9", WINDOW) == 0.0
    guesses.failed("anna", "192.0.2.9", WINDOW)
    assert guesses.wait("anna", "192.0.2.9", WINDOW) == 1.0  # the second of the ten is the oldest that counts


def test_never_more_than_ten_in_any_minute():
    guesses = Guesses(10)
    failed = []
    for step in range(60_000):  # ten minutes, one try each 10 ms
        now = step / 100
        if guesses.wait("anna", "192.0.2.9", now) == 0.0:
            guesses.failed("anna", "192.0.2.9", now)
            failed.append(now)
    assert all(b - a >= WINDOW - 1e-6 for a, b in zip(failed, failed[10:], strict=False))
    assert len(failed) in (99, 100)


def test_memory_is_bounded():
    guesses = Guesses(2, size=50)
    for n in range(1000):
        guesses.failed(f"user-{n}", "192.0.2.9", 0.0)
    assert len(guesses) == 50
