"""What kind an item of the exchange is, asked forty times in a call: sets are quicker than looking through the unions."""

from typing import Final, get_args

from pbx.call.effects import Effect, LegEvent
from routing.acd import AcdEffect

OUTSIDE: Final = frozenset(get_args(Effect))
LEG_EVENTS: Final = frozenset(get_args(LegEvent))
ACD_EFFECTS: Final = frozenset(get_args(AcdEffect))
