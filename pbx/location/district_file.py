"""The districts of a site, from the file its settings name or the one the API was given."""

from pathlib import Path
from typing import Final

from pbx.location.settings import LocationSettings
from routing.districts import Districts, DistrictsError

MAX_BYTES: Final = 64 * 1024 * 1024
"""Of a districts file: a province's townships in full detail are some 20 MB."""


def own_file(state: Path) -> Path:
    """Return the file that holds what the API was given."""
    return state / "districts.geojson"


def load_districts(settings: LocationSettings, state: Path) -> Districts:
    """Read the districts of a site. Raises DistrictsError that names the file."""
    named = settings.districts
    file = own_file(state) if named is None else state / named
    if named is None and not file.exists():
        return Districts(default=settings.default)
    try:
        if file.stat().st_size > MAX_BYTES:
            raise DistrictsError("file too long")  # noqa: TRY301  # named below like every other fault
        return Districts.load(file.read_text("utf-8"), default=settings.default)
    except (OSError, UnicodeDecodeError, DistrictsError) as error:
        raise DistrictsError(f"{file}: {error}") from None
