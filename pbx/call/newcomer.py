"""Who sends what opens something new, and where it can be answered.

in → out: an INVITE, the flow it came on, what was proved → `Caller`, a request with a Contact.
"""

from pbx import identity
from pbx.call.caller import MAX_CLAIMED, Caller
from pbx.sip import grammar
from pbx.sip.flow import Flow
from pbx.sip.message import Request
from pbx.sip.uri import NameAddr, Uri


def stated_caller(request: Request, flow: Flow, verdict: identity.Authenticated) -> Caller:
    """State who calls: an account's facts if it is proved, else only what the phone wrote into From."""
    address = f"{flow.remote[0]}:{flow.remote[1]}"
    account = verdict.account
    claimed = (request.from_.display or "")[:MAX_CLAIMED] or None
    if account is None:
        stated = request.from_.uri.user_text or request.from_.uri.host
        # RFC 3323 §4.1.1.3: who wants to stay unknown writes "Anonymous" <sip:anonymous@anonymous.invalid>
        hidden = grammar.lower(request.from_.uri.host).endswith(".invalid")
        return Caller(
            None,
            None,
            stated,
            verified=False,
            proof=verdict.trouble or "none",
            address=address,
            unavailable="withheld" if hidden else "database_away" if verdict.unsure else None,
            claimed=claimed,
            blocked=None if verdict.blocked is None else verdict.blocked.of(stated),
        )
    return Caller(
        account.user,
        account.verified_name,
        account.phone or account.user,
        verified=account.verified_name is not None,
        proof=verdict.proof,
        address=address,
        verified_by=account.verified_by,
        verified_at=account.verified_at,
        claimed=claimed,
    )


def with_contact(request: Request, flow: Flow) -> Request:
    """Give an INVITE without Contact one: the road it came on. It is wrong, but it may be somebody in danger."""
    if request.contact is not None:
        return request
    headers = request.headers.copy()
    host, port = flow.remote
    headers.set("Contact", str(NameAddr(None, Uri("sip", None, None, host, port))))
    return Request(request.method, request.uri, headers, request.body)
