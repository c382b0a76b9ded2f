import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.sip.digest import (
    ALGORITHMS,
    MAX_PARAMS,
    Credentials,
    authorize,
    challenges,
    choose_challenge,
    dummy_ha1,
    find_credentials,
    ha1,
    parse_credentials,
    verify,
)
from pbx.sip.errors import SipError

USER, REALM, PASSWORD = "Mufasa", "http-auth@example.org", "Circle of Life"
NONCE = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
OPAQUE = "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"
# RFC 7616 §3.9.1
RFC_7616 = {
    "MD5": "8ca523f5e9506fed4657c9700eebdbec",
    "SHA-256": "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
}


def keys(password: str = PASSWORD, user: str = USER, realm: str = REALM) -> dict[str, str]:
    return {algorithm: ha1(user, realm, password, algorithm) for algorithm in ALGORITHMS}


def answer(
    challenge: str, *, password: str = PASSWORD, nc: int = 1, cnonce: str = "c", body: bytes = b""
) -> Credentials:
    return parse_credentials(
        authorize(
            challenge,
            user=USER,
            password=password,
            method="REGISTER",
            uri="sip:h",
            cnonce=cnonce,
            nc=nc,
            body=body,
        )
    )


# --- the RFCs' own numbers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", RFC_7616)
def test_rfc_7616_section_3_9_1(algorithm: str) -> None:
    challenge = f'Digest realm="{REALM}", qop="auth, auth-int", algorithm={algorithm}, nonce="{NONCE}", opaque="{OPAQUE}"'
    value = authorize(
        challenge, user=USER, password=PASSWORD, method="GET", uri="/dir/index.html", cnonce=CNONCE, nc=1
    )
    credentials = parse_credentials(value)
    assert credentials.response == RFC_7616[algorithm]
    assert (credentials.qop, credentials.nc, credentials.opaque) == ("auth", 1, OPAQUE)
    assert verify(credentials, "GET", b"", keys())
    assert not verify(credentials, "POST", b"", keys())


def test_rfc_2617_section_3_5() -> None:
    value = (
        'Digest username="Mufasa", realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093",\t'
        'uri="/dir/index.html", qop=auth, nc=00000001, cnonce="0a4f113b", '
        'response="6629fae49393a05397450978507c4ef1", opaque="5ccc069c403ebaf9f0171e9517f40e41"'
    )
    credentials = parse_credentials(value)
    assert (credentials.algorithm, credentials.sess) == ("MD5", False)
    known = keys("Circle Of Life", realm="testrealm@host.com")
    assert verify(credentials, "GET", b"", known)
    assert not verify(credentials, "GET", b"", keys("circle of life", realm="testrealm@host.com"))


def test_rfc_2617_without_qop() -> None:
    """RFC 2069's example with the erratum's value: response = H(HA1:nonce:HA2)."""
    challenge = 'Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"'
    value = authorize(
        challenge,
        user="Mufasa",
        password="CircleOfLife",
        method="GET",
        uri="/dir/index.html",
        cnonce="x",
        nc=1,
    )
    assert 'response="1949323746fe6a43ef61f9606e7febea"' in value
    for absent in ("qop", "nc=", "cnonce=", "algorithm"):
        assert absent not in value
    assert verify(parse_credentials(value), "GET", b"", keys("CircleOfLife", realm="testrealm@host.com"))


def test_rfc_7616_section_3_9_2() -> None:
    """With a hashed name, and the values as erratum 4897 has them: the RFC's own were made with another hash function."""
    challenge = (
        'Digest realm="api@example.org", qop="auth", algorithm=SHA-512-256, '
        'nonce="5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK", charset=UTF-8, userhash=true'
    )
    value = authorize(
        challenge, user="Jäsøn Doe", password="Secret, or not?", method="GET", uri="/doe.json",
        cnonce="NTg6RKcb9boFIAS3KrFK9BGeh+niz/sm", nc=1,
    )  # fmt: skip
    assert 'username="793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b"' in value
    assert "userhash=true" in value
    assert "Doe" not in value
    plain = authorize(
        challenge.replace("userhash=true", "userhash=false"), user="Jäsøn Doe", password="Secret, or not?", method="GET",
        uri="/doe.json", cnonce="NTg6RKcb9boFIAS3KrFK9BGeh+niz/sm", nc=1,
    )  # fmt: skip
    # RFC 7616 §3.4.4: only the name is another one, the response is not.
    assert parse_credentials(plain).response == parse_credentials(value).response
    assert parse_credentials(plain).username == "Jäsøn Doe"


