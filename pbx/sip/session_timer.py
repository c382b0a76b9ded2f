"""Session timers (RFC 4028): both ends know that the other still holds the session, and when to give it up.

in → out: requests and responses that refresh the session → headers of ours; time → `Refresh` or `Expired`.

    OFF ─agreed─▶ RUNNING ─half the interval, ours to refresh─▶ Refresh ─2xx─▶ RUNNING
                     └──────────────── no refresh came ───────▶ Expired

One `SessionTimer` belongs to one dialog. A patient one (an emergency caller) never answers 422 and lets the whole interval
pass before it gives up.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

from pbx.sip import grammar
from pbx.sip.errors import SipError
from pbx.sip.message import Request, Response
from pbx.sip.wakeups import earliest

Refresher = Literal["uac", "uas"]

DEFAULT_MINIMUM: Final = 90
"""Seconds Min-SE stands for where it is missing (RFC 4028 §5)."""
GRACE_SECONDS: Final = 32.0
"""RFC 4028 §10: BYE is said before the interval ends, by 32 seconds or a third of it, whichever is less."""
RETRY_SECONDS: Final = 5.0
"""At least so long after a refresh that failed comes the next one."""
MAX_INTERVAL: Final = 7 * 86_400
"""Seconds; a longer interval than a week is no timer, and floats stay exact."""

TAG: Final = "timer"


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """What a site wants, in seconds."""

    interval: int = 1800
    """Asked for in our own INVITEs, and given to peers that know timers but ask for none."""
    minimum: int = DEFAULT_MINIMUM
    """Shorter intervals are answered 422."""


@dataclass(frozen=True, slots=True)
class Refresh:
    """Send an UPDATE or a re-INVITE now."""


@dataclass(frozen=True, slots=True)
class Expired:
    """The session is over: say BYE."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A Session-Expires header."""

    seconds: int
    refresher: Refresher | None


def tags(message: Request | Response, header: str) -> set[str]:
    """Return the option tags of `Supported` or `Require`, in lower case."""
    return {grammar.lower(tag) for tag in message.headers.all(header)}


def read_wish(message: Request | Response) -> Wish | None:
    """Read Session-Expires; a malformed one reads as none: it alone never ends or refuses a call."""
    value = message.headers.get("Session-Expires")
    if value is None:
        return None
    number, semicolon, rest = value.partition(";")
    seconds = grammar.number(number.strip(" \t"))
    if seconds is None:
        return None
    try:
        params = grammar.parse_params(semicolon + rest, 0, "Session-Expires")
    except SipError:
        params = ()
    found = grammar.find_param(params, "refresher")
    named = grammar.lower(found[1]) if found is not None and found[1] is not None else None
    refresher: Refresher | None = "uac" if named == "uac" else "uas" if named == "uas" else None
    return Wish(min(seconds, MAX_INTERVAL), refresher)


def read_minimum(message: Request | Response) -> int:
    """Read Min-SE; the default where it is missing or malformed."""
    value = message.headers.get("Min-SE")
    seconds = None if value is None else grammar.number(value.partition(";")[0].strip(" \t"))
    return DEFAULT_MINIMUM if seconds is None else min(seconds, MAX_INTERVAL)


