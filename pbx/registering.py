"""Who may register, put together: the gate of REGISTER and of calls, with its nonces, limits and accounts, built of the settings.

in → out: settings, the registrar and what the directory knows → `Registrations` for `pbx.call.answering`
"""

import random
import secrets
from collections.abc import Callable, Sequence

from pbx import identity
from pbx.call.answering import Registrations
from pbx.directory import Directory
from pbx.flows import Flows
from pbx.guard import Guesses, Limit
from pbx.registrar import Effect as BindingChange
from pbx.registrar import Registrar
from pbx.set_up import emergency
from pbx.settings import Settings
from pbx.sip.digest import NonceCounts, Nonces


def registrations(
    settings: Settings,
    registrar: Registrar,
    directory: Directory,
    flows: Flows,
    *,
    complete: Callable[[], bool],
    changed: Callable[[Sequence[BindingChange]], None],
    is_proxy: Callable[[str], bool],
) -> Registrations:
    """Build the gate. `complete`: whether the directory knows every account there is; the others are as `Registrations` has them."""
    secret = secrets.token_bytes(32)
    gate = identity.Authenticator(
        identity.IdentitySettings(
            settings.sip.realm, emergency=emergency(settings), md5_agents=settings.sip.md5_agents
        ),
        directory,
        Nonces(secret),
        NonceCounts(),
        secret=secret,
        guesses=Guesses(settings.limits.digest_failures),
        complete=complete,
        blocked=directory.blocked,
    )
    draw = random.SystemRandom()
    return Registrations(
        registrar,
        gate,
        lambda: draw.uniform(-1, 1),
        changed,
        Limit(settings.limits.identity_rate, settings.limits.identity_burst),
        flows=flows,
        is_proxy=is_proxy,
    )
