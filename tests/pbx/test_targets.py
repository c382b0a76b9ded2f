"""Who a Request-URI means."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbx.sip.uri import Uri, parse_uri
from pbx.targets import EmergencySettings, FeatureCode, feature_code, is_emergency

SITE = EmergencySettings(
    numbers=("110", "12110", "Help"),
    uris=("sip:Harbour@police.example", "tel:+865356110110", "urn:service:test.sos"),
)


@pytest.mark.parametrize(
    ("text", "target", "silent"),
    [
        ("sip:110@110.example", "110", False),
        ("sips:110@[2001:db8::1]:5061;transport=tls", "110", False),
        ("sip:%31%31%30@h", "110", False),
        ("sip:110;phone-context=+86@h;user=phone", "110", False),
        ("sip:110-silent@h", "110", True),
        ("sip:110-SILENT@h", "110", True),
        ("sip:110@h;mode=silent", "110", True),
        ("sip:110@h;MODE=Silent", "110", True),
        ("sip:110@h;mode=loud", "110", False),
        ("sip:110@h;mode", "110", False),
        ("tel:110", "110", False),
        ("TEL:1-1-0", "110", False),
        ("tel:110;phone-context=+86", "110", False),
        ("tel:110;mode=silent", "110", True),
        ("tel:110-silent", "110", True),
        ("urn:service:sos", "sos", False),
        ("URN:SERVICE:SOS", "sos", False),
        ("urn:service:sos.police", "sos.police", False),
        ("urn:service:Sos.Police.Traffic", "sos.police", False),
        ("urn:service:sos.fire", "sos", False),
        ("urn:service:sos.", "sos", False),
        ("urn:service:sos?+x", "sos", False),
        ("urn:service:sos#x", "sos", False),
        ("urn:service:sos.police;mode=silent", "sos.police", True),
    ],
)
def test_the_emergency_service_is_recognised(text, target, silent):
    emergency = is_emergency(parse_uri(text))
    assert emergency is not None
    assert (emergency.target, emergency.silent) == (target, silent)


@pytest.mark.parametrize(
    "text",
    [
        "sip:110.example",
        "sip:1100@h",
        "sip:0110@h",
        "sip:alice@110",
        "sip:110-silently@h",
        "sip:-silent@h",
        "sip:silent@h",
        "sip:*10@h",
        "tel:119",
        "tel:+86110",
        "urn:service:sosx",
        "urn:service:test.sos",
        "urn:service:counseling",
        "urn:nena:service:sos",
        "urn:service:",
        "mailto:110@h",
        "http:110",
    ],
)
def test_others_are_not(text):
    assert is_emergency(parse_uri(text)) is None


@pytest.mark.parametrize(
    ("text", "target", "silent"),
    [
        ("sip:12110@h", "12110", False),
        ("sip:hElp@h", "Help", False),
        ("sip:harbour@POLICE.example:5070;x=y", "sip:Harbour@police.example", False),
        ("sip:harbour-silent@police.example", "sip:Harbour@police.example", True),
        ("sip:harbour@police.example;mode=silent", "sip:Harbour@police.example", True),
        ("tel:+865356110110", "tel:+865356110110", False),
        ("tel:+865356110110-silent", "tel:+865356110110", True),
    ],
)
def test_the_sites_own_list(text, target, silent):
    emergency = is_emergency(parse_uri(text), SITE)
    assert emergency is not None
    assert (emergency.target, emergency.silent) == (target, silent)
    assert is_emergency(parse_uri(text)) is None


def test_a_listed_address_is_not_its_neighbour():
    assert is_emergency(parse_uri("sip:harbour@other.example"), SITE) is None
    assert is_emergency(parse_uri("sip:harbour2@police.example"), SITE) is None


def test_a_number_that_ends_in_silent_by_itself_is_not_silent():
    settings = EmergencySettings(numbers=("night-silent", "night"))
    emergency = is_emergency(parse_uri("sip:night-silent@h"), settings)
    assert emergency is not None
    assert (emergency.target, emergency.silent) == ("night-silent", False)


def test_what_was_asked_is_kept_for_people():
    emergency = is_emergency(parse_uri("urn:service:sos.police.traffic"))
    assert emergency is not None
    assert emergency.asked == "urn:service:sos.police.traffic"


def test_a_list_with_something_else_in_it_is_refused_at_once():
    with pytest.raises(ValueError, match="nonsense"):
        EmergencySettings(uris=("nonsense",))


def test_unusual_letters_are_not_folded_into_ours():
    # U+212A KELVIN SIGN lower-cases to k, U+0130 to an i with a dot
    settings = EmergencySettings(numbers=("kid",))
    assert is_emergency(Uri("sip", "\u212aid", None, "h"), settings) is None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("sip:*10@h", FeatureCode.SIGN_IN),
        ("sip:%2A10@h;user=phone", FeatureCode.SIGN_IN),
        ("sip:*11@h", FeatureCode.PAUSE),
        ("sip:*12@h", FeatureCode.RESUME),
        ("sip:*13@h", FeatureCode.END_CALL),
        ("tel:*10;phone-context=110.example", FeatureCode.SIGN_IN),
        ("sip:*14@h", None),
        ("sip:*1@h", None),
        ("sip:10@h", None),
        ("sip:h", None),
        ("urn:service:sos", None),
    ],
)
def test_feature_codes(text, code):
    assert feature_code(parse_uri(text)) is code


@settings(deadline=None)
@given(
    st.sampled_from(["sip", "sips", "tel", "urn", "x"]),
    st.none() | st.text(),
    st.text(),
    st.lists(st.tuples(st.text(), st.none() | st.text()), max_size=3),
)
def test_any_uri_gets_an_answer(scheme, user, host, params):
    uri = Uri(scheme, user, None, host, None, tuple(params))
    emergency = is_emergency(uri, SITE)
    assert emergency is None or emergency.target in (*SITE.numbers, *SITE.services, *SITE.uris)
    assert feature_code(uri) is None or not emergency