class SessionTimer:
    """See the module. Times are seconds monotonic."""

    def __init__(self, settings: SessionSettings, *, patient: bool = False) -> None:
        self._settings = settings
        self._patient = patient
        self.interval: int | None = None
        """Seconds agreed; None: no timer."""
        self.ours = False
        """Whether it is we who refresh."""
        self._floor = settings.minimum  # the highest Min-SE heard
        self._heard = False  # a Min-SE was heard, so ours must state it
        self._refresh_at: float | None = None
        self._expires_at: float | None = None

    # --- our own INVITE and UPDATE ----------------------------------------------------------------------------------

    def asking(self) -> tuple[tuple[str, str], ...]:
        """Return the headers of the INVITE that begins a dialog. Who refreshes is left to the peer."""
        seconds = max(self._settings.interval, self._floor)
        return (("Session-Expires", str(seconds)), ("Min-SE", str(self._floor)))

    def refreshing(self) -> tuple[tuple[str, str], ...]:
        """Return the headers of a later INVITE or UPDATE of ours; each of them is a refresh if a timer was agreed."""
        if self.interval is None:
            return ()
        # §7.4: the refresher stays who it is, named as seen from this request: we send it, so we are its UAC.
        wish = ("Session-Expires", f"{self.interval};refresher={'uac' if self.ours else 'uas'}")
        # §7.4: once a Min-SE was heard, in a 422 or in a refresh of the peer, ours state the highest of them.
        return (wish, ("Min-SE", str(self._floor))) if self._heard else (wish,)

    def accepted(self, response: Response, now: float) -> None:
        """Take the 2xx to an INVITE or UPDATE of ours."""
        wish = read_wish(response)
        if wish is None:
            # §7.2: a 2xx without Session-Expires means that the session does not expire.
            self.stop()
            return
        # A peer may not go below what we stated; one that does is not allowed to make us refresh all the time.
        seconds = max(wish.seconds, self._settings.minimum)
        # §7.2: `uac` means that we refresh; where a peer forgot to say, somebody must.
        self._run(seconds, now, ours=wish.refresher != "uas")

    def too_small(self, response: Response, now: float) -> bool:
        """Take a 422; True when a larger interval can be tried, which `asking` and `refreshing` then state (§7.3)."""
        least = read_minimum(response)
        if least <= max(self._floor, self.interval or self._settings.interval):
            self.failed(now)
            return False
        self._floor, self._heard = least, True
        if self.interval is not None:
            self.interval = least
            self._refresh_at = now
        return True

    def failed(self, now: float) -> None:
        """Hear that a refresh of ours failed; it is tried again as long as there is time."""
        if self._expires_at is None or not self.ours:
            return
        again = now + max(RETRY_SECONDS, (self._expires_at - now) / 4)
        self._refresh_at = again if again < self._expires_at else None

    # --- the peer's INVITE and UPDATE -------------------------------------------------------------------------------

    def check(self, request: Request) -> None:
        """Raise SipError(422) when the peer asks for too short an interval; a patient timer never does."""
        wish = read_wish(request)
        if wish is None or self._patient or wish.seconds >= self._settings.minimum:
            return
        # Who does not know timers could not read a 422: a proxy put the header in.
        if TAG in tags(request, "Supported") | tags(request, "Require"):
            raise SipError(422, headers=(("Min-SE", str(self._settings.minimum)),))

    def answering(self, request: Request, now: float) -> tuple[tuple[str, str], ...]:
        """Take the peer's INVITE or UPDATE that we are about to answer 2xx; return the headers of that 2xx."""
        wish = read_wish(request)
        knows = TAG in tags(request, "Supported") | tags(request, "Require")
        least = read_minimum(request)
        if request.headers.get("Min-SE") is not None and least > self._floor:
            self._floor, self._heard = least, True
        if wish is None and not knows:
            self.stop()
            return ()
        if wish is None:
            # §9: we may ask for a timer where the peer did not, no lower than its Min-SE.
            seconds, refresher = max(self._settings.interval, least), "uas"
        elif wish.seconds < self._settings.minimum:
            # §9 forbids us to raise it, and we don't refuse it: the session has no timer then.
            self.stop()
            return ()
        else:
            # §9, table 2: a peer without support can't refresh; one that has it and names nobody does it itself.
            seconds = wish.seconds
            refresher = (wish.refresher or "uac") if knows else "uas"
        self._run(seconds, now, ours=refresher == "uas")
        header = ("Session-Expires", f"{seconds};refresher={refresher}")
        # §9: where the UAC refreshes, the 2xx requires `timer` of it.
        return (("Require", TAG), header) if refresher == "uac" else (header,)

    # --- time -------------------------------------------------------------------------------------------------------

    @property
    def next_due(self) -> float | None:
        """When `expire` wants to be called."""
        return earliest(self._refresh_at, self._expires_at)

    def expire(self, now: float) -> list[Refresh | Expired]:
        """Do what is due."""
        if self._expires_at is not None and now >= self._expires_at:
            self.stop()
            return [Expired()]
        if self._refresh_at is not None and now >= self._refresh_at:
            self._refresh_at = None
            return [Refresh()]
        return []

    def stop(self) -> None:
        """Have no timer."""
        self.interval = self._refresh_at = self._expires_at = None
        self.ours = False

    def _run(self, seconds: int, now: float, *, ours: bool) -> None:
        self.interval, self.ours = seconds, ours
        # §10 recommends half the interval.
        self._refresh_at = now + seconds / 2 if ours else None
        grace = 0.0 if self._patient else min(GRACE_SECONDS, seconds / 3)
        self._expires_at = now + seconds - grace

    def snapshot(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "patient": self._patient,
            "interval": self.interval,
            "ours": self.ours,
            "floor": self._floor,
            "heard": self._heard,
            "refresh_at": self._refresh_at,
            "expires_at": self._expires_at,
        }

    @classmethod
    def restore(cls, data: Mapping[str, Any], settings: SessionSettings) -> Self:
        """Undo `snapshot`."""
        self = cls(settings, patient=data["patient"])
        self.interval, self.ours = data["interval"], data["ours"]
        self._floor, self._heard = data["floor"], data["heard"]
        self._refresh_at, self._expires_at = data["refresh_at"], data["expires_at"]
        return self
