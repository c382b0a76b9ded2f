"""Settings → where the exchange listens, what peers are told of it, and the certificate it shows.

in → out: settings → further `Listening`s and `Certificates` for the endpoint; the ports really bound → `Places`.
"""

import asyncio
import datetime as dt
import ssl
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import structlog

from pbx.listen_settings import own_address
from pbx.places import Place, Places
from pbx.sdp.addresses import Own, unicast
from pbx.settings import Settings
from pbx.transport.certificates import Certificates, self_made
from pbx.transport.endpoint import Listening

CERTIFICATE_SECONDS: Final = 5.0
"""How often the files of the certificate are looked at."""

log = structlog.get_logger("signalling")


def further(settings: Settings) -> tuple[Listening, ...]:
    """Return the listening addresses beside UDP and TCP at `sip.host`."""
    found = []
    if settings.tls_port is not None:
        found.append(Listening("tls", settings.sip.host.strip("[]"), settings.tls_port))
    for place in settings.sip.listen:
        host = place.host.strip("[]")
        found += [Listening(transport, host, place.port) for transport in dict.fromkeys(place.transports)]
    return tuple(found)


def speaks_tls(settings: Settings) -> bool:
    """Whether anything listens for TLS."""
    return settings.http.tls_port is not None or any(one.transport == "tls" for one in further(settings))


def certificates(settings: Settings, now: dt.datetime) -> Certificates | None:
    """Read, or make, the certificate; None when nothing listens for TLS. Raises OSError, ssl.SSLError.

    `now`: wall clock, aware.
    """
    if not speaks_tls(settings):
        return None
    tls = settings.tls
    if tls.certificate is None or tls.key is None:
        certificate, key = self_made(settings.state / "tls", _names(settings), now)
    else:
        certificate, key = settings.file(tls.certificate), settings.file(tls.key)
    return Certificates(
        certificate,
        key,
        clients=None if tls.clients is None else settings.file(tls.clients),
        authorities=None if tls.authorities is None else settings.file(tls.authorities),
    )


def _names(settings: Settings) -> Iterator[str]:
    yield from settings.tls.names
    for host in (settings.sip.host, *(place.host for place in settings.sip.listen), settings.http.host):
        for address in _families(host.strip("[]")):
            yield address[0]
    yield settings.sip.public_host
    yield from (place.advertised for place in settings.sip.listen if place.advertised is not None)
    yield from ("localhost", "127.0.0.1", "::1")


def places(
    settings: Settings, port: int, more: Sequence[Listening], http: Iterable[tuple[str, int | None]] = ()
) -> Places:
    """Return all places. `port`: bound for UDP and TCP; `more`: as bound; `http`: (`ws` or `wss`, port)."""
    sip = settings.sip
    host = sip.host.strip("[]")
    found: list[Place] = []
    for transport in ("udp", "tcp"):
        found += _at(transport, host, port, sip.advertised, None)
    rest = list(more)
    if settings.tls_port is not None:
        found += _at("tls", host, rest.pop(0).port, sip.advertised, None)
    for place in sip.listen:
        for transport in dict.fromkeys(place.transports):
            bound = rest.pop(0)
            found += _at(transport, bound.host, bound.port, place.advertised, place.advertised_port)
    # A WebSocket often comes through a web server in front of us, so its address says nothing of where media can go.
    web = settings.http.host.strip("[]")
    found += [
        Place(transport, web, number, main.public_host, number, main.media_address, main.media_bind)
        for transport, number in http
        if number is not None
        for main in found
        if main.transport == "udp"
    ]
    return Places(found)


def _at(
    transport: str, host: str, port: int, advertised: str | None, advertised_port: int | None
) -> Iterator[Place]:
    for address, bind in _families(host):
        public = advertised or address
        yield Place(transport, host, port, public, advertised_port or port, public, bind)


def _families(host: str) -> list[tuple[str, str]]:
    """Return (address to be told, address to bind media to) for each family of peers that come to `host`."""
    if host != "::":
        return [(own_address(host), host)]
    return [(own_address("::"), "::"), (own_address("0.0.0.0"), "0.0.0.0")]  # a dual-stack socket


def own(settings: Settings) -> Own:
    """Where on this machine nobody's media may be sent."""
    sip = settings.sip
    told = {place.advertised or place.host for place in sip.listen}
    bound = {place.host for place in sip.listen}
    hosts = {unicast(host) for host in (sip.host, sip.public_host, *told, *bound, "127.0.0.1", "::1")}
    ports = {sip.port, settings.tls_port, settings.http.port, settings.http.tls_port}
    return Own(
        hosts=frozenset(host for host in hosts if host is not None),
        media=range(settings.media.port_min, settings.media.port_max + 1),
        ports=frozenset(port for port in (*ports, *(place.port for place in sip.listen)) if port is not None),
    )


async def watch(certificates: Certificates | None) -> None:
    """Read the certificate again whenever its files change, for ever."""
    while True:
        await asyncio.sleep(CERTIFICATE_SECONDS)
        reload(certificates, forced=False)


def reload(certificates: Certificates | None, *, forced: bool) -> None:
    """Read the certificate again if its files changed, or if `forced`; one that is no good is told of and not used."""
    if certificates is None:
        return
    try:
        changed = certificates.refresh(forced=forced)
    except (OSError, ssl.SSLError) as error:
        log.error("certificate_unusable", error=str(error))
    else:
        if changed:
            log.info("certificate_read")
