"""The settings of `pbx.subscribers`; every process reads them, only one asks."""

from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec

from pbx.section import Section

TIMEOUT: Final = 0.3
"""Seconds for all of it: what comes later than a dispatcher's first word is of little use."""
PLACE: Final = "{number}"
"""Stands in the URL for the number."""


class SubscriberSettings(Section, frozen=True, kw_only=True):
    """Who knows the subscribers of calling numbers."""

    url: str | None = None
    """Asked by GET for each call that comes over a trunk, such as `https://subscribers.example/by-number/{number}`; none: nobody."""
    seconds: Annotated[float, msgspec.Meta(gt=0, le=TIMEOUT)] = TIMEOUT
    """How long an answer may take; no call waits for it."""

    def problems(self) -> list[str]:
        """Return a sentence for each thing that is wrong."""
        if self.url is None:
            return []
        parts = urlsplit(self.url)
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.username is None
        if good and self.url.count(PLACE) == 1 and PLACE in parts.path + parts.query:
            return []
        return [f"subscribers.url: {self.url!r} is no URL such as https://subscribers.example/{PLACE}"]
