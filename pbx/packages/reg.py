"""`reg`: the phones that stand behind an address-of-record (RFC 3680).

in → out: bindings → `Registration` → `application/reginfo+xml`, always whole: an account has few phones.
"""

import hashlib
from collections.abc import Iterable
from typing import Final, Self

import msgspec

from pbx.binding import Binding
from pbx.packages.xml import clean, document, quoted

CONTENT_TYPE: Final = "application/reginfo+xml"
_NAMESPACE: Final = "urn:ietf:params:xml:ns:reginfo"


class Contact(msgspec.Struct, frozen=True):
    """One phone."""

    uri: str
    expires_at: float
    """Monotonic seconds."""
    q: float
    instance: str | None


class Registration(msgspec.Struct, frozen=True, tag="reg"):
    """An address-of-record and its phones, in the order the registrar lists them."""

    aor: str
    contacts: tuple[Contact, ...]

    @classmethod
    def of(cls, aor: str, bindings: Iterable[Binding]) -> Self:
        """Look at the bindings of an address-of-record."""
        found = tuple(
            Contact(clean(str(b.contact.uri)), b.expires_at, b.q, _cleaned(b.contact.param("+sip.instance")))
            for b in bindings
        )
        return cls(clean(aor), found)

    def full(self, version: int, now: float) -> bytes:
        """Say all."""
        state = "active" if self.contacts else "init"
        contacts = "".join(_contact(contact, now) for contact in self.contacts)
        return document(
            f'<reginfo xmlns="{_NAMESPACE}" version="{version}" state="full"><registration aor="{quoted(self.aor)}" '
            f'id="{_id(self.aor)}" state="{state}">{contacts}</registration></reginfo>'
        )

    def partial(self, before: Self, version: int, now: float) -> bytes:
        """Say all."""
        del before
        return self.full(version, now)


def _contact(contact: Contact, now: float) -> str:
    left = max(0, round(contact.expires_at - now))
    head = f'<contact id="{_id(contact.uri)}" state="active" event="registered" expires="{left}" q="{contact.q:g}">'
    instance = ""
    if contact.instance is not None:
        instance = f'<unknown-param name="+sip.instance">{quoted(contact.instance)}</unknown-param>'
    return f"{head}<uri>{quoted(contact.uri)}</uri>{instance}</contact>"


def _cleaned(text: str | None) -> str | None:
    return None if text is None else clean(text)


def _id(text: str) -> str:
    return "r" + hashlib.blake2s(text.encode(), digest_size=8).hexdigest()
