"""What holds for every test: a time limit, and no blocking call inside an event loop.

Warnings are errors (pyproject.toml). A test that may not end in 120 s says so with `@pytest.mark.limit(seconds)`.
A coroutine test runs under blockbuster: a call of our packages that blocks the loop it runs in (a file, a lock, a
sleep) raises there. Where blocking is meant, the test says why with `@pytest.mark.may_block("reason")`.
"""

import faulthandler
import inspect
import signal
from collections.abc import Generator, Iterator
from types import FrameType

import pytest
from blockbuster import blockbuster_ctx
from hypothesis import settings

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("at110", deadline=None)
settings.register_profile(
    "sanitized", deadline=None, max_examples=10
)  # every step is many times slower there
settings.load_profile("at110")

LIMIT_SECONDS: float = 120.0
"""No test may take longer: a hung one must not eat the time of the whole run."""

LOOP_PACKAGES = ["pbx"]
"""Packages whose code runs in an event loop; media and recorder processes have loops of their own."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "limit(seconds): this test may take so long instead of 120 s")
    config.addinivalue_line(
        "markers", "may_block(reason): blocking calls inside the event loop are meant here"
    )


def _seconds(item: pytest.Item) -> float:
    marker = item.get_closest_marker("limit")
    return float(marker.args[0]) if marker else LIMIT_SECONDS


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Bound set-up, test and tear-down together by one alarm of the main thread."""
    seconds = _seconds(item)

    def too_long(_number: int, _frame: FrameType | None) -> None:
        faulthandler.dump_traceback(file=2)
        raise TimeoutError(f"{item.nodeid}: not done after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def _no_blocking_call(request: pytest.FixtureRequest) -> Iterator[None]:
    function = getattr(request, "function", None)
    if not inspect.iscoroutinefunction(function) or request.node.get_closest_marker("may_block"):
        yield
        return
    with blockbuster_ctx(LOOP_PACKAGES):
        yield