# --- both sides ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", [*ALGORITHMS, "MD5-sess", "SHA-256-sess", "sha-256"])
@pytest.mark.parametrize("qop", ["auth", "auth-int", "auth-int, AUTH"])
def test_client_and_server_agree(algorithm: str, qop: str) -> None:
    challenge = f'Digest realm="{REALM}", nonce="n", algorithm={algorithm}, qop="{qop}"'
    credentials = answer(challenge, body=b"v=0")
    assert verify(credentials, "REGISTER", b"v=0", keys())
    assert not verify(credentials, "REGISTER", b"v=0", keys("wrong"))
    assert verify(credentials, "REGISTER", b"v=1", keys()) is (credentials.qop == "auth")


@given(st.text(max_size=10), st.text(max_size=10))
def test_any_user_and_password(user: str, password: str) -> None:
    (challenge,) = challenges(REALM, "n", algorithms=["SHA-256"])
    try:
        value = authorize(
            challenge, user=user, password=password, method="BYE", uri="sip:h", cnonce='"\\', nc=2
        )
    except ValueError:
        assert "\r" in user or "\n" in user or any("\ud800" <= char <= "\udfff" for char in user + password)
        return
    credentials = parse_credentials(value)
    assert (credentials.username, credentials.cnonce, credentials.nc) == (user, '"\\', 2)
    assert verify(credentials, "BYE", b"", {"SHA-256": ha1(user, REALM, password, "SHA-256")})


def test_challenges_are_strongest_first() -> None:
    assert challenges("110", "n1", stale=True) == [
        'Digest realm="110", nonce="n1", algorithm=SHA-256, qop="auth", stale=true',
        'Digest realm="110", nonce="n1", algorithm=MD5, qop="auth", stale=true',
    ]
    assert challenges('a"b', "n", algorithms=["MD5"]) == [
        'Digest realm="a\\"b", nonce="n", algorithm=MD5, qop="auth"'
    ]


def test_an_algorithm_without_key_is_refused() -> None:
    (challenge,) = challenges(REALM, "n", algorithms=["MD5"])
    assert not verify(answer(challenge), "REGISTER", b"", {"SHA-256": keys()["SHA-256"]})
    assert not verify(answer(challenge), "REGISTER", b"", {})


def test_an_empty_key_opens_nothing() -> None:
    """The stand-in for a missing HA1 can be computed by anyone."""
    forged = Credentials("x", REALM, "n", "sip:h", "", "MD5", False, "auth", "c", 1)
    with_right_response = Credentials(
        "x", REALM, "n", "sip:h", _response_for("", forged), "MD5", False, "auth", "c", 1
    )
    assert not verify(with_right_response, "REGISTER", b"", {})


def _response_for(key: str, c: Credentials) -> str:
    from hashlib import md5

    a2 = md5(f"REGISTER:{c.uri}".encode()).hexdigest()
    return md5(f"{key}:{c.nonce}:00000001:{c.cnonce}:auth:{a2}".encode()).hexdigest()


def test_sha_without_qop_is_refused() -> None:
    challenge = f'Digest realm="{REALM}", nonce="n", algorithm=SHA-256'
    assert not verify(answer(challenge), "REGISTER", b"", keys())


def test_an_unknown_user_is_a_wrong_password() -> None:
    (challenge,) = challenges(REALM, "n", algorithms=["SHA-256"])
    nobody = {name: dummy_ha1(b"secret", USER, name) for name in ALGORITHMS}
    assert not verify(answer(challenge), "REGISTER", b"", nobody)
    assert {name: len(key) for name, key in nobody.items()} == {
        name: len(key) for name, key in keys().items()
    }
    assert nobody["MD5"] == dummy_ha1(b"secret", USER, "MD5")
    assert len({dummy_ha1(s, u, "MD5") for s in (b"a", b"b") for u in ("x", "y")}) == 4


# --- reading ------------------------------------------------------------------------------------------------------

