"""Processes that are started again under live calls load nothing they have no use for: callers wait for it."""

import subprocess
import sys


def test_the_settings_bring_no_network_client_and_no_geometry():
    """Every process reads them; the media process is back after a crash as soon as it has loaded what it needs."""
    say = "import sys, pbx.settings; print(*sorted({'aiohttp', 'asyncpg', 'shapely'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", say], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
