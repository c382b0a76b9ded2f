"""Where a trunk's password is read: a file, or a variable of the environment. It stands nowhere else.

in → out: settings → `Account`. Nothing here is logged or shown; an error names the place, never the content.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from pbx.trunks.account import Account
from pbx.trunks.settings import TrunkSettings

MAX_BYTES: Final = 4096
"""Of a password file that are read; the password is its first line."""


class SecretError(OSError):
    """A password can't be read; the text names where it was looked for. Like a port that is taken, it keeps the process from
    starting.
    """


def accounts(
    trunks: Iterable[TrunkSettings], environ: Mapping[str, str], file: Callable[[str], Path]
) -> dict[str, Account]:
    """Return our account with each trunk that asks for one, by the trunk's name. Raises SecretError (`account`)."""
    found = {trunk.name: account(trunk, environ, file) for trunk in trunks}
    return {name: one for name, one in found.items() if one is not None}


def account(trunk: TrunkSettings, environ: Mapping[str, str], file: Callable[[str], Path]) -> Account | None:
    """Return our account with a trunk, None when it asks for none. Raises SecretError.

    `file` tells where a file named in the settings is.
    """
    if trunk.user is None or trunk.realm is None:
        return None
    if trunk.password_file is not None:
        place = file(trunk.password_file)
        try:
            with place.open("rb") as opened:
                text = opened.read(MAX_BYTES).split(b"\n", 1)[0].rstrip(b"\r").decode()
        except (OSError, UnicodeDecodeError) as error:
            raise SecretError(f"trunk {trunk.name!r}: password_file {place} can't be read") from error
    else:
        text = environ.get(trunk.password_env or "", "")
    if not text:
        where = trunk.password_file or trunk.password_env
        raise SecretError(f"trunk {trunk.name!r}: there is no password in {where}")
    return Account(trunk.user, trunk.realm, text)
