"""Nobody gets in without the token, and guessing it is slow."""

import pytest
from aiohttp.test_utils import make_mocked_request

from pbx.api.auth import COOKIE, FAILURES, FORGIVEN_EACH, SHIFT_SECONDS, Auth, Failures
from pbx.api.exchange import HAND_VERBS
from pbx.metrics import Metrics
from tests.kit.exchange import BEARER, CALL, TOKEN, Clock

PROTECTED = [
    ("GET", "/api/calls"), ("GET", f"/api/calls/{CALL}"), ("GET", "/api/queue"), ("GET", "/api/desks"),
    ("GET", "/api/events"), ("GET", f"/api/evidence/{CALL}"), ("GET", f"/api/evidence/{CALL}/call.pcapng"),
    ("GET", "/metrics"), ("POST", "/api/desks/8001/sign-in"), ("POST", "/api/desks/8001/sign-out"),
    ("POST", "/api/desks/8001/pause"), ("POST", "/api/desks/8001/resume"), ("POST", "/api/desks/8001/end-call"),
    ("POST", f"/api/calls/{CALL}/silent"), ("POST", "/api/logout"), ("GET", "/no/such/thing"),
    ("DELETE", "/healthz/"), *(("POST", f"/api/desks/8001/{verb}") for verb in HAND_VERBS),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), PROTECTED)
async def test_a_stranger_is_told_401_and_nothing_else(client, exchange, method, path):
    answer = await client.request(method, path)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert (await answer.json())["error"]["code"] == "not_logged_in"
    assert exchange.told == []


async def test_every_route_but_the_open_ones_is_in_the_table_above(client):
    routes = {
        (route.method, route.resource.canonical)
        for route in client.app.router.routes()
        if route.method != "HEAD" and route.resource is not None
    }
    open_routes = {("GET", "/"), ("GET", "/console.js"), ("GET", "/style.css"), ("GET", "/favicon.svg"),
                   ("GET", "/healthz"), ("POST", "/api/login")}  # fmt: skip
    known = {
        (method, path.replace(CALL, "{call}").replace("8001", "{desk}").replace("call.pcapng", "{file}"))
        for method, path in PROTECTED
    }
    assert open_routes <= routes
    assert routes - open_routes <= known


@pytest.mark.parametrize(
    "value",
    [
        "Bearer",
        "Bearer ",
        f"Basic {TOKEN}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        TOKEN,
        "Bearer \udce4",
        "bearer é",
    ],
)
async def test_a_wrong_token_is_refused(client, value):
    headers = {"Authorization": value.encode("utf-8", "surrogateescape").decode("latin-1")}
    answer = await client.get("/api/calls", headers=headers)
    assert answer.status == 401


async def test_the_scheme_is_not_case_sensitive(client):
    assert (await client.get("/api/calls", headers={"Authorization": f"bEARER {TOKEN}"})).status == 200


async def test_a_cookie_is_got_for_the_token_and_serves_the_page(client):
    answer = await client.post("/api/login", json={"token": TOKEN})
    assert answer.status == 200
    cookie = answer.cookies[COOKIE]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")
    assert TOKEN not in cookie.value
    assert (await client.get("/api/calls")).status == 200


async def test_a_cookie_ends_with_the_shift(client, clock):
    await client.post("/api/login", json={"token": TOKEN})
    clock.now += SHIFT_SECONDS - 1
    assert (await client.get("/api/calls")).status == 200
    clock.now += 1
    assert (await client.get("/api/calls")).status == 401


async def test_logging_out_makes_the_cookie_worthless_even_as_a_copy(client):
    copy = (await client.post("/api/login", json={"token": TOKEN})).cookies[COOKIE].value
    assert (await client.post("/api/logout")).status == 200
    assert (await client.get("/api/calls", headers={"Cookie": f"{COOKIE}={copy}"})).status == 401


