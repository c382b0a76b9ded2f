"""Settings: one TOML file and six environment variables → one frozen value, checked whole.

in → out: `load(environ)` reads `$AT110_SETTINGS` or `<state>/at110.toml` (both may be absent), lays `AT110_*` over it
and returns `Settings`; `prepare(settings)` makes the folders. Nothing else in the program reads the environment.
Every wrong key is named in one `SettingsError`, with its line where the file shows one.
"""

import ipaddress
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import msgspec

from pbx.folders import SOCKET_PATH_LIMIT, make_private, short_folder
from pbx.hands_settings import HandsSettings
from pbx.limits import Limits
from pbx.listen_settings import (
    AnyPort,
    ListenSettings,
    Name,
    Port,
    TlsSettings,
    WebSocketSettings,
    own_address,
)
from pbx.location.settings import LocationSettings
from pbx.queue_settings import QueueSettings, wrong
from pbx.section import Seconds, Section, tables_of
from pbx.trunks import settings as trunks
from pbx.trunks.settings import TrunkSettings

__all__ = [
    "EmergencySettings",
    "EvidenceSettings",
    "HandsSettings",
    "HttpSettings",
    "Limits",
    "ListenSettings",
    "MediaSettings",
    "QueueSettings",
    "Settings",
    "SettingsError",
    "SipSettings",
    "StorageSettings",
    "TlsSettings",
    "TrunkSettings",
    "WebSocketSettings",
    "load",
    "prepare",
]

EncryptionPolicy = Literal["off", "opportunistic", "mandatory", "dtls"]
MEDIA_SOCKET = "media-{}.sock"


class SettingsError(Exception):
    """The settings can't be used. `problems` holds one sentence for each thing that is wrong."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class SipSettings(Section, frozen=True, kw_only=True):
    """Where phones reach us."""

    host: Name = "127.0.0.1"
    """IP address UDP and TCP listen on."""
    port: AnyPort = 5060
    realm: Name = "at110"
    """Realm of digest authentication; changing it makes every stored HA1 useless."""
    md5_agents: tuple[str, ...] = ("baresip v0.", "baresip v1.", "JsSIP")
    """Beginnings of the User-Agent of phones that are offered MD5 alone, because they stop at a SHA-256 challenge."""
    session_seconds: Annotated[int, msgspec.Meta(ge=90, le=86400)] = 1800
    """Session interval (RFC 4028) we ask for: a dialog whose other end is gone is found out within it."""
    min_session_seconds: Annotated[int, msgspec.Meta(ge=2, le=86400)] = 90
    """Shorter intervals are answered 422 (an emergency call goes on without a timer). Below 90 only to try things out."""
    advertised: Name | None = None
    """Host name or address phones are told (Via, Contact, SDP); None: the listening address, or when that is
    0.0.0.0 or :: the address of this machine's default route."""
    listen: tuple[ListenSettings, ...] = ()
    """Further addresses."""
    resolvers: tuple[Name, ...] = ()
    """IP addresses of DNS servers, asked for the names of servers that are called; none: those of /etc/resolv.conf.
    No call of a registered phone ever waits for them."""

    @property
    def public_host(self) -> str:
        """What stands in Via, Contact and SDP."""
        return self.advertised or own_address(self.host)


class HttpSettings(Section, frozen=True, kw_only=True):
    """API and console."""

    host: Name = "127.0.0.1"
    port: AnyPort = 8110
    tls_port: AnyPort | None = None
    """Where the same is served over TLS, with the certificate of `[tls]`; None: nowhere."""


class MediaSettings(Section, frozen=True, kw_only=True):
    """The media processes."""

    port_min: Port = 20000
    port_max: Port = 29999
    drain_seconds: Seconds = 30.0
    """A closed leg's port is given to nobody for this long: late packets of the old call still arrive."""
    loss_seconds: Seconds = 5.0
    """A medium that brought nothing for this long is called lost."""
    host_picture_in_silent: bool = False
    """Whether a silent caller is sent the dispatcher's picture."""
    prompts: tuple[str, ...] = ()
    """Folders searched for prompts before the built-in ones."""
    encryption: EncryptionPolicy = "opportunistic"
    """Sound and picture by SRTP: `opportunistic` where the phone can, `mandatory` or refused (an emergency call is never
    refused), `dtls` mandatory and with no keys in SDP, `off` never offered."""
    encryption_for: dict[Name, EncryptionPolicy] = msgspec.field(default_factory=dict)
    """The same for single accounts and trunks, by user name or trunk name."""
    sdes_in_clear: bool = False
    """Whether SRTP keys may stand in SDP over UDP, TCP or plain WebSocket, where anybody on the way can read them."""
    engine: Literal["auto", "native", "python"] = "python"
    """What carries packets: Python, C where it was built (`auto`), or C or nothing."""


class EmergencySettings(Section, frozen=True, kw_only=True):
    """What counts as a call for help, beside 110, `tel:110` and `urn:service:sos`."""

    numbers: tuple[Annotated[str, msgspec.Meta(pattern=r"\A[0-9A-Za-z_.+*-]{1,64}\Z")], ...] = ()


