"""What stands before the parser: one host can't flood us, overload is shed in order, and nobody guesses passwords for long.

in → out: the first bytes of a message and the flow they came on (`glance`) → `Guard.judge` → go on, or a `Refusal` that costs
no state (`refusal`). How much is shed follows from how late the loop is and how full the socket is (`load`); upstreams that
ask for it are told the share (`feedback`, RFC 7339). `guesses` counts wrong passwords for `pbx.identity`.

Emergency INVITEs and what belongs to a live call are never shed. All memory here is bounded, whatever is sent.
We don't do this: rate-based feedback (RFC 7415), limits on media.
"""

from pbx.guard.glance import Rank
from pbx.guard.guard import Guard, Limit, Refusal, Rules, Standing
from pbx.guard.guesses import Guesses
from pbx.guard.load import Load

__all__ = ["Guard", "Guesses", "Limit", "Load", "Rank", "Refusal", "Rules", "Standing"]
