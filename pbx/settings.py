"""Settings: one TOML file and six environment variables → one frozen value, checked whole.

in → out: `load(environ)` reads `$AT110_SETTINGS` or `<state>/at110.toml` (both may be absent), lays `AT110_*` over it
and returns `Settings`; `prepare(settings)` makes the folders. Nothing else in the program reads the environment.
Every wrong key is named in one `SettingsError`, with its line where the file shows one.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from pbx import settings_checks, settings_file
from pbx.folders import SOCKET_PATH_LIMIT, make_private, short_folder
from pbx.hands_settings import HandsSettings
from pbx.limits import Limits
from pbx.listen_settings import AnyPort, ListenSettings, Name, TlsSettings, WebSocketSettings, own_address
from pbx.location.settings import LocationSettings
from pbx.media_settings import MediaSettings
from pbx.queue_settings import QueueSettings
from pbx.section import Section, tables_of
from pbx.subscriber_settings import SubscriberSettings
from pbx.trunks.settings import TrunkSettings
from recordings.store import Store, set_up

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
    subscribers: SubscriberSettings = SubscriberSettings()
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

    def handover_sockets(self) -> tuple[Path, ...]:
        """Unix sockets on which several media processes hand legs to each other, by number; none where there is one."""
        count = self.media.processes
        return tuple(self.run_folder / f"legs-{number}.sock" for number in range(count)) if count > 1 else ()


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
    "subscribers": SubscriberSettings,
    "limits": Limits,
    "storage": StorageSettings,
    "evidence": EvidenceSettings,
}
LISTS: Mapping[str, type[Section]] = {"trunk": TrunkSettings}
"""Tables of which there may be many: `[[trunk]]`."""


def _places(environ: Mapping[str, str]) -> tuple[Path, Path]:
    """Return the state folder and the settings file."""
    state = Path(environ.get("AT110_STATE") or "./state").expanduser().absolute()
    given = environ.get("AT110_SETTINGS")
    return state, Path(given).expanduser() if given else state / "at110.toml"


def keep(environ: Mapping[str, str]) -> int:
    """Copy the settings file, or nothing if there is none, into a file in memory; return its descriptor. Raises OSError.

    The processes of one exchange read this: who is started again while somebody edits the file must find what the others go by.
    """
    _, file = _places(environ)
    text = file.read_bytes() if file.exists() else b""
    descriptor = os.memfd_create("at110-settings", os.MFD_CLOEXEC)
    with open(descriptor, "wb", closefd=False) as kept:
        kept.write(text)
    return descriptor


def load(environ: Mapping[str, str]) -> Settings:
    """Read the file and the environment. Raises `SettingsError` naming everything that is wrong."""
    state, file = _places(environ)
    problems: list[str] = []
    named = bool(environ.get("AT110_SETTINGS"))
    tables, lines = settings_file.read(file, required=named, problems=problems)
    sources = dict(lines)
    for section, key, value, variable in settings_file.overrides(environ, problems):
        table = tables.setdefault(section, {})
        if isinstance(table, dict):
            table[key] = value
            sources[f"{section}.{key}"] = variable
    sections: dict[str, Any] = {}
    for name, table in tables.items():
        kind = SECTIONS.get(name)
        where = settings_file.where_of(sources, name)
        if (listed := LISTS.get(name)) is not None:
            sections[name] = tables_of(name, listed, table, problems)
        elif kind is None:
            problems.append(f"{where}[{name}] is not a section; there are: {', '.join((*SECTIONS, *LISTS))}")
        elif not isinstance(table, dict):
            problems.append(f"{where}{name} must be a table: [{name}]")
        else:
            sections[name] = settings_file.section(name, kind, table, sources, problems)
    if not problems:
        settings = Settings(state=state, **sections)
        problems.extend(settings_checks.whole(settings, sources))
    if problems:
        prefix = f"{file}: " if file.exists() else ""
        raise SettingsError([prefix + problem for problem in problems])
    return settings


def prepare(settings: Settings) -> Store:
    """Make the folders, and know the evidence folder again, which may be missing. Raises OSError.

    A new state folder is 0711: the database may run as another user, who must pass through it; all that is
    private inside is 0700 or 0600. A folder that exists keeps its mode.
    """
    settings.state.mkdir(mode=0o711, parents=True, exist_ok=True)
    for folder in (settings.journal, settings.spool, settings.logs, settings.run_folder):
        make_private(folder)
    return set_up(settings.evidence_folder, settings.state)