class StorageSettings(Section, frozen=True, kw_only=True):
    """PostgreSQL."""

    database_url: Annotated[str, msgspec.Meta(pattern=r"\Apostgres(ql)?://")] | None = None
    """None: the embedded one."""


class EvidenceSettings(Section, frozen=True, kw_only=True):
    """Where evidence goes."""

    folder: str | None = None
    """None: `<state>/evidence`."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings of one exchange. Build it with `load`."""

    state: Path
    """Absolute."""
    sip: SipSettings = SipSettings()
    tls: TlsSettings = TlsSettings()
    websocket: WebSocketSettings = WebSocketSettings()
    http: HttpSettings = HttpSettings()
    media: MediaSettings = MediaSettings()
    emergency: EmergencySettings = EmergencySettings()
    queue: QueueSettings = QueueSettings()
    hands: HandsSettings = HandsSettings()
    location: LocationSettings = LocationSettings()
    limits: Limits = Limits()
    storage: StorageSettings = StorageSettings()
    evidence: EvidenceSettings = EvidenceSettings()
    trunk: tuple[TrunkSettings, ...] = ()

    @property
    def evidence_folder(self) -> Path:
        folder = self.evidence.folder
        return self.state / "evidence" if folder is None else self.state / Path(folder).expanduser()

    @property
    def tls_port(self) -> int | None:
        """Where `sip.host` listens for SIP over TLS; None: nowhere."""
        if not self.tls.enabled:
            return None
        if self.tls.port is None:
            return 5061 if self.sip.port == 5060 else None
        return self.tls.port

    def file(self, name: str) -> Path:
        """Return where a file named in the settings is: paths are relative to the state folder."""
        return self.state / Path(name).expanduser()

    @property
    def journal(self) -> Path:
        return self.state / "journal"

    @property
    def spool(self) -> Path:
        """Finished calls wait here for the recorder."""
        return self.state / "spool"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def credentials(self) -> Path:
        return self.state / "credentials.json"

    @property
    def accounts_cache(self) -> Path:
        return self.state / "accounts.json"

    @property
    def run_folder(self) -> Path:
        """Folder of our Unix sockets: inside the state folder unless its path is too long for a socket address."""
        longest = self.state / "run" / MEDIA_SOCKET.format(99)
        if len(os.fsencode(longest)) < SOCKET_PATH_LIMIT:
            return self.state / "run"
        return short_folder(self.state)

    def media_socket(self, process: int = 0) -> Path:
        """Unix socket of media process number `process`."""
        return self.run_folder / MEDIA_SOCKET.format(process)


SECTIONS: Mapping[str, type[Section]] = {
    "sip": SipSettings,
    "tls": TlsSettings,
    "websocket": WebSocketSettings,
    "http": HttpSettings,
    "media": MediaSettings,
    "emergency": EmergencySettings,
    "queue": QueueSettings,
    "hands": HandsSettings,
    "location": LocationSettings,
    "limits": Limits,
    "storage": StorageSettings,
    "evidence": EvidenceSettings,
}
LISTS: Mapping[str, type[Section]] = {"trunk": TrunkSettings}
"""Tables of which there may be many: `[[trunk]]`."""


def load(environ: Mapping[str, str]) -> Settings:
    """Read the file and the environment. Raises `SettingsError` naming everything that is wrong."""
    state = Path(environ.get("AT110_STATE") or "./state").expanduser().absolute()
    given = environ.get("AT110_SETTINGS")
    file = Path(given).expanduser() if given else state / "at110.toml"
    problems: list[str] = []
    tables, lines = _read(file, required=bool(given), problems=problems)
    sources = dict(lines)
    for section, key, value, variable in _overrides(environ, problems):
        table = tables.setdefault(section, {})
        if isinstance(table, dict):
            table[key] = value
            sources[f"{section}.{key}"] = variable
    sections: dict[str, Any] = {}
    for name, table in tables.items():
        kind = SECTIONS.get(name)
        where = _where(sources, name)
        if (listed := LISTS.get(name)) is not None:
            sections[name] = tables_of(name, listed, table, problems)
        elif kind is None:
            problems.append(f"{where}[{name}] is not a section; there are: {', '.join((*SECTIONS, *LISTS))}")
        elif not isinstance(table, dict):
            problems.append(f"{where}{name} must be a table: [{name}]")
        else:
            sections[name] = _section(name, kind, table, sources, problems)
    if not problems:
        settings = Settings(state=state, **sections)
        problems.extend(_whole(settings, sources))
    if problems:
        prefix = f"{file}: " if file.exists() else ""
        raise SettingsError([prefix + problem for problem in problems])
    return settings


