"""Persons who act on the API: log in by name, ask."""


async def be(client, user):
    """Log in as somebody, and nobody else any more."""
    client.session.cookie_jar.clear()
    assert (await client.post("/api/login", json={"user": user, "password": "secret"})).status == 200


async def post(client, path, body=None, **more):
    """Ask; returns status and answer."""
    answer = await client.post(path, json=body, **more)
    return answer.status, await answer.json()
