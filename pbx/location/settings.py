"""The settings of places and districts."""

from pathlib import Path
from typing import Final

from pbx.location import presence_uri
from pbx.location.client import origin
from pbx.section import Section
from routing.districts import Districts, DistrictsError

MAX_BYTES: Final = 64 * 1024 * 1024
"""Of a districts file: a province's townships in full detail are some 20 MB."""


class LocationSettings(Section, frozen=True, kw_only=True):
    """Where callers are, and which district that is."""

    districts: str | None = None
    """GeoJSON file of the districts (RFC 7946), relative to the state folder; None: the file the API was given, or one
    district for all."""
    default: str = "default"
    """Queue, or district, of callers whose place is not known."""
    servers: tuple[str, ...] = ()
    """Origins of location servers, such as `https://lis.example`: a location given by reference is fetched from these
    and from no other."""
    presence_servers: tuple[str, ...] = ()
    """Hosts, each with a port where it is not the usual one, of servers that tell a location given by reference as SIP
    presence: `sip:`, `sips:` and `pres:` references are subscribed to at these, at the caller's own phone, and nowhere else."""

    lost: str | None = None
    """URL of a LoST server (RFC 5222) that is asked which district or queue serves a place; ours serve until it answers."""

    def problems(self) -> list[str]:
        """Return a sentence for each thing that is wrong."""
        return (
            [
                f"location.servers: {server!r} is no origin such as https://lis.example"
                for server in self.servers
                if origin(server) is None or server.count("/") != 2
            ]
            + [
                f"location.presence_servers: {server!r} is no host such as presence.example or 192.0.2.7:5070"
                for server in self.presence_servers
                if presence_uri.server(server) is None
            ]
            + [
                f"location.lost: {url!r} is no URL such as https://lost.example/lost"
                for url in (self.lost,)
                if url is not None and origin(url) is None
            ]
        )


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
