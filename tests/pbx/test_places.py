"""What peers are told of us, by the flow they come on."""

import pytest

from pbx.listen_settings import ListenSettings, TlsSettings
from pbx.listening import further, places
from pbx.places import Place, Places
from pbx.settings import HttpSettings, Settings, SipSettings
from pbx.sip.flow import Flow
from pbx.transport import Listening


def place(transport: str, host: str, port: int, public: str, bind: str | None = None) -> Place:
    return Place(transport, host, port, public, port, public, bind or host)


ALL = Places(
    [
        place("udp", "192.0.2.1", 5060, "192.0.2.1"),
        place("udp", "198.51.100.1", 5060, "203.0.113.1"),
        place("tcp", "::", 5060, "2001:db8::1", "::"),
        place("tcp", "::", 5060, "192.0.2.1", "0.0.0.0"),
        place("tcp", "192.0.2.1", 5080, "edge.example"),
        place("tls", "192.0.2.1", 5061, "192.0.2.1"),
        place("wss", "192.0.2.1", 443, "192.0.2.1"),
    ]
)


@pytest.mark.parametrize(
    ("transport", "local", "remote", "expected"),
    [
        ("udp", ("192.0.2.1", 5060), "192.0.2.9", "sip:110@192.0.2.1:5060"),
        ("udp", ("198.51.100.1", 5060), "192.0.2.9", "sip:110@203.0.113.1:5060"),
        ("tcp", ("2001:db8::1", 5060), "2001:db8::9", "sip:110@[2001:db8::1]:5060;transport=tcp"),
        ("tcp", ("192.0.2.77", 5060), "192.0.2.9", "sip:110@192.0.2.1:5060;transport=tcp"),
        ("tcp", ("192.0.2.1", 5080), "192.0.2.9", "sip:110@edge.example:5080;transport=tcp"),
        ("tls", ("192.0.2.1", 5061), "192.0.2.9", "sip:110@192.0.2.1:5061;transport=tls"),
        ("tls", ("192.0.2.1", 43210), "192.0.2.9", "sip:110@192.0.2.1:5061;transport=tls"),  # one we opened
        ("wss", ("192.0.2.1", 443), "192.0.2.9", "sip:110@192.0.2.1:443;transport=ws"),
    ],
)
def test_our_contact(transport: str, local: tuple[str, int], remote: str, expected: str) -> None:
    found = ALL.of(Flow(transport, local, (remote, 40000), 5))
    assert found is not None
    assert str(found.contact("110").uri) == expected


def test_sips_says_sips() -> None:
    found = ALL.of(Flow("tls", ("192.0.2.1", 5061), ("192.0.2.9", 40000), 5))
    assert found is not None
    assert str(found.contact("110", secure=True)) == "<sips:110@192.0.2.1:5061>"


def test_nobody_listens_for_it() -> None:
    assert ALL.of(Flow("ws", ("192.0.2.1", 80), ("192.0.2.9", 40000), 5)) is None


def test_where_our_own_requests_leave_from() -> None:
    assert ALL.source("udp", "192.0.2.9") == ("192.0.2.1", 5060)
    assert ALL.source("tcp", "2001:db8::9") == ("::", 5060)
    assert ALL.source("udp", "2001:db8::9") is None


def test_what_was_found_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pbx.places.MAX_KNOWN", 4)
    many = Places([place("tcp", "192.0.2.1", 5060, "192.0.2.1")])
    for port in range(20):
        many.of(Flow("tcp", ("192.0.2.1", port), ("192.0.2.9", 40000), 5))
    assert len(many._known) <= 4


def test_from_the_settings(tmp_path) -> None:
    settings = Settings(
        state=tmp_path,
        sip=SipSettings(
            host="192.0.2.1",
            advertised="pbx.example",
            listen=(
                ListenSettings(host="::1", port=5062, transports=("udp", "tls")),
                ListenSettings(host="198.51.100.1", port=0, advertised="203.0.113.1", advertised_port=5999),
            ),
        ),
        tls=TlsSettings(port=0),
        http=HttpSettings(host="127.0.0.1", port=80),
    )
    assert further(settings) == (
        Listening("tls", "192.0.2.1", 0),
        Listening("udp", "::1", 5062),
        Listening("tls", "::1", 5062),
        Listening("udp", "198.51.100.1", 0),
        Listening("tcp", "198.51.100.1", 0),
    )
    real = (
        Listening("tls", "192.0.2.1", 7001),
        Listening("udp", "::1", 5062),
        Listening("tls", "::1", 5062),
        Listening("udp", "198.51.100.1", 7002),
        Listening("tcp", "198.51.100.1", 7003),
    )
    made = places(settings, 5060, real, (("ws", 8110), ("wss", None)))
    told = [
        (p.transport, p.host, p.port, p.public_host, p.public_port, p.media_address, p.media_bind)
        for p in made._places
    ]
    main = ("pbx.example", "192.0.2.1")
    assert told == [
        ("udp", "192.0.2.1", 5060, "pbx.example", 5060, *main),
        ("tcp", "192.0.2.1", 5060, "pbx.example", 5060, *main),
        ("tls", "192.0.2.1", 7001, "pbx.example", 7001, *main),
        ("udp", "::1", 5062, "::1", 5062, "::1", "::1"),
        ("tls", "::1", 5062, "::1", 5062, "::1", "::1"),
        ("udp", "198.51.100.1", 7002, "203.0.113.1", 5999, "203.0.113.1", "198.51.100.1"),
        ("tcp", "198.51.100.1", 7003, "203.0.113.1", 5999, "203.0.113.1", "198.51.100.1"),
        # media of WebSocket phones go where those of others do: by IPv4 and IPv6
        ("ws", "127.0.0.1", 8110, "pbx.example", 8110, *main),
        ("ws", "127.0.0.1", 8110, "::1", 8110, "::1", "::1"),
        ("ws", "127.0.0.1", 8110, "203.0.113.1", 8110, "203.0.113.1", "198.51.100.1"),
    ]
