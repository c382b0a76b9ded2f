"""Live tests: a whole exchange, real phones, independent judges.

One exchange serves the tests of one file; each test gets phones of its own and leaves no call behind. What a test
measured is printed at the end of the run. When a test fails, the end of the exchange's log stands in the report.
"""

import os
import shutil
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.live.kit.baresip import Account, Baresip
from tests.live.kit.exchange import Exchange
from tests.live.kit.media import Media
from tests.live.kit.oracle import Oracle
from tests.live.kit.sipp import Sipp

HERE = Path(__file__).parent
JUDGE = "test_evidence_live.py"
"""Looks at the evidence of all others, so it comes last."""

PROGRAMS = {
    "baresip": "baresip-core",
    "/usr/lib/baresip/modules/avcodec.so": "baresip-ffmpeg",
    "sipp": "sip-tester",
    "linphone-daemon": "linphone-cli",
    "tshark": "tshark",
    "ffmpeg": "ffmpeg",
    "sox": "sox",
    "chromium": "chromium",
    "kamailio": "kamailio",
    "rtpengine": "rtpengine-daemon",
    "slowhttptest": "slowhttptest",
    "sslscan": "sslscan",
    "ip": "iproute2",
}

LEDGER = "AT110_LIVE_LEDGER"
"""Names a file with the state folders of the parts of a run that went before: the last part judges their evidence."""

_measured: list[str] = []
_exchanges: list[Exchange] = []

NewPhone = Callable[..., Baresip]
NewOracle = Callable[..., Oracle]
NewSipp = Callable[..., Sipp]
Measure = Callable[[str, float, str], None]


def on_build_server() -> bool:
    """Say whether what is missing is a failure: there nobody reads why a test was skipped."""
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def _missing() -> list[str]:
    return [
        package
        for program, package in PROGRAMS.items()
        if not (shutil.which(program) or Path(program).is_file())
    ]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Judge the evidence of all live tests last; without the phones, skip with the reason, or fail on a build server."""
    live = [item for item in items if HERE in item.path.parents]
    rest = [item for item in items if HERE not in item.path.parents]
    live.sort(key=lambda item: item.path.name == JUDGE)
    items[:] = rest + live
    missing = _missing()
    if not missing:
        return
    reason = f"Debian packages are missing: {' '.join(missing)}"
    if live and on_build_server():
        raise pytest.UsageError(reason)
    for item in live:
        item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    exchange = getattr(item, "funcargs", {}).get("exchange")
    if report.failed and isinstance(exchange, Exchange):
        report.sections.append(("exchange", f"state folder: {exchange.state}\n{exchange.tail(100)}"))
    return report


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "beside: measures nobody's sound and may run beside another live test")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "teardown":
        _measured.extend(str(value) for name, value in report.user_properties if name == "measured")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _measured:
        terminalreporter.section("measured")
        for line in _measured:
            terminalreporter.write_line(line)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Remove the state folders of a run that went well; after a failure they are what one wants to look at."""
    ledger = os.environ.get(LEDGER)
    judged = any(item.path.name == JUDGE for item in getattr(session, "items", ()))
    if ledger and not judged:
        with Path(ledger).open("a") as file:
            file.writelines(f"{exchange.state}\n" for exchange in _exchanges)
    elif not session.testsfailed:
        for state in _states():
            shutil.rmtree(state, ignore_errors=True)


def _states() -> list[Path]:
    ledger = Path(os.environ.get(LEDGER) or os.devnull)
    before = ledger.read_text().splitlines() if ledger.is_file() else []
    return [Path(line) for line in before] + [exchange.state for exchange in _exchanges]


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Media:
    return Media(tmp_path_factory.mktemp("media"))


@pytest.fixture
def states() -> list[Path]:
    """The state folder of every exchange that was started in this run, running or ended."""
    return _states()


@pytest.fixture
def measure(request: pytest.FixtureRequest) -> Measure:
    """Keep a figure for the end of the run: name, value, unit."""

    def keep(name: str, value: float, unit: str) -> None:
        request.node.user_properties.append(("measured", f"{request.node.name}: {name} {value:.1f} {unit}"))

    return keep


@contextmanager
def running(made: Exchange, *, sealed: float | None = 60.0) -> Iterator[Exchange]:
    """Start an exchange, and end it in order; its evidence is judged at the end of the run.

    `sealed`: seconds all its evidence may take until it is sealed; None: it is not waited for.
    """
    _exchanges.append(made)
    try:
        made.start()
        yield made
        if sealed is not None:
            made.wait_sealed(sealed)
    finally:
        made.stop()


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    """A running exchange; Ctrl-C at the end of the file's tests must end it in order."""
    with running(Exchange()) as made:
        yield made


@pytest.fixture
def fresh_exchange() -> Iterator[Exchange]:
    """An exchange that was never started and is the test's own."""
    made = Exchange()
    _exchanges.append(made)
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def _nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """After a test no call is up and no desk signed in, and the exchange has told of no bug."""
    if "exchange" not in request.fixturenames:
        yield
        return
    exchange: Exchange = request.getfixturevalue("exchange")
    yield
    exchange.sign_out(*exchange.desks())
    exchange.until(lambda: not exchange.calls(), "calls are left over")
    exchange.check_log()


@pytest.fixture
def phone(exchange: Exchange, media: Media, tmp_path: Path, _nothing_left: None) -> Iterator[NewPhone]:
    """Make baresip phones: `phone(user="anna", tone=440, picture="red", …)`, see `kit.baresip.Account`."""
    made: list[Baresip] = []

    def new(user: str, **how: object) -> Baresip:
        account = Account(user, **how)  # type: ignore[arg-type]  # the fields of Account, checked by it
        made.append(
            Baresip(account, exchange=exchange.sip, folder=tmp_path / f"{len(made)}-{user}", media=media)
        )
        return made[-1]

    yield new
    for one in made:
        one.close()


@pytest.fixture
def desk_phone(phone: NewPhone, exchange: Exchange) -> NewPhone:
    """Make the registered, auto-answering phone of the n-th dispatcher: `desk_phone(0, tone=1000)`."""

    def new(number: int, **how: object) -> Baresip:
        person = exchange.dispatchers[number]
        made = phone(person.user, password=person.password, auto_answer=True, **how)
        made.wait_registered()
        return made

    return new


@pytest.fixture
def oracle(exchange: Exchange, _nothing_left: None) -> Iterator[NewOracle]:
    """Make oracle phones: `oracle(7)`; the number marks every packet."""
    made: list[Oracle] = []

    def new(mark: int, *, user: str | None = None, video: bool = False) -> Oracle:
        made.append(Oracle(mark, exchange=exchange.sip, user=user, video=video))
        return made[-1]

    yield new
    for one in made:
        one.close()


@pytest.fixture
def sipp(exchange: Exchange, media: Media, tmp_path: Path, _nothing_left: None) -> Iterator[NewSipp]:
    """Run SIPp scenarios: `sipp("caller_waits", calls=3)`; `[sound]` is a tone of 440 Hz, `[talk_ms]` one second."""
    made: list[Sipp] = []

    def new(scenario: str, *, keys: dict[str, str] | None = None, **how: object) -> Sipp:
        words = {"sound": str(media.alaw(440)), "talk_ms": "1000", **(keys or {})}
        folder = tmp_path / f"sipp-{len(made)}"
        made.append(Sipp(scenario, exchange=exchange.sip, folder=folder, keys=words, **how))  # type: ignore[arg-type]
        return made[-1]

    yield new
    for one in made:
        one.stop()
