"""What commands that speak with the running exchange share: its settings, its API, its refusals in both languages.

in → out: settings, a request → JSON; `run` → the exit status of the command.
"""

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, Final

from pbx.settings import Settings, SettingsError, load

API_SECONDS: Final = 10.0


def run(done: Callable[[Settings], list[str]]) -> int:
    """Print the lines `done` gives. 0 when it was done, 1 when the exchange refused or is not there, 2 for wrong settings."""
    try:
        settings = load(os.environ)
    except SettingsError as error:
        for problem in error.problems:
            print(f"at110: {problem}", file=sys.stderr)
        return 2
    try:
        print("\n".join(done(settings)))
    except urllib.error.HTTPError as error:
        with error:
            print(f"at110: {_reason(error.read())}", file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
        print(f"at110: {error}", file=sys.stderr)
        return 1
    return 0


def token(settings: Settings) -> str:
    """Return the exchange's own token. Raises OSError when its file can't be read."""
    return str(json.loads(settings.credentials.read_bytes())["api_token"])


def login(settings: Settings, user: str, password: str) -> str:
    """Return the cookie of a person's session. Raises HTTPError when the exchange refuses."""
    request = _request(settings, "POST", "/api/login", {"user": user, "password": password})
    with urllib.request.urlopen(request, timeout=API_SECONDS) as answer:  # noqa: S310 - our own address, from the settings
        return str(answer.headers["Set-Cookie"]).partition(";")[0]


def ask(
    settings: Settings,
    method: str,
    path: str,
    *,
    body: dict[str, Any] | None = None,
    cookie: str | None = None,
) -> Any:
    """Return the JSON the API answers a person (`cookie`) or, without one, the token. Raises HTTPError, OSError, ValueError."""
    request = _request(settings, method, path, body)
    if cookie is None:
        request.add_header("Authorization", f"Bearer {token(settings)}")
    else:
        request.add_header("Cookie", cookie)
    with urllib.request.urlopen(request, timeout=API_SECONDS) as answer:  # noqa: S310 - as above
        return json.load(answer)


def _request(
    settings: Settings, method: str, path: str, body: dict[str, Any] | None
) -> urllib.request.Request:
    host = settings.http.host if settings.http.host not in {"0.0.0.0", "::"} else "127.0.0.1"
    data = None if body is None else json.dumps(body).encode()
    headers = {} if body is None else {"Content-Type": "application/json"}
    return urllib.request.Request(f"http://{host}:{settings.http.port}{path}", data, headers, method=method)


def _reason(body: bytes) -> str:
    try:
        error = json.loads(body)["error"]
        return f"{error['zh']} · {error['en']}"
    except (ValueError, KeyError, TypeError):
        return "交换台拒绝了 · the exchange refused it"
