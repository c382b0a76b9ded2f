"""A desk's phone that dials in, challenged first, in a `World`."""

from pbx.sip.digest import authorize
from tests.kit.world import REALM, sdp


def dial_in(world, headers=(), *, desk="d1", code="*10", body=None, call_id="in"):
    """Call a feature code; returns the transaction of the INVITE that carried the credentials."""
    uri, body = f"sip:{code}@{REALM}", sdp() if body is None else body
    how = {"body": body, "content_type": "application/sdp", "call_id": call_id}
    plain = world.request("INVITE", uri, desk, **how)
    answer = world.answers[world.arrive(plain, desk)][-1]
    challenge = next(c for c in answer.headers.all("WWW-Authenticate") if "SHA-256" in c)
    token = authorize(
        challenge, user=desk, password=f"pw-{desk}", method="INVITE", uri=uri, cnonce=call_id, nc=1
    )
    request = world.request("INVITE", uri, desk, cseq=2, headers=(("Authorization", token), *headers), **how)
    return world.arrive(request, desk)
