"""A media process of its own for Q1, with real evidence: `python -m tests.bench.media SOCKET PORT_MIN PORT_MAX ENGINE`."""

import sys

import structlog

from recordings.capture import Captures
from rtp import worker
from rtp.settings import MediaSettings


def main() -> None:
    """Serve until SIGTERM."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    socket_path, port_min, port_max, engine = sys.argv[1:]
    worker.run(
        MediaSettings(
            socket_path, port_min=int(port_min), port_max=int(port_max), drain_seconds=1.0, engine=engine
        ),
        Captures(),
    )


if __name__ == "__main__":
    main()
