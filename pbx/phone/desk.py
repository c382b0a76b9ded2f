"""`at110 desk`: a dispatcher's phone. It signs in by dialling *10 and keeps that leg for its shift; 1000 Hz and a picture."""

from typing import Final

from pbx.phone import texts
from pbx.phone.command import Arguments, BadArgumentsError, refuse, run, server_uri
from pbx.phone.phone import Plan
from pbx.phone.user_agent import dialled

TONE_HZ: Final = 1000.0
SIGN_IN: Final = "*10"


def main(argv: list[str]) -> int:
    """Sign in and stay. 0: the exchange took the desk; 1: it did not; 2: wrong arguments. Prints the report as JSON."""
    language = texts.language()
    parser = Arguments("desk", language)
    try:
        plan, quiet = _plan(parser, argv)
    except BadArgumentsError as error:
        return refuse(language, error)
    except SystemExit as asked_for_help:
        return int(asked_for_help.code or 0)
    return run(plan, language, quiet=quiet)


def _plan(parser: Arguments, argv: list[str]) -> tuple[Plan, bool]:
    given = parser.parse_args(argv)
    server = parser.place(given.server)
    account = parser.account(given.user, given.password)
    if account is None:
        parser.fail("together")
    plan = Plan(
        role="desk",
        server=server,
        target=dialled(SIGN_IN, server_uri(server)),
        tone_hz=TONE_HZ,
        account=account,
        seconds=parser.length(given.seconds),
    )
    return plan, given.json
