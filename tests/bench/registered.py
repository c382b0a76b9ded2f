"""Q7, signalling's part: what a call costs with nobody and with 10,000 phones registered.

two exchanges in a process each (`tests.bench.one_process`) ─▶ so many calls in turn ─▶ processor time of one call
"""

import sys
from collections.abc import Callable
from contextlib import ExitStack

from tests.bench.figures import Figure, median
from tests.bench.native import Program
from tests.bench.site import SetUpError

PHONES = 10_000
BAR = 1.15


class Exchange(Program):
    """An exchange with so many registered phones."""

    def __init__(self, registered: int) -> None:
        super().__init__(
            [sys.executable, "-m", "tests.bench.one_process", "--obey", "--registered", str(registered)]
        )

    def wait(self) -> None:
        """Wait until it can take calls. Raises SetUpError."""
        while (line := self.read()) != "ready\n":
            if not line:
                raise SetUpError("an exchange did not start")

    def calls(self, count: int) -> float:
        """Have so many calls: ms of processor time of one. Raises SetUpError."""
        self.say(str(count))
        line = self.read()
        if not line:
            raise SetUpError("an exchange ended")
        return float(line)


def measure(*, rounds: int, calls: int, say: Callable[[str], None]) -> list[Figure]:
    """Measure signalling's part of Q7. Raises SetUpError."""
    say(f"Q7: {calls} calls with 0 and with {PHONES} phones registered, {rounds} rounds")
    costs: dict[int, list[float]] = {0: [], PHONES: []}
    with ExitStack() as stack:
        exchanges = {registered: stack.enter_context(Exchange(registered)) for registered in costs}
        for exchange in exchanges.values():
            exchange.wait()
        for number in range(rounds):
            for registered, exchange in exchanges.items():
                costs[registered].append(exchange.calls(calls))
            told = ", ".join(f"{registered}: {found[-1]:.2f} ms" for registered, found in costs.items())
            say(f"  round {number + 1}: {told}")
    ratio = median([many / none for none, many in zip(costs[0], costs[PHONES], strict=True)])
    return [
        Figure("Q7.registered", f"  a call with {PHONES} phones registered ÷ with none, signalling", ratio, "×", BAR),
        Figure("Q7.registered_ms", f"    with {PHONES}", median(costs[PHONES]), "ms"),
        Figure("Q7.unregistered_ms", "    with none", median(costs[0]), "ms"),
    ]  # fmt: skip
