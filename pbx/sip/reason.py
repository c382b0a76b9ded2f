"""Why a request was sent (RFC 3326), read from the peer's BYE and CANCEL and written on ours."""

from typing import Final

from pbx.sip import grammar
from pbx.sip.errors import SipError
from pbx.sip.message import Request, Response

MAX_REASONS: Final = 4
"""One per protocol is what RFC 3326 §2 allows; SIP, Q.850 and a vendor's are what is seen."""
MAX_TEXT: Final = 200
"""Characters of a reason's text that are kept."""

Header = tuple[str, str]


def header(protocol: str, cause: int, text: str) -> Header:
    """A Reason header."""
    return ("Reason", f"{protocol};cause={cause};text={grammar.quote(text)}")


CLEARED: Final = header("Q.850", 16, "Normal call clearing")
NO_ANSWER: Final = header("Q.850", 19, "No answer from user")
NO_ACK: Final = header("SIP", 408, "ACK not received")
SESSION_EXPIRED: Final = header("SIP", 408, "Session expired")
SECURITY: Final = header("SIP", 488, "Certificate does not match its fingerprint")
ELSEWHERE: Final = header("SIP", 200, "Call completed elsewhere")


def read(message: Request | Response) -> list[dict[str, str | int | None]]:
    """Return what the peer said: `protocol`, `cause` (None: not stated) and `text` of each reason; malformed ones are left out."""
    found: list[dict[str, str | int | None]] = []
    for value in message.headers.all("Reason")[:MAX_REASONS]:
        protocol, semicolon, rest = value.partition(";")
        name = protocol.strip(" \t")
        try:
            params = grammar.parse_params(semicolon + rest, 0, "Reason")
        except SipError:
            continue
        if not grammar.is_token(name):
            continue
        cause, text = grammar.find_param(params, "cause"), grammar.find_param(params, "text")
        found.append(
            {
                "protocol": name[:MAX_TEXT],
                "cause": None if cause is None or cause[1] is None else grammar.number(cause[1]),
                "text": None if text is None or text[1] is None else grammar.unquote(text[1])[:MAX_TEXT],
            }
        )
    return found
