"""What the API asks about places (`pbx.api.places`), on the running exchange."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pbx.api.exchange import ExchangeError
from pbx.call.exchange import Exchange
from pbx.location.district_file import own_file
from pbx.location.settings import LocationSettings
from routing.districts import Districts, DistrictsError


class PlacesService:
    """See the module."""

    def __init__(self, exchange: Exchange, settings: LocationSettings, state: Path) -> None:
        self._exchange = exchange
        self._settings = settings
        self._state = state

    def trail(self, call: str) -> Sequence[dict[str, Any]]:
        """Return every place of a live call."""
        if call not in self._exchange.calls:
            raise ExchangeError(404, "unknown_call", "没有这个呼叫", "There is no such call")
        return self._exchange.whereabouts.trail(call)

    def districts(self) -> Sequence[dict[str, Any]]:
        """Return the districts without their borders."""
        return [
            {
                "id": one.id,
                "name": dict(one.names),
                "queue": one.queue,
                "prefixes": list(one.prefixes),
                "trunks": list(one.trunks),
                "addresses": [dict(sorted(address)) for address in one.addresses],
                "bounds": [round(edge, 6) for edge in one.area.bounds],
            }
            for one in self._exchange.whereabouts.districts
        ]

    async def set_districts(self, text: str) -> int:
        """Check, keep and use a GeoJSON text; raises ExchangeError and changes nothing when it is wrong."""
        if self._settings.districts is not None:
            why = "the settings name a file of districts; change that"
            raise ExchangeError(409, "districts_in_settings", "设置中已指定辖区文件，请修改该文件", why)
        try:
            districts = await asyncio.to_thread(Districts.load, text, default=self._settings.default)
            await asyncio.to_thread(_keep, own_file(self._state), text)
        except DistrictsError as error:
            raise ExchangeError(400, "bad_districts", f"辖区文件无效：{error}", str(error)) from None
        except OSError as error:
            raise ExchangeError(507, "not_kept", f"无法保存：{error}", str(error)) from None
        self._exchange.whereabouts.districts = districts
        return len(districts)


def _keep(file: Path, text: str) -> None:
    """Write a file that appears whole or not at all."""
    fresh = file.with_suffix(".new")
    fresh.write_text(text, "utf-8")
    fresh.replace(file)
