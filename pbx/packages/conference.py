"""`conference`: who is in a seat's permanent room (RFC 4575).

in → out: `Seat` → `Conference` → `application/conference-info+xml`. The focus is the room; its host is the dispatcher, its
guest the caller.
"""

from typing import Final, Self

import msgspec

from pbx.packages.seat import Media, Seat
from pbx.packages.xml import document, quoted

CONTENT_TYPE: Final = "application/conference-info+xml"
_NAMESPACE: Final = "urn:ietf:params:xml:ns:conference-info"


class User(msgspec.Struct, frozen=True):
    """One who is in the room."""

    key: str
    """Who it is, beyond the URI: two callers one after the other may have the same number, or none."""
    entity: str
    label: str
    role: str
    """`host`, `guest`, or what staff is there as."""
    status: str
    """Of the endpoint (RFC 4575 §5.7): `connected`, `on-hold`, `dialing-out` or, of who only listens, `muted-via-focus`."""
    media: Media = ()


class Conference(msgspec.Struct, frozen=True, tag="conference"):
    """A room and who is in it."""

    entity: str
    name: str
    users: tuple[User, ...]

    @classmethod
    def of(cls, seat: Seat) -> Self:
        """Look into the room of a seat."""
        users: list[User] = []
        if seat.state != "signed_out":
            users.append(User("host", seat.uri, seat.name, "host", "connected", seat.media))
        if seat.guest is not None:
            guest = seat.guest
            status = "on-hold" if guest.held else "connected"
            # The entity is a key: a dispatcher who calls for help from the own desk's account is a second person here.
            entity = guest.uri if guest.uri != seat.uri else f"{guest.uri};guest=1"
            users.append(User(guest.id, entity, guest.label, "guest", status, guest.media))
        taken = {user.entity for user in users}
        for staff in seat.staff:
            entity = staff.uri if staff.uri not in taken else f"{staff.uri};staff={staff.id}"
            taken.add(entity)
            status = (
                "dialing-out"
                if not staff.up
                else "muted-via-focus"
                if staff.mode == "listen"
                else "connected"
            )
            users.append(User(staff.id, entity, staff.label, staff.role, status, staff.media))
        return cls(seat.room, seat.name, tuple(users))

    def full(self, version: int, now: float) -> bytes:
        """Say all."""
        del now  # nothing in it ages
        users = "".join(_user(user) for user in self.users)
        about = f"<conference-description><display-text>{quoted(self.name)}</display-text></conference-description>"
        return self._info(version, "full", f'{about}{self._count()}<users state="full">{users}</users>')

    def partial(self, before: Self, version: int, now: float) -> bytes:
        """Say what changed since `before`."""
        # RFC 4575 §4: elements with a key (here users, by entity) are sent alone when they change, and with state
        # "deleted" when they go; elements without one are replaced whole.
        del now
        known = {user.entity: user for user in before.users}
        here = {user.entity for user in self.users}
        parts = [
            f'<user entity="{quoted(user.entity)}" state="deleted"/>'
            for user in before.users
            if user.entity not in here
        ]
        parts += [_user(user) for user in self.users if known.get(user.entity) != user]
        about = ""
        if self.name != before.name:
            about = f"<conference-description><display-text>{quoted(self.name)}</display-text></conference-description>"
        users = f'<users state="partial">{"".join(parts)}</users>'
        return self._info(version, "partial", f"{about}{self._count()}{users}")

    def _count(self) -> str:
        active = "true" if self.users else "false"
        return f"<conference-state><user-count>{len(self.users)}</user-count><active>{active}</active></conference-state>"

    def _info(self, version: int, state: str, content: str) -> bytes:
        entity = quoted(self.entity)
        head = f'<conference-info xmlns="{_NAMESPACE}" entity="{entity}" state="{state}" version="{version}"'
        return document(f"{head}>{content}</conference-info>")


def _user(user: User) -> str:
    entity = quoted(user.entity)
    # RFC 4575 §5.8: a medium has an id of its own within the endpoint, and its direction is the participant's.
    media = "".join(
        f'<media id="{number}"><type>{medium}</type><status>{direction}</status></media>'
        for number, (medium, direction) in enumerate(user.media, 1)
    )
    return (
        f'<user entity="{entity}" state="full"><display-text>{quoted(user.label)}</display-text>'
        f"<roles><entry>{user.role}</entry></roles>"
        f'<endpoint entity="{entity}" state="full"><status>{user.status}</status>{media}</endpoint></user>'
    )
