"""What only shows when all settings are seen together: ports that meet, hosts that are none, TLS without a certificate.

in → out: `Settings` and where each key stands → a sentence for each thing that is wrong.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pbx.queue_settings import wrong
from pbx.settings_file import where_of
from pbx.trunks import settings as trunks

if TYPE_CHECKING:
    from pbx.settings import Settings


def _twice(settings: "Settings") -> Iterator[str]:
    """Name the addresses that two things would listen on. TCP and TLS are one kind of socket."""
    sip, seen = settings.sip, set()
    wanted = [("udp", sip.host, sip.port), ("stream", sip.host, sip.port)]
    if settings.tls_port is not None:
        wanted.append(("stream", sip.host, settings.tls_port))
    for place in sip.listen:
        wanted += [("udp" if t == "udp" else "stream", place.host, place.port) for t in place.transports]
    for kind, host, port in wanted:
        if port and (kind, host, port) in seen:
            yield f"two transports would listen on {host}:{port}"
        seen.add((kind, host, port))


def whole(settings: "Settings", sources: Mapping[str, str]) -> list[str]:
    """Return a sentence for each thing that is wrong with the parts seen together."""
    problems = []
    if (problem := settings.hands.problem()) is not None:
        problems.append(f"{where_of(sources, 'hands')}{problem}")
    media = settings.media
    if media.port_max - media.port_min < 4 * media.processes - 1:
        where = where_of(sources, "media.port_max")
        needed = f"media.port_min + {4 * media.processes - 1} (one call with picture for each process)"
        problems.append(f"{where}media.port_max must be at least {needed}")
    for text in settings.limits.upstreams:
        try:
            ipaddress.ip_network(text)
        except ValueError:
            where = where_of(sources, "limits.upstreams")
            problems.append(f"{where}limits.upstreams: {text!r} is neither an IP address nor a network")
    hosts = [("sip.host", settings.sip.host), ("http.host", settings.http.host)]
    hosts += [("sip.listen", place.host) for place in settings.sip.listen]
    hosts += [("sip.resolvers", host) for host in settings.sip.resolvers]
    for name, host in hosts:
        try:
            ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            problems.append(f"{where_of(sources, name)}{name}: {host!r} is not an IP address")
    tls = settings.tls
    if (tls.certificate is None) != (tls.key is None):
        problems.append(f"{where_of(sources, 'tls')}tls.certificate and tls.key go together")
    secure = settings.http.tls_port is not None or any("tls" in p.transports for p in settings.sip.listen)
    if secure and not tls.enabled:
        problems.append(
            f"{where_of(sources, 'tls.enabled')}something listens for TLS, but tls.enabled is false"
        )
    problems += [f"{where_of(sources, 'sip.listen')}{text}" for text in _twice(settings)]
    problems += list(trunks.problems(settings.trunk))
    problems += [f"{where_of(sources, 'location')}{text}" for text in settings.location.problems()]
    problems += [f"{where_of(sources, 'subscribers')}{text}" for text in settings.subscribers.problems()]
    problems += [
        f"{where_of(sources, 'queue')}{text}"
        for text in wrong(settings.queue, [trunk.name for trunk in settings.trunk])
    ]
    fixed = media.port_min <= settings.sip.port <= media.port_max
    if fixed:
        problems.append(f"{where_of(sources, 'sip.port')}sip.port lies inside media.port_min…port_max")
    return problems
