"""Headers that claim who somebody is go no further (bars S8)."""

from pbx.claims import CLAIMS, strip
from tests.kit import sip


def test_claims_are_taken_out_of_a_copy():
    extra = "".join(f'{name.title()}: "Chief" <sip:110@police.example>\r\n' for name in sorted(CLAIMS))
    asked = sip.request("INVITE", extra=extra + "Subject: fire\r\nGeolocation: <https://x>\r\n")
    before = asked.encode()
    clean, found = strip(asked)
    assert found == tuple(sorted(CLAIMS))
    assert not {name.lower() for name, _ in clean.headers.items()} & CLAIMS
    assert (clean.headers.get("Subject"), clean.headers.get("Geolocation")) == ("fire", "<https://x>")
    assert (clean.method, clean.uri, clean.body, clean.call_id) == (
        asked.method,
        asked.uri,
        asked.body,
        asked.call_id,
    )
    assert asked.encode() == before


def test_an_ordinary_request_stays_itself():
    asked = sip.request("INVITE")
    assert strip(asked) == (asked, ())
    assert strip(asked)[0] is asked
