"""What can be wrong with a message from outside, each with its verdict.

    SipError               the peer's fault or wish: answered with `status`, counted
     └─ ParseError         the message itself is malformed: carries the stateless answer (raised by `pbx.sip.parser`)

A wrong argument from our own code is a `ValueError`: our bug, never answered.
"""

from collections.abc import Iterable
from typing import Final

REASONS: Final[dict[int, str]] = {
    100: "Trying",
    180: "Ringing",
    181: "Call Is Being Forwarded",
    182: "Queued",
    183: "Session Progress",
    199: "Early Dialog Terminated",
    200: "OK",
    202: "Accepted",
    204: "No Notification",
    300: "Multiple Choices",
    301: "Moved Permanently",
    302: "Moved Temporarily",
    305: "Use Proxy",
    380: "Alternative Service",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    410: "Gone",
    412: "Conditional Request Failed",
    413: "Request Entity Too Large",
    414: "Request-URI Too Long",
    415: "Unsupported Media Type",
    416: "Unsupported URI Scheme",
    417: "Unknown Resource-Priority",
    420: "Bad Extension",
    421: "Extension Required",
    422: "Session Interval Too Small",
    423: "Interval Too Brief",
    424: "Bad Location Information",
    428: "Use Identity Header",
    429: "Provide Referrer Identity",
    430: "Flow Failed",
    433: "Anonymity Disallowed",
    436: "Bad Identity Info",
    437: "Unsupported Credential",
    438: "Invalid Identity Header",
    439: "First Hop Lacks Outbound Support",
    440: "Max-Breadth Exceeded",
    469: "Bad Info Package",
    470: "Consent Needed",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    483: "Too Many Hops",
    484: "Address Incomplete",
    485: "Ambiguous",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    489: "Bad Event",
    491: "Request Pending",
    493: "Undecipherable",
    494: "Security Agreement Required",
    500: "Server Internal Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Server Time-out",
    505: "Version Not Supported",
    513: "Message Too Large",
    555: "Push Notification Service Not Supported",
    580: "Precondition Failure",
    600: "Busy Everywhere",
    603: "Decline",
    604: "Does Not Exist Anywhere",
    606: "Not Acceptable",
    607: "Unwanted",
    608: "Rejected",
}
"""Reason phrases by status (RFC 3261 §21 and the IANA registry of SIP response codes)."""


NOT_ACCEPTABLE_HERE: Final = 488
NOT_ACCEPTABLE: Final = ("Warning", '305 at110 "Incompatible media format"')
"""RFC 3261 §13.3.1.3: a 488 "SHOULD include a Warning header field value explaining why the offer was rejected"."""


class SipError(Exception):
    """A request that is answered with an error.

    `status` is 400…699; `reason` the reason phrase, by default that of `REASONS`; `headers` go into the answer
    (`Unsupported` of a 420, `Allow` of a 405, `Accept` of a 415, `Retry-After` of a 503).
    """

    def __init__(
        self, status: int, reason: str | None = None, *, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        self.status = status
        self.reason = reason or REASONS.get(status, "Error")
        self.headers = tuple(headers) or ((NOT_ACCEPTABLE,) if status == NOT_ACCEPTABLE_HERE else ())
        super().__init__(f"{status} {self.reason}")
