"""`at110 call`: a citizen's phone. A 440 Hz tone and a moving picture with a clock; it hangs up, or is hung up."""

from typing import Final

from pbx.phone import texts
from pbx.phone.command import Arguments, BadArgumentsError, refuse, run, server_uri
from pbx.phone.location import parse_circle
from pbx.phone.phone import Plan
from pbx.phone.user_agent import dialled
from pbx.sip.errors import SipError

TONE_HZ: Final = 440.0


def main(argv: list[str]) -> int:
    """Place one call. 0: it was answered; 1: it was not; 2: wrong arguments. Prints the report as JSON on stdout."""
    language = texts.language()
    parser = Arguments("call", language)
    parser.option("--to", "help_to", metavar="URI")
    parser.flag("--silent", "help_silent")
    parser.flag("--audio-only", "help_audio_only")
    parser.option("--location", "help_location", metavar="LAT,LON,RADIUS")
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
    try:
        target = dialled(given.to or "110", server_uri(server), silent=given.silent)
    except SipError:
        parser.fail("bad_target", given.to)
    try:
        location = None if given.location is None else parse_circle(given.location)
    except ValueError:
        parser.fail("bad_location", given.location)
    plan = Plan(
        role="caller",
        server=server,
        target=target,
        tone_hz=TONE_HZ,
        account=parser.account(given.user, given.password),
        seconds=parser.length(given.seconds),
        with_picture=not given.audio_only,
        location=location,
    )
    return plan, given.json
