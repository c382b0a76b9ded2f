import pytest

from pbx.location.presence_uri import Server, is_presence, leads_to, read, server


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("presence.example", ("presence.example", None)),
        ("Presence.Example:5070", ("presence.example", 5070)),
        ("192.0.2.7", ("192.0.2.7", None)),
        ("[2001:DB8::1]:5061", ("2001:db8::1", 5061)),
        ("", None), ("a b", None), ("x:0", None), ("x:65536", None), ("x:٣", None), ("sip:x", None), ("x@y", None),
    ],
)  # fmt: skip
def test_servers_of_the_settings(text: str, wanted: Server | None) -> None:
    assert server(text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("sip:a@Presence.Example", "sip:a@presence.example"),
        ("pres:a@presence.example", "sip:a@presence.example"),
        ("PRES:a@presence.example", "sip:a@presence.example"),
        ("sips:a@p.example:5061", "sips:a@p.example:5061"),
        ("sip:a@p;transport=TCP;x=y?Route=%3csip:z%3e", "sip:a@p;transport=tcp"),
        ("sip:a@p;maddr=192.0.2.1", None),
        ("sip:a@p;transport=ws", None),
        ("sip:a:b@p", None),
        ("https://p/x", None),
        ("sip:", None),
        ("sip:a@p:99999", None),
    ],
)
def test_only_what_is_harmless_is_taken_from_a_uri(text: str, wanted: str | None) -> None:
    found = read(text)
    assert (None if found is None else str(found)) == wanted


@pytest.mark.parametrize(
    ("text", "may"),
    [
        ("sip:a@p.example", True), ("sip:a@p.example:5060", True), ("sips:a@p.example:5061", True),
        ("sip:a@p.example:5061", False), ("sip:a@p.example.evil", False), ("sip:a@q.example", False),
        ("sip:a@q.example:5070", True), ("sip:a@q.example:5071", False), ("sip:a@127.0.0.1", False),
    ],
)  # fmt: skip
def test_where_a_uri_may_lead(text: str, *, may: bool) -> None:
    uri = read(text)
    assert uri is not None
    assert leads_to(uri, frozenset({("p.example", None), ("q.example", 5070)})) is may
    assert not leads_to(uri, frozenset())


def test_which_references_are_presence() -> None:
    assert [u for u in ("sip:a@b", "SIPS:a@b", "pres:a@b", "cid:a@b", "https://b") if is_presence(u)] == [
        "sip:a@b", "SIPS:a@b", "pres:a@b",
    ]  # fmt: skip
