"""What somebody hears and sees in the moment they are put through: the newest packet of sound, the last group of pictures."""

from collections.abc import Sequence

from rtp.gop import Group
from rtp.route import Route

Routes = Sequence[Route | None]


def say_last(routes: Routes, packet: tuple[bytes, int, int], number: int, now: float) -> None:
    """Relay one kept packet (with its sequence number and timestamp); `number`: its source's."""
    data, sequence, timestamp = packet
    route = routes[data[1] & 0x7F]
    if route is None or route.sender is None or route.codec is None or route.special is not None:
        return
    route.sender.relay(number, data, route.codec, sequence, timestamp, now)


def show(routes: Routes, group: Group, newest: int, number: int, now: float) -> None:
    """Send a group of pictures, each a millisecond after the other, so that what is live follows without a gap.

    `newest`: the sequence number that came last; a group without it is not what is live. `number`: the group as a source
    of its own (see `outstream`).
    """
    if group.newest != newest:
        return
    shown = None
    for data, timestamp in group.packets:
        route = routes[data[1] & 0x7F]
        if route is None or route.sender is None or route.codec is None:
            return
        step = 0 if shown in {None, timestamp} else route.rate // 1000
        route.sender.replay(number, data, route.codec, step, now)
        shown = timestamp
