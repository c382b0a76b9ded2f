"""What a person may ask of the API: a table, and whoever is not in it may not.

in → out: (method, path as it is routed, roles, whose desk it is about) → may, or not. The API token may everything: it is what an
installation begins with, and programs of the site hold it.

A dispatcher does his own work; a supervisor helps at every desk, hears and decides the order; an auditor reads everything
and changes nothing; an admin gives roles and sets up the exchange, and sees no evidence. Supervisors and admins verify who people are, and block callers' accounts.
"""

from typing import Final

DISPATCHER: Final = "dispatcher"
"""What every dispatcher's account is, without any grant."""
EVERYTHING: Final = "token"
"""In place of roles: the API token, or a cookie made of it."""

_ALL: Final = frozenset({DISPATCHER, "supervisor", "auditor", "admin"})
_WORK: Final = frozenset({DISPATCHER, "supervisor"})
_SUPERVISOR: Final = frozenset({"supervisor"})
_READ: Final = frozenset({"supervisor", "auditor"})
_ADMIN: Final = frozenset({"admin"})
_VERIFIES: Final = frozenset({"supervisor", "admin"})

RIGHTS: Final[dict[tuple[str, str], frozenset[str]]] = {
    ("POST", "/api/logout"):                    _ALL,
    ("GET",  "/api/events"):                    _ALL,
    ("GET",  "/api/calls"):                     _ALL,
    ("GET",  "/api/calls/{call}"):              _ALL,
    ("GET",  "/api/calls/{call}/trail"):        _ALL,
    ("GET",  "/api/calls/{call}/why"):          _ALL,
    ("GET",  "/api/queue"):                     _ALL,
    ("GET",  "/api/queues"):                    _ALL,
    ("GET",  "/api/desks"):                     _ALL,
    ("GET",  "/api/districts"):                 _ALL,
    ("GET",  "/api/trunks"):                    _ALL,
    ("GET",  "/api/callbacks"):                 _ALL,
    ("POST", "/api/callbacks/{call}/done"):     _WORK,
    ("POST", "/api/calls/{call}/silent"):       _WORK,
    ("GET",  "/api/calls/{call}/snapshot"):     _WORK,
    ("POST", "/api/calls/{call}/host-picture"): _WORK,
    ("POST", "/api/calls/{call}/priority"):     _SUPERVISOR,
    ("GET",  "/api/queue/hold"):                _READ,
    ("POST", "/api/queue/hold"):                _SUPERVISOR,
    ("GET",  "/api/statistics"):                _READ,
    ("GET",  "/api/evidence/{call}"):           _READ,
    ("GET",  "/api/evidence/{call}/{file}"):    _READ,
    ("GET",  "/metrics"):                       _ADMIN,
    ("PUT",  "/api/districts"):                 _ADMIN,
    ("POST", "/api/trunks/{trunk}/in-service"): _ADMIN,
    ("POST", "/api/trunks/{trunk}/out-of-service"): _ADMIN,
    ("POST", "/api/trunks/{trunk}/try"):        _ADMIN,
    ("GET",  "/api/roles"):                     frozenset({"admin", "auditor"}),
    ("GET",  "/api/roles/changes"):             frozenset({"admin", "auditor"}),
    ("POST", "/api/roles/{user}/{role}"):       _ADMIN,
    ("DELETE", "/api/roles/{user}/{role}"):     _ADMIN,
    ("GET",  "/api/identities"):                _VERIFIES | {"auditor"},
    ("GET",  "/api/identities/changes"):        _VERIFIES | {"auditor"},
    ("POST", "/api/calls/{call}/mark"):         _WORK,
    ("GET",  "/api/marks"):                     _READ,
    ("POST", "/api/marks/{mark}/withdraw"):     _SUPERVISOR,
    ("POST", "/api/identities/{user}/needs"):   _VERIFIES,
    ("POST", "/api/identities/{user}/block"):   _VERIFIES,
    ("POST", "/api/identities/{user}/unblock"): _VERIFIES,
    ("POST", "/api/identities/{user}"):         _VERIFIES,
    ("POST", "/api/identities/{user}/confirm"): _VERIFIES,
    ("POST", "/api/identities/{user}/withdraw"): _VERIFIES,
}  # fmt: skip

_DESK: Final = "/api/desks/{desk}/"
"""What a dispatcher does at the own desk, and a supervisor …"""
_AT_ANY: Final = frozenset({"sign-in", "sign-out", "pause", "resume", "end-call"})
"""… at every desk. Listening and taking over are acts of the own desk: it is that one's phone that listens."""


def may(method: str, path: str, roles: frozenset[str], *, own: bool) -> bool:
    """Say whether somebody with these roles may do this; `own`: the path names the own desk."""
    if EVERYTHING in roles:
        return True
    if method == "HEAD":
        method = "GET"
    if method == "POST" and path.startswith(_DESK):
        verb = path.removeprefix(_DESK)
        return (own and DISPATCHER in roles) or (verb in _AT_ANY and "supervisor" in roles)
    return bool(RIGHTS.get((method, path), frozenset()) & roles)