GOOD = 'Digest username="u", realm="r", nonce="n", uri="sip:h", response="ABC", algorithm=MD5'


def test_parse_credentials() -> None:
    credentials = parse_credentials(
        ' digest username = "a\\"b" ,realm=r,nonce="<,>",uri="sip:h",, response=ABC'
    )
    assert credentials == Credentials('a"b', "r", "<,>", "sip:h", "abc")
    assert parse_credentials(GOOD + ', qop="AUTH", nc=0000000f, cnonce="c", x=y').nc == 15


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("NoOneKnowsThisScheme opaque-data=here", 401),
        ("Basic dTpw", 401),
        ("Digest", 400),
        ("", 401),
        (GOOD.replace("MD5", "SHA-1"), 401),
        (GOOD.replace('username="u", ', ""), 400),
        (GOOD.replace('response="ABC", ', ""), 400),
        (GOOD + ', username="v"', 400),
        (GOOD + ", a b=c", 400),
        (GOOD + ", noequals", 400),
        (GOOD + ', x="open', 400),
        (GOOD + ', x="a"b', 400),
        (GOOD + ', x=a"b"', 400),
        (GOOD + ", qop=auth", 400),
        (GOOD + ', qop=auth, nc=1, cnonce="c"', 400),
        (GOOD + ', qop=auth, nc=٠000000١, cnonce="c"', 400),
        (GOOD + ', qop=auth, nc=+0000001, cnonce="c"', 400),
        (GOOD + ", qop=auth, nc=00000001", 400),
        (GOOD + ', qop=other, nc=00000001, cnonce="c"', 400),
    ],
)
def test_bad_credentials(value: str, status: int) -> None:
    with pytest.raises(SipError) as caught:
        parse_credentials(value)
    assert caught.value.status == status


def test_number_of_parameters() -> None:
    more = "".join(f", x{i}=1" for i in range(MAX_PARAMS - 6))
    assert parse_credentials(GOOD + more).username == "u"
    with pytest.raises(SipError, match="400"):
        parse_credentials(GOOD + more + ", y=1")


@given(st.text(max_size=80))
def test_arbitrary_credentials(text: str) -> None:
    for value in (text, "Digest " + text, GOOD + "," + text):
        status = 200
        try:
            parse_credentials(value)
        except SipError as error:
            status = error.status
        assert status in (200, 400, 401)


def test_find_credentials() -> None:
    values = [
        "NoOneKnowsThisScheme x=y",
        GOOD.replace("MD5", "SHA-1"),
        GOOD,
        GOOD.replace('realm="r"', 'realm="mine"'),
    ]
    found = find_credentials(values, "mine")
    assert found is not None
    assert found.realm == "mine"
    assert find_credentials(values, "other") is None
    assert find_credentials([], "r") is None
    with pytest.raises(SipError, match="400"):
        find_credentials(["Digest realm"], "r")


def test_choose_challenge() -> None:
    ours = challenges("r", "n")
    unknown = 'Digest realm="r", nonce="n", algorithm=SHA-3'
    assert choose_challenge([unknown, "Digest x", 'Digest realm="r"', "Basic realm=r", *ours]) == ours[0]
    assert choose_challenge([unknown]) is None


@pytest.mark.parametrize(
    ("challenge", "status"),
    [
        ("Basic realm=r", 401),
        ("Digest realm=r", 400),
        ("Digest nonce=n", 400),
        ("Digest realm=r, nonce=n, algorithm=X", 401),
    ],
)
def test_challenges_that_cannot_be_answered(challenge: str, status: int) -> None:
    with pytest.raises(SipError) as caught:
        answer(challenge)
    assert caught.value.status == status


@pytest.mark.parametrize("hole", ["user", "uri", "cnonce"])
def test_no_line_break_gets_into_credentials(hole: str) -> None:
    texts = {"user": USER, "uri": "sip:h", "cnonce": "c"} | {hole: "x\r\nVia: y"}
    with pytest.raises(ValueError, match="CR or LF"):
        authorize(
            challenges("r", "n")[0],
            user=texts["user"],
            password="p",
            method="BYE",
            uri=texts["uri"],
            cnonce=texts["cnonce"],
            nc=1,
        )