async def test_a_clock_that_was_set_forward_for_a_while_brings_no_cookie_back():
    wall, monotonic = Clock(), Clock()
    auth = Auth(TOKEN, Metrics(), wall=wall, monotonic=monotonic)

    async def log_out(cookie):
        await auth.logout(
            make_mocked_request("POST", "/api/logout", headers={"Cookie": f"{COOKIE}={cookie}"})
        )

    old, begun = auth.cookie(), wall.now
    await log_out(old)
    wall.now += 10 * SHIFT_SECONDS
    await log_out(auth.cookie())
    wall.now = begun
    assert auth.cookie_end(old) is None
    assert auth.cookie_end(auth.cookie()) is not None
    wall.now += 20 * SHIFT_SECONDS
    monotonic.now += 2 * SHIFT_SECONDS
    await log_out(auth.cookie())
    assert len(auth._revoked) == 1, "what has ended by both clocks is forgotten"


async def test_another_site_can_not_use_the_cookie(client, exchange):
    await client.post("/api/login", json={"token": TOKEN})
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}):
        assert (await client.post("/api/desks/8001/pause", headers=headers)).status == 403
    assert exchange.told == []
    own = {"Origin": f"http://{client.host}:{client.port}", "Sec-Fetch-Site": "same-origin"}
    assert (await client.post("/api/desks/8001/pause", headers=own)).status == 200


async def test_guessing_is_slow_and_the_pause_is_told(client, clock, metrics):
    for _ in range(FAILURES):
        assert (await client.post("/api/login", json={"token": "guess"})).status == 401
    answer = await client.post("/api/login", json={"token": TOKEN})
    assert answer.status == 429
    assert 0 < int(answer.headers["Retry-After"]) <= FORGIVEN_EACH
    clock.now += FORGIVEN_EACH
    assert (await client.post("/api/login", json={"token": TOKEN})).status == 200
    assert metrics.registry.get_sample_value("at110_logins_failed_total") == FAILURES


async def test_guessing_from_the_same_address_does_not_lock_out_who_has_the_token(client):
    for _ in range(FAILURES):
        await client.get("/api/calls", headers={"Authorization": "Bearer guess"})
    assert (await client.get("/api/calls", headers={"Authorization": "Bearer guess"})).status == 429
    assert (await client.get("/api/calls", headers=BEARER)).status == 200


def auth(token: str = TOKEN) -> Auth:
    return Auth(token, Metrics(), wall=Clock(), monotonic=Clock())


def test_a_cookie_survives_a_restart_but_not_another_token():
    cookie = auth().cookie()
    assert auth().cookie_end(cookie) is not None
    assert auth("another").cookie_end(cookie) is None


def test_no_changed_cookie_is_valid():
    cookie = auth().cookie()
    for at in range(len(cookie)):
        for other in "0aZ_.":
            changed = cookie[:at] + other + cookie[at + 1 :]
            assert (auth().cookie_end(changed) is None) == (changed != cookie)


def test_an_empty_token_is_refused_at_the_start():
    with pytest.raises(ValueError, match="empty"):
        auth("")


def test_addresses_are_counted_apart_and_ipv6_by_its_network():
    failures = Failures()
    for _ in range(FAILURES):
        failures.note("2001:db8::1", 0.0)
    assert failures.retry_after("2001:db8::ffff", 0.0) > 0
    assert failures.retry_after("2001:db8:0:1::1", 0.0) == 0
    assert failures.retry_after("192.0.2.1", 0.0) == 0


def test_addresses_are_forgotten_when_there_are_too_many(monkeypatch):
    monkeypatch.setattr("pbx.api.auth.MAX_ADDRESSES", 10)
    failures = Failures()
    for n in range(20):
        for _ in range(FAILURES):
            failures.note(f"192.0.2.{n}", 0.0)
    blocked = [n for n in range(20) if failures.retry_after(f"192.0.2.{n}", 0.0) > 0]
    assert blocked == list(range(10, 20))
