"""What signalling and recorder agree on about looks at live calls (`recordings.looks`); needs no decoder to be read."""

from typing import Final

FOLDER: Final = "looks"
"""Beside the spool."""
LEASE_SECONDS: Final = 6.0
"""How long a lease holds after its last touch."""
MAX_LOOKS: Final = 32
"""Calls looked at together: a wall of pictures; each costs a decoder."""