def prepare(settings: Settings) -> None:
    """Make the folders. Raises OSError.

    A new state folder is 0711: the database may run as another user, who must pass through it; all that is
    private inside is 0700 or 0600. A folder that exists keeps its mode.
    """
    settings.state.mkdir(mode=0o711, parents=True, exist_ok=True)
    for folder in (settings.journal, settings.spool, settings.logs, settings.run_folder):
        make_private(folder)
    settings.evidence_folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def _read(file: Path, *, required: bool, problems: list[str]) -> tuple[dict[str, Any], dict[str, str]]:
    try:
        text = file.read_text("utf-8")
    except FileNotFoundError:
        if required:
            problems.append(f"{file} does not exist (AT110_SETTINGS)")
        return {}, {}
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"can't be read: {error}")
        return {}, {}
    try:
        return tomllib.loads(text), _lines(text)
    except tomllib.TOMLDecodeError as error:
        problems.append(f"not TOML: {error}")
        return {}, {}


def _lines(text: str) -> dict[str, str]:
    """Where each `section.key` stands, for messages only: `{"sip.port": "line 4"}`."""
    found: dict[str, str] = {}
    section = ""
    for number, line in enumerate(text.split("\n"), 1):
        if match := re.match(r"\s*\[\s*([A-Za-z0-9_-]+)\s*\]", line):
            section = match[1]
            found.setdefault(section, f"line {number}")
        elif match := re.match(r"\s*([A-Za-z0-9_.-]+)\s*=", line):
            found.setdefault(f"{section}.{match[1]}" if section else match[1], f"line {number}")
    return found


def _overrides(environ: Mapping[str, str], problems: list[str]) -> Iterator[tuple[str, str, object, str]]:
    for variable, section in (("AT110_SIP_PORT", "sip"), ("AT110_HTTP_PORT", "http")):
        text = environ.get(variable)
        if text:
            if re.fullmatch(r"[0-9]{1,5}", text, re.ASCII):
                yield section, "port", int(text), variable
            else:
                problems.append(f"{variable}: {text!r} is not a port")
    if host := environ.get("AT110_HOST"):
        yield "sip", "host", host, "AT110_HOST"
        yield "http", "host", host, "AT110_HOST"
    if url := environ.get("AT110_DATABASE_URL"):
        yield "storage", "database_url", url, "AT110_DATABASE_URL"


def _where(sources: Mapping[str, str], key: str) -> str:
    return f"{sources[key]}: " if key in sources else ""


def _section(
    name: str, kind: type[Section], table: dict[str, Any], sources: Mapping[str, str], problems: list[str]
) -> Section | None:
    """Check a table key by key, so that all its errors are told and not only the first."""
    types = get_type_hints(kind, include_extras=True)
    good: dict[str, Any] = {}
    for key, value in table.items():
        where = _where(sources, f"{name}.{key}")
        if key not in types:
            problems.append(f"{where}{name}.{key} is not a setting; there are: {', '.join(types)}")
            continue
        try:
            good[key] = msgspec.convert(value, types[key])
        except msgspec.ValidationError as error:
            # A database URL may hold a password: the value itself is never repeated.
            problems.append(f"{where}{name}.{key}: {error}")
    return kind(**good)


def _twice(settings: Settings) -> Iterator[str]:
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


def _whole(settings: Settings, sources: Mapping[str, str]) -> list[str]:
    """What only shows when the parts are seen together."""
    problems = []
    if (problem := settings.hands.problem()) is not None:
        problems.append(f"{_where(sources, 'hands')}{problem}")
    media = settings.media
    if media.port_max - media.port_min < 3:
        where = _where(sources, "media.port_max")
        problems.append(f"{where}media.port_max must be at least media.port_min + 3 (one call with picture)")
    for text in settings.limits.upstreams:
        try:
            ipaddress.ip_network(text)
        except ValueError:
            where = _where(sources, "limits.upstreams")
            problems.append(f"{where}limits.upstreams: {text!r} is neither an IP address nor a network")
    hosts = [("sip.host", settings.sip.host), ("http.host", settings.http.host)]
    hosts += [("sip.listen", place.host) for place in settings.sip.listen]
    hosts += [("sip.resolvers", host) for host in settings.sip.resolvers]
    for name, host in hosts:
        try:
            ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            problems.append(f"{_where(sources, name)}{name}: {host!r} is not an IP address")
    tls = settings.tls
    if (tls.certificate is None) != (tls.key is None):
        problems.append(f"{_where(sources, 'tls')}tls.certificate and tls.key go together")
    secure = settings.http.tls_port is not None or any("tls" in p.transports for p in settings.sip.listen)
    if secure and not tls.enabled:
        problems.append(
            f"{_where(sources, 'tls.enabled')}something listens for TLS, but tls.enabled is false"
        )
    problems += [f"{_where(sources, 'sip.listen')}{text}" for text in _twice(settings)]
    problems += list(trunks.problems(settings.trunk))
    problems += [f"{_where(sources, 'location')}{text}" for text in settings.location.problems()]
    problems += [f"{_where(sources, 'queue')}{text}" for text in wrong(settings.queue)]
    fixed = media.port_min <= settings.sip.port <= media.port_max
    if fixed:
        problems.append(f"{_where(sources, 'sip.port')}sip.port lies inside media.port_min…port_max")
    return problems
