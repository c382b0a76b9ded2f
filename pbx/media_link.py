"""Signalling's link to the media process, or to several as if they were one.

in → out: settings → commands out, events in.
"""

from collections.abc import Callable

from pbx.settings import Settings
from pbx.tasks import Tasks
from rtp.client import MediaClient
from rtp.clients import MediaClients
from rtp.control import Event
from rtp.freed import Freed

MediaLink = MediaClient | MediaClients


def media_link(
    settings: Settings,
    on_event: Callable[[Event], None],
    tasks: Tasks,
    late: Callable[[], frozenset[int]] = frozenset,
) -> MediaLink:
    """Make the link; it connects when asked to. `late`: the processes of which nothing is heard, by number."""
    paths = [str(settings.media_socket(number)) for number in range(settings.media.processes)]
    freed = Freed(settings.media.drain_seconds)
    if len(paths) > 1:
        return MediaClients(paths, on_event, tasks, freed=freed, late=late)
    return MediaClient(paths[0], on_event, tasks, freed=freed)
