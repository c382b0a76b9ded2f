"""What may reach a caller: silent mode, the host's picture or the site's still image in its place.

in → out: a call and what is wanted of it → `SetGates` for the media process, notes for evidence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast, get_args

from pbx.call.call_events import ToAcd
from pbx.call.effects import Effect, Note, ToMedia
from routing.acd import Prioritise, Priority
from rtp.control import SetGates, StopPlay

if TYPE_CHECKING:
    from pbx.call.call import Call
    from pbx.call.site import Policy

HostPicture = Literal["on", "off", "still"]
"""Of the host's place in the picture: the host, nobody, the site's still image."""


def host_picture(name: str) -> HostPicture:
    """Return a mode by its name. Raises ValueError."""
    if name not in get_args(HostPicture):
        raise ValueError(name)
    return cast("HostPicture", name)


def shown(call: Call, policy: Policy) -> HostPicture:
    """Say what a call is shown in the host's place at the moment."""
    if call.silent and not policy.host_picture_in_silent:
        return "off"
    return call.host_picture or policy.host_picture


def set_gates(call: Call, policy: Policy) -> SetGates:
    """State all gates of a call's leg."""
    picture = shown(call, policy)
    return SetGates(call.leg, call.silent, picture == "on", call.held, picture == "still")


def show(call: Call, policy: Policy, mode: HostPicture, by: str) -> list[Effect]:
    """Show the caller the host, nobody, or the still image, whatever the site's rule is."""
    if call.host_picture == mode:
        return []
    call.host_picture = mode
    return [ToMedia(set_gates(call, policy)), Note("host_picture", call.id, {"mode": mode, "by": by})]


def silent_on(call: Call, policy: Policy, by: str) -> list[Effect | ToAcd]:
    """Switch silent mode on, at once."""
    call.off_until = None
    if call.silent:
        return []
    call.silent = True
    first = ToAcd(Prioritise(call.id, Priority.DANGER, lower=False))
    return [
        ToMedia(set_gates(call, policy)),
        ToMedia(StopPlay(call.leg)),
        Note("silent_on", call.id, {"by": by}),
        first,
    ]


def silent_off(call: Call, policy: Policy, by: str, now: float) -> list[Effect]:
    """Switch it off, by the second of two acts."""
    asked, call.off_until = call.off_until, None
    if not call.silent or asked is None or now > asked:
        return [Note("silent_off_refused", call.id, {"by": by})]
    call.silent = False
    return [ToMedia(set_gates(call, policy)), Note("silent_off", call.id, {"by": by}), *call.wait_sound()]
