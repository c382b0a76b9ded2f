"""The settings of places and districts. Every process reads them, so what they mean for those who use them is loaded elsewhere."""

from pbx.location import presence_uri
from pbx.location.origins import origin
from pbx.section import Section


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
