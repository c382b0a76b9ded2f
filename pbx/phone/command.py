"""The command lines of the scripted phones: arguments in, one JSON object and an exit code out."""

import argparse
import asyncio
import logging
import os
import re
import sys
from typing import Any, Final, NoReturn

from pbx import logs
from pbx.phone import texts
from pbx.phone.phone import Phone, Plan
from pbx.phone.report import text
from pbx.phone.user_agent import Account
from pbx.sip.uri import Uri

DEFAULT_PORT: Final = 5060
MAX_SECONDS: Final = 30 * 24 * 3600.0

ANSWERED: Final = 0
NOT_ANSWERED: Final = 1
BAD_ARGUMENTS: Final = 2


class BadArgumentsError(Exception):
    """The command line is wrong; the text says what."""


class Arguments(argparse.ArgumentParser):
    """What `call` and `desk` share; errors are raised, so that they are told in the person's language."""

    def __init__(self, command: str, language: texts.Language) -> None:
        super().__init__(
            prog=f"at110 {command}", description=texts.say(language, f"about_{command}"), allow_abbrev=False
        )
        self.language = language
        self._option("--server", "help_server", metavar="HOST:PORT")
        self._option("--user", "help_user", metavar="U")
        self._option("--password", "help_password", metavar="P")
        self._option("--seconds", "help_seconds", metavar="N")
        self.flag("--json", "help_json")

    def _option(self, name: str, help_key: str, *, metavar: str) -> None:
        self.add_argument(name, metavar=metavar, help=texts.say(self.language, help_key).replace("%", "%%"))

    def option(self, name: str, help_key: str, *, metavar: str) -> None:
        """Add an option that takes a value."""
        self._option(name, help_key, metavar=metavar)

    def flag(self, name: str, help_key: str) -> None:
        """Add an option without value."""
        self.add_argument(name, action="store_true", help=texts.say(self.language, help_key))

    def error(self, message: str) -> NoReturn:
        raise BadArgumentsError(message)

    def fail(self, key: str, *values: object) -> NoReturn:
        """Refuse the command line with one of our texts."""
        raise BadArgumentsError(texts.say(self.language, key, *values))

    def place(self, given: str | None) -> tuple[str, int]:
        """The exchange's host and port."""
        port = os.environ.get("AT110_SIP_PORT", "")
        default = int(port) if re.fullmatch(r"[0-9]{1,5}", port) else DEFAULT_PORT
        if given is None:
            return "127.0.0.1", default
        match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{1,5}))?", given)
        if match is None or not 0 < int(match[3] or default) < 65536:
            self.fail("bad_server", given)
        return match[1] or match[2], int(match[3] or default)

    def account(self, user: str | None, password: str | None) -> Account | None:
        """Both or none."""
        if (user is None) != (password is None):
            self.fail("together")
        return None if user is None or password is None else Account(user, password)

    def length(self, given: str | None) -> float | None:
        """Seconds, more than 0."""
        if given is None:
            return None
        if re.fullmatch(r"[0-9]{1,7}(?:\.[0-9]{1,3})?", given) is None or not 0 < float(given) <= MAX_SECONDS:
            self.fail("bad_seconds", given)
        return float(given)


def server_uri(place: tuple[str, int]) -> Uri:
    """sip:HOST:PORT."""
    return Uri("sip", None, None, *place)


def run(plan: Plan, language: texts.Language, *, quiet: bool) -> int:
    """Run the phone, print its report to stdout, give the exit code."""
    logs.configure("phone", level=logging.WARNING)

    def say(key: str, *values: object) -> None:
        if not quiet:
            if key == "ended":
                values = (texts.say(language, f"by_{values[0]}"),)
            sys.stderr.write(f"at110: {texts.say(language, key, *values)}\n")
            sys.stderr.flush()

    report, answered = asyncio.run(_live(plan, say))
    sys.stdout.write(text(report) + "\n")
    sys.stdout.flush()
    return ANSWERED if answered else NOT_ANSWERED


async def _live(plan: Plan, say: Any) -> tuple[dict[str, Any], bool]:
    return await Phone(plan, say).run()


def refuse(language: texts.Language, error: BadArgumentsError) -> int:
    """Say what is wrong with the command line."""
    sys.stderr.write(f"at110: {texts.say(language, 'bad_arguments', error)}\n")
    return BAD_ARGUMENTS
