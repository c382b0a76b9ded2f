"""What the operator of a number knows of its subscriber: an HTTP service of the site is asked, for 0.3 s, while the call goes on.

in → out: a number that a trunk vouches for → facts, or why there are none. `Subscribers` is the seam: whoever has another way of
asking gives another one.
"""

import asyncio
import time
from typing import Annotated, Any, Final, Literal, Protocol
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec

from pbx.subscriber_settings import PLACE, SubscriberSettings

__all__ = ["HttpSubscribers", "SubscriberError", "SubscriberSettings", "Subscribers"]

MAX_BYTES: Final = 16 * 1024
MAX_AT_ONCE: Final = 50

Line = Annotated[str, msgspec.Meta(max_length=200)]


class Known(msgspec.Struct, frozen=True):
    """What an answer may hold; all else in it is passed over."""

    name: Line | None = None
    address: Line | None = None
    note: Line | None = None
    language: Annotated[str, msgspec.Meta(max_length=35)] | None = None
    needs: list[Literal["deaf", "speech"]] = []


class SubscriberError(Exception):
    """The text says why nothing is known."""


class Subscribers(Protocol):
    """Whoever knows subscribers."""

    async def find(self, number: str) -> dict[str, Any]:
        """Give the facts of a number, who says them (`by`) and when (`at`, seconds since 1970). Raises SubscriberError."""


class HttpSubscribers:
    """See the module."""

    def __init__(self, settings: SubscriberSettings) -> None:
        assert settings.url is not None, "whoever has no service has no client"
        self._url, self._seconds = settings.url, settings.seconds
        self._by = urlsplit(settings.url).hostname or ""
        self._running = 0

    async def find(self, number: str) -> dict[str, Any]:
        """See `Subscribers`."""
        if self._running >= MAX_AT_ONCE:
            raise SubscriberError("too many questions under way")
        self._running += 1
        try:
            async with asyncio.timeout(self._seconds):
                known = msgspec.json.decode(
                    await _get(self._url.replace(PLACE, quote(number, safe=""))), type=Known
                )
        except TimeoutError:
            raise SubscriberError(f"no answer within {self._seconds:g} s") from None
        except msgspec.MsgspecError as error:
            raise SubscriberError(f"no facts: {str(error)[:120]}") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise SubscriberError(str(error)[:200] or type(error).__name__) from None
        finally:
            self._running -= 1
        said = {key: value for key, value in msgspec.to_builtins(known).items() if value}
        return {**said, "by": self._by, "at": round(time.time(), 3)}


async def _get(url: str) -> bytes:
    async with (
        aiohttp.ClientSession(headers={"Accept": "application/json"}, auto_decompress=False) as session,
        session.get(url, allow_redirects=False) as answer,
    ):
        if answer.status == 404:
            raise SubscriberError("unknown there")
        if answer.status != 200:
            raise SubscriberError(f"the service answers {answer.status}")
        body = b""
        while more := await answer.content.read(MAX_BYTES + 1 - len(body)):
            body += more
            if len(body) > MAX_BYTES:
                raise SubscriberError("answer too long")
        return body
